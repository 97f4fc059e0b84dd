"""Answers that a reader can follow: R1's form, and what is asked of it."""

import random
import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from r1.text.answers import SCRIPTS, read, script_share
from r1.text.problems import (
    DIGITS,
    STEP,
    TO_DIGITS,
    TO_LETTERS,
    Problem,
    random_problem,
    worked_solution,
)
from r1.text.tokenizer import BOS, EOS


@dataclass(frozen=True)
class Task(Problem):
    """A problem answered by its digit, or by that and the step it comes from: 6=1+5.

    `script` is that of the question: in "letters" it is h*d+f, and its digit may be
    said in letters too.

    Raises ValueError for any other script.
    """

    script: str = "digits"

    def __post_init__(self) -> None:
        if self.script not in SCRIPTS:
            raise ValueError(f"script is {self.script!r}; use 'digits' or 'letters'")

    @property
    def prompt(self) -> str:
        """What the model is given, from the start of the document on."""
        text = super().prompt
        if self.script == "digits":
            return text
        return BOS + text.removeprefix(BOS).translate(TO_LETTERS)

    @property
    def question(self) -> str:
        """What is asked, without what belongs to the document: 7*3+5."""
        return self.prompt.removeprefix(BOS).removesuffix("=")

    @property
    def summary(self) -> str:
        """The answer, and the step that it comes from: 6=1+5."""
        left, sign, term, result = self.steps()[-1]
        text = f"{result}={left}{sign}{term}"
        return text.translate(TO_LETTERS) if self.script == "letters" else text

    def value(self, answer: str) -> str | None:
        """The digit that an answer gives to this problem, or None.

        An answer is one digit, or that digit, `=`, one more digit, and the last sign
        and term of the problem. There is no third way, so there is nothing to search
        for in an answer and nothing to hide there.
        """
        if self.script == "letters":
            answer = answer.translate(TO_DIGITS)
        # digit, =, digit is what remains of a summary. Both lengths are checked,
        # because removesuffix does nothing where the suffix is missing.
        shortened = answer.removesuffix(f"{self.operations[-1]}{self.terms[-1]}")
        if len(shortened) == 3 and len(answer) == 5 and shortened[1] == "=":
            return shortened[0] if {shortened[0], shortened[2]} <= DIGITS else None
        return answer if answer in DIGITS else None

    def check(self, answer: str) -> bool:
        """Whether what stands between the answer tags is right."""
        if self.script == "letters":
            answer = answer.translate(TO_DIGITS)
        return answer in (self.answer, replace(self, script="digits").summary)


def as_task(problem: Problem) -> Task:
    """The same problem, with both ways to answer it."""
    return Task(problem.terms, problem.operations)


def random_task(
    rng: random.Random,
    terms: tuple[int, int] = (3, 8),
    held_out: bool = False,
    script: str = "digits",
) -> Task:
    """Draw a task from one side of the split, which is that of its digits."""
    return replace(as_task(random_problem(rng, terms, held_out)), script=script)


def solution(task: Task, summarize: bool = True) -> str:
    """R1's form: a thought in one script, then the answer as a summary of it.

    With `summarize` false the answer is the bare digit.
    """
    answer = task.summary if summarize else task.answer
    thought = worked_solution(task, task.script)
    return f"<think>{thought}</think><answer>{answer}</answer>{EOS}"


class Reading(NamedTuple):
    """What a reader finds in an answer; `right` alone asks whether it is true."""

    form: bool
    right: bool
    thinks: bool
    one_script: bool
    every_step: bool
    summary: bool

    @property
    def clean(self) -> bool:
        """Whether the thought can be followed: one script, every step in its place."""
        return self.one_script and self.every_step

    @property
    def readable(self) -> bool:
        """Whether thought and summary can be followed, right or wrong."""
        return self.clean and self.summary


NOTHING = Reading(False, False, False, False, False, False)


def steps_in(thought: str) -> list[tuple[str, str, str, str]] | None:
    """The steps that a thought consists of, in digits; None if it has anything else."""
    matches = [re.fullmatch(STEP, s) for s in thought.translate(TO_DIGITS).split(";")]
    return None if None in matches else [step.groups() for step in matches]


def turn(step: tuple[str, str, str, str]) -> str:
    """A step with its result first: 1+5=6 becomes 6=1+5."""
    return "{3}={0}{1}{2}".format(*step)


def follows(task: Task, steps: list[tuple[str, str, str, str]], value: str) -> bool:
    """Whether steps are those of a problem, each once and in order, up to `value`.

    The signs and right operands are those of the problem, and each left operand is the
    result before it. Whether the results are right is not asked.
    """
    if len(steps) != len(task.operations):
        return False
    result = str(task.terms[0])
    for step, sign, term in zip(steps, task.operations, task.terms[1:], strict=True):
        # The left operand must be the result that was written before, even a wrong one.
        if step[:3] != (result, sign, str(term)):
            return False
        result = step[3]
    # The thought must lead to the answer that is given; otherwise it explains nothing.
    return result == value


def judge(task: Task, text: str) -> Reading:
    """Read an answer to a task.

    form: it says a digit, in one of the two ways. right: the right one. thinks: it has
    a thought that is not empty. one_script: all symbols of the thought are in the
    script of the question. every_step: see `follows`; scripts may mix. summary: the
    answer says from which step it comes, and the thought ends in that step.
    """
    answer = read(text)
    value = answer and task.value(answer.answer)
    if value is None:
        return NOTHING
    thought, written = answer.thought or "", answer.answer.translate(TO_DIGITS)
    steps = steps_in(thought)
    return Reading(
        form=True,
        right=task.check(answer.answer),
        thinks=bool(thought),
        one_script=script_share(thought, task.script) == 1,
        every_step=bool(steps) and follows(task, steps, value),
        summary=bool(steps) and written == turn(steps[-1]),
    )


class Question(Task):
    """A task of two terms, 7*3, which wants its digit and no thought."""

    def is_met(self, text: str) -> bool:
        """Whether a text has the right digit, and no thought before it."""
        reading = judge(self, text)
        return reading.right and not reading.thinks


def random_question(rng: random.Random, held_out: bool = False) -> Question:
    """Draw a question from one side of the split."""
    task = random_task(rng, (2, 2), held_out)
    return Question(task.terms, task.operations)
