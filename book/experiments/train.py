"""The commands that train: `python -m experiments.train pretrain --help`."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from experiments import distill_command, rl_command, spend_command
from r1.model.config import ModelConfig
from r1.model.formats import ConfigError
from r1.model.fp8 import RECIPES, lower_precision
from r1.model.transformer import Model
from r1.text import corpus
from r1.text.problems import document
from r1.text.tokenizer import VOCAB_SIZE
from r1.train import distributed
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.evaluation import evaluate, evaluate_kinds, validate
from r1.train.optimizer import new_optimizer
from r1.train.pretraining import Balance, packed_batch, pretrain
from r1.train.records import check_notes, read_rows, write_log

HELD_OUT_SEED = -1  # of batches that no run is trained on
# What a model reads: clock arithmetic, as it is or changed for chapter 13, or text of
# several kinds.
TEXTS = {
    "sums": document,
    "few": partial(document, think_share=0.03),
    "wrong": partial(document, mistakes=0.4),
    "repaired": partial(document, mistakes=0.3, repaired=0.25),
    "kinds": corpus.document,
}


def _read_config(name: str) -> ModelConfig:
    """A preset by its name, or a configuration file by its path."""
    if name in ("dense", "tiny"):
        return getattr(ModelConfig, name)(VOCAB_SIZE)
    try:
        return ModelConfig.from_json(name)
    except (OSError, ConfigError) as error:
        raise SystemExit(f"--config {name}: {error}") from error


def _new_model(args: argparse.Namespace) -> Model:
    """The model to begin with: a checkpoint's, or one that has read nothing."""
    if args.base:
        return load_checkpoint(args.base)[0]
    return Model(_read_config(args.config))


def _resume(args: argparse.Namespace, out: Path, wanted: dict, begin) -> tuple:
    """Model, optimizer, next step and rows so far, of a run that was cut off."""
    model, optimizer, notes = load_checkpoint(out, begin)
    start = notes["step"]
    check_notes(out.name, notes, wanted)
    if model.config != _new_model(args).config:
        raise SystemExit(
            f"{out.name} was made with another configuration than --config "
            f"{args.config}; resume with the same options"
        )
    if start >= args.steps:
        raise SystemExit(f"{out.name} is finished: {start} of {args.steps} steps")
    rows = read_rows(out.with_suffix(".csv"), start)
    return model, optimizer, start, rows


def run_pretrain(args: argparse.Namespace) -> None:
    """Run `pretrain` from the command line, with checkpoints and a log."""
    rank, out = distributed.start(), args.out.with_suffix(".safetensors")
    if args.balance_loss == "expert" and dist.is_initialized():
        raise SystemExit(
            "--balance-loss expert is of a whole batch, which several processes do not "
            "have; use sequence"
        )
    if args.parallel == "experts" and not dist.is_initialized():
        raise SystemExit("--parallel experts needs several processes; start torchrun")
    if args.parallel == "experts" and args.dtype in RECIPES:
        raise SystemExit("--parallel experts computes in float32; leave out --dtype")
    if args.save_every % args.log_every:
        raise SystemExit("--save-every must be a multiple of --log-every")
    wanted = {
        name: getattr(args, name)
        for name in ("seed", "steps", "lr", "text", "rows", "bias_speed")
    } | {"balance_loss": args.balance_loss, "alpha": args.alpha}
    wanted["mtp_weight"] = args.mtp_weight
    if args.base:
        wanted["base"] = args.base.stem
    if args.dtype in RECIPES:
        wanted["dtype"] = args.dtype
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    def begin(model: Model) -> torch.optim.Optimizer:
        if args.dtype in RECIPES:
            lower_precision(model, RECIPES[args.dtype])
        return new_optimizer(distributed.share(model, args.parallel == "experts"))

    if args.resume:
        model, optimizer, start, rows = _resume(args, out, wanted, begin)
    elif (out.exists() or out.with_suffix(".csv").exists()) and not args.force:
        raise SystemExit(f"{out.name} exists; pass --resume or --force")
    else:
        model, start, rows = _new_model(args), 0, []
        optimizer = begin(model)
    balance = Balance(args.bias_speed, args.balance_loss, args.alpha)
    batch = partial(packed_batch, rows=args.rows, document=TEXTS[args.text])
    window = []
    for row in pretrain(
        model,
        args.steps,
        args.seed,
        args.lr,
        optimizer,
        start,
        batch,
        balance,
        args.mtp_weight,
    ):
        window.append(row)
        done, last = row["step"] + 1, row["step"] + 1 == args.steps
        if done % args.log_every == 0 or last:  # means, but of the step the last
            means = {k: sum(r[k] for r in window) / len(window) for k in row}
            rows.append(means | {"step": row["step"]})
            window = []
        if (args.save_every and done % args.save_every == 0) or last:
            if rank == 0:
                write_log(out.with_suffix(".csv"), rows)
            if args.save_every:
                state = None if last else optimizer
                save_checkpoint(out, model, state, step=done, **wanted)
    whole = distributed.gather(model)
    if whole is not model and args.dtype in RECIPES:
        lower_precision(whole, RECIPES[args.dtype])
    distributed.stop()
    if rank == 0:
        report(whole, out, args, batch)


