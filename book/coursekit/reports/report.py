"""What comes out of grading: the table, a page for each student, an overview."""

import html
import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from coursekit.authoring.assignment import Assignment
from coursekit.grading.manual import Given, Table, changed_since
from coursekit.grading.results import Result, file_name, read_result
from coursekit.grading.tables import write_table
from coursekit.walls.files import write
from coursekit.walls.sandbox import MEANING

PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGES.filters["number"] = lambda x: "–" if x is None else f"{x:g}"
BINS = 10
TITLE = re.compile("<title>(.*)</title>")
UNMARKED = "written answers are not marked yet"  # to students
WAITING = "written answers wait for points in manual.csv"
CHANGED = "the answer has changed since it was marked"
CONFIRM = ": in manual.csv change the points, or empty the cell marked if they stay"
ENDS = ("written", "auto", "total", "max", "status", "reason")


@dataclass(frozen=True)
class Row:
    """A student's row of `grades.csv`; what is not known is None, which is not zero.

    `written` and `total` are not known until every written answer has its points.
    """

    student: str
    max: float
    status: str
    reason: str
    questions: dict[str, float | None] = field(default_factory=dict)
    written: float | None = None
    auto: float | None = None
    total: float | None = None

    def cells(self) -> dict[str, str | float | None]:
        """What stands in each column."""
        ends = {name: getattr(self, name) for name in ENDS}
        return {"student": self.student, **self.questions, **ends}


def row_of(result: Result, assignment: Assignment, given: Table) -> Row:
    """The row of somebody who has handed in something."""
    row = Row(
        student=result.student,
        max=assignment.max,
        status=result.status,
        reason=remarks(result, assignment, given),
        questions=result.questions,
    )
    if not result.graded:
        return row
    points = [entry.points for entry in by_hand(result, assignment, given).values()]
    written = None if None in points else sum(points, 0.0)
    auto = sum(result.questions.values())
    return replace(
        row,
        status="look" if changed(result, assignment, given) else result.status,
        written=written,
        auto=auto,
        total=None if written is None else auto + written,
    )


def by_hand(result: Result, assignment: Assignment, given: Table) -> dict[str, Given]:
    """What has been entered for a student, by written question."""
    return {q: given.get((result.student, q), Given()) for q in assignment.written}


def changed(result: Result, assignment: Assignment, given: Table) -> list[str]:
    """The questions whose points are for an answer that was there before."""
    entries, now = by_hand(result, assignment, given), result.written
    return [q for q, entry in entries.items() if changed_since(entry, now.get(q, ""))]


def remarks(
    result: Result, assignment: Assignment, given: Table, student: bool = False
) -> str:
    """What is to be said of a result, to the instructor or to the student."""
    found = [result.reason] if result.reason else []
    if result.graded:
        then = CHANGED if student else CHANGED + CONFIRM
        found += [f"{q}: {then}" for q in changed(result, assignment, given)]
        entries = by_hand(result, assignment, given).values()
        if any(entry.points is None for entry in entries):
            found.append(UNMARKED if student else WAITING)
    return "; ".join(found)


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


def feedback(result: Result, row: Row, assignment: Assignment, given: Table) -> str:
    """A student's page: points and messages, no source of a test."""
    return PAGES.get_template("feedback.html").render(
        assignment=assignment,
        result=result,
        row=replace(row, reason=remarks(result, assignment, given, student=True)),
        by_hand=by_hand(result, assignment, given),
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
    names = ["student", *assignment.questions, *ENDS]
    write_table(out / "grades.csv", names, [row.cells() for row in rows])
    for result in results:
        page = feedback(result, by_student[result.student], assignment, given)
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
    student = unquote(path.stem)
    try:
        if path.suffix == ".json":
            return read_result(path).student == student
        title = TITLE.search(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return title is not None and html.unescape(title[1]).endswith(f": {student}")
