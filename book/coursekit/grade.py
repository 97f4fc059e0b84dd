"""A whole class: several submissions at once, taken up again where it was left.

Every submission is judged in a process of its own, which writes its result to
`json/STUDENT.json` in one step. What is there and still true is not judged again.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from tqdm import tqdm

from coursekit.assignment import Assignment, AssignmentError
from coursekit.files import write
from coursekit.mark import key, mark, unread
from coursekit.processes import limit_memory
from coursekit.sandbox import NoSandbox, missing
from coursekit.submissions import Submission

SECRET = "COURSE_SECRET"
MEMORY = 8 * 2**30  # bytes that judging one submission may need in this process
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Options:
    """How to grade: at most `deadline` seconds for one submission, all in all."""

    jobs: int = max(1, (os.cpu_count() or 1))
    secret: str = ""
    unsafe: bool = False
    again: bool = False
    deadline: float = 1800.0
    quiet: bool = False


def file_name(student: str) -> str:
    """A student's id as the name of a file."""
    return quote(student, safe=" @+,=")


def read_secret(path: Path | None) -> str:
    """The course's secret from a file, or from COURSE_SECRET; empty if there is none.

    Raises AssignmentError for an empty file.
    """
    if path is None:
        return os.environ.get(SECRET, "")
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise AssignmentError(f"{path.name} is empty: write a secret into it")
    return text


def stored(path: Path, wanted: str) -> dict[str, Any] | None:
    """A result from an earlier run, if nothing that it depends on has changed."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if result.get("key") == wanted else None


def _judge(assignment, submission, options, path, wanted) -> None:
    """In a process of its own: judge, and write the result."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began it will end it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    limit_memory(MEMORY)
    result = mark(assignment, submission, options.secret, options.unsafe)
    write(path, json.dumps({**result, "key": wanted}, indent=1) + "\n")


def grade(
    assignment: Assignment,
    submissions: list[Submission],
    out: Path,
    options: Options,
) -> list[dict[str, Any]]:
    """Results for all submissions, in their order.

    Raises NoSandbox where submissions cannot be locked in, unless `unsafe` is set.
    """
    if not options.unsafe and missing():
        raise NoSandbox(missing())
    assert assignment.tests  # read once, before the processes are forked
    results: dict[str, dict[str, Any]] = {}
    waiting: list[tuple[Submission, Path, str]] = []
    for submission in submissions:
        path = out / "json" / f"{file_name(submission.student)}.json"
        wanted = key(assignment, submission, options.secret)
        wanted += "unsafe" if options.unsafe else ""
        before = None if options.again else stored(path, wanted)
        if submission.problem:
            path.unlink(missing_ok=True)
            why = submission.problem
            results[submission.student] = unread(assignment, submission, why)
        elif before and before["status"] != "error":
            results[submission.student] = before
        else:
            path.unlink(missing_ok=True)
            waiting.append((submission, path, wanted))
    tqdm.monitor_interval = 0  # a thread, which forks are better off without
    with tqdm(
        total=len(submissions),
        initial=len(results),
        desc=assignment.name,
        unit="submission",
        disable=options.quiet,
    ) as bar:
        for submission, path, wanted, why in _each(assignment, waiting, options):
            result = stored(path, wanted)
            if result is None:
                failed = unread(assignment, submission, f"the grader failed: {why}")
                result = {**failed, "status": "error"}
            results[submission.student] = result
            bar.update()
    return [results[submission.student] for submission in submissions]


@contextmanager
def noted() -> Iterator[list[int]]:
    """Signals that ask for an end are noted in a list, and raise nothing meanwhile.

    Python calls hooks of its modules around a fork and drops what is raised in them, so
    an interrupt that falls there would be lost.
    """
    asked: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):
                handler = signal.signal(number, lambda n, frame: asked.append(n))
                before[number] = handler
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended(running: dict[int, tuple]) -> Iterator[None]:
    """Kill, afterwards, whatever processes are still running."""
    try:
        yield
    finally:
        for process, *_ in running.values():
            process.kill()
            process.join()


def _each(
    assignment: Assignment,
    waiting: list[tuple[Submission, Path, str]],
    options: Options,
) -> Iterator[tuple[Submission, Path, str, str]]:
    """Judge with `jobs` processes; yields a submission when its process has ended.

    Raises KeyboardInterrupt within a second of being asked to end.
    """
    queue, running = list(reversed(waiting)), {}
    with noted() as asked, ended(running):
        while queue or running or asked:
            if asked:
                raise KeyboardInterrupt
            while queue and len(running) < options.jobs:
                submission, path, wanted = queue.pop()
                arguments = (assignment, submission, options, path, wanted)
                process = FORK.Process(target=_judge, args=arguments, daemon=True)
                process.start()
                running[process.sentinel] = (process, time.monotonic(), arguments)
            ready = wait(list(running), timeout=1)
            for sentinel in list(running):
                process, began, (_, submission, _, path, wanted) = running[sentinel]
                late = time.monotonic() - began > options.deadline
                if sentinel in ready or late:
                    process.kill() if late else None
                    process.join()
                    del running[sentinel]
                    why = f"no result in {options.deadline:g} s" if late else (
                        f"exit code {process.exitcode}"
                    )  # fmt: skip
                    yield submission, path, wanted, why
