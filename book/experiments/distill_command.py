"""`python -m experiments.train distill`: a student, a teacher and a budget."""

import argparse
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from r1.model.transformer import Model
from r1.recipe.distillation import (
    Tokens,
    draw_traces,
    flops,
    on_policy,
    step_tokens,
)
from r1.rl.environment import Environment, problems_of
from r1.rl.grpo_loop import grpo
from r1.rl.policy import new_policy
from r1.rl.rollout import Sampling
from r1.rl.settings import Settings, Updates
from r1.text.answers import is_right
from r1.text.problems import EitherWay, Problem, document, random_problem
from r1.text.tokenizer import encode
from r1.train.asking import ask
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.finetuning import Example, sft
from r1.train.records import write_log

GIGA = 1e9
NO_STEPS = 10**9  # a loop that the budget ends
TESTED = range(3, 9)


def held_out(terms: tuple[int, int], count: int, seed: int = 0) -> list[Problem]:
    """Problems that nobody is trained on; they depend on the arguments alone."""
    rng = random.Random(f"distill/{seed}/{terms[0]}-{terms[1]}")
    drawn = [random_problem(rng, terms, held_out=True) for _ in range(count)]
    return [EitherWay(problem.terms, problem.operations) for problem in drawn]


def measure(model: Model, problems: list[Problem], amend=None) -> dict[str, float]:
    """Shares of right answers and of those that think; tokens an answer."""
    answers = [a for (a,) in ask(model, problems, together=512, amend=amend)]
    pairs = list(zip(problems, answers, strict=True))
    return {
        "accuracy": sum(is_right(p, a.text) for p, a in pairs) / len(pairs),
        "thinking": sum(a.text.startswith("<think>") for a in answers) / len(pairs),
        "length": sum(len(a.ids) for a in answers) / len(pairs),
    }


def lessons(
    teacher: Model, args: argparse.Namespace, part: int
) -> tuple[list[Example], float]:
    """The next 256 answers to imitate, and the operations spent on writing them.

    A teacher's traces, those that are right; or, for the way "text", more of what the
    base models have read, which costs nothing here.
    """
    if args.way == "text":
        rng = random.Random(f"text/{args.seed}/{part}")
        texts = [document(rng, terms=tuple(args.terms)) for _ in range(256)]
        halves = [text.partition("=") for text in texts]
        return [Example(asked + sign, rest) for asked, sign, rest in halves], 0.0
    count, terms = 256 // args.copies, tuple(args.terms)
    problems = problems_of(args.seed, part, count, terms, EitherWay)
    draw = torch.Generator().manual_seed(1_000_003 * args.seed + part)
    traces = draw_traces(teacher, problems, args.copies, draw)
    return traces.kept, flops(teacher, traces.cost)


