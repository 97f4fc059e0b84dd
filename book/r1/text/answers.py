"""Reading an answer: one strict form, and nothing that could be read in two ways."""

import re
from typing import NamedTuple, Protocol, runtime_checkable

from r1.text.tokenizer import EOS

SCRIPTS = {"digits": frozenset("0123456789"), "letters": frozenset("abcdefghij")}
MOST_DIGITS = 18  # as many as always fit into 64 bits
# [^<] ends at the next tag, so no part can match in two ways, and a match takes linear
# time also for a hostile text.
_FORM = re.compile("(?:<think>([^<]*)</think>)?<answer>([^<]+)</answer>")
_INTEGER = re.compile(f"0|-?[1-9][0-9]{{0,{MOST_DIGITS - 1}}}")


class Answer(NamedTuple):
    """What stands between the tags; `thought` is None where there is none."""

    thought: str | None
    answer: str


def read(text: str) -> Answer | None:
    """Thought and answer of a text, or None where the form is not kept.

    The form is an optional thought, one answer that is not empty, then the end token
    or nothing; no `<` inside of either, nothing before, between or behind. Time grows
    linearly with the text.

        >>> read("<think>7*3=1</think><answer>1</answer><eos>")
        Answer(thought='7*3=1', answer='1')
        >>> read("<answer>1</answer><answer>2</answer>") is None
        True
    """
    # fullmatch and not search: around the form, text could be hidden.
    match = _FORM.fullmatch(text.removesuffix(EOS))
    return Answer(match[1], match[2]) if match else None


@runtime_checkable
class Checkable(Protocol):
    """A problem that can say whether an answer to it is right."""

    def check(self, answer: str) -> bool:
        """Whether what stands between the answer tags is right."""
        ...


def is_right(problem: Checkable, text: str) -> bool:
    """Whether a text keeps the form and answers the problem rightly.

    The one judge of the book: how an answer is read belongs to the problem.
    """
    answer = read(text)
    return answer is not None and problem.check(answer.answer)


def said(problem, text: str) -> str | None:
    """The digit that a text answers a problem with, right or wrong.

    None where the form is not kept: that of the text, or `problem.value` of an answer.
    """
    answer = read(text)
    return None if answer is None else problem.value(answer.answer)


def read_integer(text: str) -> int | None:
    """A whole number in its one canonical form, or None for anything else.

    ASCII digits, at most 18; no leading zero, plus sign, minus zero, space, exponent,
    point or underscore, although `int` or `float` would read them.
    """
    return int(text) if _INTEGER.fullmatch(text) else None


def script_share(thought: str, script: str = "digits") -> float:
    r"""The share of a script among the symbols of a thought: $n_\mathrm{script} / n$.

    $n$ counts every letter and digit of any alphabet, $n_\mathrm{script}$ those of the
    chosen script. Without any of them it is 0.

    Raises ValueError for a script that is neither "digits" nor "letters".
    """
    if script not in SCRIPTS:
        raise ValueError(f"script is {script!r}; use 'digits' or 'letters'")
    # Signs and separators are the same in both scripts, so they count for neither.
    # isalnum knows every alphabet: a third script lowers the share.
    symbols = [c for c in thought if c.isalnum()]
    return sum(c in SCRIPTS[script] for c in symbols) / max(1, len(symbols))
