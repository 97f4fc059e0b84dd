"""Rules that turn an answer into a number. No model is asked."""

from r1.text.answers import Checkable, is_right, read, said, script_share
from r1.text.problems import Problem


def accuracy_reward(problem: Checkable, text: str) -> float:
    r"""$r_\mathrm{acc}$: 1 if the text keeps the form and its answer is right, else 0.

    Source: DeepSeek-R1, section 2.2 (accuracy rewards).
    """
    return float(is_right(problem, text))


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
    answer = read(text)
    return script_share((answer and answer.thought) or "", script)


def rule_reward(problem: Problem, text: str, form: float = 0.1) -> float:
    """1 for the right answer in the right form, and `form` for the form alone.

    What the right form is, the problem says: see `Problem.value`.
    """
    return float(is_right(problem, text)) + form * (said(problem, text) is not None)
