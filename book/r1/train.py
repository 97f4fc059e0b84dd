"""Training loops, short enough to read, and the command that runs them."""

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from r1 import corpus
from r1.checkpoint import load_checkpoint, new_optimizer, save_checkpoint
from r1.config import ConfigError, ModelConfig
from r1.evaluate import evaluate, evaluate_kinds, validate
from r1.model import Model, cross_entropy
from r1.moe import (
    expert_balance_loss,
    max_violation,
    routers,
    sequence_balance_loss,
)
from r1.records import read_log, write_log
from r1.tasks import document
from r1.tokenizer import VOCAB_SIZE, encode

HELD_OUT_SEED = -1  # of batches that no run is trained on
# What a model reads: clock arithmetic, or text of several kinds.
TEXTS = {"sums": document, "kinds": corpus.document}


def packed_batch(
    seed: int,
    step: int,
    rows: int = 32,
    length: int = 128,
    document: Callable[[random.Random], str] = document,
) -> Int[Tensor, "rows {length}+1"]:
    """One batch of pretraining text: documents end to end, cut into rows.

    It depends on `seed` and `step` alone, so a run that is resumed sees what the
    uninterrupted run would have seen. Row r's inputs are [:-1], its targets [1:].
    """
    rng = random.Random(f"{seed}/{step}")
    ids: list[int] = []
    while len(ids) < rows * (length + 1):
        ids += encode(document(rng))
    return torch.tensor(ids[: rows * (length + 1)]).view(rows, length + 1)


