"""One submission: read, judged in a sandbox, and made a result."""

import hashlib
import time
from collections.abc import Mapping
from contextlib import nullcontext

from coursekit.authoring.assignment import Assignment
from coursekit.grading.reading import notebook_of, read_notebook
from coursekit.grading.remarks import remarks
from coursekit.grading.results import Result
from coursekit.grading.submissions import Submission, handed_in
from coursekit.testing.judge import judge_cells
from coursekit.walls.files import Unreadable, read_bytes
from coursekit.walls.frames import Broken
from coursekit.walls.sandbox import UNSAFE, WALLS, NoSandbox, Sandbox, opened


def key(assignment: Assignment, submission: Submission, secret: str) -> str:
    """A number that changes with whatever a grade depends on."""
    digest = hashlib.sha256(f"{assignment.fingerprint}\0{secret}".encode())
    for name, path in sorted(submission.files.items()):
        try:
            data = read_bytes(path, 2**28)
        except Unreadable as error:
            data = str(error).encode()
        digest.update(f"{name}\0{len(data)}\0".encode("utf-8", "replace") + data)
    digest.update("\0".join(submission.notes).encode())
    return digest.hexdigest()


def unread(
    assignment: Assignment,
    submission: Submission,
    why: str,
    status: str = "unreadable",
    unsafe: bool = False,
) -> Result:
    """The result of a submission that cannot be graded: no points, and not zero."""
    return Result(
        student=submission.student,
        assignment=assignment.name,
        status=submission.status or status,
        reason=why,
        isolation=UNSAFE if unsafe else WALLS,
        questions=dict.fromkeys(assignment.questions),
    )


def told(wrong: Mapping[int, str], skipped: Mapping[int, str]) -> dict[str, str]:
    """What students are told of their cells, by number: errors, and what was not run.

    >>> told({2: "NameError: x"}, {1: "line 1: `!ls` was not run"})
    {'1': 'line 1: `!ls` was not run', '2': 'NameError: x'}
    """
    numbers = sorted({*wrong, *skipped})
    said = {n: [t for t in (wrong.get(n), skipped.get(n)) if t] for n in numbers}
    return {str(number): "; ".join(texts) for number, texts in said.items()}


def mark(
    assignment: Assignment,
    submission: Submission,
    secret: str = "",
    unsafe: bool = False,
    used: Sandbox | None = None,
) -> Result:
    """Grade one submission.

    It gets a sandbox of its own, unless `used` is one in which others were judged
    before: that saves time where all of them are ours.

    Raises NoSandbox where there can be none.
    """
    began = time.monotonic()
    try:
        path, note = notebook_of(submission, assignment)
        notebook = read_notebook(path, assignment)
    except Unreadable as error:
        return unread(assignment, submission, str(error), unsafe=unsafe)
    files, missed = handed_in(submission, assignment)
    shown = {p.name: p for p in assignment.paths("files")} | files
    given = (assignment.tests, notebook.cells, files, secret)
    for again in (True, False):
        try:
            fresh = opened(assignment.limits, shown, unsafe)
            with nullcontext(used) if used else fresh as box:
                marker, verdicts = judge_cells(box, *given)
            break
        except (Broken, NoSandbox) as error:
            if not again:
                return unread(assignment, submission, str(error), "error", unsafe)
    points = dict.fromkeys(assignment.questions, 0.0)
    for verdict in verdicts:
        points[verdict.question] += verdict.points
    notes = [*submission.notes, *([note] if note else []), *missed]
    notes += [*notebook.notes, *marker.notes]
    notes += remarks(assignment, notebook, marker.wrong, verdicts)
    return Result(
        student=submission.student,
        assignment=assignment.name,
        status="look" if notes else "ok",
        reason="; ".join(notes),
        isolation=UNSAFE if unsafe else WALLS,
        questions={q: round(p, 6) for q, p in points.items()},
        written=notebook.written,
        verdicts=verdicts,
        cells=told(marker.wrong, notebook.told),
        seconds=round(time.monotonic() - began, 2),
    )
