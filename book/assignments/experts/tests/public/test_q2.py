import torch
from helpers import wide

from coursekit.testing import close, points


@points(3, read='handout, question 2, "The step of expert"')
def test_q2_the_step_is_in_proportion_to_the_error(student):
    """Four experts with 11, 2, 4 and 3 tokens, of which 5 would be fair."""
    loads = torch.tensor([[11, 2, 4, 3]])
    found = student.update_bias(torch.zeros(4).double(), loads, 0.1, 0.0, 1.0)
    right = wide([-0.12, 0.06, 0.02, 0.04])
    close(
        found,
        right,
        "the bias after a step from 0 (0.1 times 1 - c / 5)",
        mistakes={
            "only the sign of the error counts, as in the chapter": (
                wide([-0.15, 0.05, 0.05, 0.05])
            ),
            "the bias goes the wrong way": -right,
            "the error is a number of tokens and no share of the mean": 5 * right,
            "the error is cut off, and not the step": (
                wide([-0.1, 0.06, 0.02, 0.04]) - 0.005
            ),
        },
    )
    bias = wide([0.3, -0.1, 0.0, 0.2])
    found = student.update_bias(bias, loads, 0.1, 0.0, 1.0)
    close(found, bias + right - 0.1, "a bias whose mean was 0.1 (take the mean away)")


@points(3, read='handout, question 2, "so far a count strays by itself"')
def test_q2_small_errors_are_chance_and_large_ones_are_cut(student):
    """With a mean of 16, chance explains 4: loads of 28 and 0 are errors, 20 is not."""
    loads = torch.tensor([[16, 20, 28, 0]])
    found = student.update_bias(torch.zeros(4).double(), loads, 0.2, 1.0, 0.16)
    steps = wide([0.0, 0.0, -0.15, 0.16])
    close(
        found,
        steps - 0.0025,
        "the bias (the steps are 0, 0 because 4 is not more than the square root of "
        "16, -0.15, and 0.2 cut to 0.16; then their mean, 0.0025, is subtracted)",
        mistakes={
            "steps are not cut off": wide([0.0, 0.0, -0.15, 0.2]) - 0.0125,
            "an error counts that is no more than chance": (
                wide([0.0, -0.05, -0.15, 0.16]) + 0.01
            ),
            "chance is multiplied by the mean and not by its root": (
                torch.zeros(4).double()
            ),
            "the mean of the biases stays": steps,
        },
    )
