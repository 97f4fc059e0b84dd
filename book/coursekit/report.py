"""What comes out of grading: the table, a page for each student, an overview."""

import html
import json
import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from coursekit.assignment import Assignment
from coursekit.files import write
from coursekit.grade import file_name
from coursekit.manual import Given, Table, changed_since
from coursekit.sandbox import MEANING
from coursekit.tables import write_table

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


def columns(assignment: Assignment) -> list[str]:
    """The columns of `grades.csv`."""
    ends = ("written", "auto", "total", "max", "status", "reason")
    return ["student", *assignment.questions, *ends]


def row_of(
    result: dict[str, Any], assignment: Assignment, given: Table
) -> dict[str, Any]:
    """A student's row; what is not known is None, which is not zero.

    `written` and `total` stay empty until every written answer has its points.
    """
    graded = result["status"] in ("ok", "look")
    points = [entry.points for entry in by_hand(result, assignment, given).values()]
    known = [value for value in points if value is not None]
    written = sum(known, 0.0) if graded and len(known) == len(points) else None
    auto = sum(result["questions"].values()) if graded else None
    look = graded and changed(result, assignment, given)
    return {
        "student": result["student"],
        **result["questions"],
        "written": written,
        "auto": auto,
        "total": None if written is None or auto is None else auto + written,
        "max": assignment.max,
        "status": "look" if look else result["status"],
        "reason": remarks(result, assignment, given),
    }


def by_hand(
    result: dict[str, Any], assignment: Assignment, given: Table
) -> dict[str, Given]:
    """What has been entered for a student, by written question."""
    student = result["student"]
    return {q: given.get((student, q), Given()) for q in assignment.written}


def changed(result: dict[str, Any], assignment: Assignment, given: Table) -> list[str]:
    """The questions whose points are for an answer that was there before."""
    entries = by_hand(result, assignment, given).items()
    answers = result["written"]
    return [q for q, entry in entries if changed_since(entry, answers.get(q, ""))]


def remarks(
    result: dict[str, Any], assignment: Assignment, given: Table, student: bool = False
) -> str:
    """What is to be said of a result, to the instructor or to the student."""
    found = [result["reason"]] if result["reason"] else []
    if result["status"] in ("ok", "look"):
        then = CHANGED if student else CHANGED + CONFIRM
        found += [f"{q}: {then}" for q in changed(result, assignment, given)]
        entries = by_hand(result, assignment, given).values()
        if any(entry.points is None for entry in entries):
            found.append(UNMARKED if student else WAITING)
    return "; ".join(found)


def absent(student: str, assignment: Assignment) -> dict[str, Any]:
    """The row of somebody on the roster who has handed in nothing."""
    empty = dict.fromkeys(columns(assignment))
    more = {"student": student, "max": assignment.max, "status": "missing"}
    return {**empty, **more, "reason": "nothing handed in"}


def table(
    results: list[dict[str, Any]],
    assignment: Assignment,
    given: Table,
    roster: list[str] | None = None,
) -> list[dict[str, Any]]:
    """All rows: who has handed in, by name, then who has not."""
    rows = [row_of(result, assignment, given) for result in results]
    here = {row["student"] for row in rows}
    away = [student for student in roster or () if student not in here]
    rows.sort(key=lambda row: row["student"])
    return rows + [absent(student, assignment) for student in sorted(away)]


def feedback(
    result: dict[str, Any], row: dict[str, Any], assignment: Assignment, given: Table
) -> str:
    """A student's page: points and messages, no source of a test."""
    return PAGES.get_template("feedback.html").render(
        assignment=assignment,
        result=result,
        row={**row, "reason": remarks(result, assignment, given, student=True)},
        by_hand=by_hand(result, assignment, given),
        isolation=MEANING[result.get("isolation", "bwrap")],
    )


def distribution(values: list[float], most: float) -> list[int]:
    """How many values lie in each tenth from 0 to `most`, ends included."""
    counts = [0] * BINS
    for value in values:
        counts[min(int(BINS * value / most), BINS - 1)] += 1
    return counts


def overview(
    rows: list[dict[str, Any]], results: list[dict[str, Any]], assignment: Assignment
) -> str:
    """The page for the instructor: distributions, who needs a look, what took long."""
    graded = [row for row in rows if row["auto"] is not None]
    limits = {**assignment.questions, "auto": assignment.max_auto}
    if assignment.written:
        limits["total"] = assignment.max
    parts = []
    for name, most in limits.items():
        values = [row[name] for row in graded if row[name] is not None]
        mean = statistics.fmean(values) if values else None
        middle = statistics.median(values) if values else None
        counts = distribution(values, most)
        parts.append((name, most, len(values), mean, middle, counts))
    failed: dict[str, list] = {}
    for verdict in (v for result in results for v in result["verdicts"]):
        entry = failed.setdefault(verdict["test"], [verdict["title"], 0, 0])
        entry[1] += verdict["kind"] != "passed"
        entry[2] += 1
    seconds = sorted(result["seconds"] for result in results if result["seconds"])
    levels = {r["isolation"] for r in results if "isolation" in r}
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
    results: list[dict[str, Any]],
    assignment: Assignment,
    given: Table,
    roster: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Write `grades.csv`, `overview.html` and `feedback/`; returns the table's rows."""
    rows = table(results, assignment, given, roster)
    by_student = {row["student"]: row for row in rows}
    write_table(out / "grades.csv", columns(assignment), rows)
    for result in results:
        page = feedback(result, by_student[result["student"]], assignment, given)
        write(out / "feedback" / f"{file_name(result['student'])}.html", page)
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
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text)["student"] == student
    except (OSError, ValueError, KeyError, TypeError):
        return False
    title = TITLE.search(text)
    return title is not None and html.unescape(title[1]).endswith(f": {student}")
