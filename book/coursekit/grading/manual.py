"""Points that people give: `manual.csv` goes out with the answers and comes back.

The table lies beside the grades. Grading again keeps every point in it, also for
answers that have changed since, and for students who have no answer to be read now.

`version` is a short name of the answer in a row. Where points were given for another
one, `marked` says so, such as "1.5 for v3fa9c2d1": other points, or an empty `marked`,
mean that the answer in the row has been marked.
"""

import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from coursekit.authoring.assignment import Assignment
from coursekit.grading.names import key as same
from coursekit.grading.results import Result
from coursekit.grading.tables import MARK, TableError, number, read_table, text_of
from coursekit.walls.files import linked, write

COLUMNS = ["student", "question", "max", "points", "comment", "answer"]
COLUMNS += ["version", "marked"]
VERSION = re.compile("v[0-9a-f]{8}")
BEFORE = "manual.before.csv"  # the table as it was until the grader changed it
PATIENCE = 1.0  # seconds in which a program that writes a table gets on with it
MARKED = re.compile(f"(?P<points>[0-9.]+) for (?P<version>{VERSION.pattern})")


@dataclass(frozen=True)
class Given:
    """What a person has entered for one answer, and the answer that they have read.

    `version` is that of the answer, `marked` that of the one which the points are for;
    empty where nobody knows.
    """

    points: float | None = None
    comment: str = ""
    answer: str = ""
    version: str = ""
    marked: str = ""


Table = dict[tuple[str, str], Given]


def version_of(answer: str) -> str:
    """A short name of an answer, the same however its white space is; no number."""
    text = " ".join(answer.split()).encode("utf-8", "replace")
    return "v" + hashlib.sha256(text).hexdigest()[:8]


def read_manual(path: Path, assignment: Assignment) -> Table:
    """What has been entered, by student and question.

    Raises TableError for columns that are missing, for an unknown question, a number
    that does not fit, and an entry that is there twice.
    """
    settle(path)
    names, rows = read_table(path)
    if missing := {"student", "question", "points"} - set(names):
        raise TableError(f"{path.name} lacks the columns {sorted(missing)}")
    found: Table = {}
    for line, row in enumerate(rows, 2):
        student, question = row["student"].strip(), row["question"].strip()
        where = f"{path.name}, row {line} ({student}, {question})"
        if question not in assignment.written:
            known = ", ".join(assignment.written) or "none"
            raise TableError(f"{where}: written questions are {known}")
        if (student, question) in found:
            raise TableError(f"{where}: the same answer is there twice")
        points = number(row["points"], assignment.written[question], where)
        comment, answer = row.get("comment", ""), row.get("answer", "")
        version = row.get("version", "").strip()
        if not VERSION.fullmatch(version):
            version = version_of(answer) if answer else ""
        marked = _marked(row.get("marked", ""), points) or version
        found[student, question] = Given(points, comment, answer, version, marked)
    return found


def settle(path: Path) -> None:
    """Wait while a program is still writing a table, whose last line then has no end.

    After a second without any change the table is taken as it is.
    """
    size, began = -1, time.monotonic()
    while time.monotonic() - began < PATIENCE:
        data = path.read_bytes() if path.is_file() else b"\n"
        if data.endswith((b"\n", b"\r")):
            return
        if len(data) != size:
            size, began = len(data), time.monotonic()
        time.sleep(PATIENCE / 20)


def _marked(cell: str, points: float | None) -> str:
    """The version that the points in a row are for, if it is not the row's own."""
    match = MARKED.fullmatch(cell.strip())
    if not match or points is None or match["points"] != f"{points:.10g}":
        return ""
    return match["version"]


