"""The data sets of the R1 pipeline, and the filters that make them."""

import random
from collections.abc import Sequence

from r1.text.answers import read
from r1.text.readable import (
    Task,
    judge,
    random_question,
    random_task,
    solution,
    steps_in,
    turn,
)
from r1.text.tokenizer import EOS
from r1.train.finetuning import Example


def cold_start(
    count: int,
    seed: int = 0,
    terms: tuple[int, int] = (3, 8),
    longest: int | None = None,
) -> list[Example]:
    """Curated solutions to different problems: right, clean, in digits, summed up.

    Long ones are rare: each number of terms has half as many as the one before it.
    Those of more than `longest` terms are taken out; nothing else of the list changes.

    Raises ValueError for fewer than one.
    """
    if count < 1:
        raise ValueError(f"{count=}; take at least one solution")
    rng, examples = random.Random(f"cold/{seed}"), {}
    sizes = range(terms[0], terms[1] + 1)
    weights = [0.5**place for place in range(len(sizes))]
    while len(examples) < count:
        (size,) = rng.choices(sizes, weights)
        task = random_task(rng, (size, size))
        examples.setdefault(task.prompt, (size, solution(task)))
    return [
        Example(prompt, answer)
        for prompt, (size, answer) in examples.items()
        if longest is None or size <= longest
    ]


def other_data(count: int, seed: int = 0) -> list[Example]:
    """Questions that need no reasoning, and their bare answers."""
    rng = random.Random(f"other/{seed}")
    asked = [random_question(rng) for _ in range(count)]
    return [Example(q.prompt, f"<answer>{q.answer}</answer>{EOS}") for q in asked]


def keep(task: Task, text: str) -> bool:
    """Whether rejection sampling keeps an answer: right, complete, clean.

    The thought is in one script, that of the question, and has every step once; the
    last one is right. A summary is not asked for: `write_up` adds it.
    """
    reading = judge(task, text)
    if not (text.endswith(EOS) and reading.right and reading.clean):
        return False
    # The answer may be right by chance. The last step of the thought must give it too.
    return task.check(turn(steps_in(read(text).thought)[-1]))


def write_up(task: Task, text: str) -> Example:
    """An answer that is kept, with a summary in place of its answer.

    Raises ValueError for an answer that is not to be kept.
    """
    if not keep(task, text):
        raise ValueError(f"{text!r} to {task.prompt!r} does not pass the filter")
    thought = read(text).thought
    answer = f"<think>{thought}</think><answer>{task.summary}</answer>{EOS}"
    return Example(task.prompt, answer)


def reject(
    asked: Sequence[Task], texts: Sequence[str], per_task: int = 1
) -> tuple[list[tuple[Task, str]], dict[str, int | float]]:
    """Answers that pass `keep`, at most `per_task` different ones a task.

    Also returns how many there were, and which share of them passes the filter up to
    each of its parts: right; in one script too; clean; and taken, within the limit.

    Raises ValueError where there is nothing to choose from.
    """
    if not texts:
        raise ValueError("there is no answer to choose from; sample some first")
    taken: dict[str, list[tuple[Task, str]]] = {}
    counts = {"right": 0, "one_script": 0, "clean": 0}
    for task, text in zip(asked, texts, strict=True):
        reading = judge(task, text)
        counts["right"] += reading.right
        # Each filter includes the ones before it, so the counts can only fall.
        counts["one_script"] += reading.right and reading.one_script
        counts["clean"] += keep(task, text)
        kept = taken.setdefault(task.prompt, [])
        if keep(task, text) and len(kept) < per_task and (task, text) not in kept:
            kept.append((task, text))
    pairs = [pair for kept in taken.values() for pair in kept]
    shares = {name: count / len(texts) for name, count in counts.items()}
    row = {"sampled": len(texts), **shares, "taken": len(pairs) / len(texts)}
    return pairs, row
