"""Clock arithmetic: problems whose answers a rule can check."""

import random
import re
import zlib
from dataclasses import dataclass
from itertools import pairwise

from r1.text.answers import is_right, read
from r1.text.tokenizer import BOS, EOS

OPERATIONS = {
    "+": lambda a, b: (a + b) % 10,
    "-": lambda a, b: (a - b) % 10,
    "*": lambda a, b: (a * b) % 10,
}
TO_LETTERS = str.maketrans("0123456789", "abcdefghij")
TO_DIGITS = str.maketrans("abcdefghij", "0123456789")
DIGITS = frozenset("0123456789")
STEP = re.compile("([0-9])([-+*])([0-9])=([0-9])")
_EITHER_WAY = re.compile("([0-9])(?:=[0-9][-+*][0-9])?")


@dataclass(frozen=True)
class Problem:
    """An expression such as 7*3+5-2, read strictly left to right, modulo 10.

    `terms` are digits 2 to 9, `operations` the signs between them.
    """

    terms: tuple[int, ...]
    operations: str

    @property
    def prompt(self) -> str:
        """What the model is given, from the start of the document on."""
        signs = ("", *self.operations)
        pairs = zip(signs, self.terms, strict=True)
        return BOS + "".join(sign + str(term) for sign, term in pairs) + "="

    def steps(self) -> list[tuple[int, str, int, int]]:
        """Every single step: left operand, sign, right operand, running result."""
        result, steps = self.terms[0], []
        for sign, term in zip(self.operations, self.terms[1:], strict=True):
            left, result = result, OPERATIONS[sign](result, term)
            steps.append((left, sign, term, result))
        return steps

    @property
    def answer(self) -> str:
        """The one digit that is right."""
        return str(self.steps()[-1][-1])

    def value(self, answer: str) -> str | None:
        """The digit that an answer gives, or None where it is not one digit."""
        return answer if answer in DIGITS else None

    def check(self, answer: str) -> bool:
        """Whether what stands between the answer tags is right."""
        return self.value(answer) == self.answer

    @property
    def held_out(self) -> bool:
        """Whether training never sees this problem: one in eight, by checksum."""
        # A checksum and not hash(), which differs between runs of Python.
        return zlib.crc32(self.prompt.encode()) % 8 == 0


class EitherWay(Problem):
    """A problem answered by its digit, bare or before a step: 6 and 6=1+5.

    Whether that step is the last one of the thought is a matter of style, which
    chapter 14 rewards and the students of chapter 15 are not asked for.
    """

    def value(self, answer: str) -> str | None:
        """The digit that an answer gives in one of the two ways, or None."""
        match = _EITHER_WAY.fullmatch(answer)
        return match[1] if match else None


def random_problem(
    rng: random.Random, terms: tuple[int, int] = (3, 5), held_out: bool = False
) -> Problem:
    """Draw a problem of `terms` (fewest, most) terms from one side of the split."""
    while True:
        count = rng.randint(*terms)
        problem = Problem(
            tuple(rng.randint(2, 9) for _ in range(count)),
            "".join(rng.choice("+-*") for _ in range(count - 1)),
        )
        if problem.held_out == held_out:
            return problem


def worked_solution(problem: Problem, script: str = "digits", rng=None) -> str:
    """Write down every step with its running result: 7*3=1;1+5=6;6-2=4.

    `script` is "digits", "letters" (a for 0 to j for 9), or "mixed", in which
    `rng` picks a script for each step.

    Raises ValueError for any other script.
    """
    if script not in ("digits", "letters", "mixed"):
        raise ValueError(f"script is {script!r}; use 'digits', 'letters' or 'mixed'")
    steps = []
    for left, sign, right, result in problem.steps():
        step = f"{left}{sign}{right}={result}"
        if script == "letters" or (script == "mixed" and rng.random() < 0.5):
            step = step.translate(TO_LETTERS)
        steps.append(step)
    return ";".join(steps)


def careless_solution(
    problem: Problem,
    rng: random.Random,
    mistakes: float,
    repaired: float = 0.0,
    slip: int = 0,
) -> tuple[str, str]:
    """Work a problem out with a share of wrong results; returns it and its last digit.

    A wrong result is carried on, but for the share `repaired` of them: there the same
    step is written once more with the right one: 7*3=4;7*3=1;1+5=6. It is any of the
    nine wrong digits, or with a `slip` always the right one plus the slip, modulo 10.
    """
    result, steps = problem.terms[0], []
    for sign, term in zip(problem.operations, problem.terms[1:], strict=True):
        left, result = result, OPERATIONS[sign](result, term)
        if rng.random() < mistakes:
            # Adding 1 to 9 modulo 10 gives one of the nine wrong digits.
            wrong = (result + (slip or rng.randint(1, 9))) % 10
            steps.append(f"{left}{sign}{term}={wrong}")
            # Without a repair the next step starts from the wrong result, as it would
            # for somebody who has not noticed.
            if rng.random() >= repaired:
                result = wrong
                continue
        steps.append(f"{left}{sign}{term}={result}")
    return ";".join(steps), str(result)


def count_mistakes(thought: str) -> tuple[int, int, int]:
    """Steps in a thought, how many have a wrong result, how many of those are repaired.

    A step is repaired where the next one is the same with the right result. Steps in
    letters count as those in digits; what is no step counts as nothing.

        >>> count_mistakes("7*3=4;7*3=1;b+5=9")
        (3, 2, 1)
    """
    thought = thought.translate(TO_DIGITS)
    steps = [match.groups() for match in re.finditer(STEP, thought)]
    # Judged from its own operands: a mistake that is carried on counts once.
    right = [OPERATIONS[s](int(a), int(b)) == int(c) for a, s, b, c in steps]
    # A repair has the same left side, and the right result in place of a wrong one.
    repaired = sum(
        not right_before and right_after and step[:3] == following[:3]
        for (step, following), (right_before, right_after) in zip(
            pairwise(steps), pairwise(right), strict=True
        )
    )
    return len(steps), len(steps) - sum(right), repaired


def document(
    rng: random.Random,
    think_share: float = 0.3,
    script_shares: tuple[float, float, float] = (0.7, 0.15, 0.15),
    terms: tuple[int, int] = (3, 5),
    mistakes: float = 0.0,
    repaired: float = 0.0,
    slip: int = 0,
) -> str:
    """One document of the pretraining text: a problem and how somebody answers it.

    A share of the answers is worked out between <think> and </think>, in digits,
    letters or a mixture by `script_shares`; the others are the bare answer. With
    `mistakes`, that share of the steps is wrong (see careless_solution, also for
    `repaired` and `slip`), and thoughts are in digits.
    """
    problem, thought = random_problem(rng, terms), ""
    answer = problem.answer
    if rng.random() < think_share:
        if mistakes:
            solution, answer = careless_solution(problem, rng, mistakes, repaired, slip)
        else:
            script = rng.choices(("digits", "letters", "mixed"), script_shares)[0]
            solution = worked_solution(problem, script, rng)
        thought = f"<think>{solution}</think>"
    return f"{problem.prompt}{thought}<answer>{answer}</answer>{EOS}"


def is_worked_out(problem: Problem, text: str) -> bool:
    """Whether a right answer has every step before it.

    All steps must be right; a script is nobody's business here.
    """
    if not is_right(problem, text):
        return False
    thought = read(text).thought or ""
    return thought.translate(TO_DIGITS) == worked_solution(problem)
