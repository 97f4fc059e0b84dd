import torch
import torch.nn.functional as F
from helpers import wide

from coursekit.testing import close, points

P = wide([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
Q = wide([[0.2, 0.6, 0.2], [0.4, 0.4, 0.2]])


@points(5, read='chapter 06, "How to check a draft"')
def test_q3_a_step_by_hand(student):
    """Two drafts, three tokens: kept, rejected at the first, at the second."""
    no_more = "no token is drawn behind drafts that are all kept"
    turned = "the ratio of p and q is turned round"
    from_p = "a rejected draft is replaced by a draw from p"
    unsigned = "the difference of p and q loses its sign"
    counted = "drafts behind a rejected one are counted as kept"
    again = "the uniform number that has rejected the draft draws in its place"
    cases = [
        (
            "both kept, u far below the ratios",
            [0, 1],
            [0.9, 0.9, 0.3],
            [0, 1, 1],
            {no_more: [0, 1, -1], turned: [0, -1, -1]},
        ),
        (
            "the first is kept at u = 0.4 < 0.3 / 0.6",
            [1, 1],
            [0.4, 0.0, 0.9],
            [1, 1, 2],
            {no_more: [1, 1, -1]},
        ),
        (
            "the first is rejected at u = 0.6 > 0.3 / 0.6; only token 0 has p > q",
            [1, 1],
            [0.6, 0.0, 0.99],
            [0, -1, -1],
            {from_p: [2, -1, -1], unsigned: [1, -1, -1], counted: [1, 2, -1]},
        ),
        (
            "the second is rejected at u = 0.3 > 0.1 / 0.4; tokens 1 and 2 have p - q "
            "of 0.2 and 0.1, so the last uniform, 0.6, draws 1",
            [2, 0],
            [0.5, 0.3, 0.6],
            [2, 1, -1],
            {},
        ),
        (
            "the second is rejected; the last uniform, 0.7, draws 2",
            [2, 0],
            [0.5, 0.3, 0.7],
            [2, 2, -1],
            {again: [2, 1, -1]},
        ),
    ]
    for what, drafts, u, right, wrong in cases:
        found = student.accept(torch.tensor([drafts]), Q[None], P[None], wide([u]))
        close(
            found,
            torch.tensor([right]),
            f"tokens ({what})",
            mistakes={words: torch.tensor([row]) for words, row in wrong.items()},
        )


@points(
    3,
    read=('chapter 06, "What is thrown away"; handout, question 3, "At temperature 0"'),
)
def test_q3_at_temperature_zero_the_models_own_choice_comes_out(student, gen):
    """Where p is 1 at one token, drafts are kept as long as they are that token."""
    best = torch.randint(0, 5, (64, 4), generator=gen)
    drafts = best[:, :3].clone()
    wrong = torch.rand(64, 3, generator=gen) < 0.3
    drafts[wrong] = (drafts[wrong] + 1) % 5
    q = F.one_hot(drafts, 5).double()
    u = torch.rand(64, 4, generator=gen, dtype=torch.float64)
    found = student.accept(drafts, q, F.one_hot(best, 5).double(), u)
    kept = (~wrong).long().cumprod(1).sum(1, keepdim=True)
    right = best.where(torch.arange(4) <= kept, -1)
    close(
        found,
        right,
        "tokens at temperature 0 (the model's choices, up to the first"
        " draft that differs, and that place's choice)",
    )
