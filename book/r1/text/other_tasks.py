"""Other problems that a rule can check: countdown, and word problems.

Every problem has a `prompt`, a `gold` answer, and `check(answer)`, which gives gold
True. No answer is handed to `eval`.
"""

import ast
import operator
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

from r1.text.answers import read_integer

MOST_CHARACTERS, DEEPEST, LARGEST = 200, 20, 9999  # characters, parentheses, a number
_EXPRESSION = re.compile("[-+*/()0-9 ]+")


class Calculation(NamedTuple):
    """What an expression is worth, exactly, and the numbers that stand in it."""

    value: Fraction
    numbers: list[int]


_OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _worth(node: ast.expr, text: str, numbers: list[int]) -> Fraction:
    """The value of a node of the syntax tree; its numbers are added to `numbers`."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = (_worth(n, text, numbers) for n in (node.left, node.right))
        return _OPERATIONS[type(node.op)](left, right)
    # As it stands in the text: Python reads 00 and 1_000 as numbers too.
    number = read_integer(ast.get_source_segment(text, node) or "")
    if not isinstance(node, ast.Constant) or number is None or number > LARGEST:
        raise ValueError("neither a number nor one of the four operations")
    numbers.append(number)
    # Fractions are exact: 1/3*3 is 1, as it should be, and no float has to be compared.
    return Fraction(number)


def calculate(text: str) -> Calculation | None:
    """The exact value of an expression of + - * / and parentheses, or None.

    Numbers are whole, canonical and at most 9999; there is no sign in front, no power,
    no `//`. None also for a division by zero, for more than 200 characters or 20 open
    parentheses, so that no answer can take long. Python's parser reads the text, and
    nothing of it is evaluated but what is listed here.
    """
    if len(text) > MOST_CHARACTERS or not _EXPRESSION.fullmatch(text):
        return None
    text = text.strip(" ")
    # The running number of open parentheses. Python's parser recurses for each of them,
    # so the depth is limited before parsing.
    open_at = accumulate((c == "(") - (c == ")") for c in text)
    if max(open_at, default=0) > DEEPEST:
        return None
    numbers: list[int] = []
    try:
        value = _worth(ast.parse(text, mode="eval").body, text, numbers)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None
    return Calculation(value, numbers)


@dataclass(frozen=True)
class Countdown:
    """Numbers to combine, each exactly once, into a target."""

    numbers: tuple[int, ...]
    target: int
    gold: str

    @property
    def prompt(self) -> str:
        """The problem in words."""
        numbers = ", ".join(map(str, self.numbers))
        return f"Make {self.target} from {numbers}; use each once, with + - * / ( )."

    def check(self, answer: str) -> bool:
        """Whether the expression is worth the target and uses the numbers given."""
        calculation = calculate(answer)
        return (
            calculation is not None
            and calculation.value == self.target
            # Compared as multisets: every number as often as given, in any order.
            and Counter(calculation.numbers) == Counter(self.numbers)
        )


def random_countdown(rng: random.Random, count: int = 4) -> Countdown:
    """Draw `count` numbers and a target that can be made from them.

    Two of the numbers at a time are replaced by what an operation makes of them, if
    that is whole and between 1 and 9999, until one is left.

    Raises ValueError for fewer than two numbers.
    """
    if count < 2:
        raise ValueError(f"count is {count}; it takes two numbers to combine")
    numbers = tuple(rng.randint(1, 25) for _ in range(count))
    pool = [(number, str(number)) for number in numbers]
    while len(pool) > 1:
        rng.shuffle(pool)
        (a, left), (b, right) = pool.pop(), pool.pop()
        # A division that leaves a remainder gives 0, which the next line excludes.
        made = {"+": a + b, "*": a * b, "-": a - b, "/": a // b if a % b == 0 else 0}
        fitting = [sign for sign, value in made.items() if 1 <= value <= LARGEST]
        if not fitting:
            return random_countdown(rng, count)  # start again, rarely
        sign = rng.choice(fitting)
        pool.append((made[sign], f"({left}{sign}{right})"))
    target, gold = pool[0]
    return Countdown(numbers, target, gold[1:-1])


@dataclass(frozen=True)
class WordProblem:
    """A question in words whose answer is a whole number."""

    prompt: str
    gold: str

    def check(self, answer: str) -> bool:
        """Whether the answer is the number, in its canonical form."""
        return read_integer(answer) == int(self.gold)


Template = tuple[str, Callable[[int, int, int], int]]
TEMPLATES: tuple[Template, ...] = (
    (
        "{who} has {a} marbles and buys {b} bags of {c} marbles each. "
        "How many marbles does {who} have now?",
        lambda a, b, c: a + b * c,
    ),
    (
        "{who} reads {a} pages on each of {b} days and has {c} pages left. "
        "How many pages has the book?",
        lambda a, b, c: a * b + c,
    ),
    (
        "{who} shares {a} cards among {b} friends so that all get the same, as many "
        "as possible, and keeps the rest. How many cards does {who} keep?",
        lambda a, b, c: a % b,
    ),
    (
        "A tank holds {a} liters. {who} fills in {b} liters and then {c} liters. "
        "How many liters more would fit? A negative number means that it overflows.",
        lambda a, b, c: a - b - c,
    ),
    (
        "{who} walks {a} steps to school and as many back, on {b} days. "
        "How many steps are that?",
        lambda a, b, c: 2 * a * b,
    ),
)
NAMES = ("Ada", "Emmy", "Kurt", "Sofia", "Srinivasa")


def random_word_problem(rng: random.Random) -> WordProblem:
    """Draw a template, a name and three numbers from 2 to 60."""
    text, rule = rng.choice(TEMPLATES)
    a, b, c = (rng.randint(2, 60) for _ in range(3))
    prompt = text.format(who=rng.choice(NAMES), a=a, b=b, c=c)
    return WordProblem(prompt, str(rule(a, b, c)))
