import math

import torch
from helpers import wide

from coursekit.testing import close, points


@points(
    3, read=('chapter 06, "The equations"; handout, question 2, "divided by this $T$"')
)
def test_q2_a_further_depth_is_divided_by_the_main_models_count(student):
    """Of logits that know nothing, depth k has ln V times its share of the targets."""
    wanted = [
        torch.tensor([[1, 2, 3, -100, 0]]),
        torch.tensor([[2, 3, -100, -100]]),
        torch.tensor([[3, -100, -100]]),
    ]
    logits = [torch.zeros(1, w.shape[1], 5, dtype=torch.float64) for w in wanted]
    loss, parts = student.mtp_loss(logits, wanted, 0.3)
    right = wide([1.0, 2 / 4, 1 / 4]) * math.log(5)
    close(
        parts[0],
        right[0],
        "the loss of depth 0 (4 of its 5 positions count)",
        mistakes={"it is divided by all positions": 0.8 * right[0]},
    )
    close(
        parts,
        right,
        "parts (sum what counts at each depth, divide by the 4 targets of depth 0)",
        mistakes={"each depth is divided by its own targets": right[:1].expand(3)},
    )
    further = right[1] + right[2]
    close(
        loss,
        right[0] + 0.15 * further,
        "the loss (lambda over D)",
        mistakes={
            "lambda is not divided by D": right[0] + 0.3 * further,
            "lambda is divided by D + 1": right[0] + 0.1 * further,
        },
    )


@points(
    3,
    read=(
        'handout, question 2, "alone for $D = 0$"; '
        'handout, question 2, "in the whole batch"'
    ),
)
def test_q2_without_modules_the_loss_is_the_main_models(student, gen):
    """With D = 0 the loss is the mean surprise at the targets that count."""
    logits = torch.randn(2, 3, 4, generator=gen, dtype=torch.float64)
    wanted = torch.tensor([[3, -100, 1], [0, 2, 3]])
    loss, parts = student.mtp_loss([logits], [wanted], 0.3)
    logp = logits.log_softmax(-1)
    first = logp[0, 0, 3] + logp[0, 2, 1]
    second = logp[1, 0, 0] + logp[1, 1, 2] + logp[1, 2, 3]
    right = -(first + second) / 5
    close(
        loss,
        right,
        "the loss for D = 0 (parts[0] alone: by which number is it divided?)",
        mistakes={
            "each row is averaged by itself, and then the rows": (
                -(first / 2 + second / 3) / 2
            ),
            "it is divided by all positions": 5 / 6 * right,
        },
    )
    close(parts, right[None], "parts for D = 0")
