"""A whole class: several submissions at once, taken up again where it was left.

Every submission is judged in a process of its own, which writes its result to
`json/STUDENT.json` in one step. What is there and still true is not judged again, and
stays until there is another result.
"""

import errno
import os
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from coursekit.authoring.assignment import Assignment, AssignmentError
from coursekit.grading.mark import key, mark, unread
from coursekit.grading.results import (
    Changed,
    Result,
    path_of,
    read_result,
    write_result,
)
from coursekit.grading.submissions import Submission
from coursekit.walls.files import Unwritable, unwritable
from coursekit.walls.forks import each
from coursekit.walls.processes import limit_memory
from coursekit.walls.sandbox import NoSandbox, missing

SECRET = "COURSE_SECRET"
MEMORY = 8 * 2**30  # bytes that judging one submission may need in this process


@dataclass(frozen=True)
class Options:
    """How to grade: at most `deadline` seconds for one submission, all in all."""

    jobs: int = max(1, (os.cpu_count() or 1))
    secret: str = ""
    unsafe: bool = False
    again: bool = False
    deadline: float = 1800.0
    quiet: bool = False


def read_secret(path: Path | None) -> str:
    """The course's secret from a file, or from COURSE_SECRET; empty if there is none.

    Raises AssignmentError for a file that is empty or cannot be read.
    """
    if path is None:
        return os.environ.get(SECRET, "")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AssignmentError(
            f"the secret cannot be read ({error}): write one first, with "
            f'python -c "import secrets; print(secrets.token_hex(16))" > {path}'
        ) from error
    if not text:
        raise AssignmentError(f"{path.name} is empty: write a secret into it")
    return text


def stored(path: Path, wanted: str) -> Result | None:
    """A result from an earlier run, if nothing that it depends on has changed."""
    try:
        result = read_result(path)
    except Changed as error:
        print(f"{error}: it is judged again", file=sys.stderr)
        return None
    except (OSError, ValueError):  # not there, or of an earlier kit
        return None
    return result if result.key == wanted else None


def grade(
    assignment: Assignment,
    submissions: list[Submission],
    out: Path,
    options: Options,
) -> list[Result]:
    """Results for all submissions, in their order.

    Raises NoSandbox where submissions cannot be locked in, unless `unsafe` is set, and
    Unwritable as soon as a result cannot be written; those before it stay.
    """
    if not options.unsafe and missing():
        raise NoSandbox(missing())
    assert assignment.tests  # read once, before the processes are forked
    results: dict[str, Result] = {}
    waiting: dict[str, tuple[Submission, Path, str]] = {}
    for submission in submissions:
        student = submission.student
        path = path_of(out, student)
        wanted = key(assignment, submission, options.secret)
        wanted += "unsafe" if options.unsafe else ""
        before = None if options.again else stored(path, wanted)
        if before and not submission.problem and before.status != "error":
            results[student] = before
            continue
        if submission.problem:
            path.unlink(missing_ok=True)  # it was of files that do not count now
            results[student] = unread(
                assignment, submission, submission.problem, unsafe=options.unsafe
            )
        else:
            waiting[student] = submission, path, wanted

    def judge(student: str) -> Result | Unwritable:
        submission, path, wanted = waiting[student]
        limit_memory(MEMORY)
        try:
            result = mark(assignment, submission, options.secret, options.unsafe)
            result = replace(result, key=wanted)
            write_result(path, result)
        except Unwritable as error:
            return error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return unwritable(Path(tempfile.gettempdir()), error)
            raise
        return result

    tqdm.monitor_interval = 0  # a thread, which forks are better off without
    bar = tqdm(
        total=len(submissions),
        initial=len(results),
        desc=assignment.name,
        unit="submission",
        disable=options.quiet,
    )
    judged = each(judge, waiting, options.jobs, options.deadline)
    with bar, closing(judged):
        for student, result, why in judged:
            if isinstance(result, Unwritable):
                raise result
            if result is None:
                submission, path, _ = waiting[student]
                said = f"the grader failed: {why}"
                result = unread(assignment, submission, said, "error", options.unsafe)
                write_result(path, result)  # and not what was there before
            results[student] = result
            bar.update()
    return [results[submission.student] for submission in submissions]
