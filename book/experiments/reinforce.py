"""Reinforcement learning: `python -m experiments.reinforce grpo --base B --out run`.

Trains a base model of one's own by GRPO or by PPO, logged and resumable. The grid of
chapters 11 and 13 is made of the same settings.
"""

import glob
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
from tyro.conf import OmitArgPrefixes, subcommand

from experiments.runner import (
    TESTED,
    Row,
    beside,
    checkpoint_path,
    join,
    parse,
    shown,
)
from r1.model.transformer import Model
from r1.rl.grpo_loop import Environment, Settings, grpo, new_policy, problems_of
from r1.rl.losses import GRPOLoss
from r1.rl.ppo_loop import PPOSettings, new_critic, ppo
from r1.train import distributed
from r1.train.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from r1.train.evaluation import evaluate
from r1.train.optimizer import rl_optimizer
from r1.train.records import check_notes, read_rows, write_log


@dataclass(frozen=True)
class GRPOSettings(Settings):
    """How GRPO trains."""

    loss: GRPOLoss = GRPOLoss()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is trained, on what, and where its files go."""

    base: Path
    """checkpoint to begin with"""
    out: Path
    """checkpoint to write; a log and tests are put beside it"""
    terms: tuple[int, int] = (5, 5)
    """of the problems: fewest, most"""
    steps: int = 100
    """each a rollout and its updates"""
    seed: int = 0
    """of problems and answers"""
    problems: int = 512
    """of each length to answer at the end"""
    device: Literal["cpu", "cuda"] | None = None
    """without, the CPU, or under torchrun a GPU for each process if there are"""
    threads: int | None = None
    """of the CPU; without, torch's default"""
    save_every: int = 20
    """steps; 0: the log and no weights"""
    resume: bool = False
    """go on from --out"""
    force: bool = False
    """overwrite --out"""


@dataclass(frozen=True, kw_only=True)
class Grpo(Options):
    """Group relative policy optimization."""

    settings: OmitArgPrefixes[GRPOSettings] = GRPOSettings()


@dataclass(frozen=True, kw_only=True)
class Ppo(Options):
    """Proximal policy optimization, with a critic."""

    settings: OmitArgPrefixes[PPOSettings] = PPOSettings()


@dataclass
class Training:
    """The models of a run with their optimizers, the next step, the rows so far."""

    models: list[Model]
    optimizers: list[torch.optim.Optimizer]
    start: int
    rows: list[Row]


def critic_path(out: Path, step: int) -> Path:
    """Where the critic of a saved step lies."""
    return beside(out, f"_critic_{step}.safetensors")


def optimizer_for(model: Model, lr: float) -> torch.optim.AdamW:
    """The optimizer of a model, of which under torchrun every process has a part."""
    return rl_optimizer(distributed.share(model), lr)


def load_training(path: Path, lr: float) -> tuple[Model, torch.optim.AdamW, dict]:
    """A model to train on, its optimizer with its past, and the notes beside them."""
    model, optimizer, notes = load_checkpoint(path, partial(optimizer_for, lr=lr))
    return model.eval(), optimizer, notes


def rates_of(o: Options) -> list[float]:
    """Learning rates: of the policy, and with PPO of its critic."""
    own = [o.settings.updates.lr]
    return [*own, o.settings.critic_lr] if isinstance(o.settings, PPOSettings) else own


def notes_of(o: Options) -> dict:
    """What a checkpoint says of the run that makes it; a resumed one must agree."""
    notes = {"seed": o.seed, "steps": o.steps, "base": Path(o.base).stem}
    # By its bytes too: there may be two bases of one name.
    notes |= {"base_is": fingerprint(o.base), "terms": list(o.terms)}
    return notes | {"settings": repr(o.settings)}


def check(o: Options) -> None:
    """Refuse options that do not go together, or ask for nothing, with SystemExit."""
    if o.resume and o.force:
        raise SystemExit("--resume goes on, --force begins anew; give one of them")
    for name in ("steps", "problems"):
        if getattr(o, name) < 1:
            raise SystemExit(f"--{name} is {getattr(o, name)}; it must be at least 1")


