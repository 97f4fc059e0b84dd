"""Publish runs: put their files into the tables that the book reads.

`python -m experiments.collect [NAME ...]` reads the files that an experiment has left
in runs/NAME, and puts their rows into data/NAME/KIND.csv, a table for each kind of
file with a column `run`, and where they come from into data/runs.csv. A run that the
book has already is replaced. Without a NAME it publishes all that lies in runs.

While programs run, each run has files of its own: RUN.csv, RUN_terms.csv and the like.
Programs ask whether such a file exists to see what is finished, go on from what it
holds, and write side by side; so only this program writes tables.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from filecmp import cmp
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple

from tyro.conf import Positional

from experiments.runner import OWN, parse
from r1.model.files import write_atomically
from r1.train.records import DATA, ORIGIN, Cells, read_cells, read_table

# The last word of a file's name tells its kind, RUN_terms.csv.
ENDINGS = (
    "terms",
    "valid",
    "kinds",
    "other",
    "distances",
    "chances",
    "said",
    "judges",
    "chosen",
    "held",
    "travels",
    "seconds",
)
# Where it does not, the first columns do.
BEGINNINGS = {
    "steps": ("step", "reward"),  # reinforcement learning
    "verifier": ("step", "loss", "hits"),
    "losses": ("step", "loss", "grad_norm"),  # learning from text
    "compute": ("gflop",),
    "reject": ("sampled",),
    "passk": ("k", "pass"),
    "votes": ("k", "tokens"),
    "forced": ("terms", "least", "most"),
    "peers": ("size", "sampling"),
    "grpo": ("grouped", "ours_s"),
    "hopper": ("uniform", "size", "inner"),
    "hopper_speed": ("size", "bf16"),
    "bandwidth": ("processes", "bytes"),
    "streamed": ("prompt", "new"),
}
# Losses are the steps of an experiment, unless its steps are those of rewards.
LOSSES = {"rl": "pretraining", "beyond": "pretraining", "pipeline": "finetuning"}
LOSSES |= {"gpu": "pretraining"}
KINDS = (*BEGINNINGS, *LOSSES.values(), *ENDINGS)
COLUMNS = ("experiment", "run", "tables", *ORIGIN)


class Found(NamedTuple):
    """A file of a run: the run's name, the file's kind, and what it holds."""

    run: str
    kind: str
    cells: Cells


def kind_of(experiment: str, stem: str, columns: list[str]) -> tuple[str, str]:
    """The run and the kind of a file, from its name and its columns.

    Raises SystemExit for a file of no known kind.
    """
    name, _, ending = stem.rpartition("_")
    if name and ending in ENDINGS:
        return name, ending
    for kind, first in BEGINNINGS.items():
        if tuple(columns[: len(first)]) == first:
            kind = LOSSES.get(experiment, "steps") if kind == "losses" else kind
            return stem, kind
    raise SystemExit(
        f"{experiment}/{stem}.csv begins with the columns {', '.join(columns[:3])}, "
        "which is no known kind; name the kind in experiments/collect.py"
    )


def find(folder: Path) -> list[Found]:
    """The files of runs that a folder holds."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        cells = read_cells(path)
        found.append(Found(*kind_of(folder.name, path.stem, cells.columns), cells))
    return found


