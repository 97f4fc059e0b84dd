import torch
from helpers import DOUBLE, arrives

from coursekit.testing import close, gradient, points


@points(2, read='handout, question 5, "Rows without a token occur"')
def test_q5_rows_without_a_token(student, gen):
    """Empty rows count for 'constant' only, and a batch of nothing has a loss of 0."""
    objective = torch.randn(4, 6, generator=gen, dtype=DOUBLE) + 1
    mask = torch.arange(6) < torch.tensor([[3], [0], [6], [0]])
    sums = objective[0, :3].sum(), objective[2].sum()
    right = {
        "answer": -(sums[0] / 3 + sums[1] / 6) / 2,
        "token": -(sums[0] + sums[1]) / 9,
        "constant": -(sums[0] + sums[1]) / (4 * 8),
    }
    nothing = torch.zeros(4, 6, dtype=torch.bool)
    for how, loss in right.items():
        found = student.loss_of(objective, mask, how, 8)
        close(
            found,
            loss,
            f"{how!r} with two empty rows of four",
            mistakes={
                "rows without a token count as answers": -(sums[0] / 3 + sums[1] / 6)
                / 4,
                "rows without a token are left out": -(sums[0] + sums[1]) / (2 * 8),
            },
        )
        found = student.loss_of(objective, nothing, how, 8)
        zero = torch.zeros((), dtype=DOUBLE)
        close(found, zero, f"{how!r} of a batch without any token")


@points(
    3,
    read=('chapter 11, "One number from many tokens"; chapter 11, "What can go wrong"'),
)
def test_q5_what_each_token_is_told(student, gen):
    """The weight of a token, as its gradient, and none for padding with nan in it."""
    objective = torch.randn(3, 7, generator=gen, dtype=DOUBLE)
    lengths = torch.tensor([[7], [0], [2]])
    mask = torch.arange(7) < lengths
    objective[~mask] = float("nan")
    objective[2, 4] = float("inf")
    weight = {
        "answer": mask / lengths.clamp(min=1) / 2,
        "token": mask / 9,
        "constant": mask / (3 * 16),
    }
    for how, each in weight.items():
        found = gradient(student.loss_of, objective, mask, how, 16)
        right = -(objective.masked_fill(~mask, 0.0) * each).sum()
        hint = "clear what is masked before you sum: nan times 0 is nan"
        close(found.value, right, f"{how!r} with nan in the padding ({hint})")
        told = arrives(found, 0, "objective")
        close(told, -each.to(DOUBLE), f"the gradient of {how!r}, by tokens")