def by_imitation(
    student: Model, teacher: Model, args: argparse.Namespace
) -> Iterator[float]:
    """Lessons until the rest of the budget is what learning them costs, then SFT.

    Yields the operations so far: first when all is written, then after every step.
    """
    limit, spent, examples, learned, part = args.budget * GIGA, 0.0, [], 0.0, 0
    while True:
        more, price = lessons(teacher, args, part)
        tokens = sum(len(encode(asked + told)) for asked, told in more)
        lesson = flops(student, Tokens(0, args.epochs * tokens))
        if part and spent + price + learned + lesson > limit:
            break
        spent, learned, part = spent + price, learned + lesson, part + 1
        examples += more
    if not examples:
        raise SystemExit(f"{args.teacher.name} wrote no right answer within the budget")
    yield spent
    each = learned / (args.epochs * -(-len(examples) // args.batch))
    for _ in sft(student, examples, args.epochs, args.lr, args.batch, args.seed):
        spent += each
        yield spent


def by_steps(
    student: Model, teacher: Model, args: argparse.Namespace
) -> Iterator[float]:
    """Steps of grpo or on_policy; yields the operations so far after each."""
    sampling = Sampling(group=args.group, max_new_tokens=72)
    settings = Settings(args.prompts, sampling, Updates(lr=args.lr))
    env = Environment(partial(problems_of, terms=tuple(args.terms), kind=EitherWay))
    if args.way == "rl":
        loop = grpo(student, new_policy(student), NO_STEPS, settings, env, args.seed)
    else:
        kind = {"onpolicy": "reverse", "onpolicy_forward": "forward"}[args.way]
        loop = on_policy(student, teacher, NO_STEPS, settings, env, args.seed, kind)
    spent = 0.0
    for row in loop:
        asked = env.ask(args.seed, row["step"], settings.prompts)
        tokens = step_tokens(settings, asked, row["length"])
        spent += flops(student, tokens)
        if args.way != "rl":
            spent += flops(teacher, Tokens(tokens.learned))
        yield spent


def run_distill(args: argparse.Namespace) -> None:
    """Spend a budget on a student in one of the ways, tested on the way."""
    out = args.out.with_suffix(".csv")
    ends = out.with_name(f"{out.stem}_terms.csv")
    if finished(ends, args):
        return
    student = new_policy(load_checkpoint(args.base)[0])
    teacher = new_policy(load_checkpoint(args.teacher)[0])
    problems = held_out(tuple(args.terms), args.problems)
    rows = [{"gflop": 0.0, **measure(student, problems)}]
    loop = by_imitation if args.way in ("traces", "text") else by_steps
    limit, place = args.budget * GIGA, 1
    for spent in loop(student, teacher, args):
        over = spent >= limit * (1 - 1e-9)
        if over or spent >= place * limit / args.points:
            rows.append({"gflop": spent / GIGA, **measure(student, problems)})
            place = int(spent / limit * args.points) + 1
        if over:
            break
    if rows[-1]["gflop"] < spent / GIGA:  # traces end a little short of the limit
        rows.append({"gflop": spent / GIGA, **measure(student, problems)})
    write_log(out, rows)
    if args.weights:
        save_checkpoint(out.with_suffix(".safetensors"), student, way=args.way)
    tested = [
        {"terms": n, **measure(student, held_out((n, n), args.at_end))} for n in TESTED
    ]
    write_log(ends, tested)
    print(out.stem, {k: round(v, 3) for k, v in rows[-1].items()})


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add `distill` to the commands of r1.train."""
    command = commands.add_parser("distill", help="three ways to train a student")
    ways = ("traces", "text", "rl", "onpolicy", "onpolicy_forward")
    command.add_argument("--way", choices=ways, required=True)
    command.add_argument("--base", type=Path, required=True, help="the student's")
    command.add_argument("--teacher", type=Path, required=True, help="a checkpoint")
    command.add_argument("--budget", type=float, required=True, help="in GFLOP")
    command.add_argument("--points", type=int, default=12, help="tests on the way")
    command.add_argument("--terms", type=int, nargs=2, default=(3, 5))
    command.add_argument("--lr", type=float, default=1e-3)
    command.add_argument("--epochs", type=int, default=3, help="of traces")
    command.add_argument("--batch", type=int, default=64, help="traces an update")
    command.add_argument("--copies", type=int, default=1, help="traces a problem")
    command.add_argument("--prompts", type=int, default=16, help="of rl and onpolicy")
    command.add_argument("--group", type=int, default=16, help="of rl and onpolicy")
    command.add_argument("--problems", type=int, default=256, help="of a test")
    command.add_argument("--at-end", type=int, default=512, help="of each length")
    command.add_argument("--weights", action="store_true", help="keep them")
    command.set_defaults(run=run_distill)
    common(command)


def common(command: argparse.ArgumentParser) -> None:
    """The options that all commands of chapter 15 have."""
    command.add_argument("--out", type=Path, required=True, help="CSV to write")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--threads", type=int, help="of the CPU")
    command.add_argument("--force", action="store_true", help="overwrite --out")


def finished(out: Path, args: argparse.Namespace) -> bool:
    """Whether a run has been made before, which it says; sets the threads if not."""
    if out.exists() and not args.force:
        print(f"{out.name} is finished")
        return True
    if args.threads:
        torch.set_num_threads(args.threads)
    return False