def report(
    model: Model, out: Path, args: argparse.Namespace, batch: Callable[..., Tensor]
) -> None:
    """Measure a trained model on what it has not seen, and write the numbers down."""
    if args.text == "kinds":
        write_log(out.with_name(f"{out.stem}_kinds.csv"), evaluate_kinds(model))
    elif args.problems:
        terms = [{"terms": n, **evaluate(model, n, args.problems)} for n in (3, 4, 5)]
        write_log(out.with_name(f"{out.stem}_terms.csv"), terms)
    scores = validate(model, (batch(HELD_OUT_SEED, step) for step in range(16)))
    write_log(out.with_name(f"{out.stem}_valid.csv"), [scores])
    print(out.stem, {name: round(score, 3) for name, score in scores.items()})


def main(argv: list[str] | None = None) -> None:
    """Read the command line: `python -m experiments.train pretrain --help`."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("pretrain", help="train a base model on documents")
    command.add_argument("--out", type=Path, required=True, help="checkpoint to write")
    command.add_argument("--config", default="dense", help="dense, tiny or a file")
    command.add_argument("--base", type=Path, help="weights to begin with")
    command.add_argument("--text", choices=list(TEXTS), default="sums")
    command.add_argument("--rows", type=int, default=32, help="of 128 tokens a batch")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--steps", type=int, default=2000)
    command.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    command.add_argument(
        "--dtype",
        choices=["float32", *RECIPES],
        default="float32",
        help="of the operands of linear layers; those of 8 and 16 bits are simulated",
    )
    command.add_argument("--bias-speed", type=float, default=0.0, help="gamma")
    command.add_argument("--balance-loss", choices=["expert", "sequence"])
    command.add_argument("--alpha", type=float, default=0.0, help="its factor")
    command.add_argument(
        "--mtp-weight", type=float, default=0.3, help="lambda of the MTP loss"
    )
    command.add_argument(
        "--parallel",
        choices=["data", "experts"],
        default="data",
        help="what torchrun's processes share out: rows only, or experts as well",
    )
    command.add_argument(
        "--problems", type=int, default=512, help="to answer at the end, 0: none"
    )
    command.add_argument("--threads", type=int, help="of the CPU; default: torch's")
    command.add_argument("--log-every", type=int, default=1, help="steps a row")
    command.add_argument(
        "--save-every", type=int, default=500, help="steps; 0: the log and no weights"
    )
    command.add_argument("--resume", action="store_true", help="go on from --out")
    command.add_argument("--force", action="store_true", help="overwrite --out")
    command.set_defaults(run=run_pretrain)
    rl_command.add_to(commands)
    distill_command.add_to(commands)
    spend_command.add_to(commands)
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
