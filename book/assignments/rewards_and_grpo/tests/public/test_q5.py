import torch
from helpers import wide

from coursekit.testing import close, points


@points(3, read='chapter 11, "One number from many tokens"')
def test_q5_three_ways_to_one_number(student):
    """A short and a long answer, averaged in three ways, and turned round."""
    objective = wide([[3.0, 3.0, 0.0, 0.0, 0.0], [-1.0] * 5])
    mask = torch.arange(5) < torch.tensor([[2], [5]])
    for how, right in (("answer", -1.0), ("token", -1 / 7), ("constant", -1 / 20)):
        found = student.loss_of(objective, mask, how, 10)
        hint = "the loss is minus the objective"
        close(
            found,
            wide(right),
            f"{how!r} ({hint})",
            mistakes={
                "the sign is that of the objective": wide(-right),
                "it is the mean of all tokens": wide(-1 / 7),
                "the longest answer of the batch stands for `horizon`": wide(-1 / 10),
            },
        )
