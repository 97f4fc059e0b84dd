"""Computing at test time."""

import argparse
import random
from pathlib import Path

from experiments.distill_command import common, finished, held_out, measure
from r1.recipe.spending import budget, choices, train_verifier, verifier_scores
from r1.rl.environment import problems_of
from r1.rl.policy import new_critic, new_policy
from r1.text.answers import is_right
from r1.text.problems import EitherWay, is_worked_out
from r1.train.asking import ask
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.evaluation import pass_at_k
from r1.train.records import write_log


def run_verifier(args: argparse.Namespace) -> None:
    """Train a verifier on marked answers of a model to problems for training."""
    out = args.out.with_suffix(".csv")
    if finished(out, args):
        return
    model = new_policy(load_checkpoint(args.model)[0])
    terms = tuple(args.terms)
    problems = problems_of(args.seed, 0, args.problems, terms, EitherWay)
    found = ask(model, problems, args.copies, args.seed, together=512)
    marked = [
        (problem, answer.text)
        for problem, answers in zip(problems, found, strict=True)
        for answer in answers
    ]
    verifier = new_critic(model)
    rows = list(train_verifier(verifier, marked, args.epochs, args.lr, seed=args.seed))
    save_checkpoint(out.with_suffix(".safetensors"), verifier, marked=args.model.stem)
    write_log(out, rows)
    print(out.stem, {k: round(v, 3) for k, v in rows[-1].items()})


def run_votes(args: argparse.Namespace) -> None:
    """Answer problems many times; how good is each way to choose one of k answers?"""
    out = args.out.with_suffix(".csv")
    if finished(out, args):
        return
    model = new_policy(load_checkpoint(args.model)[0])
    verifier = new_policy(load_checkpoint(args.verifier)[0]) if args.verifier else None
    problems = held_out((args.terms, args.terms), args.problems)
    answers = ask(model, problems, args.samples, args.seed, together=512)
    found = [
        ([a.text for a in group], [len(a.ids) for a in group]) for group in answers
    ]
    liked = [
        verifier_scores(verifier, problem.prompt, texts) if verifier else None
        for problem, (texts, _) in zip(problems, found, strict=True)
    ]
    mean = sum(sum(n) for _, n in found) / (len(found) * args.samples)
    rng, rows = random.Random(args.seed), []
    for power in range(args.samples.bit_length()):
        k, sums, draws = 2**power, {}, 0
        for problem, (texts, _), scores in zip(problems, found, liked, strict=True):
            hits = sum(is_right(problem, text) for text in texts)
            worked = sum(is_worked_out(problem, text) for text in texts)
            for _ in range(args.draws):
                places = rng.sample(range(args.samples), k)
                some = None if scores is None else [scores[i] for i in places]
                marks = choices(problem, [texts[i] for i in places], some)
                marks["any"] = pass_at_k(args.samples, hits, k)
                marks["worked"] = pass_at_k(args.samples, worked, k)
                sums = {name: sums.get(name, 0.0) + m for name, m in marks.items()}
                draws += 1
        shares = {name: total / draws for name, total in sums.items()}
        rows.append({"k": k, "tokens": k * mean, **shares})
    write_log(out, rows)
    print(out.stem, {row["k"]: round(row["majority"], 3) for row in rows})


def run_forced(args: argparse.Namespace) -> None:
    """Force thoughts to be short or long; a row for every budget, -1: none is set."""
    out = args.out.with_suffix(".csv")
    if finished(out, args):
        return
    model = new_policy(load_checkpoint(args.model)[0])
    budgets = [(0, -1), (1, -1)]
    budgets += [(0, most) for most in args.most]
    budgets += [(least, -1) for least in args.least]
    rows = []
    for terms in range(args.terms[0], args.terms[1] + 1):
        problems = held_out((terms, terms), args.problems)
        for least, most in budgets:
            amend = budget(least, None if most < 0 else most)
            found = measure(model, problems, amend)
            rows.append({"terms": terms, "least": least, "most": most, **found})
    write_log(out, rows)
    print(out.stem, len(rows), "rows")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add `verifier`, `votes` and `forced` to the commands of r1.train."""
    for name, run, text in (
        ("verifier", run_verifier, "learn which answers are right"),
        ("votes", run_votes, "choose one of many answers"),
        ("forced", run_forced, "force short and long thoughts"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--model", type=Path, required=True, help="a checkpoint")
        command.set_defaults(run=run)
        common(command)
    command = commands.choices["verifier"]
    command.add_argument("--terms", type=int, nargs=2, default=(3, 5))
    command.add_argument("--problems", type=int, default=1024)
    command.add_argument("--copies", type=int, default=4)
    command.add_argument("--epochs", type=int, default=3)
    command.add_argument("--lr", type=float, default=1e-3)
    command = commands.choices["votes"]
    command.add_argument("--verifier", type=Path, help="a checkpoint of `verifier`")
    command.add_argument("--terms", type=int, default=5)
    command.add_argument("--samples", type=int, default=64, help="largest k")
    command.add_argument("--problems", type=int, default=128)
    command.add_argument("--draws", type=int, default=16, help="of k answers")
    command = commands.choices["forced"]
    command.add_argument("--terms", type=int, nargs=2, default=(3, 8))
    command.add_argument("--least", type=int, nargs="*", default=range(2, 11))
    command.add_argument("--most", type=int, nargs="*", default=range(0, 44, 3))
    command.add_argument("--problems", type=int, default=256)
