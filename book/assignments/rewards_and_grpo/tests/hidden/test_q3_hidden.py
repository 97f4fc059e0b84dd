import torch
from helpers import wide

from coursekit.testing import close, points

NAN = float("nan")


def counted_as_zero(rewards, problem, scale):
    """Advantages if who has no verdict had been wrong: a mistake."""
    found = torch.zeros_like(rewards)
    for one in problem.unique():
        group = rewards[problem == one].nan_to_num()
        if len(group) > 1 and group.any():
            std = group.std(correction=int(scale == "bessel"))
            above = group - group.mean()
            found[problem == one] = above if scale == "none" else above / std
    return found


@points(2, read='handout, question 3, "An answer without a verdict"')
def test_q3_without_a_verdict_nobody_is_a_member(student):
    """An answer without a verdict gets 0 and does not count in mean and deviation."""
    rewards = wide([1.0, NAN, 0.0, 0.0, NAN, 2.0, 6.0, NAN])
    problem = torch.tensor([0, 0, 0, 0, 1, 1, 1, 7])
    for scale, size in (("none", 1.0), ("group", (2 / 9) ** 0.5), ("bessel", 3**-0.5)):
        found = student.group_advantages(rewards, problem, scale)
        pair = {"none": 2.0, "group": 1.0, "bessel": 0.5**0.5}[scale]
        first = wide([2 / 3, 0.0, -1 / 3, -1 / 3]) / size
        right = torch.cat([first, wide([0.0, -pair, pair, 0.0])])
        hint = "leave answers without a verdict out of the group"
        zero = counted_as_zero(rewards, problem, scale)
        close(
            found,
            right,
            f"advantages with nan, {scale!r} ({hint})",
            mistakes={"an answer without a verdict counts as one with reward 0": zero},
        )


@points(2, read='handout, question 3, "Groups of one member"')
def test_q3_a_group_of_one_has_nobody_to_compare_with(student):
    """One member, alone or left over, gets 0 and is finite, with every scale."""
    rewards = wide([3.0, 1.0, 0.0, 5.0, NAN])
    problem = torch.tensor([2, 0, 0, 8, 8])
    for scale, size in (("none", 0.5), ("group", 1.0), ("bessel", 0.5**0.5)):
        found = student.group_advantages(rewards, problem, scale)
        right = wide([0.0, size, -size, 0.0, 0.0])
        close(
            found,
            right,
            f"advantages beside groups of one, {scale!r} (who is alone is not divided "
            "by a deviation)",
            mistakes={
                "an answer without a verdict counts as one with reward 0": (
                    counted_as_zero(rewards, problem, scale)
                )
            },
        )


@points(2, read='handout, question 3, "Nothing is added"')
def test_q3_small_differences_count_in_full(student, gen):
    """Rewards that differ by a millionth are divided by just that; any number names."""
    rewards = torch.rand(24, generator=gen, dtype=torch.float64) * 1e-6 + 0.3
    names = torch.tensor([-3, 2**40, 17])
    place = torch.randperm(24, generator=gen) % 3
    for scale, less in (("group", 0), ("bessel", 1)):
        right = torch.zeros(24, dtype=torch.float64)
        for one in range(3):
            group = rewards[place == one]
            std = group.std(correction=less)
            right[place == one] = (group - group.mean()) / std
        found = student.group_advantages(rewards, names[place], scale)
        hint = "add nothing to the deviation, and ask for equal, not for nearly equal"
        what = f"advantages of small differences, {scale!r} ({hint})"
        close(found, right, what, rtol=1e-5, atol=1e-6)
