"""Rules that turn an answer into a number. No model is asked."""

from r1.tasks import Problem, is_correct, parse


def rule_reward(problem: Problem, text: str, form: float = 0.1) -> float:
    """1 for the right digit in the right form, and `form` for the form alone."""
    return float(is_correct(problem, text)) + form * (parse(text) is not None)
