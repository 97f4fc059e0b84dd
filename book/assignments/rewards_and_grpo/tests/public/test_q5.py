import torch
from helpers import wide

from coursekit.testing import close, points


@points(3)
def test_q5_three_ways_to_one_number(student):
    """A short and a long answer, averaged in three ways, and turned round."""
    objective = wide([[3.0, 3.0, 0.0, 0.0, 0.0], [-1.0] * 5])
    mask = torch.arange(5) < torch.tensor([[2], [5]])
    for how, right in (("answer", -1.0), ("token", -1 / 7), ("constant", -1 / 20)):
        found = student.loss_of(objective, mask, how, 10)
        hint = "the loss is minus the objective"
        close(found, torch.tensor(right, dtype=torch.float64), f"{how!r} ({hint})")
