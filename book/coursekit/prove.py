"""The proof that an assignment grades itself, and that nothing gets past the kit."""

import contextlib
import json
import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from coursekit.assignment import Assignment
from coursekit.grade import Options, grade
from coursekit.hostile import Hostile, hostile, lay_out
from coursekit.mark import judge_cells, mark
from coursekit.mutants import Variant, blank, mutants, reference, write_files, zeros
from coursekit.rehearsal import SECRET
from coursekit.report import write_reports
from coursekit.sandbox import Limits, NoSandbox, missing, opened
from coursekit.submissions import Submission, collect
from coursekit.suite import Verdict

FORK = multiprocessing.get_context("fork")
SHORT = {"cell": 6.0, "call": 5.0, "question": 4.0}  # seconds for hostile submissions


def prove(assignment: Assignment, jobs: int = 2, quick: bool = False) -> list[str]:
    """What is wrong with an assignment; an empty list is the proof.

    The reference must pass all tests, the blank starter and a stub of zeros none, each
    mutant exactly those that it does not list, and every test must fail for some
    mutant. `quick` judges the reference and the blank starter only.

    Raises AssignmentError for what cannot even be tried, NoSandbox without bubblewrap.
    """
    if missing():
        raise NoSandbox(missing())
    variants = [reference(assignment), blank(assignment)]
    wrong = []
    if not quick:
        variants += [zeros(assignment), *mutants(assignment)]
        listed = {name for v in variants[3:] for name in v.fails}
        unfailed = [t.name for t in assignment.tests if t.name not in listed]
        wrong += [f"no mutant fails {name}" for name in unfailed]
    names = [variant.name for variant in variants]
    wrong += [f"two mutants are called {n!r}" for n in {*names} if names.count(n) > 1]
    parts = spread(lambda part: _judged(assignment, part), variants, jobs)
    for variant, verdicts in parts:
        wrong += disagreements(variant, verdicts)
    return wrong


def _judged(assignment: Assignment, part: list[Variant]) -> list[tuple[Variant, list]]:
    """Judge variants one after the other in one sandbox: their code is our own."""
    torch.set_num_threads(1)
    shown = {path.name: path for path in assignment.paths("files")}
    found = []
    with opened(assignment.limits, shown) as box:
        for variant in part:
            with tempfile.TemporaryDirectory() as folder:
                files = write_files(variant, Path(folder))
                cells = dict(enumerate(variant.cells, 1))
                verdicts = judge_cells(box, assignment, cells, files, SECRET)[1]
            found.append((variant, verdicts))
    return found


def _marked(assignment: Assignment, part: list[Submission]) -> list[dict[str, Any]]:
    """Grade submissions one after the other in one sandbox."""
    torch.set_num_threads(1)
    shown = {path.name: path for path in assignment.paths("files")}
    with opened(assignment.limits, shown) as box:
        return [mark(assignment, one, SECRET, used=box) for one in part]


def disagreements(variant: Variant, verdicts: list[Verdict]) -> list[str]:
    """Where the verdicts are others than those that a variant has to get."""
    found = []
    for verdict in verdicts:
        expected = variant.fails is None or verdict.test in variant.fails
        if verdict.passed and expected:
            found.append(f"{variant.name}: passes {verdict.test}")
        elif not verdict.passed and not expected:
            found.append(f"{variant.name}: fails {verdict.test}: {verdict.message}")
        elif verdict.kind == "judge" and variant.fails is not None:
            found.append(
                f"{variant.name}: {verdict.test} must say what is wrong, with an "
                f"assertion, and not raise: {verdict.message}"
            )
    return found


def spread(function: Callable[[list], list], items: list, jobs: int) -> list:
    """Call a function with parts of a list in processes of their own; joins the lists.

    Raises RuntimeError with the text of what a process has raised.
    """
    pipes = []
    for number in range(min(jobs, len(items))):
        ours, theirs = FORK.Pipe(duplex=False)

        def work(part=items[number::jobs], pipe=theirs) -> None:
            try:
                pipe.send((None, function(part)))
            except Exception as error:
                pipe.send((f"{type(error).__name__}: {error}", []))

        process = FORK.Process(target=work, daemon=True)
        process.start()
        theirs.close()
        pipes.append((ours, process))
    joined = []
    for ours, process in pipes:
        error, part = ours.recv()
        process.join()
        if error:
            raise RuntimeError(error)
        joined += part
    return joined


