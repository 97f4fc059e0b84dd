"""What grading one submission gives, from the judge to every table, page and file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from coursekit.grading.names import file_name
from coursekit.grading.tables import TableError
from coursekit.testing.suite import Verdict
from coursekit.walls.files import write

GRADED = ("ok", "look")


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


def write_result(path: Path, result: Result) -> None:
    """Write a result as JSON, in one step."""
    write(path, json.dumps(asdict(result), indent=1) + "\n")


def read_result(path: Path) -> Result:
    """The result in a file.

    Raises OSError for a file that cannot be read, TableError for one of another form.
    """
    text = path.read_text(encoding="utf-8")
    try:
        held = json.loads(text)
        verdicts = [Verdict(**verdict) for verdict in held["verdicts"]]
        return Result(**{**held, "verdicts": verdicts})
    except (ValueError, TypeError, KeyError) as error:
        what = f"json/{path.name} is no result ({error}): grade again with --again"
        raise TableError(what) from error
