import torch

from coursekit.testing import close, points


@points(2, read='handout, question 6, "The formula of chapter 06"')
def test_q6_other_rates_at_every_place(student, gen):
    """Rates that differ from place to place, and what a published speed leaves."""
    alphas = torch.rand(5, generator=gen, dtype=torch.float64).tolist()
    right, reached = 1.0, 1.0
    for alpha in alphas:
        reached *= alpha
        right += reached
    close(
        student.tokens_a_step(alphas),
        right,
        "tokens a step with five rates (a draft counts if all before it are kept)",
    )
    close(student.speed(alphas, 0.2, 0.1), right / 2.5, "the speed with five rates")
    for alpha, gain in ((0.85, 1.8), (0.9, 1.8), (alphas[0], 0.7)):
        close(
            student.slack(alpha, gain),
            (1 + alpha) / gain - 1,
            "slack (one draft: 1 + alpha tokens in a time of 1 + draft + read)",
            mistakes={"the gain is taken off, and not divided by": 1 + alpha - gain},
        )


@points(2, read='handout, question 6, "the fewest if several"')
def test_q6_the_best_number_of_drafts(student):
    """Many cheap drafts, few dear ones, none, and ties."""
    for alphas, draft, read, right in [
        ([0.8] * 8, 0.1, 0.0, 6),
        ([0.8] * 8, 0.1, 0.2, 3),
        ([0.9, 0.2, 0.9, 0.9], 0.05, 0.0, 4),
        ([0.9, 0.1, 0.9, 0.9], 0.1, 0.05, 1),
        ([0.5, 0.9], 0.5, 0.25, 0),
        ([0.25], 0.125, 0.125, 0),
        ([], 0.1, 0.1, 0),
    ]:
        close(
            student.best_count(alphas, draft, read),
            right,
            f"the best number of drafts for rates {alphas[:4]}, draft {draft}, read "
            f"{read} (0 if none pays, the fewest if several are as fast)",
        )
