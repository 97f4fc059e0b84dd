import torch
from helpers import DOUBLE, arrives, wide

from coursekit.testing import close, gradient, points


@points(
    2,
    read=(
        'chapter 11, "The same answers, several times"; '
        'chapter 11, "The objective, and what readers ask"; '
        'handout, question 4, "the objective, to be maximised"'
    ),
)
def test_q4_fresh_answers_teach_by_their_advantage(student, gen):
    """At a ratio of 1 the value is the advantage, and so is the gradient."""
    logp = -torch.rand(3, 5, generator=gen, dtype=DOUBLE)
    A, mask = wide([1.5, -0.5, -1.0]), torch.ones(3, 5, dtype=torch.bool)
    args = logp, logp, A, mask, 0.2, 0.3, 3.0
    found = gradient(student.token_objective, *args, cotangent=torch.ones_like(logp))
    right = A[:, None].expand(3, 5)
    bounded = {"`worst` is used where A > 0, too": right.where(right < 0, 3 * right)}
    close(found.value, right, "the objective at a ratio of 1", mistakes=bounded)
    hint = "a ratio of 1 still has a slope: do not detach logp"
    close(
        arrives(found, 0, "logp"),
        right,
        f"the gradient at a ratio of 1 ({hint})",
        mistakes={
            "the ratio is old over new": -right,
            "the ratio is that of the whole answer, and not of each token": 5 * right,
        },
    )


@points(3, read='chapter 11, "The clip"')
def test_q4_four_corners(student):
    """The gradient is 0 where the step has been taken, and whole on the other side."""
    rho, A = wide([[0.5, 1.5], [0.5, 1.5]]), wide([2.0, -2.0])
    mask = torch.ones(2, 2, dtype=torch.bool)
    args = rho.log(), torch.zeros_like(rho), A, mask, 0.2, 0.2, 4.0
    found = gradient(student.token_objective, *args, cotangent=torch.ones_like(rho))
    value, slope = wide([[1.0, 2.4], [-1.6, -3.0]]), wide([[1.0, 0.0], [0.0, -3.0]])
    names = "rows: good, bad answer; columns: ratio 0.5, 1.5"
    close(
        found.value,
        value,
        f"the objective ({names})",
        mistakes={
            "the ratio is clipped and there is no minimum": (
                wide([[1.6, 2.4], [-1.6, -2.4]])
            ),
            "the larger of the two is taken, as in a loss": (
                wide([[1.6, 3.0], [-1.0, -2.4]])
            ),
            "the ratio is old over new": wide([[2.4, 4 / 3], [-4.0, -1.6]]),
        },
    )
    close(arrives(found, 0, "logp"), slope, f"the gradient ({names})")
