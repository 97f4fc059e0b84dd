"""One submission: its cells are run in a sandbox, its answers judged here."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from coursekit.assignment import Assignment
from coursekit.files import Unreadable, read_bytes
from coursekit.frames import Broken
from coursekit.sandbox import UNSAFE, WALLS, Ended, NoSandbox, Sandbox, opened
from coursekit.student import Student, StudentError
from coursekit.submissions import Submission, handed_in, notebook_of, read_notebook
from coursekit.suite import Test, Verdict, run_test, seed_of

LEFT_OUT = 6  # cells that may take the session along; then there is no session
SUSPECT = ("processes", "garbage")
# What keeps a cell from defining anything and is seldom meant.
BROKEN = ("SyntaxError", "IndentationError", "TabError", "NameError")
BROKEN += ("UnboundLocalError", "ImportError", "ModuleNotFoundError")


class Marker:
    """Runs tests on a notebook in a sandbox, whatever the notebook does to it."""

    def __init__(self, box: Sandbox, cells: Mapping[int, str], assignment: Assignment):
        self.box, self.cells, self.limits = box, cells, assignment.limits
        self.left_out: dict[int, str] = {}  # cells that took the session along
        self.wrong: dict[int, str] = {}  # cells that raised
        self.notes: list[str] = []
        self.wasted: dict[str, float] = defaultdict(float)  # seconds, by question

    def load(self) -> bool:
        """Run all cells in a new session; a cell that kills it is left out."""
        while len(self.left_out) <= LEFT_OUT:
            self.box.start()
            self.wrong = {}
            try:
                for number, source in self.cells.items():
                    if number in self.left_out:
                        continue
                    if wrong := self.box.cell(source, number):
                        self.wrong[number] = wrong
                return True
            except Ended as end:
                self.left_out[number] = end.kind
                self.note(f"code cell {number} was left out: {self.why(end.kind)}")
        return False

    def note(self, text: str) -> None:
        """Remark what a person should look at, once."""
        if text not in self.notes:
            self.notes.append(text)

    def why(self, kind: str, seconds: float | None = None) -> str:
        """What a kind of end means, for students."""
        memory = f"{self.limits.memory / 2**30:g} GiB"
        return {
            "time": f"it did not end within {seconds or self.limits.cell:g} s",
            "memory": f"it used more than {memory} of memory",
            "processes": f"it ran more than {self.limits.processes} processes",
            "died": "it ended its process (exit, or a crash)",
        }[kind]

    def judge(self, test: Test, files: dict, secret: str) -> Verdict:
        """Run one test to its verdict, in a fork of its own."""
        if not test.asks_student:
            return run_test(test, Student(_nobody), files, secret)
        began = time.monotonic()

        def ask(request: bytes) -> bytes:
            if self.wasted[test.question] > self.limits.question:
                text = f"the answers to {test.question} have used up their time"
                raise StudentError(text, "time")
            seconds = test.seconds or self.limits.call
            try:
                return self.box.ask(request, seconds)
            except Ended as end:
                if end.kind in SUSPECT:
                    self.note(f"{test.question}: {self.why(end.kind, seconds)}")
                raise StudentError(self.why(end.kind, seconds), end.kind) from None

        if not self.ready(seed_of(test.name, secret)):
            ask = _nobody
        verdict = run_test(test, Student(ask), files, secret)
        if self.box.alive and self.box.end():
            self.note(f"{test.question}: it left processes behind, which were ended")
        if not self.box.alive:
            self.load()  # at the cost of this question
            self.wasted[test.question] += time.monotonic() - began
        elif verdict.kind in ("time", "memory"):
            self.wasted[test.question] += time.monotonic() - began
        if verdict.kind in SUSPECT:
            self.note(f"{test.question}: {verdict.message}")
        return verdict

    def ready(self, seed: int) -> bool:
        """Have a fork for the next test, in a new session if the last one is gone."""
        for _ in range(2):
            if self.box.alive or self.load():
                try:
                    self.box.begin(seed)
                    return True
                except Ended:
                    continue
        return False


def _nobody(request: bytes) -> bytes:
    raise StudentError("the notebook cannot be run", "died")


def key(assignment: Assignment, submission: Submission, secret: str) -> str:
    """A number that changes with whatever a grade depends on."""
    digest = hashlib.sha256(f"{assignment.fingerprint()}\0{secret}".encode())
    for name, path in sorted(submission.files.items()):
        try:
            data = read_bytes(path, 2**28)
        except Unreadable as error:
            data = str(error).encode()
        digest.update(f"{name}\0{len(data)}\0".encode("utf-8", "replace") + data)
    return digest.hexdigest()


def unread(assignment: Assignment, submission: Submission, why: str) -> dict[str, Any]:
    """The result of a submission that cannot be graded: no points, and not zero."""
    status = submission.status or "unreadable"
    return _result(assignment, submission, status, why)


def _result(assignment, submission, status, reason, **more) -> dict[str, Any]:
    return {
        "student": submission.student,
        "assignment": assignment.name,
        "status": status,
        "reason": reason,
        "questions": dict.fromkeys(assignment.questions),
        "written": {},
        "verdicts": [],
        "cells": {},
        "seconds": 0.0,
        **more,
    }


def judge_cells(
    box: Sandbox,
    assignment: Assignment,
    cells: Mapping[int, str],
    files: dict,
    secret: str = "",
) -> tuple[Marker, list[Verdict]]:
    """Run all tests on a notebook's cells, by number, in an open sandbox.

    Raises Broken and NoSandbox where the sandbox, not the submission, is at fault.
    """
    marker = Marker(box, cells, assignment)
    marker.load()
    verdicts = [marker.judge(test, files, secret) for test in assignment.tests]
    return marker, verdicts


def broken(wrong: Mapping[int, str], answers: Mapping[int, str]) -> list[str]:
    """Remarks on cells that answer a question and raised what is seldom meant."""
    return [
        f"{answers[number]}: code cell {number}: {' '.join(text.split())[:200]}"
        for number, text in wrong.items()
        if number in answers and text.partition(":")[0] in BROKEN
    ]


def mark(
    assignment: Assignment,
    submission: Submission,
    secret: str = "",
    unsafe: bool = False,
    used: Sandbox | None = None,
) -> dict[str, Any]:
    """Grade one submission; the result is plain data, as it goes to JSON.

    It gets a sandbox of its own, unless `used` is one in which others were judged
    before: that saves time where all of them are ours.

    `status` is "ok", "look" (graded, with remarks that a person should see),
    "unreadable" or "error" (of the sandbox); the last two have None for points.

    Raises NoSandbox where there can be none.
    """
    began = time.monotonic()
    try:
        path, note = notebook_of(submission, assignment)
        notebook = read_notebook(path, assignment)
    except Unreadable as error:
        return unread(assignment, submission, str(error))
    files, missed = handed_in(submission, assignment)
    shown = {p.name: p for p in assignment.paths("files")} | files
    for again in (True, False):
        try:
            fresh = opened(assignment.limits, shown, unsafe)
            with nullcontext(used) if used else fresh as box:
                marker, verdicts = judge_cells(
                    box, assignment, notebook.cells, files, secret
                )
            break
        except (Broken, NoSandbox) as error:
            if not again:
                return _result(assignment, submission, "error", str(error))
    points = dict.fromkeys(assignment.questions, 0.0)
    for verdict in verdicts:
        points[verdict.question] += verdict.points
    notes = [*([note] if note else []), *missed, *notebook.notes, *marker.notes]
    notes += broken(marker.wrong, notebook.answers)
    return _result(
        assignment,
        submission,
        "look" if notes else "ok",
        "; ".join(notes),
        questions={q: round(p, 6) for q, p in points.items()},
        written=notebook.written,
        verdicts=[asdict(verdict) for verdict in verdicts],
        cells={str(n): text for n, text in marker.wrong.items()},
        seconds=round(time.monotonic() - began, 2),
        isolation=UNSAFE if unsafe else WALLS,
    )
