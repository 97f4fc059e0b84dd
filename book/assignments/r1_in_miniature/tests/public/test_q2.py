from coursekit.testing import close, points

GOOD = "<think>7+2=9</think><answer>9</answer><eos>"  # 11 tokens


@points(2, read='handout, question 2, "Worth"')
def test_q2_right_wrong_and_neither(student):
    """What texts are worth that are short enough to cost nothing."""
    wrong = {
        "characters are counted, and not tokens": 0.5,
        "a right answer is paid as one that only keeps the form": 0.1,
        "the form is paid on top": 1.1,
    }
    for text, value, what in [
        (GOOD, 1.0, "a right answer (1, not 1 + 0.1)"),
        ("<answer>9</answer><eos>", 1.0, "a right answer without a thought"),
        ("<answer>8</answer><eos>", 0.1, "a wrong answer in the right form"),
        ("<answer>9</answer>", 0.0, "an answer that was cut off before its <eos>"),
        ("<think>7+2=9</think><eos>", 0.0, "a thought without an answer"),
    ]:
        found = student.reward("clock", "7+2", text, 20, 40)
        known = wrong if value == 1 else {"what has not its end keeps the form": 0.1}
        close(found, value, what, atol=1e-9, mistakes=known)


@points(2, read=('handout, question 2, "Price"; chapter 12, "Paid by length"'))
def test_q2_the_price_of_length(student):
    """The price begins at soft, and is one half from hard tokens on."""
    wrong = {
        0.75: {"<eos> is not counted": 0.875, "the price rises to 1": 0.5},
        0.5: {"the price rises to 1": 0.0, "the price has no end": -0.125},
    }
    for soft, hard, value, what in [
        (11, 20, 1.0, "11 tokens with soft = 11"),
        (9, 13, 0.75, "11 tokens half of the way from soft = 9 to hard = 13"),
        (5, 11, 0.5, "11 tokens with hard = 11"),
        (2, 6, 0.5, "11 tokens beyond hard = 6 (the price ends at one half)"),
    ]:
        what = f"the reward of a right answer of {what}"
        found = student.reward("clock", "7+2", GOOD, soft, hard)
        close(found, value, what, atol=1e-9, mistakes=wrong.get(value))
