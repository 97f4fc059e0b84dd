import torch

from coursekit.testing import close, points
from r1.text import encode


def late(text, soft, hard):
    """The price as the handout has it."""
    above = len(encode(text)) - soft
    share = 1.0 if above >= hard - soft else above / (hard - soft)
    return 0.5 * share if above > 0 else 0.0


@points(2, read='handout, question 2, "The price falls due"')
def test_q2_lengths_of_all_kinds(student, gen):
    """Right, wrong and open answers of any length, at any limits."""
    for _ in range(24):  # small sums: what a mistake in question 1 leaves right
        one, two = torch.randint(2, 5, (2,), generator=gen).tolist()
        question, good, bad = f"{one}+{two}", one + two, one + two + 1
        n, soft = torch.randint(1, 40, (2,), generator=gen).tolist()
        hard = soft + 1 + int(torch.randint(0, 30, (), generator=gen))
        thought = f"<think>{'7' * n}</think>"
        for text, worth, what in [
            (f"{thought}<answer>{good}</answer><eos>", 1.0, "a right answer"),
            (f"{thought}<answer>{bad}</answer><eos>", 0.1, "a wrong answer"),
            (f"{thought}<answer>{good}{bad}</answer><eos>", 0.1, "two digits"),
            (f"<think>{'7' * n}", 0.0, "a thought that was cut off"),
        ]:
            tokens = len(encode(text))
            close(
                student.reward("clock", question, text, soft, hard),
                worth - late(text, soft, hard),
                f"the reward of {what} of {tokens} tokens, soft {soft}, hard {hard} "
                "(a tag is one token; what was cut off pays for its length, too)",
                atol=1e-9,
            )


@points(2, read='handout, question 2, "Where `soft` and `hard` are equal"')
def test_q2_limits_that_are_equal(student):
    """soft = hard: nothing up to there, and one half above."""
    text = "<think>7+2=9</think><answer>9</answer><eos>"
    for limit, value in [(12, 1.0), (11, 1.0), (10, 0.5), (9, 0.5), (3, 0.5)]:
        close(
            student.reward("clock", "7+2", text, limit, limit),
            value,
            f"the reward of 11 tokens with soft = hard = {limit}",
            atol=1e-9,
        )