# --- the hostile set ------------------------------------------------------------------


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and a list that tells afterwards what has come in there.

    Connections wait in the port's queue, and datagrams in its buffer, to be counted.
    """
    heard: list[str] = []
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        port = stream.getsockname()[1]
        datagram.bind(("127.0.0.1", port))
        yield port, heard
        stream.setblocking(False)
        datagram.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                stream.accept()[0].close()
                heard.append("a connection")
        with contextlib.suppress(BlockingIOError):
            while True:
                datagram.recv(1)
                heard.append("a datagram")


def own(limits: Limits) -> Limits:
    """The same limits but for a tiny part of a second, as no other process has them."""
    return replace(limits, question=limits.question + os.getpid() * 1e-9)


def sandboxed(limits: Limits) -> set[int]:
    """Processes on this machine that are or were forked from a worker with limits."""
    mark = json.dumps(asdict(limits)).encode()
    found = set()
    for entry in os.listdir("/proc"):
        try:
            said = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if mark in said:
            found.add(int(entry))
    return found


def snapshot(folders: list[Path]) -> dict[str, tuple[int, int]]:
    """Size and time of every file below folders."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                stat = path.lstat()
                found[str(path)] = (stat.st_size, stat.st_mtime_ns)
    return found


def prove_hostile(
    assignment: Assignment, jobs: int = 2, quiet: bool = True
) -> tuple[list[str], list[dict[str, Any]]]:
    """What goes wrong with the hostile set, and the results; made from an assignment.

    Every submission must get exactly its points and status; no process, file or
    connection may be left of any; no page may hold markup or a hidden test's text.
    What only says something wrong is judged in a sandbox that others have used before;
    the rest is graded as a class is, each in a sandbox of its own.

    Raises NoSandbox without bubblewrap.
    """
    limits = own(replace(assignment.limits, **SHORT))
    short, wrong = replace(assignment, limits=limits), []
    with tempfile.TemporaryDirectory() as base, listening() as (port, heard):
        class_, out = Path(base, "class"), Path(base, "out")
        everybody = hostile(short, port)
        lay_out(everybody, class_)
        watched = [class_, assignment.folder]
        files = snapshot(watched)
        options = Options(jobs=jobs, secret=SECRET, quiet=quiet)
        mild = {one.name for one in everybody if one.mild}
        found = collect(class_)
        rest = [submission for submission in found if submission.student not in mild]
        results = grade(short, rest, out, options)
        others = [submission for submission in found if submission.student in mild]
        results += spread(lambda part: _marked(short, part), others, jobs)
        rows = write_reports(out, results, short, {})
        if snapshot(watched) != files:
            wrong.append("files were changed")
        hidden = [p.read_text("utf-8") for p in short.paths("tests/hidden", "*.py")]
        for page in sorted(out.glob("feedback/*.html")):
            text = page.read_text(encoding="utf-8")
            if "<script" in text or any(test in text for test in hidden):
                wrong.append(f"{page.name} shows what it should not")
    wrong += [f"{what} came out of a sandbox" for what in heard]
    by_student = {result["student"]: result for result in results}
    for one in everybody:
        wrong += misjudged(one, by_student.get(one.name), short)
    if len(rows) != len(everybody):
        wrong.append(f"{len(rows)} rows for {len(everybody)} submissions")
    if left := sandboxed(limits):
        wrong.append(f"processes are left: {sorted(left)}")
    return wrong, results


def misjudged(
    one: Hostile, result: dict[str, Any] | None, assignment: Assignment
) -> list[str]:
    """Where a hostile submission got something else than it deserves."""
    if result is None:
        return [f"{one.name}: no result"]
    found = []
    if result["status"] not in one.status:
        found.append(f"{one.name}: {result['status']}, {result['reason']}")
    for question, most in assignment.questions.items():
        due: float | None = most
        if one.lost is None or question in one.lost:
            due = None if one.lost is None else 0.0
        if (got := result["questions"][question]) != due:
            said = [
                v["message"] for v in result["verdicts"] if v["question"] == question
            ]
            found.append(f"{one.name}: {question} got {got}, not {due}: {said}")
    return found
