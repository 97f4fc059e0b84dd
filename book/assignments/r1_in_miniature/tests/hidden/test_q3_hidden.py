import torch

from coursekit.testing import changed, close, points


def slow(rewards, prompt, itself=False, silent=True):
    """Answer by answer.

    The rest are mistakes: an answer's own reward is in the mean, and those that say
    nothing are left out of the scale.
    """
    above = []
    for i, (reward, number) in enumerate(zip(rewards, prompt, strict=True)):
        others = [
            r
            for j, (r, n) in enumerate(zip(rewards, prompt, strict=True))
            if n == number and (itself or j != i)
        ]
        above.append(reward - sum(others) / len(others) if others else 0 * reward)
    above = torch.stack(above)
    counted = above if silent else above[above != 0]
    return above / counted.square().mean().sqrt()


@points(
    3,
    read=(
        'handout, question 3, "First the reward less"; '
        'handout, question 3, "the root of their mean square"'
    ),
)
def test_q3_groups_of_any_size(student, gen):
    """Groups of one to nine answers, in any order, in float64 and float32."""
    for dtype in (torch.float64, torch.float32):
        sizes = torch.tensor([1, 2, 3, 5, 9])
        names = torch.randperm(1000, generator=gen)[:5] - 500
        prompt = names.repeat_interleave(sizes)
        prompt = prompt[torch.randperm(len(prompt), generator=gen)]
        rewards = torch.rand(len(prompt), generator=gen, dtype=torch.float64)
        value, after = changed(student.advantages, rewards.to(dtype), prompt)
        over_std = slow(rewards, prompt) / slow(rewards, prompt).std()
        close(
            value,
            slow(rewards, prompt).to(dtype),
            "advantages of groups of 1, 2, 3, 5 and 9 answers (an answer without "
            "others has 0, and takes part in the mean square)",
            mistakes={
                "an answer is compared with itself, too": (
                    slow(rewards, prompt, itself=True).to(dtype)
                ),
                "they are divided by the standard deviation of torch": (
                    over_std.to(dtype)
                ),
                "answers that say nothing are left out of the mean square": (
                    slow(rewards, prompt, silent=False).to(dtype)
                ),
            },
        )
        assert value.dtype == dtype, (
            f"advantages of {dtype} rewards are {value.dtype}: keep their dtype"
        )
        close(after[0], rewards.to(dtype), "the rewards, which are left as they are")


@points(
    2,
    read=(
        'chapter 11, "The objective, and what readers ask", "The division has a trap"; '
        'handout, question 3, "It is exactly 0"'
    ),
)
def test_q3_equal_rewards_say_nothing(student, gen):
    """Exactly 0 where all rewards of a group are equal, and no division by 0."""
    values = [0.1, 1 / 3, *torch.rand(6, generator=gen).tolist()]
    for size, value in zip((7, 3, 5, 6, 9, 10, 11, 13), values, strict=True):
        rewards = torch.tensor([value] * size + [1.0, 0.0])
        prompt = torch.tensor([3] * size + [4, 4])
        found = student.advantages(rewards, prompt)
        close(
            found,
            torch.tensor([0.0] * size + [1.0, -1.0]) * (size / 2 + 1) ** 0.5,
            f"advantages with {size} rewards of {value:.3g} in a group",
        )
        assert not found[:size].any(), (
            f"{size} rewards of {value:.3g} must have advantages of exactly 0: a "
            "rounded mean leaves a little, and the scale may make it large"
        )
        for alone in (1, 2, size):
            found = student.advantages(rewards[:alone], prompt[:alone])
            close(
                found,
                torch.zeros(alone),
                f"advantages of a batch of {alone} equal rewards (all are 0: no scale)",
            )
