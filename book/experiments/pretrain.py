"""Pretraining: `python -m experiments.pretrain --config tiny --out run`.

Trains a model of one's own, alone or under torchrun. The grids of chapters 02 to 08,
and the bases of chapters 13 and 15, are made of the same settings.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from experiments import runner
from experiments.runner import Job, Row, beside, checkpoint_path, join, parse, shown
from r1.model.config import ModelConfig
from r1.model.formats import ConfigError
from r1.model.fp8 import RECIPES, lower_precision
from r1.model.transformer import Model
from r1.text import corpus
from r1.text.problems import document
from r1.text.tokenizer import VOCAB_SIZE
from r1.train import distributed
from r1.train.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from r1.train.evaluation import evaluate, evaluate_kinds, validate
from r1.train.optimizer import new_optimizer
from r1.train.pretraining import Balance, packed_batch, pretrain
from r1.train.records import BOOK, check_notes, read_rows, write_log

MTP_WEIGHT = 0.3  # DeepSeek-V3, section 4.2
HELD_OUT_SEED = -1  # of batches that no run is trained on
VALIDATED = 16  # of those batches
# What a model reads: clock arithmetic, as it is or changed for chapter 13, or text of
# several kinds.
TEXTS = {
    "sums": document,
    "few": partial(document, think_share=0.03),
    "wrong": partial(document, mistakes=0.4),
    "repaired": partial(document, mistakes=0.3, repaired=0.25),
    "slips": partial(document, think_share=1.0, terms=(3, 8), mistakes=0.75, slip=1),
    "kinds": corpus.document,
}
# What a checkpoint says of the run that made it; a resumed run must agree.
NOTED = (
    *("seed", "steps", "lr", "text", "rows", "dtype", "log_every"),
    *("bias_speed", "balance_loss", "alpha", "mtp_weight"),
)


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Train a base model on documents."""

    config: str = "dense"
    """dense, tiny, or a file"""
    base: str | None = None
    """weights to begin with"""
    text: Literal["sums", "few", "wrong", "repaired", "slips", "kinds"] = "sums"
    """what is read"""
    rows: int = 32
    """of 128 tokens in a batch"""
    steps: int = 2000
    """updates"""
    lr: float = 3e-3
    """peak learning rate"""
    dtype: Literal[
        *("float32", "bf16", "fp8", "fp8-block", "fp8-scale", "fp8-format"),
        *("fp8-tensor", "fp8-sum13", "fp8-sum4", "fp8-sum4-promoted"),
        *("fp8-sum1", "fp8-sum1-promoted"),
    ] = "float32"
    """of the operands of linear layers; those of 8 and 16 bits are simulated"""
    bias_speed: float = 0.0
    """gamma of the routing biases"""
    balance_loss: Literal["expert", "sequence"] | None = None
    """a loss that balances experts"""
    alpha: float = 0.0
    """the factor of that loss"""
    mtp_weight: float | None = None
    """lambda of the MTP modules' losses at the beginning; without, V3's 0.3"""
    problems: int = 512
    """of each length to answer at the end; 0: none"""
    log_every: int = 1
    """steps for each row of the log, which has their means"""


@dataclass(frozen=True, kw_only=True)
class Grid(Pretraining):
    """A row of a grid: settings, and the seeds that are recorded.

    `only_seed` is the seed of a run that is made once: its seeds are (None,). {seed} in
    the name of a base is that of the run.
    """

    seeds: tuple[int | None, ...] = (0, 1, 2)
    only_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Options(Pretraining):
    """Train a base model on documents."""

    out: Path
    """checkpoint to write; a log and tests are put beside it"""
    seed: int = 0
    """of weights and documents"""
    parallel: Literal["data", "experts"] = "data"
    """what torchrun's processes share out: rows only, or experts as well"""
    device: Literal["cpu", "cuda"] | None = None
    """without, the CPU, or under torchrun a GPU for each process if there are"""
    threads: int | None = None
    """of the CPU; without, torch's default"""
    save_every: int = 500
    """steps; 0: the log and no weights"""
    resume: bool = False
    """go on from --out"""
    force: bool = False
    """overwrite --out"""


