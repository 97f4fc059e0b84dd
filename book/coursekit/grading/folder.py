"""The folder of grades: one grader at a time, one assignment, no leftovers."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from coursekit.authoring.assignment import Assignment, AssignmentError
from coursekit.grading.results import assignment_of
from coursekit.walls.files import unwritable, write

PATIENCE = 3.0  # seconds in which the forks of a grader that was killed are gone
WRITTEN = ("json/*.json", "feedback/*.html", "grades.csv", "manual.csv")  # by graders
WRITTEN += ("manual.before.csv", "overview.html", ".grading")


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Have a folder of grades for oneself; any end of this process gives it back.

    Raises AssignmentError with the name of another grader that has it, and Unwritable
    where there can be no folder.
    """
    note = out / ".grading"
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".grading.lock")
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise AssignmentError(
            f"another grader is at work in {out}: {_holder(note)}; wait for it, end "
            "it, or choose another folder with --out"
        ) from None
    except OSError as error:
        raise unwritable(out, error) from error
    try:
        began = time.strftime("%d %B, %H:%M")  # for people, and compared with nothing
        write(note, f"process {os.getpid()} on {socket.gethostname()}, since {began}")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _holder(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8")
    except OSError:
        return "it has just begun"


def check_place(out: Path, handed_in: Path, assignment: Assignment) -> None:
    """Refuse a folder for grades that belongs to something else.

    Raises AssignmentError for one that has results of another assignment, which would
    be lost, and for one among the submissions, which would be taken for one of them.
    """
    if out.resolve().is_relative_to(handed_in.resolve()):
        raise AssignmentError(
            f"{out} is among the submissions: choose a folder outside with --out"
        )
    for path in sorted(out.glob("json/*.json")):
        other = assignment_of(path)
        if other not in ("", assignment.name):
            raise AssignmentError(
                f"{out} has the grades of {other}: choose another folder for those of "
                f"{assignment.name} with --out"
            )


def sweep(out: Path) -> None:
    """Delete what graders that were killed have left half written in their folder."""
    for name in WRITTEN:
        for path in out.glob(f"{name}.*.partial"):
            path.unlink(missing_ok=True)