def in_order(name: str) -> list:
    """A key that sorts seed10 behind seed9."""
    return [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", name)]


def union(columns: Iterable[list[str]]) -> list[str]:
    """All columns; one that is new stands behind the one that it follows."""
    found = []
    for names in columns:
        place = 0
        for name in names:
            if name not in found:
                found.insert(place, name)
            place = found.index(name) + 1
    return found


def write_table(path: Path, columns: Iterable[str], rows: Iterable[list[str]]) -> None:
    """Write a table, whole or not at all."""

    def write(empty: Path) -> None:
        with empty.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([columns, *rows])

    write_atomically(path, write)


def merge(table: str, new: dict[str, Cells], data: Path) -> None:
    """Put runs into a table, in the place of those of the same name."""
    path = data / f"{table}.csv"
    runs = (read_table(table, data) if path.exists() else {}) | new
    order = sorted(runs, key=in_order)
    columns = union(runs[run].columns for run in order)
    rows = []
    for run in order:
        has = {name: i for i, name in enumerate(runs[run].columns)}
        for row in runs[run].rows:
            cells = (row[has[c]] if c in has else "" for c in columns)
            rows.append([run, *cells])
    write_table(path, ["run", *columns], rows)


def read_runs(data: Path) -> list[dict[str, str]]:
    """The rows of runs.csv, or none where there is no such file."""
    if not (data / "runs.csv").exists():
        return []
    with (data / "runs.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def note_origins(experiment: str, found: list[Found], data: Path) -> None:
    """Say in runs.csv where the runs come from: a row a run.

    A run whose files come from different commands, commits, devices or days has a row
    for each.
    """
    origins = {}  # of (experiment, run, kind)
    for row in read_runs(data):
        for kind in row["tables"].split():
            origin = tuple(row[name] for name in ORIGIN)
            origins[row["experiment"], row["run"], kind] = origin
    for run, kind, cells in found:
        origin = tuple(cells.origin[name] for name in ORIGIN)
        origins[experiment, run, kind] = origin
    kinds = {}  # of (experiment, run, origin)
    for (name, run, kind), origin in origins.items():
        kinds.setdefault((name, run, origin), []).append(kind)
    rows = [
        [name, run, " ".join(sorted(tables, key=KINDS.index)), *origin]
        for (name, run, origin), tables in kinds.items()
    ]
    rows.sort(key=lambda row: (row[0], in_order(row[1]), row[2:]))
    write_table(data / "runs.csv", COLUMNS, rows)


def doubts(experiment: str, found: list[Found], data: Path) -> list[str]:
    """What speaks against publishing these runs."""
    said, kinds = [], {}
    for run, kind, cells in found:
        kinds.setdefault(run, set()).add(kind)
        commit = cells.origin["commit"]
        if commit == "unknown" or commit.endswith("+changes"):
            said.append(f"{run} ({kind}) was made by code that is in no commit")
    for row in read_runs(data):
        if row["experiment"] == experiment and row["run"] in kinds:
            lacks = set(row["tables"].split()) - kinds[row["run"]]
            said += [f"{row['run']} has no {k} yet" for k in sorted(lacks)]
    return said


def renew(folder: Path, published: Path) -> list[str]:
    """Copy weights and lists that the book has from earlier runs of the same name."""
    names = []
    for old in sorted(published.iterdir()):
        new = folder / old.name
        if old.suffix != ".csv" and new.exists() and not cmp(new, old, shallow=False):
            write_atomically(old, partial(copyfile, new))
            names.append(old.name)
    return names


def publish(folder: Path, data: Path = DATA, force: bool = False) -> None:
    """Publish the runs of one experiment, which lie in a folder of its name.

    Raises SystemExit, and writes nothing, where there is no run, a file is of no known
    kind, a run was made by code that is in no commit, or lacks a table that the
    published run has; `force` lets the last two pass.
    """
    found, experiment = find(folder), folder.name
    if not found:
        raise SystemExit(f"{folder.name}: there are no runs to publish")
    said = doubts(experiment, found, data)
    if said and not force:
        why = "\n".join(f"{experiment}: {line}" for line in said)
        raise SystemExit(f"{why}\ncommit and run again, or pass --force")
    tables = {}
    for run, kind, cells in found:
        tables.setdefault(kind, {})[run] = cells
    for kind, runs in tables.items():
        merge(f"{experiment}/{kind}", runs, data)
    note_origins(experiment, found, data)
    for name in renew(folder, data / experiment):
        print(f"{experiment}/{name} is renewed")
    for kind in sorted(tables, key=KINDS.index):
        print(f"{experiment}/{kind}: {len(tables[kind])} runs")


@dataclass(frozen=True)
class Options:
    """Publish the runs of experiments: put them into the tables of the book."""

    names: Positional[tuple[str, ...]] = ()
    """of experiments; without any, all that have runs"""
    runs: Path = OWN
    """folder with a folder of runs for each experiment"""
    data: Path = DATA
    """folder of the tables"""
    force: bool = False
    """publish what was made by code in no commit, and runs that lack a file"""


def main(words: Sequence[str] | None = None) -> None:
    """Publish what the command line asks for."""
    options = parse(Options, words, "collect")
    folders = [options.runs / name for name in options.names]
    if not folders and options.runs.is_dir():
        folders = sorted(path for path in options.runs.iterdir() if path.is_dir())
    if not folders:
        raise SystemExit("there are no runs to publish")
    for folder in folders:
        publish(folder, options.data, options.force)


if __name__ == "__main__":
    main()
