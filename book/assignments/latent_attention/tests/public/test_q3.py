from helpers import alone, step_of

from coursekit.testing import close, largest, points


@points(3)
def test_q3_one_token_behind_a_cache(student, gen):
    """One new token attends to the cache and to itself, as with keys and values."""
    step = step_of(gen, [7, 7], new=1, capacity=8)
    close(
        student.absorbed_decode(*step.values()),
        alone(step),
        "the output for one new token (are the scores divided by the root of d + r, "
        "the width of a query, and does the rotary key take part?)",
    )


@points(4)
def test_q3_new_tokens_do_not_see_their_successors(student, gen):
    """Of several new tokens each sees itself and those before it, and no later one."""
    step = step_of(gen, [5, 5], new=3, capacity=8)
    got, right = student.absorbed_decode(*step.values()), alone(step)
    close(list(got.shape), list(right.shape), "the shape of the output")
    close(
        got[:, -1],
        right[:, -1],
        "the output of the last new token, which sees every slot",
    )
    close(
        got,
        right,
        "the output of three new tokens (new token s of row b stands in slot "
        "lengths[b] + s and sees the slots up to that one)",
    )


@points(4)
def test_q3_no_key_and_no_value_is_made(student, gen):
    """The answer is right and no tensor is as large as the keys of the cache."""
    step = step_of(gen, [60, 60], new=2, capacity=62, h=8, d=16, v=16, c=24)
    got, made = largest(student.absorbed_decode, *step.values())
    close(got, alone(step), "the output")
    keys = 2 * 62 * 8 * 16
    assert made < keys // 2, (
        f"a tensor of {made:,} numbers was made, and keys of all heads would have "
        f"{keys:,}: bring the query to the latent, and the mixture to the values"
    )
