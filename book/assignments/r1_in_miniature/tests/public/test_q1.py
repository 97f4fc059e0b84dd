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


@points(2, read=('handout, question 1, "`clock`"; handout, "The problems"'))
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


@points(2, read=('handout, question 1, "`cancel`"; handout, "The problems"'))
def test_q1_cancel(student):
    """What is left when equal neighbors have gone, again and again."""
    ask(
        student,
        "cancel",
        "abbacdd",
        [
            ("<answer>c</answer><eos>", True, "bb goes, then aa, and dd"),
            ("<answer>aac</answer><eos>", False, "aa goes, too"),
            ("<answer>abbacdd</answer><eos>", False, "nothing has gone"),
            ("<answer>d</answer><eos>", False, "another letter"),
            ("<think>aacdd=cdd=c</think><answer>c</answer><eos>", True, "a thought"),
        ],
    )
    ask(
        student,
        "cancel",
        "caaab",
        [
            ("<answer>cab</answer><eos>", True, "of aaa one a is left"),
            ("<answer>cb</answer><eos>", False, "aaa is one pair and one a"),
            ("<answer>bac</answer><eos>", False, "the letters stay in order"),
        ],
    )


@points(
    3,
    read=(
        'handout, question 1, "`target`"; '
        'chapter 12, "Countdown: compute, do not compare"'
    ),
)
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