def read_config(name: str) -> ModelConfig:
    """A preset by its name, or a configuration file by its path, here or in the book.

    Raises SystemExit for a file that is none.
    """
    if name in ("dense", "tiny"):
        return getattr(ModelConfig, name)(VOCAB_SIZE)
    path = Path(name) if Path(name).exists() else BOOK / name
    try:
        return ModelConfig.from_json(path)
    except (OSError, ConfigError) as error:
        raise SystemExit(f"--config {name}: {error}") from error


def new_model(o: Options) -> Model:
    """The model to begin with: a checkpoint's, or one that has read nothing.

    Raises SystemExit for a weight of modules that the model does not have.
    """
    if o.base:
        model = load_checkpoint(o.base)[0]
    else:
        with torch.device("cpu"):  # a seed stands for the same weights on any device
            model = Model(read_config(o.config))
    model = model.to(torch.get_default_device())
    if o.mtp_weight is not None and not model.config.num_nextn_predict_layers:
        raise SystemExit("--mtp-weight: the model has no MTP modules; leave it out")
    return model


def check(o: Options) -> None:
    """Refuse options that do not go together, with SystemExit."""
    many = dist.is_initialized()
    if o.balance_loss == "expert" and many:
        raise SystemExit(
            "--balance-loss expert is of a whole batch, which several processes do not "
            "have; use sequence"
        )
    if o.parallel == "experts" and not many:
        raise SystemExit("--parallel experts needs several processes; start torchrun")
    if o.parallel == "experts" and o.dtype in RECIPES:
        raise SystemExit("--parallel experts computes in float32; leave out --dtype")
    if o.base and o.config != "dense":
        raise SystemExit("--base brings its configuration; leave out --config")
    if o.alpha and not o.balance_loss:
        raise SystemExit("--alpha is the factor of --balance-loss; give that too")
    for name in ("lr", "bias_speed", "alpha", "mtp_weight"):
        value = getattr(o, name)
        if value is not None and not 0 <= value < math.inf:
            option = name.replace("_", "-")
            raise SystemExit(f"--{option} is {value}; it must be 0 or more, and finite")
    if o.log_every < 1:
        raise SystemExit(f"--log-every is {o.log_every}; it must be at least 1")
    if o.resume and o.force:
        raise SystemExit("--resume goes on, --force begins anew; give one of them")
    if o.save_every % o.log_every:
        raise SystemExit("--save-every must be a multiple of --log-every")


def notes_of(o: Options) -> dict:
    """What a checkpoint says of the run that makes it."""
    notes = {name: getattr(o, name) for name in NOTED}
    if o.base:  # by its name, and by its bytes: there may be two of one name
        notes |= {"base": Path(o.base).stem, "base_is": fingerprint(o.base)}
    return notes


def optimizer_for(model: Model, o: Options) -> torch.optim.Optimizer:
    """The optimizer of a model that is first made ready to train."""
    if o.dtype in RECIPES:
        lower_precision(model, RECIPES[o.dtype])
    return new_optimizer(distributed.share(model, o.parallel == "experts"))


def begin(o: Options, out: Path) -> tuple:
    """Model, optimizer, next step and rows so far: of a new run, or one cut off."""
    torch.manual_seed(o.seed)
    if not o.resume:
        if (out.exists() or beside(out, ".csv").exists()) and not o.force:
            raise SystemExit(f"{out.name} exists; pass --resume or --force")
        model = new_model(o)
        return model, optimizer_for(model, o), 0, []
    model, optimizer, notes = load_checkpoint(out, partial(optimizer_for, o=o))
    check_notes(out.name, notes, notes_of(o))
    if model.config != new_model(o).config:
        raise SystemExit(
            f"{out.name} was made with another configuration than --config "
            f"{o.config}; resume with the same options"
        )
    start = notes["step"]
    if start >= o.steps and beside(out, "_valid.csv").exists():
        raise SystemExit(f"{out.name} is finished: {start} of {o.steps} steps")
    return model, optimizer, start, read_rows(beside(out, ".csv"), start)


