from helpers import alone, draw, step_of

from coursekit.testing import close, largest, points


@points(
    3,
    read=(
        'chapter 05, "Absorption"; '
        'chapter 05, "What can go wrong", "The scale of the wrong width"'
    ),
)
def test_q3_one_token_behind_a_cache(student, gen):
    """One new token attends to the cache and to itself, as with keys and values."""
    step = step_of(gen, [7, 7], new=1, capacity=8)
    close(
        student.absorbed_decode(*step.values()),
        alone(step),
        "the output for one new token (are the scores divided by the root of d + r, "
        "the width of a query, and does the rotary key take part?)",
        mistakes={
            "scores are divided by the root of c + r": lambda: alone(step, width=30),
            "the rotary key takes no part": lambda: alone(step, rotary=False),
            "a token does not see itself": lambda: alone(step, lambda n: n - 1),
            "new tokens see slots from 0 on, as if the row had been empty": lambda: (
                alone(step, lambda n: 0)
            ),
        },
    )


@points(4, read='handout, question 3, "sees the slots from 0 to its own"')
def test_q3_rows_of_different_lengths_do_not_meet(student, gen):
    """Each row gets what it gets alone, whatever the lengths of the others."""
    lengths = [9, draw(gen, 3, 6), draw(gen, 1, 2)]
    step = step_of(gen, lengths, new=2, capacity=14)
    close(
        student.absorbed_decode(*step.values()),
        alone(step),
        f"the output of rows that held {lengths} tokens, with 14 slots each (the last "
        "slot that a token sees depends on its row, not on the number of slots)",
        mistakes={
            "new tokens see those behind them": lambda: alone(step, lambda n: n + 1),
        },
    )


@points(4, read='chapter 05, "Absorption"; handout, question 3, "It must never build"')
def test_q3_no_key_and_no_value_is_made(student, gen):
    """The output has to be right without any tensor as large as the keys."""
    step = step_of(gen, [60, 41], new=2, capacity=62, h=8, d=16, v=16, c=24)
    got, made = largest(student.absorbed_decode, *step.values())
    close(got, alone(step), "the output")
    keys = 2 * 62 * 8 * 16
    assert made < keys // 2, (
        f"a tensor of {made:,} numbers was made, and keys of all heads would have "
        f"{keys:,}: bring the query to the latent, and the mixture to the values "
        "(a fused attention of torch may copy what it is given for every head)"
    )
