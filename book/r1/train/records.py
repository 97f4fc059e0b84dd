"""Recorded runs: tables in CSV files whose first lines say where they come from."""

import csv
import platform
import subprocess
import sys
import time
from pathlib import Path

from r1.model.files import write_atomically


def _git(*words: str) -> str:
    """What git says of this package; nothing where there is no git or no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def provenance(command: str | None = None, device: str | None = None) -> str:
    """Where a recorded run comes from, as comment lines for the head of its CSV.

    Without a `command` it is that of r1.train, with the options it was given; without
    a `device` the CPU.
    """
    import torch  # not above: to read a table takes no torch

    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    command = command or " ".join(["python -m experiments.train", *sys.argv[1:]])
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    changed = "+changes" if _git("status", "--porcelain", ".") else ""
    return (
        f"# command: {command}\n"
        f"# commit: {commit}{changed}\n"
        f"# device: {device or cpu}, torch {torch.__version__.split('+')[0]}\n"
        f"# date: {time.strftime('%Y-%m-%d', time.gmtime())}\n"
    )


def write_log(
    path: Path,
    rows: list[dict],
    command: str | None = None,
    device: str | None = None,
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


def read_log(path: Path | str) -> dict[str, list[float]]:
    """Read a recorded run: a list of numbers for each column of its CSV."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def read_rows(path: Path, before: int) -> list[dict[str, int | float]]:
    """The rows of a log up to a step, to be written again by a run that goes on."""
    log = read_log(path)
    rows = (dict(zip(log, row, strict=True)) for row in zip(*log.values(), strict=True))
    return [row | {"step": int(row["step"])} for row in rows if row["step"] < before]


def check_notes(name: str, notes: dict, wanted: dict) -> None:
    """Refuse to go on from a checkpoint that was made with other options.

    Raises SystemExit with the first option that differs.
    """
    for option, value in wanted.items():
        if notes.get(option) != value:
            raise SystemExit(
                f"{name} was made with {option}={notes.get(option)}, not {value}; "
                "resume with the same options"
            )