def read_tables(
    kept: Path, brought: Iterable[Path], assignment: Assignment, students: Iterable[str]
) -> list[Table]:
    """What has been entered in the table beside the grades, and in those brought to it.

    Raises TableError for a table that cannot be read, and for points of a student who
    has handed in nothing.
    """
    tables, known = [], set(students)
    for path in [*([kept] if kept.exists() else []), *brought]:
        read = _with_ids(read_manual(path, assignment), known, path.name)
        entered = {k: g for k, g in read.items() if g.points is not None or g.comment}
        if strange := sorted({student for student, _ in entered} - known):
            raise TableError(
                f"points by hand for {', '.join(strange)}: nothing handed in; put back "
                f"what they handed in, or delete their rows in {path.name}"
            )
        tables.append(entered)
    return tables


def _with_ids(table: Table, students: set[str], file: str) -> Table:
    """A table under the students' ids, however a spreadsheet has saved them.

    It may compose letters, and it takes 007 for the number 7.

    Raises TableError where two rows are of one student.
    """
    known = {same(student): student for student in students}
    short: dict[str, list[str]] = {}
    for student in students:
        short.setdefault(same(student).lstrip("0"), []).append(student)
    found: Table = {}
    for (student, question), entry in table.items():
        alike = short.get(same(student), []) if student.isdigit() else []
        one = alike[0] if len(alike) == 1 else student
        whose = known.get(same(student), one)
        if (whose, question) in found:
            raise TableError(f"{file}: {question} of {whose} is there twice")
        found[whose, question] = entry
    return found


def merged(tables: Iterable[Table], results: Iterable[Result]) -> Table:
    """All that has been entered; a later table wins where it has points.

    Points for an answer as it is now win over points for what it was before.
    """
    now = {
        (result.student, question): version_of(answer)
        for result in results
        for question, answer in result.written.items()
    }
    given: Table = {}
    for table in tables:
        for key, new in table.items():
            old = given.get(key)
            given[key] = _later(old, new, now.get(key, "")) if old else new
    return given


def _later(old: Given, new: Given, now: str) -> Given:
    """Two entries for one answer, whose version is `now`, made one."""
    comment = new.comment or old.comment
    outdated = now and new.marked not in ("", now) and old.marked in ("", now)
    keeps = new.points is None or (outdated and old.points is not None)
    return replace(old if keeps else new, comment=comment)


def bring_in(
    kept: Path, brought: list[Path], assignment: Assignment, results: list[Result]
) -> Table:
    """Read all that has been entered, and write it into the table beside the grades.

    What is saved there meanwhile counts: it is then read again. The table stays as it
    is where there is nothing new; otherwise what it was is kept beside it.

    Raises TableError as `read_tables` does.
    """
    students = [result.student for result in results]
    while True:
        before = kept.read_bytes() if kept.exists() else b""
        given = merged(read_tables(kept, brought, assignment, students), results)
        text = manual_of(results, given, assignment).encode("utf-8", "replace")
        if before == (kept.read_bytes() if kept.exists() else b""):
            break
    if text != before and assignment.written:
        if before:
            linked(kept, kept.with_name(BEFORE))
        write(kept, text)
    return given


def manual_of(results: list[Result], given: Table, assignment: Assignment) -> str:
    """The table for marking, with what has been entered so far.

    Who cannot be graded now has a row where something was entered, with the answer of
    that time.
    """
    rows = []
    for result in results:
        for question in assignment.written:
            key = (result.student, question)
            entry = given.get(key, Given())
            if result.graded:
                answer = result.written.get(question, "")
                entry = replace(entry, answer=answer, version=version_of(answer))
            if result.graded or key in given:
                rows.append(_row(*key, assignment.written[question], entry))
    return MARK + text_of(COLUMNS, rows)


def _row(student: str, question: str, most: float, entry: Given) -> dict:
    other = entry.points is not None and entry.marked not in ("", entry.version)
    return {
        "student": student,
        "question": question,
        "max": most,
        "points": entry.points,
        "comment": entry.comment,
        "answer": entry.answer,
        "version": entry.version,
        "marked": f"{entry.points:.10g} for {entry.marked}" if other else "",
    }


def changed_since(entry: Given, answer: str) -> bool:
    """Whether an answer is another than the one that was marked."""
    if entry.points is None:
        return False
    return entry.marked not in ("", version_of(answer))
