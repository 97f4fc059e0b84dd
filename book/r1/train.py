"""Training loops, short enough to read, and the command that runs them."""

import argparse
import csv
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from r1.checkpoint import (
    load_checkpoint,
    new_optimizer,
    save_checkpoint,
    write_atomically,
)
from r1.config import ModelConfig
from r1.generate import sample
from r1.model import Model, cross_entropy
from r1.tasks import document, is_correct, parse, random_problem
from r1.tokenizer import VOCAB_SIZE, decode, encode


def packed_batch(
    seed: int, step: int, rows: int = 32, length: int = 128
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


def train_step(
    model: Model, optimizer: torch.optim.Optimizer, batch: Tensor, lr: float
) -> dict[str, float]:
    """One update on one batch; returns the loss and the gradient's norm.

    Raises FloatingPointError when the loss is not finite, before any update.
    """
    loss = cross_entropy(model(batch[:, :-1]), batch[:, 1:])
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss.item()}; lower the learning rate (now {lr:.2g})"
        )
    optimizer.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return {"loss": loss.item(), "grad_norm": norm.item()}


def pretrain(
    model: Model,
    steps: int,
    seed: int = 0,
    peak_lr: float = 3e-3,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
    batch: Callable[[int, int], Tensor] = packed_batch,
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
        metrics = train_step(model, optimizer, batch(seed, step), lr)
        yield {"step": step, **metrics, "lr": lr}


@torch.no_grad()
def evaluate(
    model: Model,
    terms: int,
    problems: int = 512,
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, float]:
    """Answer held-out problems of `terms` terms; shares and a mean length.

    accuracy: of all, in the right form with the right digit. thinking: of all, with
    a thought. accuracy_thinking, accuracy_bare: of those with, without. form: of
    all, in the right form. length: new tokens an answer.
    """
    rng = random.Random(f"evaluate/{seed}/{terms}")
    asked = [
        random_problem(rng, (terms, terms), held_out=True) for _ in range(problems)
    ]
    generator = torch.Generator().manual_seed(seed)
    prompts = [encode(problem.prompt) for problem in asked]
    answers = sample(model.eval(), prompts, 64, temperature, generator)
    texts = [decode(answer) for answer in answers]
    right = [is_correct(p, text) for p, text in zip(asked, texts, strict=True)]
    thought = [text.startswith("<think>") for text in texts]

    def share(hits: list[bool]) -> float:
        return sum(hits) / len(hits) if hits else float("nan")

    pairs = list(zip(right, thought, strict=True))
    return {
        "accuracy": share(right),
        "thinking": share(thought),
        "accuracy_thinking": share([r for r, t in pairs if t]),
        "accuracy_bare": share([r for r, t in pairs if not t]),
        "form": share([parse(text) is not None for text in texts]),
        "length": sum(map(len, answers)) / problems,
    }


def _git(*words: str) -> str:
    """What git says of this package; nothing where there is no git or no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def provenance() -> str:
    """Where a recorded run comes from, as comment lines for the head of its CSV."""
    command = " ".join(["python -m r1.train", *sys.argv[1:]])
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    changed = "+changes" if _git("status", "--porcelain", ".") else ""
    return (
        f"# command: {command}\n"
        f"# commit: {commit}{changed}\n"
        f"# device: {platform.machine()} CPU, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__.split('+')[0]}\n"
        f"# date: {time.strftime('%Y-%m-%d', time.gmtime())}\n"
    )


def write_log(path: Path, rows: list[dict]) -> None:
    """Write one row a step, with the run's provenance above the header."""

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as file:
            file.write(provenance())
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow(
                    {k: f"{v:.5g}" if type(v) is float else v for k, v in row.items()}
                )

    write_atomically(path, write)


def read_log(path: Path | str) -> dict[str, list[float]]:
    """Read a recorded run: a list of numbers for each column of its CSV."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def run_pretrain(args: argparse.Namespace) -> None:
    """Run `pretrain` from the command line, with checkpoints and a log."""
    out = args.out.with_suffix(".safetensors")
    torch.manual_seed(args.seed)
    config = getattr(ModelConfig, args.config)(VOCAB_SIZE)
    model, optimizer, start, rows = Model(config), None, 0, []
    if args.resume:
        model, optimizer, notes = load_checkpoint(out, optimizer_too=True)
        start = notes["step"]
        wanted = {"seed": args.seed, "steps": args.steps, "lr": args.lr}
        for name, value in wanted.items():
            if notes.get(name) != value:
                raise SystemExit(
                    f"{out.name} was made with {name}={notes.get(name)}, not {value}; "
                    "resume with the same options"
                )
        if start >= args.steps:
            raise SystemExit(f"{out.name} is finished: {start} of {args.steps} steps")
        log = read_log(out.with_suffix(".csv"))
        rows = [
            dict(zip(log, values, strict=True))
            for values in zip(*log.values(), strict=True)
        ]
        rows = [row | {"step": int(row["step"])} for row in rows if row["step"] < start]
    elif out.exists() and not args.force:
        raise SystemExit(f"{out.name} exists; pass --resume or --force")
    optimizer = optimizer or new_optimizer(model)
    notes = {"seed": args.seed, "steps": args.steps, "lr": args.lr}
    for row in pretrain(model, args.steps, args.seed, args.lr, optimizer, start):
        rows.append(row)
        done = row["step"] + 1
        if done % args.save_every == 0 or done == args.steps:
            last = done == args.steps
            write_log(out.with_suffix(".csv"), rows)
            save_checkpoint(out, model, None if last else optimizer, step=done, **notes)
    for terms in (3, 4, 5):
        scores = evaluate(model, terms)
        print(terms, "terms:", {k: round(v, 3) for k, v in scores.items()})


def main(argv: list[str] | None = None) -> None:
    """Read the command line: `python -m r1.train pretrain --help`."""
    parser = argparse.ArgumentParser(prog="python -m r1.train", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser(
        "pretrain", help="train a base model on documents of clock arithmetic"
    )
    command.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    command.add_argument("--config", choices=["dense"], default="dense")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--steps", type=int, default=2000)
    command.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    command.add_argument("--save-every", type=int, default=500, help="steps")
    command.add_argument("--resume", action="store_true", help="go on from --out")
    command.add_argument("--force", action="store_true", help="overwrite --out")
    command.set_defaults(run=run_pretrain)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
