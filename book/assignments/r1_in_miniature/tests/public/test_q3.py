import torch

from coursekit.testing import close, points


def side_by_side(rewards):
    """Advantages if only neighbors with the same number were a group: a mistake."""
    above = torch.zeros_like(rewards)
    above[2:4] = rewards[2:4] - rewards[2:4].flip(0)
    above[4:6] = rewards[4:6] - rewards[4:6].flip(0)
    return above / above.square().mean().sqrt()


@points(
    3,
    read=(
        'handout, question 3, "First the reward less"; '
        'chapter 11, "The group is the baseline"'
    ),
)
def test_q3_one_group_by_hand(student):
    """Each answer is compared with the mean of the others."""
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    above = torch.tensor([1.0, -1 / 3, -1 / 3, -1 / 3], dtype=torch.float64)
    right = above / above.square().mean().sqrt()
    close(
        student.advantages(rewards, torch.zeros(4, dtype=torch.int64)),
        right,
        "advantages of rewards 1, 0, 0, 0 (differences 1 and three times -1/3, "
        "divided by the root of their mean square)",
        mistakes={
            "differences are not divided": above,
            "they are divided by the standard deviation of torch": above / above.std(),
        },
    )


@points(2, read='handout, question 3, "in any order"')
def test_q3_groups_need_not_lie_side_by_side(student):
    """Two groups in one batch, interleaved, and one scale for both."""
    rewards = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.5, 0.25], dtype=torch.float64)
    prompt = torch.tensor([7, 2, 7, 7, 2, 2])
    above = torch.tensor([1.0, 0.125, -0.5, -0.5, 0.125, -0.25], dtype=torch.float64)
    close(
        student.advantages(rewards, prompt),
        above / above.square().mean().sqrt(),
        "advantages of two groups, 7 and 2 (one scale for the whole batch, not one "
        "for each group)",
        mistakes={
            "each group has a scale of its own": torch.where(
                prompt == 7,
                above / above[prompt == 7].square().mean().sqrt(),
                above / above[prompt == 2].square().mean().sqrt(),
            ),
            "differences are not divided": above,
            "groups are taken to lie side by side": lambda: side_by_side(rewards),
        },
    )
