import random
import re

import torch
from helpers import LEVELS, drawn
from truth import FORM, SIGNS, gold, is_right, worth

from coursekit.testing import close, points


def judge(student, kind, question, text, good, remark):
    close(
        student.right(kind, question, text),
        good,
        f"right({kind!r}, {question!r}, {text!a:.80}) ({remark})",
    )


def chance(gen):
    return random.Random(int(torch.randint(2**31, (), generator=gen)))


@points(2, read=('handout, question 1, "`clock`"; handout, "The problems"'))
def test_q1_many_expressions(student, gen):
    """Expressions with any signs, and every digit as their answer."""
    for problem in drawn(gen, "clock", 24):
        for digit in range(10):
            good = digit == worth(problem.question)
            remark = "products first, from left to right, modulo 10"
            text = FORM.format(digit)
            judge(student, "clock", problem.question, text, good, remark)


@points(2, read=('handout, question 1, "`cancel`"; handout, "The problems"'))
def test_q1_many_leftovers(student, gen):
    """Letters that all have gone, nearly, too many and too few."""
    rng = chance(gen)
    for problem in drawn(gen, "cancel", 24):
        [best] = gold("cancel", problem.question)
        at = rng.randrange(len(best))
        for text, remark in [
            (best, "what is left"),
            (problem.question, "nothing has gone"),
            (re.sub(r"(.)\1", "", problem.question), "one pass only"),
            (re.sub(r"(.)\1+", "", problem.question), "of aaa one a is left"),
            ("".join(sorted(best)), "the letters stay in order"),
            (best[::-1], "the letters stay in order"),
            (best[:at] + 2 * best[at] + best[at:], "a pair has been left"),
            (best[:at] + best[at + 1 :], "a letter is missing"),
            (best.upper(), "capitals are other letters"),
            (";".join(best), "nothing between the letters"),
        ]:
            good = text == best
            judge(student, "cancel", problem.question, FORM.format(text), good, remark)


@points(
    3,
    read=(
        'handout, question 1, "Everything has one way"; '
        'chapter 12, "Countdown: compute, do not compare"'
    ),
)
def test_q1_many_targets(student, gen):
    """All nine expressions of digits, and those with other digits or signs."""
    for problem in drawn(gen, "target", 18):
        question = problem.question
        (a, b, c), best = question[:3], gold("target", question)
        every = [a + s + b + t + c for s in SIGNS for t in SIGNS]
        for text in every:
            remark = "the value, products first, modulo 10"
            judge(student, "target", question, FORM.format(text), text in best, remark)
        one = best[0]
        for text, remark in [
            (f"({one})", "no parentheses"),
            (f"{one}={question[-1]}", "an expression only, without its value"),
            (f"{one}+0", "another digit"),
            (f"{one}*1", "another digit"),
            (f"+{one}", "no sign in front"),
            (f"{one[:2]}{one[1:]}", "two signs side by side"),
            (f"{one[:2]} {one[2:]}", "no space"),
            (f"0{one}", "another digit"),
            (one.replace("-", "\u2212") + "\u200b", "signs of ASCII only"),
            (one + "\n", "a line break at the end"),
            (question[:3], "no signs at all"),
            (one[:3] + one[4:], "a sign is missing"),
            (f"{one};{one}", "one answer"),
            (question[4:], "the target is no expression"),
            (f"{one[:4]}{chr(0x660 + int(c))}", "digits of ASCII only"),
        ]:
            judge(student, "target", question, FORM.format(text), False, remark)


@points(2, read=('chapter 12, "Reading an answer"; handout, question 1, "The form"'))
def test_q1_the_form(student, gen):
    """Thoughts that are open or empty, answers that are doubled or cut off."""
    for kind in LEVELS:
        for problem in drawn(gen, kind, 4):
            a = gold(kind, problem.question)[0]
            for text, remark in [
                (f"<think>a;b</think><answer>{a}</answer><eos>", "a thought"),
                (f"<think>\n\u00e9</think><answer>{a}</answer><eos>", "any thought"),
                (f"<answer>{a}</answer>", "it was cut off: no <eos>"),
                (f"<answer>{a}</answer><eos><eos>", "two ends"),
                (f"<answer>{a}</answer><eos>\n", "something behind the end"),
                (f"<answer>{a}</answer><pad><eos>", "something before the end"),
                (f" <answer>{a}</answer><eos>", "something in front"),
                (f"<think></think><answer>{a}</answer><eos>", "an empty thought"),
                (f"<think>a<answer>{a}</answer><eos>", "the thought does not end"),
                (f"a</think><answer>{a}</answer><eos>", "it does not begin"),
                (f"<think>a</think>;<answer>{a}</answer><eos>", "between the two"),
                (f"<think>a<think>b</think><answer>{a}</answer><eos>", "< in it"),
                (f"<answer>{a}</answer><answer>{a}</answer><eos>", "two answers"),
                (f"<answer>j</answer><answer>{a}</answer><eos>", "two answers"),
                (f"<answer>{a}\n</answer><eos>", "a line break in the answer"),
                (f"<answer> {a}</answer><eos>", "a space in the answer"),
                (f"<answer>{a}<eos>", "the answer does not end"),
                ("<answer></answer><eos>", "an empty answer"),
                (f"{a}<eos>", "no tags"),
                ("<eos>", "nothing"),
                ("", "nothing at all"),
                (f"<ANSWER>{a}</ANSWER><eos>", "other tags"),
            ]:
                good = is_right(kind, problem.question, text)
                judge(student, kind, problem.question, text, good, remark)
    long = "<think>" * 20_000 + "<answer>" * 20_000
    judge(student, "target", "734;5", long, False, "a long text")
    long = "<answer>" + "7-3*4" * 40_000 + "</answer><eos>"
    judge(student, "target", "734;5", long, False, "a long answer")
