"""What grading one submission gives, from the judge to every table, page and file."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from coursekit.grading.names import file_name
from coursekit.grading.tables import TableError
from coursekit.testing.suite import Verdict
from coursekit.walls.files import write

GRADED = ("ok", "look")


class Changed(TableError):
    """A result that somebody has changed by hand, or a disk has damaged."""


@dataclass(frozen=True)
class Result:
    """A submission's points and all that is to be said of it.

    `status` is "ok", "look" (graded, with remarks that a person should see), or says
    why there are no points, which are then None: "unreadable", "duplicate", "unknown"
    (of whom the roster knows nothing) or "error" (of the sandbox or the grader).
    `questions` are points, `written` answers in words, `cells` errors by the number of
    a code cell; `isolation` is that of the sandbox, and `key` all that a result depends
    on.
    """

    student: str
    assignment: str
    status: str
    reason: str
    isolation: str
    questions: dict[str, float | None]
    written: dict[str, str] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    key: str = ""

    @property
    def graded(self) -> bool:
        """Whether there are points."""
        return self.status in GRADED


def path_of(folder: Path, student: str) -> Path:
    """Where the result of a student lies in a folder of grades."""
    return folder / "json" / f"{file_name(student)}.json"


def _sum(held: dict) -> str:
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:16]


def write_result(path: Path, result: Result) -> None:
    """Write a result as JSON, in one step, with a sum that other content has not."""
    held = asdict(result)
    write(path, json.dumps({**held, "sum": _sum(held)}, indent=1) + "\n")


def read_result(path: Path) -> Result:
    """The result in a file.

    Raises OSError for a file that cannot be read, TableError for one of another form,
    Changed for one that is not as it was written.
    """
    data = path.read_bytes()
    try:
        held = json.loads(data)
        if held.pop("sum") != _sum(held):
            raise Changed(f"json/{path.name} has been changed by hand, or is damaged")
        verdicts = [Verdict(**verdict) for verdict in held["verdicts"]]
        return Result(**{**held, "verdicts": verdicts})
    except Changed:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"json/{path.name} is no result ({error}): grade again with --again"
        raise TableError(what) from error


def assignment_of(path: Path) -> str:
    """Of which assignment a file is a result, also one of another kit; or nothing."""
    try:
        found = json.loads(path.read_bytes())["assignment"]
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return found if isinstance(found, str) else ""
