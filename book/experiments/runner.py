"""Runs a grid: the runs that a command line names, each once, where it was cut off.

The file of an experiment has a table RUNS and a `main` at its end that calls
`run_grid`; `python -m experiments.NAME --help` says what all of them understand.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import tyro
from tqdm import tqdm
from tyro.conf import FlagCreatePairsOff, Positional

from r1.train import distributed
from r1.train.records import BOOK, DATA, write_log

# What a reader has run; what is recorded is in DATA. With an installed package, which
# has no DATA, it is where the program is called.
OWN = (BOOK if DATA.is_dir() else Path()) / "runs"
TESTED = range(3, 9)  # terms of the problems that a trained model is tested on
Row = dict[str, Any]


class GridRow(Protocol):
    """What every row of a grid says beside its settings: the seeds that are recorded.

    None in their place: the run is made once, with a seed that its settings name.
    """

    seeds: tuple[int | None, ...]


@dataclass(frozen=True)
class Job:
    """One run of a grid with one of its seeds, and the folder of its files."""

    experiment: str
    name: str
    seed: int | None
    out: Path

    @property
    def stem(self) -> str:
        """What its files are called, without their endings: fine_seed0."""
        return self.name if self.seed is None else f"{self.name}_seed{self.seed}"

    @property
    def command(self) -> str:
        """The command that makes this run alone, for the heads of its tables."""
        seeds = "" if self.seed is None else f" --seeds {self.seed}"
        return f"python -m experiments.{self.experiment} {self.name}{seeds}"

    def path(self, kind: str = "", ending: str = ".csv") -> Path:
        """Where a file of the run lies: runs/moe/fine_seed0_kinds.csv."""
        return self.out / f"{self.stem}{kind and '_'}{kind}{ending}"

    def write(self, rows: list[Row], kind: str = "") -> None:
        """Write a table of the run, with the command, commit, device and date."""
        write_log(self.path(kind), rows, self.command)

    def weights(self, name: str) -> Path:
        """The checkpoint EXPERIMENT/STEM, of this reader or as it is recorded.

        One that this experiment makes is taken from the folder of the run. Any other
        is the recorded one, or without a record the one in runs/EXPERIMENT.

        Raises SystemExit with the experiment to run where there is none.
        """
        experiment, stem = name.split("/")
        folders = [self.out] if experiment == self.experiment else []
        folders += [DATA / experiment, OWN / experiment]
        for folder in folders:
            if (path := folder / f"{stem}.safetensors").exists():
                return path
        run = stem.partition("_seed")[0]
        raise SystemExit(
            f"{self.stem} needs {name}.safetensors; "
            f"run python -m experiments.{experiment} {run} first"
        )


@dataclass(frozen=True)
class Options:
    """Make the runs of an experiment, or those that are named."""

    names: Positional[tuple[str, ...]] = ()
    """runs, by their names; without any, all"""
    seeds: tuple[int, ...] = ()
    """of each run; without any, those that are recorded"""
    out: Path | None = None
    """folder for the files; without one, runs/NAME of the book"""
    threads: int = 1
    """of the CPU; recorded runs have one, those of chapter 2 have two"""
    force: bool = False
    """make runs again that are finished"""


def join(device: str | None) -> int:
    """Begin to compute on a device, under torchrun with others; returns the rank.

    Raises SystemExit for a GPU that is not there.
    """
    try:
        return distributed.start(device)
    except ValueError as error:
        raise SystemExit(f"--device {device}: {error}") from error


def checkpoint_path(out: Path) -> Path:
    """The checkpoint of `--out NAME`, which is NAME.safetensors.

    A point in a name belongs to it: model_v1.5 and model_v1.6 are two runs. A folder
    that is not there is made.

    Raises SystemExit for a name that is none, and for a folder that is not to be
    written into: better now than at the end of a run.
    """
    if not out.name:
        raise SystemExit(f"--out {out} is a folder; name a file in it")
    ending = "" if out.suffix == ".safetensors" else ".safetensors"
    path = out.with_name(out.name + ending)
    writable(path.parent)
    return path


def writable(folder: Path) -> None:
    """Make a folder; SystemExit where that cannot be, or nothing be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"{folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise SystemExit(f"{folder} is not to be written into; choose another --out")


def beside(checkpoint: Path, ending: str) -> Path:
    """A file of the same run: with "_valid.csv", run_valid.csv of run.safetensors."""
    return checkpoint.with_name(checkpoint.name.removesuffix(".safetensors") + ending)


def parse(kind: type, words: Sequence[str] | None, program: str, **more: Any) -> Any:
    """Read a command line into a dataclass; the one way of all experiments."""
    return tyro.cli(
        kind,
        args=words,
        prog=f"python -m experiments.{program}",
        config=(FlagCreatePairsOff,),
        **more,
    )


def jobs_of(
    experiment: str, runs: Mapping[str, GridRow], options: Options
) -> list[Job]:
    """The runs that a command line asks for, run by run and seed by seed.

    Raises SystemExit for a name that the grid does not have.
    """
    if unknown := [name for name in options.names if name not in runs]:
        raise SystemExit(f"no run {unknown[0]!r}; there are {', '.join(runs)}")
    out = options.out or OWN / experiment
    jobs = []
    for name in options.names or runs:
        seeds = runs[name].seeds
        if options.seeds and seeds == (None,) and name in options.names:
            raise SystemExit(f"{name} has a seed of its own; leave out --seeds")
        if options.seeds and seeds != (None,):
            seeds = options.seeds
        jobs += [Job(experiment, name, seed, out) for seed in seeds]
    return jobs


def run_grid(
    experiment: str,
    runs: Mapping[str, GridRow],
    make: Callable[[Job], Row],
    done: Callable[[Job], bool],
    words: Sequence[str] | None = None,
    threads: int = 1,
    files: Callable[[Job], list[Path]] | None = None,
) -> None:
    """Make the runs that the command line asks for and that are not finished.

    `done` says whether a run is finished. `make` writes all files of a run, goes on
    where it was cut off if it can, and returns what is worth printing.
    """
    about = f"{Options.__doc__}\n\nRuns: {', '.join(runs)}"
    default = Options(threads=threads)
    options = parse(Options, words, experiment, description=about, default=default)
    torch.set_num_threads(options.threads)
    jobs = jobs_of(experiment, runs, options)
    writable(options.out or OWN / experiment)
    for job in tqdm(jobs, unit="run", disable=not sys.stderr.isatty()):
        if options.force:
            for old in (files or files_of)(job):
                old.unlink()
        if done(job):
            print(job.stem, "is finished", flush=True)
            continue
        print(job.stem, shown(make(job)), flush=True)


def files_of(job: Job) -> list[Path]:
    """The files that a run has left: those with its name, and with more behind it."""
    folder = job.out.iterdir() if job.out.exists() else ()
    return [
        p for p in folder if p.stem == job.stem or p.stem.startswith(f"{job.stem}_")
    ]


def shown(row: Row) -> dict[str, float]:
    """A row with three digits behind the point, to print."""
    return {name: round(value, 3) for name, value in row.items()}
