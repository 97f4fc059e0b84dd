"""A class that is graded in forks of the tests, and what has to be true of its folder.

Its `mark` gives each judging points of its own, so that one that is done again is seen.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from coursekit import __main__ as command
from coursekit.authoring import assignment as authored
from coursekit.authoring.assignment import load
from coursekit.authoring.notebooks import mark_written
from coursekit.grading import grade as grading
from coursekit.grading.manual import read_manual
from coursekit.grading.mark import unread
from coursekit.grading.reading import notebook_of, read_notebook
from coursekit.grading.results import read_result
from coursekit.grading.tables import read_table, write_table
from coursekit.walls.processes import SET_DEATH_SIGNAL, prctl

FOLDER = Path(__file__).parent.parent / "assignments" / "example"
EXAMPLE = load(FOLDER)
assert EXAMPLE.tests and EXAMPLE.fingerprint  # noqa: PT018, once for all forks
# Where there is one, copies lie on a disk in memory, which no fsync has to wait for:
# what is killed here is a process, and not the machine.
MEMORY = Path("/dev/shm")
COPIES = MEMORY if os.access(MEMORY, os.W_OK) else None


def hand_in(base: Path, student: str, answer: str) -> Path:
    cell = {"cell_type": "markdown", "source": f"{mark_written('q4')}\n{answer}"}
    path = base / "class" / student / "example.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    return path


def lottery(base: Path):
    """A `mark` whose points for q1 are other ones each time."""

    def mark(assignment, submission, secret, unsafe):
        with (base / "judged").open("a") as file:
            file.write(f"{submission.student}\n")
        number = (base / "judged").read_text().count("\n")
        notebook = read_notebook(notebook_of(submission, assignment)[0], assignment)
        return replace(
            unread(assignment, submission, "", "ok"),
            questions={"q1": number / 100, "q2": 3.0, "q3": 2.0},
            written=notebook.written,
        )

    return mark


def call(base: Path, *more: str) -> list[str]:
    given = ["grade", str(base / "class"), "--assignment", str(FOLDER), "--quiet"]
    return [*given, "--out", str(base / "out"), "--jobs", "2", *more]


def begin(
    base: Path,
    *more: str,
    before: Callable[[], None] = lambda: None,
    mark: Callable | None = None,
) -> int:
    """Begin the command in a fork, after `before`; its process."""
    child = os.fork()
    if child == 0:
        code = 99
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL)  # nothing is left of a failed test
        signal.alarm(60)
        try:
            said = os.open(base / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler)
            authored.load = lambda *_: EXAMPLE
            grading.mark = mark or lottery(base)
            grading.missing = lambda: ""
            before()
            code = command.main(call(base, *more))
        finally:
            sys.stdout.flush()
            os._exit(code)
    return child


def end(base: Path, child: int) -> tuple[int, str]:
    """Wait for a command's end; its exit code, or minus a signal, and what it said."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), (base / "said").read_text()


def run(base: Path, *more: str, **chosen) -> tuple[int, str]:
    """Begin the command in a fork and wait for its end."""
    return end(base, begin(base, *more, **chosen))


def make_class(base: Path) -> Path:
    """A class that was graded, with points by hand; since then two have handed in."""
    for student in ("ada", "ben"):
        hand_in(base, student, "old")
    with pytest.MonkeyPatch.context() as patch:  # here, so that forks import nothing
        patch.setattr(grading, "mark", lottery(base))
        patch.setattr(grading, "missing", lambda: "")
        assert command.main(call(base)) == 0
    enter(base / "out" / "manual.csv", ada="1.5", ben="1")
    assert run(base)[0] == 0
    hand_in(base, "ben", "new")
    hand_in(base, "cy", "late")
    text = "student,question,points,comment\ncy,q4,2,brought\n"
    (base / "brought.csv").write_text(text)
    return base


def enter(path: Path, **points: str) -> None:
    names, rows = read_table(path)
    for row in rows:
        row["points"] = points.get(row["student"], row["points"])
    write_table(path, names, rows)


@contextmanager
def copied(base: Path):
    with tempfile.TemporaryDirectory(dir=COPIES) as folder:
        yield Path(shutil.copytree(base, Path(folder, "copy")))


def results_of(base: Path) -> dict[str, bytes]:
    """The whole results that are there, by student."""
    found = {}
    for path in (base / "out" / "json").glob("*.json"):
        found[read_result(path).student] = path.read_bytes()
    return found


def rows_of(base: Path, name: str = "grades.csv") -> dict[str, dict[str, str]]:
    rows = read_table(base / "out" / name)[1]
    assert len({row["student"] for row in rows}) == len(rows)
    return {row["student"]: row for row in rows}


def by_hand(base: Path) -> dict[str, float]:
    table = read_manual(base / "out" / "manual.csv", EXAMPLE)
    return {student: given.points for (student, _), given in table.items()}


def check_whole(base: Path, before: dict[str, bytes]) -> None:
    """The folder is as an undisturbed run has left it, and keeps what was there."""
    judged = (base / "judged").read_text().split()
    after, rows = results_of(base), rows_of(base)
    for student, data in before.items():
        held = [json.loads(found)["key"] for found in (data, after[student])]
        assert data == after[student] or held[0] != held[1], "judged again"
    assert judged.count("ada") == 1
    points = {student: json.loads(data)["questions"] for student, data in after.items()}
    for student, written in (("ada", 1.5), ("ben", 1.0), ("cy", 2.0)):
        auto = sum(points[student].values())
        assert float(rows[student]["auto"]) == pytest.approx(auto)
        assert float(rows[student]["total"]) == pytest.approx(auto + written)
    assert "changed since it was marked" in rows["ben"]["reason"]
    assert by_hand(base) == {"ada": 1.5, "ben": 1.0, "cy": 2.0}
    assert len(list((base / "out" / "feedback").iterdir())) == 3
    left = [path.name for path in (base / "out").rglob("*") if "partial" in path.name]
    assert not left


def until(true, seconds=20.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def started(function: Callable[[], None]):
    """A function in a fork, killed at the end."""
    child = os.fork()
    if child == 0:
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        try:
            function()
        finally:
            os._exit(0)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
