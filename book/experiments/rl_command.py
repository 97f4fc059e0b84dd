"""Reinforcement learning, logged and resumable."""

import argparse
import random
from collections import Counter
from dataclasses import fields
from functools import partial
from pathlib import Path

import torch

from r1.model.transformer import Model
from r1.rl.environment import Environment, problems_of
from r1.rl.grpo_loop import grpo
from r1.rl.losses import GRPOLoss
from r1.rl.policy import new_critic, new_policy
from r1.rl.ppo_loop import ppo
from r1.rl.rollout import Sampling
from r1.rl.settings import PPOSettings, Settings, Updates
from r1.text.answers import is_right, said
from r1.text.problems import is_worked_out
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.evaluation import answer_often, evaluate, majority_right, pass_at_k
from r1.train.optimizer import rl_optimizer
from r1.train.records import check_notes, read_rows, write_log

TESTED = range(3, 9)  # terms of the problems that are answered at the end


def _critic_path(out: Path, step: int) -> Path:
    return out.with_name(f"{out.stem}_critic_{step}.safetensors")


def load_training(path: Path, lr: float) -> tuple[Model, torch.optim.AdamW, dict]:
    """A model to train on, its optimizer with its past, and the notes beside them."""
    model, optimizer, notes = load_checkpoint(path, partial(rl_optimizer, lr=lr))
    return model.eval(), optimizer, notes


def _begin(args: argparse.Namespace, out: Path, base: Model, wanted: dict) -> tuple:
    """Trained models and their optimizers, the next step, and the rows so far."""
    rates = [args.lr, args.critic_lr][: 2 if args.algorithm == "ppo" else 1]
    if not args.resume:
        if (out.exists() or out.with_suffix(".csv").exists()) and not args.force:
            raise SystemExit(f"{out.name} exists; pass --resume or --force")
        models = [new_policy(base), new_critic(base)][: len(rates)]
        pairs = zip(models, rates, strict=True)
        return models, [rl_optimizer(m, lr) for m, lr in pairs], 0, []
    policy, optimizer, notes = load_training(out, args.lr)
    check_notes(out.name, notes, wanted)
    start = notes["step"]
    if start >= args.steps:
        raise SystemExit(f"{out.name} is finished: {start} of {args.steps} steps")
    models, optimizers = [policy], [optimizer]
    if args.algorithm == "ppo":
        critic, optimizer, _ = load_training(_critic_path(out, start), args.critic_lr)
        models, optimizers = [policy, critic], [*optimizers, optimizer]
    return models, optimizers, start, read_rows(out.with_suffix(".csv"), start)


def run(args: argparse.Namespace) -> None:
    """Run `grpo` or `ppo` from the command line."""
    out = args.out.with_suffix(".safetensors")
    if args.threads:
        torch.set_num_threads(args.threads)
    sampling = Sampling(args.group, args.max_new_tokens, args.temperature)
    updates = Updates(args.lr, args.epochs, args.minibatches)
    if args.algorithm == "ppo":
        settings = PPOSettings(
            args.prompts,
            sampling,
            updates,
            tuple(args.clip),
            args.how,
            args.lam,
            args.critic_lr,
        )
    else:
        loss = GRPOLoss(
            tuple(args.clip), args.kl_weight, args.how, args.level, args.constant
        )
        settings = Settings(args.prompts, sampling, updates, not args.no_std, loss)
    env = Environment(partial(problems_of, terms=tuple(args.terms)))
    wanted = {"settings": repr(settings), "terms": list(args.terms)}
    wanted |= {"seed": args.seed, "base": args.base.stem}
    wanted |= {"algorithm": args.algorithm, "steps": args.steps}
    base = new_policy(load_checkpoint(args.base)[0])
    models, optimizers, start, rows = _begin(args, out, base, wanted)
    common = (settings, env, args.seed)
    if args.algorithm == "ppo":
        loop = ppo(*models, base, args.steps, *common, tuple(optimizers), start)
    else:
        loop = grpo(*models, base, args.steps, *common, optimizers[0], start)
    for row in loop:
        rows.append(row)
        done = row["step"] + 1
        if done == args.steps or (args.save_every and done % args.save_every == 0):
            _save(out, models, optimizers, rows, done, args, wanted)
    tested = [{"terms": n, **evaluate(models[0], n, args.problems)} for n in TESTED]
    write_log(out.with_name(f"{out.stem}_terms.csv"), tested)
    print(out.stem, {k: round(v, 3) for k, v in rows[-1].items()})


