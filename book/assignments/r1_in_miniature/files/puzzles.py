"""Three kinds of problems, each with levels of difficulty, and where to draw them."""

import random
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from r1.text import BOS

LEVELS = {"clock": (3, 4, 5, 6), "cancel": (1, 2, 3, 4), "target": (1, 2, 3)}
LONGEST = 128  # tokens that an answer may have in the exam, its end included


@dataclass(frozen=True)
class Problem:
    """A question of a kind, such as 7+3*4-2 of "clock", at one of its levels.

    clock: an expression, products first, modulo 10; the level is its terms.
    cancel: letters, of which two equal ones side by side go away, until none do;
    the level is the number of such pairs.
    target: three digits and what two signs between them should make, 735;2; at level
    1 three or more of the nine pairs of signs do, at level 2 two, at level 3 one.
    """

    kind: str
    level: int
    question: str

    @property
    def prompt(self) -> str:
        """What the model is given."""
        return f"{BOS}{self.question}="

    @property
    def held_out(self) -> bool:
        """Whether it is kept for exams: one in eight, by checksum."""
        return zlib.crc32(self.prompt.encode()) % 8 == 0


@cache
def _targets() -> dict[int, list[str]]:
    lines = (Path(__file__).parent / "targets.txt").read_text().split()
    return {int(line[0]): line[2:].split(",") for line in lines}


def _letters(rng: random.Random, pairs: int) -> str:
    """Two to four letters that stay, and pairs put in between, one after the other."""
    text = ""
    for _ in range(rng.randint(2, 4)):
        text += rng.choice([x for x in "abcd" if not text.endswith(x)])
    for _ in range(pairs):
        at = rng.randint(0, len(text))
        text = text[:at] + 2 * rng.choice("abcd") + text[at:]
    return text


def random_problem(
    rng: random.Random, kind: str, level: int, held_out: bool = False
) -> Problem:
    """Draw a problem from one side of the split; held-out ones are for exams only."""
    while True:
        if kind == "clock":
            terms = [str(rng.randint(2, 9)) for _ in range(level)]
            question = "".join(t + rng.choice("+-*") for t in terms)[:-1]
        elif kind == "cancel":
            question = _letters(rng, level)
        else:
            question = rng.choice(_targets()[level])
        problem = Problem(kind, level, question)
        if problem.held_out == held_out:
            return problem
