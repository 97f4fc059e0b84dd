import torch

from coursekit.testing import close, points


def right_shares(solved, asked, group, floor):
    """The formula of the handout."""
    says = []
    for s, a in zip(solved, asked, strict=True):
        p = (s + 1) / (a + 2)
        says.append(1 - p**group - (1 - p) ** group)
    even = floor / len(says)
    return [even + (1 - floor) * x / sum(says) for x in says]


@points(
    2,
    read=(
        'handout, question 4, "says something with chance"; '
        'handout, question 4, "A share"'
    ),
)
def test_q4_any_counts(student, gen):
    """Counts that are not whole, two to six levels, groups of 2 to 16."""
    for levels in (2, 3, 4, 6):
        asked = torch.rand(levels, generator=gen, dtype=torch.float64) * 100
        part = torch.rand(levels, generator=gen, dtype=torch.float64)
        group = int(torch.randint(2, 17, (), generator=gen))
        floor = float(torch.rand((), generator=gen)) * 0.5
        given = (asked * part).tolist(), asked.tolist()
        close(
            student.shares(*given, group, floor),
            right_shares(*given, group, floor),
            f"chances of {levels} levels, groups of {group}, floor {floor:.2f}",
            atol=1e-9,
            mistakes={
                "p (1 - p) stands for groups of any size": (
                    right_shares(*given, 2, floor)
                )
            },
        )


@points(
    2,
    read=(
        'handout, question 4, "says something with chance"; '
        'handout, question 4, "A share"'
    ),
)
def test_q4_before_anything_was_asked(student):
    """Nothing asked yet, everything solved, nothing solved."""
    for solved, asked in [
        ([0, 0, 0], [0, 0, 0]),
        ([9] * 3, [9] * 3),
        ([0] * 3, [9] * 3),
    ]:
        close(
            student.shares(solved, asked, 8, 0.1),
            [1 / 3] * 3,
            f"chances for {solved} right of {asked} (levels that look alike are drawn "
            "alike)",
            atol=1e-9,
        )
    close(
        student.shares([0, 100], [0, 100], 4, 0.2),
        right_shares([0, 100], [0, 100], 4, 0.2),
        "chances of a level that was never asked and one that is solved (the unknown "
        "one counts as p = 0.5)",
        atol=1e-9,
    )
