import torch

from coursekit.testing import close, points


@points(3)
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
    )


@points(2)
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
    )
