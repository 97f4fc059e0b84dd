"""Recorded runs: written one file a run, published and read as tables of many runs.

A program writes its run to files of its own (`write_log`), whose first lines say where
they come from. `python -m experiments.collect` publishes such files in the book's
folder data: a table for each experiment and kind, such as rl/steps.csv, with the run's
name in the column `run`, and runs.csv, which says of each run where it comes from.
"""

import csv
import platform
import re
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from r1.model.files import write_atomically

BOOK = Path(__file__).parents[2]
DATA = BOOK / "data"
ORIGIN = ("command", "commit", "device", "date")
NOT_INSTALLED = (
    "the book's data are not installed with its package: clone the book's repository, "
    "and there pip install -e ."
)


def _git(*words: str) -> str:
    """What git says of the book; nothing where there is no git or no checkout."""
    if not DATA.is_dir():  # installed, and maybe within another checkout
        return ""
    command = ["git", "-C", str(BOOK), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def provenance(command: str, device: str | None = None) -> str:
    """Where a recorded run comes from, as comment lines for the head of its CSV.

    Without a `device` it is the one on which torch makes tensors now.
    """
    import torch  # not above: to read a table takes no torch

    here = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    if torch.get_default_device().type == "cuda":
        here = torch.cuda.get_device_name()
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    code = ("r1", "experiments")
    changed = "+changes" if _git("status", "--porcelain", "--", *code) else ""
    return (
        f"# command: {command}\n"
        f"# commit: {commit}{changed}\n"
        f"# device: {device or here}, torch {torch.__version__.split('+')[0]}\n"
        f"# date: {time.strftime('%Y-%m-%d', time.gmtime())}\n"
    )


def write_log(
    path: Path, rows: list[dict], command: str, device: str | None = None
) -> None:
    """Write one row a step, with the run's provenance above the header."""

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as file:
            file.write(provenance(command, device))
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow(
                    {k: f"{v:.5g}" if type(v) is float else v for k, v in row.items()}
                )

    write_atomically(path, write)


class Cells(NamedTuple):
    """The file of one run as text: where it comes from, its columns, its rows."""

    origin: dict[str, str]
    columns: list[str]
    rows: list[list[str]]


def read_cells(path: Path | str) -> Cells:
    """Read the file of one run as it is written.

    Raises ValueError where the file has no row.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line.startswith("#")]
    pairs = (line.removeprefix("# ").split(": ", 1) for line in head)
    columns, *rows = csv.reader(lines[len(head) :])
    if not rows:
        raise ValueError(f"{path} has no row")
    return Cells(dict(pairs), columns, rows)


def read_log(path: Path | str) -> dict[str, list[float]]:
    """Read the file of one run: a list of numbers for each of its columns."""
    _, columns, rows = read_cells(path)
    return _numbers(columns, rows)


def _numbers(columns: list[str], rows: list[list[str]]) -> dict[str, list[float]]:
    pairs = zip(columns, zip(*rows, strict=True), strict=True)
    return {name: [float(cell) for cell in cells] for name, cells in pairs}


@cache
def _read_table(path: Path, changed: int) -> dict[str, Cells]:
    """The cells of each run of a table, without the columns that the run lacks."""
    with path.open(encoding="utf-8", newline="") as file:
        (_, *columns), *rows = csv.reader(file)
    runs = {}
    for run, *cells in rows:
        runs.setdefault(run, []).append(cells)
    tables = {}
    for run, rows in runs.items():
        filled = [i for i, cells in enumerate(zip(*rows, strict=True)) if any(cells)]
        names = [columns[i] for i in filled]
        tables[run] = Cells({}, names, [[row[i] for i in filled] for row in rows])
    return tables


def tables(folder: Path = DATA) -> list[str]:
    """The published tables, such as "rl/steps": files whose first column is a run."""
    names = []
    for path in sorted(Path(folder).glob("*/*.csv")):
        with path.open(encoding="utf-8") as file:
            if file.readline().startswith("run,"):
                names.append(f"{path.parent.name}/{path.stem}")
    return names


def read_table(table: str, folder: Path = DATA) -> dict[str, Cells]:
    """The runs of a published table, such as "rl/steps", each with its cells as text.

    Raises FileNotFoundError, which names the tables that there are.
    """
    path = Path(folder, f"{table}.csv")
    if not path.exists():
        available = f"there are: {', '.join(tables(folder))}"
        remedy = available if Path(folder).is_dir() else NOT_INSTALLED
        raise FileNotFoundError(f"there is no table {table}; {remedy}")
    # The time of the last change is part of the cache's key, so a file that is written
    # again is read again.
    return _read_table(path, path.stat().st_mtime_ns)


def read_run(
    table: str, run: str | None = None, folder: Path = DATA
) -> dict[str, list[float]]:
    """One run of a published table: a list of numbers for each column that it has.

    `read_run("rl/terms", "zero_seed0")`; a table of one run needs no name of a run.
    Raises FileNotFoundError for a table and LookupError for a run that is not there.
    """
    runs = read_table(table, folder)
    if run is None and len(runs) == 1:
        (run,) = runs
    if run not in runs:
        raise LookupError(f"{table} has no run {run}; {_there(runs)}")
    _, columns, rows = runs[run]
    return _numbers(columns, rows)


def read_seeds(
    table: str, name: str, seeds: int | None = None, folder: Path = DATA
) -> list[dict[str, list[float]]]:
    """The runs NAME_seed0, NAME_seed1, ... of a table, in the order of their seeds.

    `read_seeds("rl/steps", "zero", 5)` has seeds 0 to 4; without `seeds` it is all
    that there are. Raises what `read_run` raises.
    """
    if seeds is None:
        runs = read_table(table, folder)
        matches = (re.fullmatch(rf"{re.escape(name)}_seed(\d+)", run) for run in runs)
        numbers = sorted(int(match[1]) for match in matches if match)
        if not numbers:
            raise LookupError(f"{table} has no seeds of {name}; {_there(runs)}")
    else:
        numbers = range(seeds)
    return [read_run(table, f"{name}_seed{seed}", folder) for seed in numbers]


def _there(runs: dict[str, Cells]) -> str:
    """The runs that a table has; those that differ in the seed stand together."""
    names = {}
    for run in runs:
        name, _, seed = run.rpartition("_seed")
        names.setdefault(name if name and seed.isdigit() else run, []).append(seed)
    shown = (
        f"{name}_seed{'|'.join(seeds)}" if name not in runs else name
        for name, seeds in names.items()
    )
    return f"there are: {', '.join(shown)}"


def read_origin(table: str, run: str, folder: Path = DATA) -> dict[str, str]:
    """Where a run of a table comes from: its command, commit, device and date.

    Raises LookupError for what runs.csv does not know.
    """
    experiment, _, kind = table.partition("/")
    with Path(folder, "runs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            matches = row["experiment"] == experiment and row["run"] == run
            if matches and kind in row["tables"].split():
                return {name: row[name] for name in ORIGIN}
    raise LookupError(f"runs.csv has no run {run} of {table}")


def read_rows(path: Path, before: int) -> list[dict[str, int | float]]:
    """The rows of a log up to a step, to be written again by a run that goes on."""
    log = read_log(path)
    rows = (dict(zip(log, row, strict=True)) for row in zip(*log.values(), strict=True))
    return [row | {"step": int(row["step"])} for row in rows if row["step"] < before]


def check_notes(name: str, notes: dict, wanted: dict) -> None:
    """Refuse to go on from a checkpoint that was made with other options.

    `step` and `finished` are no options: they say how far the run was.

    Raises SystemExit with the first option that differs, or that only one of both has.
    """
    for option in dict.fromkeys((*wanted, *notes)):
        had, has = notes.get(option), wanted.get(option)
        if had != has and option not in ("step", "finished"):
            raise SystemExit(
                f"{name} was made with {option}={had}, not {has}; "
                "resume with the same options"
            )
