import torch
from helpers import alone, draw, step_of

from coursekit.testing import close, points


@points(4)
def test_q3_rows_of_different_lengths_do_not_meet(student, gen):
    """Each row gets what it gets alone, whatever the lengths of the others."""
    lengths = [9, draw(gen, 3, 6), draw(gen, 1, 2)]
    step = step_of(gen, lengths, new=2, capacity=14)
    close(
        student.absorbed_decode(*step.values()),
        alone(step),
        f"the output of rows that held {lengths} tokens, with 14 slots each (the last "
        "slot that a token sees depends on its row, not on the number of slots)",
    )


@points(3)
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


@points(2)
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


@points(2)
def test_q3_large_scores_stay_finite(student, gen):
    """Scores of some thousands give a softmax that is right and finite."""
    step = step_of(gen, [6, 6], new=1, capacity=7)
    step["q_nope"], step["q_rope"] = step["q_nope"] * 2e3, step["q_rope"] * 2e3
    close(
        student.absorbed_decode(*step.values()),
        alone(step),
        "the output with large scores (exponentials overflow unless the largest score "
        "is taken off first)",
    )
