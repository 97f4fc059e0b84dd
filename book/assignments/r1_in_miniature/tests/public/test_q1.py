from helpers import practice

from coursekit.testing import close, points


def ask(student, kind, question, cases):
    """Compare the verdicts on texts, which come with the right one and a remark."""
    for text, good, remark in cases:
        close(
            student.right(kind, question, text),
            good,
            f"right({kind!r}, {question!r}, {text!r}) ({remark})",
        )


@points(2)
def test_q1_clock(student):
    """One digit, products first, modulo 10."""
    ask(
        student,
        "clock",
        "7-3*4",
        [
            ("<answer>5</answer><eos>", True, "7 - 12 = -5, which is 5 on the clock"),
            ("<answer>6</answer><eos>", False, "products come first"),
            ("<answer>-5</answer><eos>", False, "one digit, not a number"),
            ("<think>3*4=2;7-2=5</think><answer>5</answer><eos>", True, "a thought"),
            ("<think>3*4=9</think><answer>5</answer><eos>", True, "nobody reads it"),
            ("<think>3*4=2;7-2=5</think><eos>", False, "no answer"),
        ],
    )
    for question, good in practice("clock")[:40]:
        text = f"<answer>{good[0]}</answer><eos>"
        ask(student, "clock", question, [(text, True, "practice.json says so")])


@points(2)
def test_q1_sort(student):
    """All letters, in the order of the alphabet."""
    ask(
        student,
        "sort",
        "hcajc",
        [
            ("<answer>acchj</answer><eos>", True, "each as often as in the question"),
            ("<answer>achj</answer><eos>", False, "one c is missing"),
            ("<answer>hcajc</answer><eos>", False, "not in order"),
            ("<think>h;ch</think><answer>acchj</answer><eos>", True, "a thought"),
        ],
    )


@points(3)
def test_q1_target(student):
    """Three digits in their order, two signs, and the right value."""
    ask(
        student,
        "target",
        "734;5",
        [
            ("<answer>7-3*4</answer><eos>", True, "7 - 12 = -5 is 5 modulo 10"),
            ("<answer>7*3+4</answer><eos>", True, "another right one"),
            ("<answer>7+3*4</answer><eos>", False, "worth 9"),
            ("<answer>7+4*3</answer><eos>", False, "worth 9, and in another order"),
            ("<answer>3*4-7</answer><eos>", False, "worth 5, but in another order"),
            ("<answer>5</answer><eos>", False, "no expression"),
            ("<think>7-3*4=5</think><answer>7-3*4</answer><eos>", True, "a thought"),
        ],
    )
    for question, good in practice("target")[:40]:
        cases = [(f"<answer>{x}</answer><eos>", True, "a right one") for x in good]
        ask(student, "target", question, cases[:3])
