"""What comes out of grading: the table, a page for each student, an overview."""

import statistics
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from coursekit.assignment import Assignment
from coursekit.files import write
from coursekit.grade import file_name
from coursekit.manual import Given, changed_since
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
By_hand = dict[tuple[str, str], Given]


def columns(assignment: Assignment) -> list[str]:
    """The columns of `grades.csv`."""
    ends = ("written", "auto", "total", "max", "status", "reason")
    return ["student", *assignment.questions, *ends]


def row_of(
    result: dict[str, Any], assignment: Assignment, given: By_hand
) -> dict[str, Any]:
    """A student's row; what is not known is None, which is not zero.

    `written` and `total` stay empty until every written answer has its points.
    """
    student = result["student"]
    graded = result["status"] in ("ok", "look")
    reasons = [result["reason"]] if result["reason"] else []
    status = result["status"]
    written = 0.0 if graded else None
    for question in assignment.written if graded else ():
        entry = given.get((student, question), Given(None, "", ""))
        if entry.points is None:
            written = None
        elif written is not None:
            written += entry.points
        if changed_since(entry, result["written"].get(question, "")):
            status = "look"
            reasons.append(f"{question}: the answer has changed since it was marked")
    auto = sum(result["questions"].values()) if graded else None
    if graded and written is None:
        reasons.append("written answers wait for points in manual.csv")
    return {
        "student": student,
        **result["questions"],
        "written": written,
        "auto": auto,
        "total": None if written is None or auto is None else auto + written,
        "max": assignment.max,
        "status": status,
        "reason": "; ".join(reasons),
    }


def absent(student: str, assignment: Assignment) -> dict[str, Any]:
    """The row of somebody on the roster who has handed in nothing."""
    empty = dict.fromkeys(columns(assignment))
    more = {"student": student, "max": assignment.max, "status": "missing"}
    return {**empty, **more, "reason": "nothing handed in"}


def table(
    results: list[dict[str, Any]],
    assignment: Assignment,
    given: By_hand,
    roster: list[str] | None = None,
) -> list[dict[str, Any]]:
    """All rows: who has handed in, by name, then who has not."""
    rows = [row_of(result, assignment, given) for result in results]
    here = {row["student"] for row in rows}
    away = [student for student in roster or () if student not in here]
    rows.sort(key=lambda row: row["student"])
    return rows + [absent(student, assignment) for student in sorted(away)]


def feedback(
    result: dict[str, Any], row: dict[str, Any], assignment: Assignment, given
):
    """A student's page: points and messages, no source of a test."""
    by_hand = {
        question: given.get((result["student"], question), Given(None, "", ""))
        for question in assignment.written
    }
    return PAGES.get_template("feedback.html").render(
        assignment=assignment,
        result=result,
        row=row,
        by_hand=by_hand,
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
    given: By_hand,
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
