from helpers import planted, wide

from coursekit.testing import close, points


@points(2, read='handout, question 6, "`potential` is"')
def test_q6_potential_by_hand(student):
    """Two tokens, three experts, the bias in both terms."""
    scores = wide([[0.9, 0.5, 0.2], [0.4, 0.1, 0.3]])
    bias = wide([-0.3, 0.0, 0.6])
    close(
        student.potential(scores, bias, 1),
        wide((0.8 + 0.9) / 2 - 0.1),
        "the potential for k = 1 (largest score + bias: 0.8 and 0.9; mean bias 0.1)",
        mistakes={
            "the mean of the bias is not taken away": wide(0.85),
            "affinities of the chosen are added up without their bias": wide(0.15),
        },
    )
    close(
        student.potential(scores, bias, 2),
        wide((0.8 + 0.6 + 0.9 + 0.1) / 2 - 0.2),
        "the potential for k = 2 (k times the mean of the bias is taken away)",
        mistakes={
            "the mean of the bias is taken away once, and not k times": wide(1.1),
            "it is the mean over the chosen, and not their sum": wide(0.5),
        },
    )


@points(2, read='handout, question 6, "`response` measures"')
def test_q6_two_experts_on_a_line(student):
    """A load that answers in a straight line: its slope, and what may be done to it."""
    loads_of = planted(student, "return torch.stack([5 + 2 * (b[0] - b[1]), "
                       "5 - 2 * (b[0] - b[1])])", "b")  # fmt: skip
    J = student.response(loads_of, wide([0.2, 0.2]), 0.1)
    right = wide([[0.4, -0.4], [-0.4, 0.4]])
    close(
        J,
        right,
        "J (the load over its mean, per unit of the bias)",
        mistakes={
            "the change is divided by `nudge`, and not by twice that": 2 * right,
            "loads are not divided by their mean": 5 * right,
        },
    )
    close(
        student.speeds(right),
        (2 / 0.8, 2 / 1.6),
        "(limit, best) of eigenvalues 0, which is the equal shift, and 0.8",
        rtol=1e-6,
        mistakes={
            "the limit is one over the largest eigenvalue": (1 / 0.8, 2 / 1.6),
            "the equal shift counts as an error": (2 / 0.8, 2 / 0.8),
            "the largest entry of J stands for its eigenvalue": (2 / 0.4, 2 / 0.8),
        },
    )
