"""Rules that turn an answer into a number. No model is asked."""

from typing import Protocol, runtime_checkable

from r1.text.answers import read, script_share
from r1.text.problems import Problem, is_correct, parse


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

    See `script_share`. Without a thought it is 0: otherwise not to think would be the
    surest way to think in one language.

    Raises ValueError for a script that is neither "digits" nor "letters".
    Source: DeepSeek-R1, equation 7 (words of the target language / words).
    """
    found = read(text)
    return script_share((found and found.thought) or "", script)


def rule_reward(problem: Problem, text: str, form: float = 0.1) -> float:
    """1 for the right digit in the right form, and `form` for the form alone."""
    return float(is_correct(problem, text)) + form * (parse(text) is not None)
