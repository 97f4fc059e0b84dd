"""Grades for other systems, in the files that these systems give out themselves.

Canvas and Moodle: export the course's own table, and its column is filled here. An id
that is graded but not in their table, or twice in it, is an error that names it;
students of theirs without a grade are listed, and their cells stay as they are.

The cells by which a system finds its students come back as it has given them out:
Canvas's ID, Moodle's Identifier. In all other cells formulas are made text, since no
import reads them, but whoever opens the table in a spreadsheet does.
"""

import json
import math
from pathlib import Path

from coursekit.grading.names import file_name, key, visible
from coursekit.grading.results import Result
from coursekit.grading.tables import (
    TableError,
    ids,
    number,
    read_table,
    tame,
    text_of,
    wild,
)
from coursekit.reports.maxima import maxima, result_of, same_maximum
from coursekit.reports.report import UNMARKED
from coursekit.walls.files import write

# What Canvas's import reads of a student; it asks for the ID first.
CANVAS_NAMES = (["Student"], ["LastName", "FirstName"])
CANVAS_IDENTITY = ["ID", "SIS User ID", "SIS Login ID", "Integration ID"]
CANVAS_IDENTITY += ["Root Account", "Section"]
EXCUSED = "EX"  # in Canvas: these stay excused
# What Moodle's import reads, and asks for.
MOODLE_READS = ["Identifier", "Grade", "Last modified (grade)"]
MOODLE_SHOWS = ["Full name", "Email address", "Status", "Maximum grade"]
PARTICIPANT = "Participant "


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
    match: str,
    column: str,
    file: str,
    before: str = "",
) -> list[str]:
    """Put points into rows; returns the ids of theirs that get no grade.

    `before` stands before ids in the column to `match`. Cells stay as they are where
    there is no grade, and where somebody is excused.
    """
    theirs = [
        {match: wild(row[match]).strip().removeprefix(before).strip()} for row in rows
    ]
    known = {key(name) for name in ids(theirs, match, file)}
    ours = {key(student): value for student, value in points.items()}
    if unknown := sorted(student for student in points if key(student) not in known):
        raise TableError(
            f"graded, but not in {match!r} of {file}: {', '.join(unknown)}; "
            "correct these ids or choose another column with --match"
        )
    away = []
    for row, their in zip(rows, theirs, strict=True):
        student = visible(their[match])
        value = ours.get(key(their[match]))
        if value is not None and row[column].strip().upper() == EXCUSED:
            away.append(f"{student} (excused there)")
        elif value is not None:
            row[column] = shown(value)
        elif student:
            away.append(student)
    return away


def shown(value: float) -> str:
    """Points as every system reads them: no exponent, at most six decimals."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _tamed(row: dict[str, str], kept: list[str]) -> dict[str, str]:
    """A row in which no cell but those `kept` is a formula.

    Backslashes go too: PHP, which reads Moodle's tables, takes one before a quote for
    something else than everybody does.
    """
    return {
        name: cell if name in kept else tame(wild(cell).replace("\\", ""))
        for name, cell in row.items()
    }


def canvas(
    grades: Path,
    course: Path,
    out: Path,
    assignment: str,
    match: str = "SIS Login ID",
    column: str = "total",
) -> list[str]:
    """Write a table for Canvas's import; returns students who get no grade.

    `course` is the table that Canvas exports, `assignment` the column in it, with or
    without the number in brackets. Only who a student is and this column are written,
    so that an import changes nothing else.

    Raises TableError for ids or points possible that do not agree.
    """
    points, most = points_of(grades, column)
    limits = maxima(grades, points, most, column)
    names, rows = read_table(course, foreign=True)
    target = _column(names, assignment, course.name)
    called = next((n for n in CANVAS_NAMES if {*n} <= {*names}), CANVAS_NAMES[0])
    if missing := {*called, "ID", match} - set(names):
        raise TableError(f"{course.name} lacks the columns {sorted(missing)}")
    people = []
    for row in rows:
        name = row[called[0]].strip()  # without one it says how grades are posted
        if name.startswith("Points Possible"):
            possible = number(row[target], math.inf, f"{course.name}, points possible")
            same_maximum(possible, limits, f"Canvas ({target})")
        elif name:
            people.append(row)
    away = _filled(people, points, match, target, course.name)
    kept = [*called, *(name for name in CANVAS_IDENTITY if name in names), target]
    for row in people:
        row |= _tamed(row, ["ID", target])
    write(out, text_of(kept, rows, tamed=False))
    return away


def moodle(
    grades: Path,
    course: Path,
    out: Path,
    match: str = "Email address",
    column: str = "total",
) -> list[str]:
    """Fill Moodle's grading worksheet; returns students who get no grade.

    `match` is a column of the worksheet; for "Identifier" ids are those of
    "Participant 123". Comments and texts are left out, so that an import changes
    grades and nothing else.

    Raises TableError for ids or maximum grades that do not agree, and for a worksheet
    that Moodle itself would not take.
    """
    points, most = points_of(grades, column)
    limits = maxima(grades, points, most, column)
    names, rows = read_table(course, foreign=True)
    if missing := {match, *MOODLE_READS} - set(names):
        raise TableError(
            f"{course.name} lacks the columns {sorted(missing)}: set the language in "
            "Moodle to English, and download and import the worksheet so"
        )
    limit = next((n for n in names if n.lower() == "maximum grade"), "")
    for cell in dict.fromkeys(row[limit] for row in rows) if limit else ():
        possible = number(cell, math.inf, f"{course.name}, {limit}")
        same_maximum(possible, limits, "Moodle")
    away = _filled(rows, points, match, "Grade", course.name, PARTICIPANT)
    wanted = {name.lower() for name in (*MOODLE_READS, *MOODLE_SHOWS, match)}
    kept = [name for name in names if name.lower() in wanted]
    made = [_tamed(row, MOODLE_READS) for row in rows]
    write(out, text_of(kept, made, tamed=False))
    return away


def gradescope(result: Result, score: float, marked: bool = True) -> dict:
    """The content of Gradescope's `results.json` for one graded student."""
    notes = [visible(result.reason), "" if marked else UNMARKED]
    tests = [
        {
            "name": verdict.title,
            "name_format": "text",
            "number": verdict.question,
            "score": verdict.points,
            "max_score": verdict.max,
            "status": "passed" if verdict.passed else "failed",
            "output": visible(verdict.message),
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
        result = result_of(results, student)
        _same_grading(row, result, grades.name)
        marked = bool(row.get("total", "").strip())
        made = gradescope(result, points[student], marked)
        write(target, json.dumps(made, indent=1))
    return away


def _same_grading(row: dict[str, str], result: Result, file: str) -> None:
    """Refuse a result that is of another grading than the table."""
    there = number(row.get("auto", ""), math.inf, f"{file}, {result.student}, auto")
    here = sum(points or 0.0 for points in result.questions.values())
    if there is not None and abs(there - here) > 1e-6:
        raise TableError(
            f"{result.student} has {shown(there)} points from tests in {file}, "
            f"{shown(here)} in json/: a grading was interrupted; grade again"
        )