def learning_rate(step: int, steps: int, peak: float, warmup: int = 50) -> float:
    r"""Linear warm-up to `peak`, then a cosine down to a tenth of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * share)).item())
    return peak * (0.1 + 0.9 * cosine)


class Balance(NamedTuple):
    """How the load of experts is balanced while training.

    `bias_speed` is gamma of the routing biases; `loss` is None, "expert" or
    "sequence", a balance loss that enters with the factor `alpha`.
    """

    bias_speed: float = 0.0
    loss: str | None = None
    alpha: float = 0.0


UNBALANCED = Balance()


def balance_loss(model: Model, kind: str | None) -> Tensor:
    """The balance loss of the last forward pass, summed over layers; without alpha.

    Raises ValueError for a kind that is not None, "expert" or "sequence".
    """
    if kind not in (None, "expert", "sequence"):
        raise ValueError(f"kind is {kind!r}; use None, 'expert' or 'sequence'")
    losses = [torch.zeros(())]
    for router in routers(model) if kind else []:
        if kind == "expert":
            losses.append(expert_balance_loss(router.scores, router.indices))
        else:  # equation 18 counts the largest scores, without the bias
            k = router.indices.shape[-1]
            largest = router.scores.topk(k).indices
            losses.append(sequence_balance_loss(router.scores, largest))
    return sum(losses)


def bias_speed(step: int, steps: int, peak: float) -> float:
    """Gamma of the routing biases: `peak`, then 0 for the last 0.5 parts in 14.8.

    Source: DeepSeek-V3, section 4.2 (14.3T tokens, then 500B).
    """
    return peak if step < steps * 14.3 / 14.8 else 0.0


def train_step(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    lr: float,
    balance: Balance = UNBALANCED,
) -> dict[str, float]:
    """One update on one batch; returns the loss and the gradient's norm.

    With experts, also the balance loss before alpha, and averaged over layers, MaxVio
    of the batch and the number of idle experts; biases are updated after weights.

    Raises FloatingPointError when the loss is not finite, before any update.
    """
    loss = cross_entropy(model(batch[:, :-1]), batch[:, 1:])
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss.item()}; lower the learning rate (now {lr:.2g})"
        )
    price = balance_loss(model, balance.loss)
    optimizer.zero_grad()
    (loss + balance.alpha * price).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    metrics = {"loss": loss.item(), "grad_norm": norm.item()}
    if gates := routers(model):
        loads = [
            gate.take_load() if gate.bias is None else gate.update_bias(balance[0])
            for gate in gates
        ]
        metrics["balance_loss"] = price.item()
        load = torch.stack(loads)
        metrics["max_vio"] = max_violation(load).mean().item()
        metrics["idle"] = (load == 0).sum().item() / len(gates)
    return metrics


def pretrain(
    model: Model,
    steps: int,
    seed: int = 0,
    peak_lr: float = 3e-3,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
    batch: Callable[[int, int], Tensor] = packed_batch,
    balance: Balance = UNBALANCED,
) -> Iterator[dict[str, float]]:
    """Train `model` from step `start` to `steps`; yields a dict a step.

    The progress bar shows on a terminal and nowhere else.
    """
    optimizer = optimizer or new_optimizer(model)
    bar = range(start, steps)
    if sys.stderr.isatty():
        bar = tqdm(bar, initial=start, total=steps, unit="step")
    model.train()
    for step in bar:
        lr = learning_rate(step, steps, peak_lr)
        speed = bias_speed(step, steps, balance.bias_speed)
        metrics = train_step(
            model, optimizer, batch(seed, step), lr, balance._replace(bias_speed=speed)
        )
        yield {"step": step, **metrics, "lr": lr}


def _read_config(name: str) -> ModelConfig:
    """A preset by its name, or a configuration file by its path."""
    if name in ("dense",):
        return getattr(ModelConfig, name)(VOCAB_SIZE)
    try:
        return ModelConfig.from_json(name)
    except (OSError, ConfigError) as error:
        raise SystemExit(f"--config {name}: {error}") from error


def _resume(args: argparse.Namespace, out: Path, wanted: dict) -> tuple:
    """Model, optimizer, next step and rows so far, of a run that was cut off."""
    model, optimizer, notes = load_checkpoint(out, optimizer_too=True)
    start = notes["step"]
    for name, value in wanted.items():
        if notes.get(name) != value:
            raise SystemExit(
                f"{out.name} was made with {name}={notes.get(name)}, not {value}; "
                "resume with the same options"
            )
    if start >= args.steps:
        raise SystemExit(f"{out.name} is finished: {start} of {args.steps} steps")
    log = read_log(out.with_suffix(".csv"))
    rows = [dict(zip(log, row, strict=True)) for row in zip(*log.values(), strict=True)]
    rows = [row | {"step": int(row["step"])} for row in rows if row["step"] < start]
    return model, optimizer, start, rows


def run_pretrain(args: argparse.Namespace) -> None:
    """Run `pretrain` from the command line, with checkpoints and a log."""
    out = args.out.with_suffix(".safetensors")
    if args.save_every % args.log_every:
        raise SystemExit("--save-every must be a multiple of --log-every")
    wanted = {
        name: getattr(args, name)
        for name in ("seed", "steps", "lr", "text", "rows", "bias_speed")
    } | {"balance_loss": args.balance_loss, "alpha": args.alpha}
    torch.manual_seed(args.seed)
    if args.resume:
        model, optimizer, start, rows = _resume(args, out, wanted)
    elif (out.exists() or out.with_suffix(".csv").exists()) and not args.force:
        raise SystemExit(f"{out.name} exists; pass --resume or --force")
    else:
        model, start, rows = Model(_read_config(args.config)), 0, []
        optimizer = new_optimizer(model)
    balance = Balance(args.bias_speed, args.balance_loss, args.alpha)
    batch = partial(packed_batch, rows=args.rows, document=TEXTS[args.text])
    window = []
    for row in pretrain(
        model, args.steps, args.seed, args.lr, optimizer, start, batch, balance
    ):
        window.append(row)
        done, last = row["step"] + 1, row["step"] + 1 == args.steps
        if done % args.log_every == 0 or last:  # means, but of the step the last
            means = {k: sum(r[k] for r in window) / len(window) for k in row}
            rows.append(means | {"step": row["step"]})
            window = []
        if (args.save_every and done % args.save_every == 0) or last:
            write_log(out.with_suffix(".csv"), rows)
            if args.save_every:
                state = None if last else optimizer
                save_checkpoint(out, model, state, step=done, **wanted)
    if args.text == "kinds":
        kinds = evaluate_kinds(model)
        write_log(out.with_name(out.stem + "_kinds.csv"), kinds)
        scores = validate(model, (batch(HELD_OUT_SEED, step) for step in range(16)))
        write_log(out.with_name(out.stem + "_valid.csv"), [scores])
        print(out.stem, {k: round(v, 3) for k, v in scores.items()})
        return
    for terms in (3, 4, 5):
        scores = evaluate(model, terms)
        print(terms, "terms:", {k: round(v, 3) for k, v in scores.items()})


def main(argv: list[str] | None = None) -> None:
    """Read the command line: `python -m r1.train pretrain --help`."""
    parser = argparse.ArgumentParser(prog="python -m r1.train", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("pretrain", help="train a base model on documents")
    command.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    command.add_argument("--config", default="dense", help="dense, or a JSON file")
    command.add_argument("--text", choices=list(TEXTS), default="sums")
    command.add_argument("--rows", type=int, default=32, help="of 128 tokens a batch")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--steps", type=int, default=2000)
    command.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    command.add_argument("--bias-speed", type=float, default=0.0, help="gamma")
    command.add_argument("--balance-loss", choices=["expert", "sequence"])
    command.add_argument("--alpha", type=float, default=0.0, help="its factor")
    command.add_argument("--log-every", type=int, default=1, help="steps a row")
    command.add_argument(
        "--save-every", type=int, default=500, help="steps; 0: the log and no weights"
    )
    command.add_argument("--resume", action="store_true", help="go on from --out")
    command.add_argument("--force", action="store_true", help="overwrite --out")
    command.set_defaults(run=run_pretrain)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
