import torch
from helpers import normal

from coursekit.testing import close, gradient, points


def expected(
    logits, bias, k, nodes, most, scale, best=None, rated=True, late=False, fill=None
):
    """The same as route, one token after the other, with Python's stable sort.

    The rest are mistakes: `best` experts rate a node, without the bias unless `rated`;
    the bias comes `late`, inside of the sigmoid; what is dropped is worth `fill`.
    """
    size = logits.shape[1] // nodes
    best = min(best or -(-k // most), size)
    weights, indices = [], []
    for row, s in zip(logits, logits.sigmoid(), strict=True):
        biased = ((row + bias).sigmoid() if late else s + bias).tolist()
        rates = biased if rated else s.tolist()
        worth = []
        for n in range(nodes):
            part = sorted(rates[n * size : (n + 1) * size], reverse=True)
            worth.append(sum(part[:best]))
        kept = sorted(range(nodes), key=lambda n: -worth[n])[:most]
        experts = sorted(e for n in kept for e in range(n * size, (n + 1) * size))
        if fill is not None:
            biased = [b if e in experts else fill for e, b in enumerate(biased)]
            experts = range(len(biased))
        chosen = sorted(experts, key=lambda e: -biased[e])[:k]
        indices.append(chosen)
        logs = torch.nn.functional.logsigmoid(row.double())[chosen]
        weights.append(scale * (logs - logs.logsumexp(0)).exp())
    return torch.stack(weights), torch.tensor(indices)


def agree(student, args, what):
    weights, indices = student.route(*args)
    right_weights, right_indices = expected(*args)
    logits, bias, k, _, most, scale = args

    def other(**mistake):
        return lambda: expected(*args, **mistake)[1]

    close(
        indices,
        right_indices,
        f"indices, {what}",
        mistakes={
            "a node counts for its two best, as in the chapter": other(best=2),
            "k / most is rounded down": other(best=max(1, k // most)),
            "a node counts for its best k": other(best=k),
            "a node counts for all of its experts": other(best=logits.shape[1]),
            "nodes are rated without the bias": other(rated=False),
            "the bias is added to the logit, before the sigmoid": other(late=True),
            "what is dropped is filled with 0": other(fill=0.0),
            "no node is dropped": lambda: expected(logits, bias, k, 1, 1, scale)[1],
            "the chosen stand in the order of their numbers": (
                right_indices.sort(-1).values
            ),
        },
    )
    biased = (logits.sigmoid() + bias).gather(1, right_indices)
    close(
        weights,
        right_weights.to(logits.dtype),
        f"weights, {what}",
        mistakes={
            "the scale is left out": (right_weights / scale).to(logits.dtype),
            "the bias is in the weights": (
                scale * biased / biased.sum(1, keepdim=True)
            ),
            "they are a softmax of the logits": (
                scale * logits.gather(1, right_indices).softmax(1)
            ),
            "affinities that round to 0 are divided by their sum": (
                torch.zeros_like(biased)
            ),
        },
    )


@points(
    3,
    read=(
        'chapter 04, "Part two, placement: groups and nodes"; '
        'handout, question 1, "A node counts for the sum"'
    ),
)
def test_q1_many_tokens(student, gen):
    """Limits of every kind, for tokens with a bias that changes many choices."""
    for k, nodes, most in [(6, 4, 2), (5, 4, 3), (3, 6, 3), (8, 4, 2), (7, 3, 3)]:
        args = normal(gen, 60, 24), 0.3 * normal(gen, 24), k, nodes, most, 1.5
        agree(
            student,
            args,
            f"k = {k}, at most {most} of {nodes} nodes with {24 // nodes} experts each "
            f"(a node counts for its best {-(-k // most)})",
        )


@points(2, read='chapter 04, "Part two, placement: groups and nodes"')
def test_q1_experts_of_other_nodes_stay_out(student, gen):
    """With every biased affinity below 0, no expert of a dropped node is chosen."""
    args = normal(gen, 60, 16), -2 - normal(gen, 16).abs(), 2, 8, 1, 1.0
    agree(
        student,
        args,
        "all biased affinities below 0 (so 0 would win against them; which value do "
        "dropped experts get?)",
    )


@points(2, read='handout, question 1, "Of equals, nodes as well as experts"')
def test_q1_of_equals_the_lower_number_goes_first(student, gen):
    """Ties of experts and of nodes, which two machines must settle alike."""
    zero = torch.zeros(3, 64).double()
    full = torch.randperm(32, generator=gen) < 8  # eight nodes that are as good
    steps = full.repeat_interleave(2) / 2
    for bias, k, nodes, most in [
        (torch.zeros(64), 6, 1, 1),
        (torch.zeros(64), 8, 16, 4),
        (steps, 6, 1, 1),
        (steps, 6, 32, 3),
    ]:
        agree(
            student,
            (zero, bias.double(), k, nodes, most, 1.0),
            f"equal affinities, {nodes} nodes (topk gives equals in any order; "
            "sort(stable=True) does not)",
        )


@points(2, read='handout, question 1, "an affinity that rounds to 0"')
def test_q1_affinities_too_small_for_a_float(student, gen):
    """Logits around -200: the affinities round to 0, their shares do not."""
    logits = -200 + torch.randn(20, 8, generator=gen)
    bias = torch.rand(8, generator=gen)
    for shift in (0.0, 195.0):
        agree(
            student,
            (logits + shift, bias, 3, 2, 2, 2.0),
            f"float32 logits around {-200 + shift:.0f} (the share of s is a softmax of "
            "log s, and logsigmoid does not round to 0)",
        )


@points(1, read='chapter 03, "The mathematics", "Where a gradient flows"')
def test_q1_the_gate_learns_and_the_bias_does_not(student, gen):
    """Gradients reach the logits of the chosen, through their shares, and no bias."""
    args = normal(gen, 10, 12), 0.2 * normal(gen, 12), 3, 1, 1, 2.0
    weights, indices = expected(*args)
    slope = normal(gen, 10, 3)
    found = gradient(student.route, *args, cotangent=slope)
    close(found.value[0], weights, "weights")
    logits = args[0].clone().requires_grad_()
    s = logits.sigmoid().gather(1, indices)
    (2 * s / s.sum(1, keepdim=True)).backward(slope)
    assert found.inputs[0] is not None, "no gradient reaches the logits: detached?"
    close(found.inputs[0], logits.grad, "the gradient of the logits")
    other = found.inputs[1]
    assert other is None or not other.any(), "a gradient reaches the bias"
