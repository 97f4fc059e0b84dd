import torch
import torch.nn.functional as F
from helpers import planted

from coursekit.testing import close, gradient, points


def batch(gen, depths=3, rows=4, length=9, vocab=6):
    """Logits and targets of several depths, of which about a third do not count."""
    shapes = [(rows, length - k) for k in range(depths)]
    logits = [
        torch.randn(*s, vocab, generator=gen, dtype=torch.float64) for s in shapes
    ]
    wanted = [torch.randint(0, vocab, s, generator=gen) for s in shapes]
    for w in wanted:
        w[torch.rand(w.shape, generator=gen) < 0.35] = -100
    wanted[0][0, :2] = torch.tensor([0, 1])
    wanted[1][1] = -100  # no target of this row counts at depth 1
    return logits, wanted


@points(3, read='handout, question 2, "in the whole batch"')
def test_q2_rows_count_by_their_targets(student, gen):
    """Three depths over rows with different numbers of targets."""
    logits, wanted = batch(gen)
    loss, parts = student.mtp_loss(logits, wanted, 0.1)
    total = (wanted[0] >= 0).sum()
    right = []
    for x, w in zip(logits, wanted, strict=True):
        logp = x.log_softmax(-1)
        chosen = logp.gather(-1, w.clamp(min=0)[..., None])[..., 0]
        right.append(-chosen[w >= 0].sum() / total)
    right = torch.stack(right)
    close(
        parts,
        right,
        "parts (one sum over the whole batch for each depth, all divided by the "
        "number of targets of depth 0)",
    )
    close(loss, right[0] + 0.05 * right[1:].sum(), "the loss with lambda 0.1 and D = 2")


@points(3, read='handout, question 2, "If no target counts at all"')
def test_q2_what_does_not_count_has_no_gradient(student, gen):
    """Gradients are zero where no target counts, also if none does at all."""
    (x, y, _), (main, ahead, _) = batch(gen)
    body = "return mtp_loss([x, y], [main, ahead], 0.3)[0]"
    of_logits = planted(student, body, "x, y, main, ahead")
    found = gradient(of_logits, x, y, main, ahead)
    total = (main >= 0).sum()
    for depth, (logits, wanted) in enumerate([(x, main), (y, ahead)]):
        counts = (wanted >= 0)[..., None]
        hit = F.one_hot(wanted.clamp(min=0), logits.shape[-1])
        right = (logits.softmax(-1) - hit) * counts / total
        right = right * (0.3 if depth else 1.0)
        assert found.inputs[depth] is not None, f"no gradient reaches depth {depth}"
        close(
            found.inputs[depth], right, f"the gradient by the logits of depth {depth}"
        )
    nothing = [torch.full_like(main, -100), torch.full_like(ahead, -100)]
    found = gradient(of_logits, x, y, *nothing)
    zero = torch.zeros((), dtype=torch.float64)
    close(found.value, zero, "the loss of a batch where no target counts (0 / 0?)")
    close(found.inputs[0], torch.zeros_like(x), "the gradient where no target counts")