def _save(out, models, optimizers, rows, done, args, wanted) -> None:
    """Log, critic, policy, in an order that a cut in between leaves resumable."""
    write_log(out.with_suffix(".csv"), rows)
    last = done == args.steps
    if args.save_every and not last and len(models) > 1:
        save_checkpoint(_critic_path(out, done), models[1], optimizers[1], step=done)
    if args.save_every:
        optimizer = None if last else optimizers[0]
        save_checkpoint(out, models[0], optimizer, step=done, **wanted)
    for old in out.parent.glob(f"{out.stem}_critic_*.safetensors"):
        if last or old != _critic_path(out, done):
            old.unlink()


def run_passk(args: argparse.Namespace) -> None:
    """Answer problems many times; a row for k = 1, 2, 4, ... up to all samples.

    pass: chance that one of k is right. worked: that one of k is worked out, with every
    step right. majority: chance that the commonest answer of k is right.
    """
    if args.threads:
        torch.set_num_threads(args.threads)
    model = new_policy(load_checkpoint(args.model)[0])
    found = answer_often(model, args.terms, args.samples, args.problems)
    rows, rng = [], random.Random(0)
    for power in range(args.samples.bit_length()):
        k = 2**power
        marks = {"pass": [], "worked": [], "majority": []}
        for problem, texts in found:
            for name, judge in (("pass", is_right), ("worked", is_worked_out)):
                hits = sum(judge(problem, text) for text in texts)
                marks[name].append(pass_at_k(args.samples, hits, k))
            for _ in range(16):
                votes = Counter(
                    filter(None, (said(problem, t) for t in rng.sample(texts, k)))
                )
                marks["majority"].append(majority_right(votes, problem.answer))
        means = {name: sum(values) / len(values) for name, values in marks.items()}
        rows.append({"k": k, **means})
    write_log(args.out.with_suffix(".csv"), rows)
    print(args.out.stem, {row["k"]: round(row["pass"], 3) for row in rows})


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add `grpo`, `ppo` and `passk` to the commands of r1.train."""
    command = commands.add_parser("passk", help="answer problems many times")
    command.add_argument("--model", type=Path, required=True, help="a checkpoint")
    command.add_argument("--out", type=Path, required=True, help="CSV to write")
    command.add_argument("--terms", type=int, default=5)
    command.add_argument("--samples", type=int, default=256, help="largest k")
    command.add_argument("--problems", type=int, default=128)
    command.add_argument("--threads", type=int, help="of the CPU")
    command.set_defaults(run=run_passk)
    for name in ("grpo", "ppo"):
        command = commands.add_parser(
            name, help=f"train a base model by {name.upper()}"
        )
        command.add_argument("--base", type=Path, required=True, help="its checkpoint")
        command.add_argument("--out", type=Path, required=True, help="to write")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--steps", type=int, default=100)
        for options in (Settings, Sampling, Updates, GRPOLoss):
            for field in fields(options):
                if type(field.default) in (int, float, str):
                    flag = "--" + field.name.replace("_", "-")
                    kind = type(field.default)
                    command.add_argument(flag, type=kind, default=field.default)
        command.add_argument("--constant", type=float, help="for --how constant")
        command.add_argument("--terms", type=int, nargs=2, default=(5, 5))
        command.add_argument("--clip", type=float, nargs=2, default=(0.2, 0.2))
        command.add_argument("--no-std", action="store_true", help="no division by it")
        command.add_argument("--lam", type=float, default=1.0, help="of PPO's GAE")
        command.add_argument("--critic-lr", type=float, default=3e-4, help="of PPO")
        command.add_argument("--problems", type=int, default=512, help="at the end")
        command.add_argument("--threads", type=int, help="of the CPU")
        command.add_argument("--save-every", type=int, default=20, help="0: no weights")
        command.add_argument("--resume", action="store_true")
        command.add_argument("--force", action="store_true", help="overwrite --out")
        command.set_defaults(run=run, algorithm=name)
