from coursekit.testing import close, points


@points(2, read='handout, question 4, "says something with chance"')
def test_q4_in_proportion_to_what_a_level_says(student):
    """Without a floor, chances are in proportion to 1 - p^G - (1 - p)^G."""
    # p is 0.9, 0.5 and 0.1: groups of two say something with 0.18, 0.5 and 0.18
    close(
        student.shares([8, 4, 0], [8, 8, 8], 2, 0.0),
        [0.18 / 0.86, 0.5 / 0.86, 0.18 / 0.86],
        "chances for 8, 4 and 0 right of 8, groups of 2 (p = (solved + 1) / (asked + "
        "2), so 0.9, 0.5 and 0.1)",
        atol=1e-9,
        mistakes={
            "rates are solved over asked": [0.0, 1.0, 0.0],
            "the hardest level is asked most": [0.1 / 1.5, 0.5 / 1.5, 0.9 / 1.5],
            "only groups that are all wrong say nothing": [
                x / (0.99 + 0.75 + 0.19) for x in (0.99, 0.75, 0.19)
            ],
        },
    )


@points(2, read='handout, question 4, "A share `floor`"')
def test_q4_the_floor(student):
    """A share of all is spread evenly."""
    close(
        student.shares([8, 4, 0], [8, 8, 8], 2, 0.3),
        [0.1 + 0.7 * x / 0.86 for x in (0.18, 0.5, 0.18)],
        "chances for 8, 4 and 0 right of 8, groups of 2, with a floor of 0.3 (each "
        "level first gets 0.1; the rest is divided in proportion)",
        atol=1e-9,
        mistakes={
            "every level has the whole floor": [
                0.3 + 0.7 * x / 0.86 for x in (0.18, 0.5, 0.18)
            ],
            "the floor is the least chance of a level": [
                max(0.1, x / 0.86) for x in (0.18, 0.5, 0.18)
            ],
        },
    )
    even = student.shares([5.0, 0.0], [9.0, 9.0], 4, 1.0)
    close(even, [0.5, 0.5], "a floor of 1: all alike", atol=1e-9)
    alone = student.shares([5.0], [9.0], 8, 0.25)
    close(alone, [1.0], "a single level", atol=1e-9)
