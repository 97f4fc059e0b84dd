from coursekit.testing import close, points


@points(2, read='chapter 06, "What it brings"')
def test_q6_with_one_rate_it_is_a_geometric_sum(student):
    """Tokens a step for equal rates, and for none."""
    close(
        student.tokens_a_step([]),
        1.0,
        "tokens a step without drafts",
        mistakes={"the model's own token is left out": 0.0},
    )
    close(student.tokens_a_step([0.5]), 1.5, "tokens a step, one draft kept at 0.5")
    close(
        student.tokens_a_step([0.8] * 5),
        (1 - 0.8**6) / (1 - 0.8),
        "tokens a step, five drafts (with them comes one token of the model's own)",
        mistakes={"rates are added, as if each draft counted by itself": 5.0},
    )


@points(
    2,
    read=(
        'chapter 06, "What it brings"; handout, question 6, "One pass over one token"'
    ),
)
def test_q6_costs_are_paid_for_every_draft(student):
    """Each draft costs drafting and reading, also when it is not looked at."""
    close(
        student.speed([0.9, 0.5], 0.1, 0.05),
        (1 + 0.9 + 0.45) / (1 + 2 * 0.15),
        "the speed with two drafts (the second counts if both are kept)",
        mistakes={
            "the first rate holds for all places": (1 + 0.9 + 0.81) / 1.3,
            "reading is paid once": 2.35 / 1.25,
            "drafting is paid once": 2.35 / 1.2,
        },
    )
    close(student.speed([], 0.1, 0.05), 1.0, "the speed without drafts")
