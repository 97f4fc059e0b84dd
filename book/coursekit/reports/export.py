"""Grades for other systems, in the files that these systems give out themselves.

Canvas and Moodle: export the course's own table, and its column is filled here. An id
that is graded but not in their table, or twice in it, is an error that names it;
students of theirs without a grade are listed and their cells left empty.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

from coursekit.grading.results import Result, file_name, path_of, read_result
from coursekit.grading.tables import TableError, ids, number, read_table, text_of
from coursekit.reports.report import UNMARKED
from coursekit.walls.files import write

CANVAS_IDENTITY = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]


def points_of(grades: Path, column: str = "total") -> tuple[dict[str, float], float]:
    """The points to export by student, and the most that there are.

    Students without points, such as missing and unreadable ones, are left out.

    Raises TableError for an unknown column and a student who is there twice.
    """
    names, rows = read_table(grades)
    if column not in names or "student" not in names:
        raise TableError(f"{grades.name} has no column {column!r}")
    ids(rows, "student", grades.name)
    most = [number(row["max"], math.inf, f"{grades.name}, max") for row in rows]
    if column == "total" and not any(row["total"] for row in rows):
        raise TableError(
            f"{grades.name}: no total yet, written answers wait for their points; "
            "fill manual.csv and grade again, or export --points auto"
        )
    points = {}
    for row in rows:
        student = row["student"].strip()
        value = number(row[column], math.inf, f"{grades.name}, {student}, {column}")
        points |= {} if value is None else {student: value}
    return points, max((m for m in most if m is not None), default=0.0)


def _column(names: list[str], wanted: str, file: str) -> str:
    """The one column called so, or beginning so, such as "Experts (12345)"."""
    found = [n for n in names if n == wanted]
    found = found or [n for n in names if n.startswith(f"{wanted} (")]
    if len(found) != 1:
        raise TableError(f"{file} has {len(found)} columns {wanted!r}: {names}")
    return found[0]


def _filled(
    rows: list[dict[str, str]],
    points: dict[str, float],
    key: str,
    column: str,
    file: str,
    clean: Callable[[str], str] = str.strip,
) -> list[str]:
    """Put points into rows; returns the ids of theirs that have no grade."""
    theirs = [clean(row[key]) for row in rows if clean(row[key])]
    if twice := sorted({x for x in theirs if theirs.count(x) > 1}):
        raise TableError(f"{file}: {', '.join(twice)} more than once in {key!r}")
    if unknown := sorted(set(points) - set(theirs)):
        raise TableError(
            f"graded, but not in {key!r} of {file}: {', '.join(unknown)}; "
            "correct these ids or choose another column with --match"
        )
    for row in rows:
        value = points.get(clean(row[key]))
        row[column] = "" if value is None else f"{value:.10g}"
    return [student for student in theirs if student not in points]


def canvas(
    grades: Path,
    course: Path,
    out: Path,
    assignment: str,
    match: str = "SIS Login ID",
    column: str = "total",
) -> list[str]:
    """Write a table for Canvas's import; returns students without a grade.

    `course` is the table that Canvas exports, `assignment` the column in it, with or
    without the number in brackets. Only who a student is and this column are written,
    so that an import changes nothing else.

    Raises TableError for ids or points possible that do not agree.
    """
    points, most = points_of(grades, column)
    names, rows = read_table(course)
    target = _column(names, assignment, course.name)
    if missing := {*CANVAS_IDENTITY[:2], match} - set(names):
        raise TableError(f"{course.name} lacks the columns {sorted(missing)}")
    heads = [r for r in rows if r["Student"].strip().startswith("Points Possible")]
    for row in heads:
        possible = number(row[target], math.inf, f"{course.name}, points possible")
        if column == "total" and possible is not None and possible != most:
            raise TableError(
                f"{target} has {possible:g} points in Canvas, {most:g} here: change "
                "the assignment's points in Canvas and export again"
            )
    people = [row for row in rows if row not in heads]
    away = _filled(people, points, match, target, course.name)
    kept = [name for name in CANVAS_IDENTITY if name in names] + [target]
    write(out, text_of(kept, rows, tamed=False))
    return away


def moodle(
    grades: Path,
    course: Path,
    out: Path,
    match: str = "Email address",
    column: str = "total",
) -> list[str]:
    """Fill Moodle's grading worksheet; returns students without a grade.

    `match` is a column of the worksheet; for "Identifier" ids are those of
    "Participant 123".

    Raises TableError for ids or maximum grades that do not agree.
    """
    points, most = points_of(grades, column)
    names, rows = read_table(course)
    if missing := {match, "Grade"} - set(names):
        raise TableError(f"{course.name} lacks the columns {sorted(missing)}")
    for row in rows:
        where = f"{course.name}, Maximum Grade"
        possible = number(row.get("Maximum Grade", ""), math.inf, where)
        if column == "total" and possible is not None and possible != most:
            raise TableError(
                f"the maximum grade is {possible:g} in Moodle, {most:g} here: change "
                "it there and download the worksheet again"
            )

    def clean(text: str) -> str:
        return text.strip().removeprefix("Participant ")

    away = _filled(rows, points, match, "Grade", course.name, clean)
    write(out, text_of(names, rows, tamed=False))
    return away


def gradescope(result: Result, score: float, marked: bool = True) -> dict:
    """The content of Gradescope's `results.json` for one graded student."""
    notes = [result.reason, "" if marked else UNMARKED]
    tests = [
        {
            "name": verdict.title,
            "number": verdict.question,
            "score": verdict.points,
            "max_score": verdict.max,
            "status": "passed" if verdict.passed else "failed",
            "output": verdict.message,
            "output_format": "text",
            "visibility": "visible",
        }
        for verdict in result.verdicts
    ]
    return {
        "score": score,
        "output": "; ".join(note for note in notes if note),
        "output_format": "text",
        "visibility": "visible",
        "execution_time": result.seconds,
        "tests": tests,
    }


def gradescope_all(results: Path, out: Path, column: str = "total") -> list[str]:
    """Write `STUDENT/results.json` for a graded class; returns who has no points.

    What an earlier export has left for these is deleted.

    Raises TableError for points that are not there, and for a result that is missing.
    """
    grades = results / "grades.csv"
    points, _ = points_of(grades, column)
    away = []
    for row in read_table(grades)[1]:
        student = row["student"].strip()
        target = out / file_name(student) / "results.json"
        if student not in points:
            away.append(student)
            target.unlink(missing_ok=True)
            continue
        result = _result(results, student)
        marked = bool(row.get("total", "").strip())
        made = gradescope(result, points[student], marked)
        write(target, json.dumps(made, indent=1))
    return away


def _result(results: Path, student: str) -> Result:
    try:
        return read_result(path_of(results, student))
    except OSError as error:
        raise TableError(f"no result of {student} in json/: grade again") from error
