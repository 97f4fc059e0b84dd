import torch
from helpers import DOUBLE, arrives, stays_away, wide

from coursekit.testing import close, gradient, points


def asked(student, rho, A, low, high, worst):
    """Value and gradient where the ratios are these."""
    old = torch.linspace(-3, -1, rho.numel(), dtype=DOUBLE).view(rho.shape)
    mask = torch.ones(rho.shape, dtype=torch.bool)
    args = rho.log() + old, old, A, mask, low, high, worst
    found = gradient(student.token_objective, *args, cotangent=torch.ones_like(rho))
    return found.value, arrives(found, 0, "logp")


@points(2, read=('chapter 11, "The clip"; handout, question 4'))
def test_q4_two_margins(student):
    """The margins below and above 1 are used each on its own side."""
    rho, A = wide([[0.55, 0.7, 1.2, 1.45]] * 2), wide([1.0, -1.0])
    value, slope = asked(student, rho, A, 0.4, 0.3, 5.0)
    right = wide([[0.55, 0.7, 1.2, 1.3], [-0.6, -0.7, -1.2, -1.45]])
    push = wide([[0.55, 0.7, 1.2, 0.0], [0.0, -0.7, -1.2, -1.45]])
    close(
        value,
        right,
        "the objective with low = 0.4, high = 0.3",
        mistakes={
            "`low` is the margin on both sides": (
                wide([[0.55, 0.7, 1.2, 1.4], [-0.6, -0.7, -1.2, -1.45]])
            ),
            "`high` is the margin on both sides": (
                wide([[0.55, 0.7, 1.2, 1.3], [-0.7, -0.7, -1.2, -1.45]])
            ),
        },
    )
    close(slope, push, "the gradient with low = 0.4, high = 0.3")


@points(3, read='handout, question 4, "dual clip"')
def test_q4_the_third_corner(student):
    """For bad answers, and only for them, the loss is bounded and its gradient ends."""
    rho, A = wide([[2.0, 2.9, 3.1, 90.0], [0.3, 1.0, 1.1, 90.0]]), wide([-2.0, 0.5])
    value, slope = asked(student, rho, A, 0.2, 0.2, 3.0)
    right = wide([[-4.0, -5.8, -6.0, -6.0], [0.15, 0.5, 0.55, 0.6]])
    push = wide([[-4.0, -5.8, 0.0, 0.0], [0.15, 0.5, 0.55, 0.0]])
    close(
        value,
        right,
        "the objective with worst = 3 (only where A < 0)",
        mistakes={
            "there is no third corner": (
                wide([[-4.0, -5.8, -6.2, -180.0], [0.15, 0.5, 0.55, 0.6]])
            ),
            "`worst` is used where A > 0, too": (
                wide([[-4.0, -5.8, -6.0, -6.0], [1.5, 1.5, 1.5, 1.5]])
            ),
        },
    )
    close(slope, push, "the gradient with worst = 3 (0 beyond it)")
    value, slope = asked(student, rho, A, 0.2, 0.2, None)
    cut = -2 * rho[0].clamp(max=3)
    close(
        value[0],
        -2 * rho[0],
        "the objective of a bad answer without a bound",
        mistakes={"the ratio is cut off, also where `worst` is None": cut},
    )
    close(slope[0], -2 * rho[0], "the gradient of a bad answer without a bound")


@points(2, read='chapter 11, "What can go wrong"')
def test_q4_what_is_masked_says_nothing(student):
    """Whatever stands behind the mask, value and gradient there are 0."""
    inf, nan = float("inf"), float("nan")
    logp = wide([[-1.0, -2.0, 900.0, -inf], [-1.0, nan, -inf, 3.0]])
    old = wide([[-1.5, -2.0, -900.0, -inf], [-1.0, 0.0, 4.0, nan]])
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    A = wide([1.0, -1.0])
    args = logp, old, A, mask, 0.2, 0.8, 3.0
    found = gradient(student.token_objective, *args, cotangent=torch.ones_like(logp))
    grown = wide([0.5]).exp().item()
    right = wide([[grown, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]])
    hint = "fill with masked_fill before exp: nan and inf times 0 are nan"
    close(
        found.value,
        right,
        f"the objective with strange padding ({hint})",
        mistakes={
            "padding keeps the advantage as its value": (
                wide([[grown, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]])
            )
        },
    )
    push = arrives(found, 0, "logp")
    close(push, right, f"the gradient with strange padding ({hint})")


@points(
    2,
    read=(
        'chapter 11, "The same answers, several times"; '
        'handout, question 4, "Only `logp` gets a gradient"'
    ),
)
def test_q4_only_the_policy_learns(student, gen):
    """logp has the gradient; old log-probabilities and advantages have none."""
    logp = -torch.rand(4, 3, generator=gen, dtype=DOUBLE)
    old = logp + 0.1 * torch.randn(4, 3, generator=gen, dtype=DOUBLE)
    A, mask = wide([1.0, -1.0, 0.5, -0.5]), torch.ones(4, 3, dtype=torch.bool)
    args = logp, old, A, mask, 0.9, 9.0, 20.0
    found = gradient(student.token_objective, *args, cotangent=torch.ones_like(logp))
    right = (logp - old).exp() * A[:, None]
    close(found.value, right, "the objective within wide margins")
    close(arrives(found, 0, "logp"), right, "the gradient within wide margins")
    stays_away(found, 1, "logp_old")
    stays_away(found, 2, "advantages")
