"""Chapter 15: students of a teacher.

A student learns from what its teacher wrote, from more text, from rewards, or from
what its teacher thinks of the student's own answers; all ways have one budget of
operations.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from experiments import pretrain
from experiments.pretrain import Grid
from experiments.runner import TESTED, Job, Row, run_grid
from r1.model.sampling import Amend, ask
from r1.model.transformer import Model
from r1.recipe.distillation import Tokens, draw_traces, flops, on_policy, step_tokens
from r1.rl.grpo_loop import (
    Environment,
    Settings,
    Updates,
    grpo,
    new_policy,
    problems_of,
)
from r1.rl.rollout import Sampling
from r1.text.answers import is_right
from r1.text.problems import (
    EitherWay,
    Problem,
    document,
    random_problem,
)
from r1.text.tokenizer import encode
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.finetuning import Example, sft

GIGA = 1e9
NO_STEPS = 10**9  # a loop that the budget ends
LESSON = 256  # answers that are written before the budget is looked at again
BATCH = 64  # of them in an update
TOGETHER = 512  # answers that are sampled at once


@dataclass(frozen=True, kw_only=True)
class Student:
    """How a student learns, and with how many operations.

    `budget` is in GFLOP, `points` are the tests on the way, of as many problems as
    `tests` says for each seed (the last number stands for all seeds that follow).
    `prompts` and `group` are those of a step of "rl" and "onpolicy", `epochs` those of
    "traces" and "text". Draws begin with `first_seed`, so that a student that goes on
    learning meets new problems.
    """

    way: Literal["traces", "text", "rl", "onpolicy"]
    base: str
    teacher: str
    terms: tuple[int, int]
    budget: float
    points: int
    lr: float
    epochs: int = 3
    prompts: int = 0
    group: int = 0
    tests: tuple[int, ...] = (192,)
    first_seed: int = 0
    seeds: tuple[int | None, ...] = (0, 1, 2)


def base(config: str, **settings) -> Grid:
    """A base model of another size, which is made once, with seed 0."""
    return Grid(
        config=f"data/distill/{config}.json",
        rows=16,
        log_every=50,
        seeds=(None,),
        **settings,
    )


# Students of R1-Zero, of one size.
OF_ZERO = {"base": "distill/base_dense4", "teacher": "rl/zero_seed0", "terms": (3, 5)}
BY_TEXT = Student(way="text", budget=300, points=6, lr=3e-3, **OF_ZERO)
BY_STEPS = Student(way="onpolicy", budget=300, points=6, lr=2e-3, **OF_ZERO)
# Students of R1, from five bases, and one of them that goes on. Of each base there is
# one checkpoint: seeds are draws of problems and of answers.
OF_R1 = {"teacher": "distill/teacher_r1", "terms": (3, 8), "points": 4}
DENSE4 = {"base": "distill/base_dense4", "budget": 600, **OF_R1}
DENSE16 = {"base": "distill/base_dense16", "budget": 250, **OF_R1}
MOE4 = {"base": "distill/base_moe4", "budget": 400, **OF_R1}
MOE16 = {"base": "distill/base_moe16", "budget": 250, **OF_R1}
LATER = DENSE4 | {"base": "distill/base_later"}
GOES_ON = DENSE16 | {"base": "distill/r1_traces_dense16_seed0", "first_seed": 10}
SMALL_STEPS = {"prompts": 8, "group": 8}
LARGE_STEPS = {"prompts": 16, "group": 16}
OWN_ANSWERS = {"prompts": 64, "group": 1}
ONCE = {"seeds": (0,)}
FIVE = {"seeds": (0, 1, 2, 3, 4)}

RUNS = {
    "base_dense4": base("dense4", steps=2500),
    "base_dense16": base("dense16", steps=3500, lr=6e-3),
    # base_dense4 with more steps, so that only the base is better. A first attempt the
    # other way, base_dense16 with 2,000 of its 3,500 steps, gave a base whose thoughts
    # are right in 0.19, hardly more often than a guess; no student began with it.
    "base_later": base("dense4", steps=3500),
    "base_moe4": base("moe4", steps=3000, bias_speed=1e-3),
    "base_moe16": base("moe16", steps=3000, lr=6e-3, bias_speed=1e-3),
    "traces_dense4": replace(BY_TEXT, way="traces", tests=(256, 192)),
    "text_dense4": replace(BY_TEXT, tests=(256, 192)),
    "rl_dense4": Student(
        way="rl", budget=600, points=8, lr=3e-4, **SMALL_STEPS, **OF_ZERO
    ),
    "onpolicy_dense4": replace(BY_STEPS, **OWN_ANSWERS),
    "r1_traces_dense4": Student(way="traces", lr=3e-3, **DENSE4, **FIVE),
    "r1_traces_dense16": Student(way="traces", lr=3e-3, **DENSE16, **FIVE),
    "r1_traces_moe4": Student(way="traces", lr=3e-3, **MOE4),
    "r1_traces_moe16": Student(way="traces", lr=3e-3, **MOE16),
    "r1_rl_dense4": Student(way="rl", lr=3e-4, **DENSE4, **SMALL_STEPS, **FIVE),
    "r1_rl_dense16": Student(way="rl", lr=3e-4, **DENSE16, **SMALL_STEPS, **FIVE),
    "r1_rl_moe4": Student(way="rl", lr=1e-4, **MOE4, **LARGE_STEPS),
    "r1_rl_moe16": Student(way="rl", lr=1e-4, **MOE16, **LARGE_STEPS),
    # Prediction, before the runs: at three to five terms the advantage of traces over
    # rewards is smaller from the later base than from base_dense4.
    "r1_traces_later": Student(way="traces", lr=3e-3, **LATER, **FIVE),
    "r1_rl_later": Student(way="rl", lr=3e-4, **LATER, **SMALL_STEPS, **FIVE),
    "r1_onpolicy_dense4": Student(
        way="onpolicy", lr=2e-3, **DENSE4, **OWN_ANSWERS, **ONCE
    ),
    "r1_onpolicy_dense16": Student(
        way="onpolicy", lr=2e-3, **DENSE16, **OWN_ANSWERS, **ONCE
    ),
    "r1_onpolicy_moe4": Student(way="onpolicy", lr=2e-3, **MOE4, **OWN_ANSWERS, **ONCE),
    "next_traces_dense16": Student(way="traces", lr=3e-3, **GOES_ON),
    "next_rl_dense16": Student(way="rl", lr=3e-4, **GOES_ON, **SMALL_STEPS),
    "next_onpolicy_dense16": Student(way="onpolicy", lr=1e-3, **GOES_ON, **OWN_ANSWERS),
    # next_rl_dense16 gets worse at eight terms. This run changes the lengths of its
    # problems alone. Prediction, before the runs: without the shorter problems rewards
    # make the student better at eight terms than it was.
    "next_rl_eight": Student(
        way="rl", lr=3e-4, **GOES_ON | {"terms": (8, 8)}, **SMALL_STEPS
    ),
}


# measuring


def held_out(terms: tuple[int, int], count: int, seed: int = 0) -> list[Problem]:
    """Problems that nobody is trained on; they depend on the arguments alone."""
    rng = random.Random(f"distill/{seed}/{terms[0]}-{terms[1]}")
    drawn = [random_problem(rng, terms, held_out=True) for _ in range(count)]
    return [EitherWay(problem.terms, problem.operations) for problem in drawn]


def measure(model: Model, problems: list[Problem], amend: Amend | None = None) -> Row:
    """Shares of right answers and of those that think; tokens an answer."""
    answers = [a for (a,) in ask(model, problems, together=TOGETHER, amend=amend)]
    pairs = list(zip(problems, answers, strict=True))
    return {
        "accuracy": sum(is_right(p, a.text) for p, a in pairs) / len(pairs),
        "thinking": sum(a.text.startswith("<think>") for a in answers) / len(pairs),
        "length": sum(len(a.ids) for a in answers) / len(pairs),
    }


# students


def lessons(
    teacher: Model, row: Student, seed: int, part: int
) -> tuple[list[Example], float]:
    """The next answers to imitate, and the operations spent on writing them.

    A teacher's traces, those that are right; or, for the way "text", more of what the
    base models have read, which costs nothing here.
    """
    if row.way == "text":
        rng = random.Random(f"text/{seed}/{part}")
        texts = [document(rng, terms=row.terms) for _ in range(LESSON)]
        halves = [text.partition("=") for text in texts]
        return [Example(asked + sign, rest) for asked, sign, rest in halves], 0.0
    problems = problems_of(seed, part, LESSON, row.terms, EitherWay)
    draw = torch.Generator().manual_seed(1_000_003 * seed + part)
    traces = draw_traces(teacher, problems, 1, draw)
    return traces.kept, flops(teacher, traces.cost)


def by_imitation(
    student: Model, teacher: Model, row: Student, seed: int
) -> Iterator[float]:
    """Lessons until the rest of the budget is what learning them costs, then SFT.

    Yields the operations so far: first when all is written, then after every step.
    """
    limit, spent, examples, learned, part = row.budget * GIGA, 0.0, [], 0.0, 0
    while True:
        more, price = lessons(teacher, row, seed, part)
        tokens = sum(len(encode(asked + told)) for asked, told in more)
        lesson = flops(student, Tokens(0, row.epochs * tokens))
        if part and spent + price + learned + lesson > limit:
            break
        spent, learned, part = spent + price, learned + lesson, part + 1
        examples += more
    if not examples:
        raise SystemExit(f"{row.teacher} wrote no right answer within the budget")
    yield spent
    each = learned / (row.epochs * -(-len(examples) // BATCH))
    for _ in sft(student, examples, row.epochs, row.lr, BATCH, seed):
        spent += each
        yield spent


def by_steps(
    student: Model, teacher: Model, row: Student, seed: int
) -> Iterator[float]:
    """Steps of grpo or on_policy; yields the operations so far after each.

    What a teacher thinks of the answers costs a pass of it, forward.
    """
    sampling = Sampling(group=row.group, max_new_tokens=72)
    settings = Settings(row.prompts, sampling, Updates(lr=row.lr))
    env = Environment(partial(problems_of, terms=row.terms, kind=EitherWay))
    if row.way == "rl":
        loop = grpo(student, new_policy(student), NO_STEPS, settings, env, seed)
    else:
        loop = on_policy(student, teacher, NO_STEPS, settings, env, seed, "reverse")
    spent = 0.0
    for step in loop:
        asked = env.ask(seed, step["step"], settings.prompts)
        tokens = step_tokens(settings, asked, step["length"])
        spent += flops(student, tokens)
        if row.way == "onpolicy":
            spent += flops(teacher, Tokens(tokens.learned))
        yield spent


def learning(job: Job, student: Model, teacher: Model) -> Iterator[float]:
    """Train a student in its way; yields the operations so far, without end."""
    row = RUNS[job.name]
    way = by_imitation if row.way in ("traces", "text") else by_steps
    return way(student, teacher, row, row.first_seed + job.seed)


def spend(
    spending: Iterator[float], student: Model, row: Student, problems: list[Problem]
) -> list[Row]:
    """Let a student learn until its budget is spent; a row for every test on the way.

    Traces end a little short of the limit, and then the last test is there.
    """
    rows = [{"gflop": 0.0, **measure(student, problems)}]
    limit, place = row.budget * GIGA, 1
    for spent in spending:
        over = spent >= limit * (1 - 1e-9)
        if over or spent >= place * limit / row.points:
            rows.append({"gflop": spent / GIGA, **measure(student, problems)})
            place = int(spent / limit * row.points) + 1
        if over:
            break
    if rows[-1]["gflop"] < spent / GIGA:
        rows.append({"gflop": spent / GIGA, **measure(student, problems)})
    return rows


def run_student(job: Job) -> Row:
    """Spend a budget on a student, keep it, and test it on problems of all lengths."""
    row = RUNS[job.name]
    student = new_policy(load_checkpoint(job.weights(row.base))[0])
    teacher = new_policy(load_checkpoint(job.weights(row.teacher))[0])
    count = row.tests[min(job.seed, len(row.tests) - 1)]
    spending = learning(job, student, teacher)
    rows = spend(spending, student, row, held_out(row.terms, count))
    job.write(rows)
    save_checkpoint(job.path(ending=".safetensors"), student, way=row.way)
    tests = [{"terms": n, **measure(student, held_out((n, n), count))} for n in TESTED]
    job.write(tests, "terms")
    return rows[-1]


def make(job: Job) -> Row:
    """Make one run."""
    row = RUNS[job.name]
    if isinstance(row, Grid):
        return pretrain.make(row, job)
    return run_student(job)


def done(job: Job) -> bool:
    """Whether a run is finished: the file that it writes last is there."""
    kinds = {Grid: "valid", Student: "terms"}
    return job.path(kinds.get(type(RUNS[job.name]), "")).exists()


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("distill", RUNS, make, done, words)


if __name__ == "__main__":
    main()
