"""Text of several kinds, for the experiments about experts: what does each take?"""

import random
from collections.abc import Callable

from r1.text.problems import TO_LETTERS, random_problem, worked_solution
from r1.text.tokenizer import BOS, EOS

DIGITS, LETTERS = "0123456789", "abcdefghij"
FACTS = 128  # keys in each of the two dictionaries


def _fact(kind: str, key: str, symbols: str) -> str:
    """Three symbols that belong to a key and follow from nothing: known or not."""
    rng = random.Random(f"{kind}/{key}")
    return "".join(rng.choice(symbols) for _ in range(3))


def _key(rng: random.Random, symbols: str) -> str:
    # One of FACTS numbers, each spread over 0 to 9999: the keys look arbitrary, and
    # there are few enough to be met often.
    number = random.Random(f"key/{rng.randrange(FACTS)}").randrange(10_000)
    return "".join(symbols[int(digit)] for digit in f"{number:04}")


def digit_facts(rng: random.Random) -> tuple[str, str]:
    """A number of four digits and what a dictionary says of it, in letters."""
    key = _key(rng, DIGITS)
    return key, _fact("digits", key, LETTERS)


def letter_facts(rng: random.Random) -> tuple[str, str]:
    """A word of four letters and what a dictionary says of it, in digits."""
    key = _key(rng, LETTERS)
    return key, _fact("letters", key, DIGITS)


def digit_sums(rng: random.Random) -> tuple[str, str]:
    """Clock arithmetic, and every step worked out."""
    problem = random_problem(rng)
    return problem.prompt.removeprefix(BOS)[:-1], worked_solution(problem)


def letter_sums(rng: random.Random) -> tuple[str, str]:
    """The same, all of it in letters."""
    prompt, solution = digit_sums(rng)
    return prompt.translate(TO_LETTERS), solution.translate(TO_LETTERS)


def sorting(rng: random.Random) -> tuple[str, str]:
    """Six digits, and the same six in order."""
    digits = rng.choices(DIGITS, k=6)
    return "".join(digits), "".join(sorted(digits))


def reversing(rng: random.Random) -> tuple[str, str]:
    """Six letters, and the same six from the last to the first."""
    letters = "".join(rng.choices(LETTERS, k=6))
    return letters, letters[::-1]


KINDS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "digit facts": digit_facts,
    "letter facts": letter_facts,
    "digit sums": digit_sums,
    "letter sums": letter_sums,
    "sorting": sorting,
    "reversing": reversing,
}


def document(rng: random.Random, kind: str | None = None) -> str:
    """One document: <bos>question=<answer>answer</answer><eos>, of any kind.

    What stands between the answer tags follows from the question, and for the
    facts, from having read them before.

    Raises ValueError for a kind that does not exist.
    """
    kind = kind or rng.choice(list(KINDS))
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; use one of {', '.join(KINDS)}")
    question, answer = KINDS[kind](rng)
    return f"{BOS}{question}=<answer>{answer}</answer>{EOS}"