def begin(o: Options, out: Path, base: Model) -> Training:
    """A new run, or one that was cut off."""
    rates = rates_of(o)
    if not o.resume:
        if (out.exists() or beside(out, ".csv").exists()) and not o.force:
            raise SystemExit(f"{out.name} exists; pass --resume or --force")
        models = [new_policy(base), new_critic(base)][: len(rates)]
        pairs = zip(models, rates, strict=True)
        return Training(models, [optimizer_for(m, lr) for m, lr in pairs], 0, [])
    policy, optimizer, notes = load_training(out, rates[0])
    check_notes(out.name, notes, notes_of(o))
    models, optimizers, start = [policy], [optimizer], notes["step"]
    if start >= o.steps:
        if beside(out, "_terms.csv").exists():
            raise SystemExit(f"{out.name} is finished: {start} of {o.steps} steps")
    elif len(rates) > 1:
        critic, optimizer, _ = load_training(critic_path(out, start), rates[1])
        models, optimizers = [policy, critic], [*optimizers, optimizer]
    return Training(models, optimizers, start, read_rows(beside(out, ".csv"), start))


def loop(o: Options, training: Training, base: Model) -> Iterator[Row]:
    """The steps of a run that are still to be made.

    Under torchrun each process writes its part of the answers and learns from its part.
    """
    environment = Environment(partial(problems_of, terms=o.terms))
    what = (o.steps, o.settings, environment, o.seed)
    base, *models = (distributed.apart(m) for m in (base, *training.models))
    optimizers, start = training.optimizers, training.start
    if isinstance(o.settings, PPOSettings):
        return ppo(*models, base, *what, tuple(optimizers), start)
    return grpo(models[0], base, *what, optimizers[0], start)


def run(o: Options, command: str) -> Row:
    """Train, with checkpoints and a log, and test the result; returns the last row."""
    rank, out = join(o.device), checkpoint_path(o.out)
    check(o)
    if o.threads:
        torch.set_num_threads(o.threads)
    base = new_policy(load_checkpoint(o.base)[0])
    training = begin(o, out, base)
    if training.start < o.steps:
        for row in loop(o, training, base):
            training.rows.append(row)
            done = row["step"] + 1
            if done == o.steps or (o.save_every and done % o.save_every == 0):
                save(o, out, training, done, command)
    policy = distributed.apart(training.models[0])
    tested = [{"terms": n, **evaluate(policy, n, o.problems)} for n in TESTED]
    if rank == 0:
        write_log(beside(out, "_terms.csv"), tested, command)
    distributed.stop()
    return {} if rank else training.rows[-1]


def save(o: Options, out: Path, training: Training, done: int, command: str) -> None:
    """Log, critic, policy, in an order that a cut in between leaves resumable."""
    if distributed.rank() == 0:
        write_log(beside(out, ".csv"), training.rows, command)
    last, (model, *critics) = done == o.steps, training.models
    optimizers = training.optimizers
    if o.save_every and not last and critics:
        save_checkpoint(critic_path(out, done), critics[0], optimizers[1], step=done)
    if o.save_every:
        optimizer = None if last else optimizers[0]
        save_checkpoint(out, model, optimizer, step=done, **notes_of(o))
    if distributed.rank():
        return  # rank 0 has written both; only then is the old critic of no use
    critics_of_it = glob.escape(beside(out, "_critic_").name) + "*.safetensors"
    for old in out.parent.glob(critics_of_it):
        if last or old != critic_path(out, done):
            old.unlink()


def main(words: Sequence[str] | None = None) -> None:
    """Train what the command line asks for."""
    kinds = Annotated[Grpo, subcommand("grpo")] | Annotated[Ppo, subcommand("ppo")]
    o = parse(kinds, words, "reinforce")
    said = " ".join(sys.argv[1:] if words is None else words)
    row = run(o, f"python -m experiments.reinforce {said}")
    if row:
        print(beside(o.out, "").name, shown(row))


if __name__ == "__main__":
    main()
