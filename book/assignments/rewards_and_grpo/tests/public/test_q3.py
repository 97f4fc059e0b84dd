import math

import torch
from helpers import wide

from coursekit.testing import close, points


@points(2, read='chapter 11, "The group is the baseline"')
def test_q3_answers_are_compared_within_their_group(student):
    """Groups are mixed up and of different sizes; without scale it is a difference."""
    rewards = wide([1.0, 5.0, 0.0, 7.0, 0.0, 3.0, 1.0])
    problem = torch.tensor([4, 9, 4, 9, 4, 9, 4])
    found = student.group_advantages(rewards, problem, "none")
    right = wide([0.5, 0.0, -0.5, 2.0, -0.5, -2.0, 0.5])
    hint = "group by the numbers in problem, not by position"
    close(
        found,
        right,
        f"advantages with scale 'none' ({hint})",
        mistakes={"the mean is that of all answers": rewards - rewards.mean()},
    )


@points(
    2,
    read=(
        'handout, question 3, "with the size less one"; '
        'chapter 11, "The group is the baseline"'
    ),
)
def test_q3_two_deviations(student):
    """'group' divides by the deviation with G below, 'bessel' with G - 1."""
    rewards, problem = wide([1.0, 0.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.int64)
    above = wide([0.75, -0.25, -0.25, -0.25])
    for scale, below in (("group", 4), ("bessel", 3)):
        found = student.group_advantages(rewards, problem, scale)
        right = above / math.sqrt(0.75 / below)
        std = math.sqrt(0.75 / below)
        close(
            found,
            right,
            f"advantages with scale {scale!r} ({below} below)",
            mistakes={
                "the deviation has G - 1 below": above / math.sqrt(0.75 / 3),
                "the deviation has G below": above / math.sqrt(0.75 / 4),
                "a small number is added to the deviation": above / (std + 1e-4),
                "a smaller number is added to the deviation": above / (std + 1e-6),
            },
        )


@points(
    2,
    read=(
        'chapter 11, "The objective, and what readers ask", "The division has a trap"; '
        'handout, question 3, "Nothing is added"'
    ),
)
def test_q3_equal_rewards_teach_nothing(student, gen):
    """A group of equal rewards has advantages of exactly 0, its neighbours have not."""
    for reward in (0.1, 1.1, *torch.rand(6, generator=gen).tolist()):
        rewards = torch.tensor([reward] * 13 + [1.0, 0.0])
        problem = torch.tensor([0] * 13 + [1, 1])
        for scale in ("group", "bessel", "none"):
            found = student.group_advantages(rewards, problem, scale)
            size = {"group": 1.0, "bessel": math.sqrt(0.5), "none": 0.5}[scale]
            right = torch.tensor([0.0] * 13 + [size, -size])
            what = f"advantages of 13 rewards of {reward:.3f} ({scale!r})"
            more = "is a rounded mean divided by a small number? ask if all are equal"
            close(found, right, f"{what} and of 1 and 0 in another group ({more})")
            assert not found[:13].any(), (
                f"{what}: {found[:13].abs().max():.1e} and not exactly 0: the mean was "
                "rounded; ask whether all are equal"
            )
