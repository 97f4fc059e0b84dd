import math

import torch
from helpers import wide

from coursekit.testing import close, points


@points(3)
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
    close(parts[0], right[0], "the loss of depth 0")
    close(
        parts,
        right,
        "parts (sum what counts at each depth, divide by the 4 targets of depth 0)",
    )
    close(loss, right[0] + 0.15 * (right[1] + right[2]), "the loss (lambda over D)")


@points(3)
def test_q2_without_modules_the_loss_is_the_main_models(student, gen):
    """With D = 0 the loss is the mean surprise at the targets that count."""
    logits = torch.randn(2, 3, 4, generator=gen, dtype=torch.float64)
    wanted = torch.tensor([[3, -100, 1], [0, 2, 3]])
    loss, parts = student.mtp_loss([logits], [wanted], 0.3)
    logp = logits.log_softmax(-1)
    first = logp[0, 0, 3] + logp[0, 2, 1]
    second = logp[1, 0, 0] + logp[1, 1, 2] + logp[1, 2, 3]
    right = -(first + second) / 5
    close(loss, right, "the loss for D = 0 (no further depth to average)")
    close(parts, right[None], "parts for D = 0")
