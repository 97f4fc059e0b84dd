"""Rules that turn an answer into a number. No model is asked."""

from typing import Protocol, runtime_checkable

from r1.answers import read
from r1.tasks import Problem, is_correct, parse

SCRIPTS = {"digits": frozenset("0123456789"), "letters": frozenset("abcdefghij")}


@runtime_checkable
class Checkable(Protocol):
    """A problem that can say whether an answer to it is right."""

    def check(self, answer: str) -> bool:
        """Whether what stands between the answer tags is right."""
        ...


def accuracy_reward(problem: Checkable, text: str) -> float:
    r"""$r_\mathrm{acc}$: 1 if the text keeps the form and its answer is right, else 0.

    Source: DeepSeek-R1, section 2.2 (accuracy rewards).
    """
    found = read(text)
    return float(found is not None and problem.check(found.answer))


def format_reward(text: str) -> float:
    r"""$r_\mathrm{form}$: 1 if `read` finds its form in the text, right or wrong.

    A thought is optional, as it is not in DeepSeek-R1, section 2.2.
    """
    return float(read(text) is not None)


def language_reward(text: str, script: str = "digits") -> float:
    r"""$r_\mathrm{lang} = n_\mathrm{script} / n$: the share of a script in the thought.

    $n$ counts every letter and digit of any alphabet, $n_\mathrm{script}$ those of the
    chosen script. Without any of them, or without a thought, it is 0: otherwise not to
    think would be the surest way to think in one language.

    Raises ValueError for a script that is neither "digits" nor "letters".
    Source: DeepSeek-R1, equation 7 (words of the target language / words).
    """
    if script not in SCRIPTS:
        raise ValueError(f"script is {script!r}; use 'digits' or 'letters'")
    found = read(text)
    symbols = [c for c in (found and found.thought) or "" if c.isalnum()]
    return sum(c in SCRIPTS[script] for c in symbols) / max(1, len(symbols))


def rule_reward(problem: Problem, text: str, form: float = 0.1) -> float:
    """1 for the right digit in the right form, and `form` for the form alone."""
    return float(is_correct(problem, text)) + form * (parse(text) is not None)
