from helpers import planted, wide

from coursekit.testing import close, points


@points(2)
def test_q6_potential_by_hand(student):
    """Two tokens, three experts, the bias in both terms."""
    scores = wide([[0.9, 0.5, 0.2], [0.4, 0.1, 0.3]])
    bias = wide([-0.3, 0.0, 0.6])
    close(
        student.potential(scores, bias, 1),
        wide((0.8 + 0.9) / 2 - 0.1),
        "the potential for k = 1 (largest score + bias: 0.8 and 0.9; mean bias 0.1)",
    )
    close(
        student.potential(scores, bias, 2),
        wide((0.8 + 0.6 + 0.9 + 0.1) / 2 - 0.2),
        "the potential for k = 2",
    )


@points(2)
def test_q6_two_experts_on_a_line(student):
    """A load that answers in a straight line: its slope, and what may be done to it."""
    loads_of = planted(student, "return torch.stack([5 + 2 * (b[0] - b[1]), "
                       "5 - 2 * (b[0] - b[1])])", "b")  # fmt: skip
    J = student.response(loads_of, wide([0.2, 0.2]), 0.1)
    right = wide([[0.4, -0.4], [-0.4, 0.4]])
    close(J, right, "J (the load over its mean, per unit of the bias)")
    close(
        student.speeds(right),
        (2 / 0.8, 2 / 1.6),
        "(limit, best) of eigenvalues 0, which is the equal shift, and 0.8",
        rtol=1e-6,
    )
