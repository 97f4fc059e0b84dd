"""What is right, for the tests that students do not see."""

import itertools
from itertools import pairwise

FORM = "<answer>{}</answer><eos>"
SIGNS = "+-*"


def worth(expression):
    """The value of single digits and signs modulo 10, products first."""
    numbers, signs = [int(x) for x in expression[::2]], list(expression[1::2])
    total, term, sign = 0, numbers[0], 1
    for operation, number in zip(signs, numbers[1:], strict=True):
        if operation == "*":
            term *= number
        else:
            total, term, sign = total + sign * term, number, -1 + 2 * (operation == "+")
    return (total + sign * term) % 10


def gold(kind, question):
    """All right answers to a question."""
    if kind == "clock":
        return [str(worth(question))]
    if kind == "cancel":
        while any(a == b for a, b in pairwise(question)):
            at = next(n for n, (a, b) in enumerate(pairwise(question)) if a == b)
            question = question[:at] + question[at + 2 :]
        return [question]
    (a, b, c), target = question[:3], int(question[4:])
    every = (a + s + b + t + c for s, t in itertools.product(SIGNS, repeat=2))
    return [x for x in every if worth(x) == target]


def is_right(kind, question, text):
    """Whether a text that a model of the vocabulary wrote is right."""
    thought, tag, rest = text.partition("</think>")
    if text.startswith("<think>"):
        inside = thought.removeprefix("<think>")
        if not tag or not inside or "<" in inside:
            return False
        text = rest
    return any(text == FORM.format(answer) for answer in gold(kind, question))
