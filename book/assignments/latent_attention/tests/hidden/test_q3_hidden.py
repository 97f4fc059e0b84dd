import torch
from helpers import alone, step_of

from coursekit.testing import close, points


@points(
    4,
    read=(
        'handout, question 3, "sees the slots from 0 to its own"; '
        'chapter 05, "With a cache"'
    ),
)
def test_q3_new_tokens_do_not_see_their_successors(student, gen):
    """Of several new tokens each sees itself and those before it, and no later one."""
    step = step_of(gen, [5, 5], new=3, capacity=10)
    got, right = student.absorbed_decode(*step.values()), alone(step)
    close(list(got.shape), list(right.shape), "the shape of the output")
    close(
        got[:, -1],
        right[:, -1],
        "the output of the last new token, which sees every token of its row",
    )
    close(
        got,
        right,
        "the output of three new tokens (new token s of row b stands in slot "
        "lengths[b] + s and sees the slots up to that one)",
        mistakes={
            "new tokens see those behind them": lambda: alone(step, lambda n: n + 2)
        },
    )


@points(3, read='handout, question 3, "NaN included"')
def test_q3_free_slots_may_hold_anything(student, gen):
    """What is left over in free slots changes nothing, even if it is NaN."""
    step = step_of(gen, [5, 2], new=2, capacity=9)
    right = alone(step)
    for row, used in ((0, 7), (1, 4)):
        step["latent"][row, used:] = torch.nan
        step["k_rope"][row, used:] = torch.inf
    close(
        student.absorbed_decode(*step.values()),
        right,
        "the output with NaN in the free slots (a weight of 0 times NaN is NaN)",
    )


@points(2, read='handout, question 3, "sees the slots from 0 to its own"')
def test_q3_an_empty_row_sees_its_own_token(student, gen):
    """The first token of an empty row attends to itself alone."""
    step = step_of(gen, [0, 4], new=2, capacity=7)
    got, right = student.absorbed_decode(*step.values()), alone(step)
    close(list(got.shape), list(right.shape), "the shape of the output")
    close(
        got[0, 0],
        right[0, 0],
        "the output of the first token of an empty row, which is its own value "
        "(a token sees its own slot, too)",
    )


@points(2, read='chapter 02, "Attention"')
def test_q3_large_scores_stay_finite(student, gen):
    """Scores of many thousands give a softmax that is right and finite."""
    step = step_of(gen, [2, 2], new=1, capacity=3)
    step["q_nope"], step["q_rope"] = step["q_nope"] * 1e5, step["q_rope"] * 1e5
    close(
        student.absorbed_decode(*step.values()),
        alone(step),
        "the output with large scores (exponentials overflow unless the largest score "
        "is taken off first)",
    )
