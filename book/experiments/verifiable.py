"""Problems whose answers a rule can check, and the book's rewards as TRL calls them.

Each problem is asked in words, as a model of others can read it: clock arithmetic, the
other tasks of `r1.text.other_tasks`, or a file of one's own, GSM8K's as it is among
them. The book's own models are given the prompt that they know.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from r1.rl.rewards import format_reward
from r1.text.answers import read_integer, said
from r1.text.other_tasks import WordProblem, random_countdown, random_word_problem
from r1.text.problems import Problem, random_problem
from r1.text.tokenizer import BOS, IDS

FORM = 0.1  # what the form alone earns, as in `rule_reward`
EXAMPLE = '{"problem": "Ada has 3 bags of 4 marbles. How many?", "answer": "12"}'
INSTRUCTION = (
    "First think, between <think> and </think>. Then give the answer alone, between "
    "<answer> and </answer>, and stop. A number is written in digits, without a unit "
    "and without commas."
)
CLOCK = (
    "Work out {} strictly from left to right, and keep the last digit of every result, "
    "as on a clock with ten hours: 7+5 is 2, and 2-5 is 7. The answer is one digit."
)
_TAGS = re.compile(r"\s*(</?(?:think|answer)>)\s*")


class Checked(Protocol):
    """A problem: what is asked, and whether an answer to it is right."""

    @property
    def prompt(self) -> str:
        """The question."""
        ...

    def check(self, answer: str) -> bool:
        """Whether what stands between the answer tags is right."""
        ...


Reward = Callable[[Any, str], float]


@dataclass(frozen=True)
class Written:
    """A question whose answer is no whole number: it must be the same text."""

    prompt: str
    gold: str

    def check(self, answer: str) -> bool:
        """Whether the answer is the same, but for spaces around it."""
        return answer.strip() == self.gold


class ProblemsError(ValueError):
    """A file that holds no problems; the message names the line and what is wrong."""


def read_problems(path: Path) -> list[Checked]:
    """The problems of a JSONL file: an object with problem and answer on each line.

    GSM8K's files are read as they are: `question` is `problem`, and of an answer the
    text behind its last `####` counts. A whole number may have commas; another answer
    must be given back letter by letter.

    Raises ProblemsError for a file without problems and for the first bad line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemsError(f"{path} cannot be read as UTF-8: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append(_problem(line))
            except ValueError as error:
                raise ProblemsError(f"{path.name}, line {number}: {error}") from error
    if not found:
        raise ProblemsError(f"{path} has no problem; a line is {EXAMPLE}")
    return found


def _problem(line: str) -> Checked:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"no JSON ({error}); a line is {EXAMPLE}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{row!r} is no object; a line is {EXAMPLE}")
    asked = row.get("problem", row.get("question"))
    if not isinstance(asked, str) or not asked.strip():
        raise ValueError(f"problem is {asked!r}; give the question as a text")
    gold = row.get("answer")
    if type(gold) not in (str, int):
        raise ValueError(f"answer is {gold!r}; give a whole number or a text")
    gold = str(gold).rpartition("####")[2].strip()
    if not gold or "<" in gold:
        raise ValueError(f"answer is {gold!r}; it needs a text without the sign <")
    whole = gold.replace(",", "")
    if read_integer(whole) is not None:
        return WordProblem(asked.strip(), whole)
    return Written(asked.strip(), gold)


def draw_problems(
    task: str, count: int, seed: int = 0, terms: tuple[int, int] = (5, 5)
) -> list[Checked]:
    """`count` problems of a task of the book; `terms` are those of clock arithmetic.

    Raises ProblemsError for another task and for a count below 1.
    """
    if task not in TASKS:
        raise ProblemsError(
            f"task is {task!r}; choose one of {', '.join(TASKS)}, or a file .jsonl"
        )
    if count < 1:
        raise ProblemsError(f"{count} problems; ask for 1 at least")
    rng = random.Random(f"{task}/{seed}")
    return [TASKS[task](rng, terms) for _ in range(count)]


TASKS: dict[str, Callable[[random.Random, tuple[int, int]], Checked]] = {
    "clock": random_problem,
    "words": lambda rng, terms: random_word_problem(rng),
    "countdown": lambda rng, terms: random_countdown(rng),
}


def is_ours(tokenizer: Any) -> bool:
    """Whether a tokenizer of Transformers is the book's."""
    return tokenizer.get_vocab() == IDS


def prompt_for(problem: Checked, tokenizer: Any) -> str | list[dict[str, str]]:
    """What a model is asked: the book's prompt, a talk, or a text to go on with."""
    if is_ours(tokenizer):
        return problem.prompt
    question = problem.prompt
    if isinstance(problem, Problem):
        question = CLOCK.format(question.removeprefix(BOS).removesuffix("="))
    if tokenizer.chat_template:
        return [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": question},
        ]
    return f"{INSTRUCTION}\n\nQuestion: {question}\nAnswer: "


def opening_of(prompt: str | list[dict[str, str]], tokenizer: Any) -> str:
    """The tag that a chat template has written already: "<think>", or nothing."""
    if isinstance(prompt, str):
        return ""
    text = tokenizer.apply_chat_template(
        prompt, tokenize=False, add_generation_prompt=True
    )
    return "<think>" if text.rstrip().endswith("<think>") else ""


def answer_text(completion: str | list[dict[str, str]]) -> str:
    """An answer of TRL as text, without the white space around tags."""
    said = completion if isinstance(completion, str) else completion[0]["content"]
    return _TAGS.sub(r"\1", said)


def form_reward(problem: Any, text: str) -> float:
    """1 if the form is kept, right or wrong; where the problem says which, that one."""
    if isinstance(problem, Problem):
        return float(said(problem, text) is not None)
    return format_reward(text)


def as_trl(reward: Reward, problems: Sequence[Any], opening: str = "") -> Callable:
    """A reward of the book with TRL's signature; `number` is a column of the dataset.

    `opening` is what stands in the prompt and belongs to the answer.
    """

    def judge(prompts, completions, number, **columns) -> list[float]:
        texts = [answer_text(completion) for completion in completions]
        pairs = zip(number, texts, strict=True)
        return [float(reward(problems[n], opening + text)) for n, text in pairs]

    judge.__name__ = reward.__name__
    return judge
