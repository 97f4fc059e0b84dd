import torch
from helpers import normal

from coursekit.testing import close, points


@points(2, read='handout, question 5, "`best_single` gives"')
def test_q5_the_share_that_is_lost(student, gen):
    """What is lost is nothing for equal matrices, all for opposite ones."""
    one, other = normal(gen, 4, 3), normal(gen, 4, 3)
    for name, each, right in (
        ("equal matrices", torch.stack([one, one, one]), 0.0),
        ("a matrix and its opposite", torch.stack([one, -one]), 1.0),
        ("a matrix and three times it", torch.stack([one, 3 * one]), 0.2),
        (
            "two matrices",
            torch.stack([one, other]),
            float(0.5 * (one - other).square().sum())
            / float(one.square().sum() + other.square().sum()),
        ),
    ):
        close(
            student.best_single(each)[1],
            right,
            f"the share that is lost with {name} (divide by the squares of all the "
            "given numbers)",
        )
