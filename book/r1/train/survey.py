"""What a checkpoint of chapter 14 can do: one row of numbers a question."""

import random
from collections.abc import Callable, Mapping, Sequence

from r1.model.sampling import ask
from r1.model.transformer import Model
from r1.text.answers import is_right, read, script_share
from r1.text.readable import Reading, Task, judge, random_question, random_task
from r1.text.tokenizer import encode

SURVEYED_TOKENS = 72  # tokens; a worked solution of eight terms has 52
Marks = Mapping[str, Callable[[Task, str], float]]  # what else an answer is worth


def answers_to(
    model: Model,
    asked: Sequence[Task],
    seed: int = 0,
    copies: int = 1,
    temperature: float = 1.0,
) -> list[str]:
    """What a model says: `copies` answers to each question, one below the other."""
    groups = ask(model, asked, copies, seed, temperature, SURVEYED_TOKENS, together=256)
    return [answer.text for group in groups for answer in group]


def describe_answers(
    asked: Sequence[Task], texts: Sequence[str], marks: Marks | None = None
) -> dict[str, float]:
    """Shares of what `judge` finds in answers, and means.

    language: of the symbols of a thought, those in the script of the question, mean
    over answers that think. tokens: mean length. readable: see Reading. For each of
    `marks` there is the mean of what it gives to an answer.
    """
    readings = [judge(*pair) for pair in zip(asked, texts, strict=True)]
    row = {
        name: sum(getattr(reading, name) for reading in readings) / len(readings)
        for name in (*Reading._fields, "clean", "readable")
    }
    shares = [
        script_share(read(text).thought, task.script)
        for task, text, reading in zip(asked, texts, readings, strict=True)
        if reading.thinks
    ]
    row["language"] = sum(shares) / len(shares) if shares else float("nan")
    row["tokens"] = sum(len(encode(text)) for text in texts) / len(texts)
    for name, mark in (marks or {}).items():
        row[name] = sum(map(mark, asked, texts)) / len(texts)
    return row


def survey(
    model: Model,
    terms: int,
    problems: int = 256,
    seed: int = 0,
    script: str = "digits",
    marks: Marks | None = None,
) -> dict[str, float]:
    """Answer held-out problems of `terms` terms once each; see `describe_answers`.

    The problems depend on `seed`, `terms` and `script` alone: models that are compared
    are asked the same.
    """
    rng = random.Random(f"survey/{seed}/{terms}")
    asked = [
        random_task(rng, (terms, terms), held_out=True, script=script)
        for _ in range(problems)
    ]
    return describe_answers(asked, answers_to(model, asked, seed), marks)


def survey_questions(
    model: Model, problems: int = 256, seed: int = 0
) -> dict[str, float]:
    """Answer held-out questions of two terms: right, and right without a thought."""
    rng = random.Random(f"survey/{seed}/questions")
    asked = [random_question(rng, held_out=True) for _ in range(problems)]
    texts = answers_to(model, asked, seed)
    pairs = list(zip(asked, texts, strict=True))
    return {
        "short_right": sum(is_right(*pair) for pair in pairs) / problems,
        "short_met": sum(q.is_met(text) for q, text in pairs) / problems,
    }
