from coursekit.testing import close, points

GOOD = "<think>7+2=9</think><answer>9</answer><eos>"  # 11 tokens


@points(2)
def test_q2_right_wrong_and_neither(student):
    """What texts are worth that are short enough to cost nothing."""
    for text, value, what in [
        (GOOD, 1.0, "a right answer (1, not 1 + 0.1)"),
        ("<answer>9</answer><eos>", 1.0, "a right answer without a thought"),
        ("<answer>8</answer><eos>", 0.1, "a wrong answer in the right form"),
        ("<answer>9</answer>", 0.0, "an answer that was cut off before its <eos>"),
        ("<think>7+2=9</think><eos>", 0.0, "a thought without an answer"),
    ]:
        close(student.reward("clock", "7+2", text, 20, 40), value, what, atol=1e-9)


@points(2)
def test_q2_the_price_of_length(student):
    """The price begins at soft, and is one half from hard tokens on."""
    for soft, hard, value, what in [
        (11, 20, 1.0, "11 tokens with soft = 11"),
        (9, 13, 0.75, "11 tokens half of the way from soft = 9 to hard = 13"),
        (5, 11, 0.5, "11 tokens with hard = 11"),
        (2, 6, 0.5, "11 tokens beyond hard = 6 (the price ends at one half)"),
    ]:
        what = f"the reward of a right answer of {what}"
        close(student.reward("clock", "7+2", GOOD, soft, hard), value, what, atol=1e-9)