def means(window: list[Row]) -> Row:
    """One row of several steps: their means, and the number of the last."""
    row = {key: sum(r[key] for r in window) / len(window) for key in window[0]}
    return row | {"step": window[-1]["step"]}


def loop(o: Options, model: Model, optimizer, start: int = 0) -> Iterator[Row]:
    """The steps of a run, from `start` on."""
    balance = Balance(o.bias_speed, o.balance_loss, o.alpha)
    weight = MTP_WEIGHT if o.mtp_weight is None else o.mtp_weight
    return pretrain(
        *(model, o.steps, o.seed, o.lr, optimizer, start, batches(o), balance, weight)
    )


def batches(o: Pretraining) -> Callable[[int, int], Tensor]:
    """What the run reads, by seed and step."""
    return partial(packed_batch, rows=o.rows, document=TEXTS[o.text])


def run(o: Options, command: str) -> Row:
    """Train, with checkpoints and a log, and measure the result; returns the losses."""
    rank, out = join(o.device), checkpoint_path(o.out)
    check(o)
    if o.threads:
        torch.set_num_threads(o.threads)
    model, optimizer, start, rows = begin(o, out)
    window = []
    for row in loop(o, model, optimizer, start):
        window.append(row)
        done = row["step"] + 1
        last = done == o.steps
        if done % o.log_every == 0 or last:
            rows.append(means(window))
            window = []
        if (o.save_every and done % o.save_every == 0) or last:
            if rank == 0:
                write_log(beside(out, ".csv"), rows, command)
            if o.save_every:
                state = None if last else optimizer
                save_checkpoint(out, model, state, step=done, **notes_of(o))
    whole, device = distributed.gather(model), torch.get_default_device()
    distributed.stop()
    if whole is not model and o.dtype in RECIPES:
        lower_precision(whole, RECIPES[o.dtype])
    if rank:
        return {}
    with device:  # the whole model moves to where the first process computed
        return report(whole.to(device), out, o, command)


def report(model: Model, out: Path, o: Options, command: str) -> Row:
    """Measure a trained model on what it has not seen, and write the numbers down."""
    if o.text == "kinds":
        write_log(beside(out, "_kinds.csv"), evaluate_kinds(model), command)
    elif o.problems:
        terms = [{"terms": n, **evaluate(model, n, o.problems)} for n in (3, 4, 5)]
        write_log(beside(out, "_terms.csv"), terms, command)
    held_out = (batches(o)(HELD_OUT_SEED, step) for step in range(VALIDATED))
    scores = validate(model, held_out)
    write_log(beside(out, "_valid.csv"), [scores], command)
    return scores


def options_of(row: Grid, job: Job, save_every: int = 500) -> Options:
    """The options of one run of a grid; it goes on where it was cut off."""
    names = [field.name for field in fields(Pretraining)]
    settings = {name: getattr(row, name) for name in names}
    seed = row.only_seed if job.seed is None else job.seed
    if row.base:
        settings["base"] = str(job.weights(row.base.format(seed=seed)))
    out = job.path(ending=".safetensors")
    return Options(
        **settings, out=out, seed=seed, save_every=save_every, resume=out.exists()
    )


def make(row: Grid, job: Job) -> Row:
    """Make one run of a grid."""
    options = options_of(row, job)
    if not options.resume:  # a log without weights is that of no saved step
        job.path().unlink(missing_ok=True)
    return run(options, job.command)


def run_grid(
    experiment: str,
    runs: Mapping[str, Grid],
    words: Sequence[str] | None = None,
    threads: int = 1,
) -> None:
    """Make the runs of a grid that the command line asks for."""
    runner.run_grid(
        *(experiment, runs, lambda job: make(runs[job.name], job)),
        *(lambda job: job.path("valid").exists(), words, threads),
    )


def main(words: Sequence[str] | None = None) -> None:
    """Train what the command line asks for."""
    o = parse(Options, words, "pretrain")
    said = " ".join(sys.argv[1:] if words is None else words)
    scores = run(o, f"python -m experiments.pretrain {said}")
    if scores:
        print(beside(o.out, "").name, shown(scores))


if __name__ == "__main__":
    main()
