"""What comes out of grading: the table, a page for each student, an overview."""

import html
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from coursekit.authoring.assignment import Assignment
from coursekit.grading.manual import Given, Table, changed_since
from coursekit.grading.names import file_name, visible
from coursekit.grading.results import Result, read_result
from coursekit.grading.tables import write_table
from coursekit.testing.suite import advice
from coursekit.walls.files import write
from coursekit.walls.sandbox import MEANING


def _seen(value: Any) -> Any:
    """What a page shows: escaped later, and without control characters."""
    return visible(value) if type(value) is str else value


PAGES = Environment(
    finalize=_seen,
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES.filters["advice"] = advice
PAGES.filters["number"] = lambda x: "–" if x is None else f"{x:g}"
BINS = 10
TITLE = re.compile("<title>(.*)</title>")
UNMARKED = "written answers are not marked yet"  # to students
WAITING = "written answers wait for points in manual.csv"
CHANGED = "the answer has changed since it was marked"
CONFIRM = ": in manual.csv change the points, or empty the cell marked if they stay"
ENDS = ("written", "auto", "total", "max", "status")


@dataclass(frozen=True)
class Row:
    """A student's row of `grades.csv`; what is not known is None, which is not zero.

    `written` and `total` are not known until every written answer has its points;
    `by_hand` is what people have entered, by question. `said` is the result's own
    remark, `changed` names answers that have changed since they were marked.
    """

    student: str
    max: float
    status: str
    said: str
    questions: dict[str, float | None] = field(default_factory=dict)
    by_hand: dict[str, Given] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    auto: float | None = None
    written: float | None = None
    total: float | None = None

    def reason(self, student: bool = False) -> str:
        """What is to be said, to the instructor or to the student."""
        found = [self.said] if self.said else []
        then = CHANGED if student else CHANGED + CONFIRM
        found += [f"{question}: {then}" for question in self.changed]
        if self.auto is not None and self.written is None:
            found.append(UNMARKED if student else WAITING)
        return visible("; ".join(found))

    def cells(self) -> dict[str, str | float | None]:
        """What stands in each column."""
        ends = {name: getattr(self, name) for name in ENDS}
        return {
            "student": self.student,
            **self.questions,
            **ends,
            "reason": self.reason(),
        }


def row_of(result: Result, assignment: Assignment, given: Table) -> Row:
    """The row of somebody who has handed in something."""
    student, now = result.student, result.written
    by_hand = {q: given.get((student, q), Given()) for q in assignment.written}
    row = Row(
        student=student,
        max=assignment.max,
        status=result.status,
        said=result.reason,
        questions=result.questions,
        by_hand=by_hand,
    )
    if not result.graded:
        return row
    entries = by_hand.items()
    changed = tuple(q for q, entry in entries if changed_since(entry, now.get(q, "")))
    points = [entry.points for entry in by_hand.values()]
    written = None if None in points else sum(points, 0.0)
    auto = sum(result.questions.values())
    return replace(
        row,
        status="look" if changed else result.status,
        changed=changed,
        auto=auto,
        written=written,
        total=None if written is None else auto + written,
    )


def table(
    results: Iterable[Result],
    assignment: Assignment,
    given: Table,
    roster: Iterable[str] = (),
) -> list[Row]:
    """All rows: who has handed in, by name, then who on the roster has not."""
    rows = [row_of(result, assignment, given) for result in results]
    here = {row.student for row in rows}
    away = sorted(set(roster) - here)
    most, why = assignment.max, "nothing handed in"
    rows.sort(key=lambda row: row.student)
    return rows + [Row(student, most, "missing", why) for student in away]


def feedback(result: Result, row: Row, assignment: Assignment) -> str:
    """A student's page: points and messages, no source of a test."""
    return PAGES.get_template("feedback.html").render(
        assignment=assignment,
        result=result,
        row=row,
        reason=row.reason(student=True),
        isolation=MEANING[result.isolation],
    )


def distribution(values: list[float], most: float) -> list[int]:
    """How many values lie in each tenth from 0 to `most`, ends included."""
    counts = [0] * BINS
    for value in values:
        counts[min(int(BINS * value / most), BINS - 1)] += 1
    return counts


def overview(rows: list[Row], results: list[Result], assignment: Assignment) -> str:
    """The page for the instructor: distributions, who needs a look, what took long."""
    limits = {**assignment.questions, "auto": assignment.max_auto}
    if assignment.written:
        limits["total"] = assignment.max
    graded = [row.cells() for row in rows if row.auto is not None]
    parts = []
    for name, most in limits.items():
        values = [cells[name] for cells in graded if cells[name] is not None]
        mean = statistics.fmean(values) if values else None
        middle = statistics.median(values) if values else None
        counts = distribution(values, most)
        parts.append((name, most, len(values), mean, middle, counts))
    failed: dict[str, list] = {}
    for verdict in (v for result in results for v in result.verdicts):
        entry = failed.setdefault(verdict.test, [verdict.title, 0, 0])
        entry[1] += not verdict.passed
        entry[2] += 1
    seconds = sorted(result.seconds for result in results if result.seconds)
    levels = {result.isolation for result in results if result.graded}
    return PAGES.get_template("overview.html").render(
        assignment=assignment,
        rows=rows,
        parts=parts,
        failed=failed,
        seconds=seconds,
        mean_seconds=statistics.fmean(seconds) if seconds else None,
        levels=[MEANING[level] for level in sorted(levels)],
    )


def write_reports(
    out: Path,
    results: list[Result],
    assignment: Assignment,
    given: Table,
    roster: Iterable[str] = (),
) -> list[Row]:
    """Write `grades.csv`, `overview.html` and `feedback/`; returns the table's rows."""
    rows = table(results, assignment, given, roster)
    by_student = {row.student: row for row in rows}
    names = ["student", *assignment.questions, *ENDS, "reason"]
    write_table(out / "grades.csv", names, [row.cells() for row in rows])
    for result in results:
        page = feedback(result, by_student[result.student], assignment)
        write(out / "feedback" / f"{file_name(result.student)}.html", page)
    write(out / "overview.html", overview(rows, results, assignment))
    return rows


def tidy(out: Path, students: Iterable[str]) -> None:
    """Delete results and pages of students who are not there any more, nothing else."""
    names = {file_name(student) for student in students}
    for path in [*out.glob("json/*.json"), *out.glob("feedback/*.html")]:
        if path.stem not in names and ours(path):
            path.unlink()


def ours(path: Path) -> bool:
    """Whether a file is a result, or a page, of the student whose name it has."""
    before = unquote(path.stem)  # what earlier kits called the file of

    def named(student: str) -> bool:
        return student == before or file_name(student) == path.stem

    try:
        if path.suffix == ".json":
            return named(read_result(path).student)
        title = TITLE.search(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    parts = html.unescape(title[1]).split(": ") if title else []
    return any(named(": ".join(parts[n:])) for n in range(1, len(parts)))
