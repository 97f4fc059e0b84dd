"""Points that people give: `manual.csv` goes out with the answers and comes back.

The table lies beside the grades. Grading again keeps every point in it, also for
answers that have changed since; those are reported.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursekit.assignment import Assignment
from coursekit.tables import TableError, number, read_table, write_table

COLUMNS = ["student", "question", "max", "points", "comment", "answer"]


@dataclass(frozen=True)
class Given:
    """What a person has entered for one answer, and the answer that they have read."""

    points: float | None
    comment: str
    answer: str


def read_manual(path: Path, assignment: Assignment) -> dict[tuple[str, str], Given]:
    """What has been entered, by student and question.

    Raises TableError for columns that are missing, for an unknown question, a number
    that does not fit, and an entry that is there twice.
    """
    names, rows = read_table(path)
    if missing := {"student", "question", "points"} - set(names):
        raise TableError(f"{path.name} lacks the columns {sorted(missing)}")
    found: dict[tuple[str, str], Given] = {}
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
        found[student, question] = Given(points, comment, answer)
    return found


def merged(
    results: list[dict[str, Any]],
    assignment: Assignment,
    paths: list[Path],
) -> dict[tuple[str, str], Given]:
    """All that has been entered, a later table before an earlier one.

    Raises TableError for points of a student who has handed in nothing.
    """
    given: dict[tuple[str, str], Given] = {}
    for path in paths:
        if path.exists():
            new = read_manual(path, assignment)
            given |= {k: g for k, g in new.items() if g.points is not None or g.comment}
    known = {result["student"] for result in results}
    if strange := sorted({student for student, _ in given} - known):
        raise TableError(f"points by hand for {', '.join(strange)}: nothing handed in")
    return given


def write_manual(
    path: Path,
    results: list[dict[str, Any]],
    given: dict[tuple[str, str], Given],
    assignment: Assignment,
) -> None:
    """Write the table for marking, with what has been entered so far."""
    rows = []
    for result in results:
        if result["status"] not in ("ok", "look"):
            continue
        for question, most in assignment.written.items():
            student = result["student"]
            entry = given.get((student, question), Given(None, "", ""))
            answer = result["written"].get(question, "")
            values = (student, question, most, entry.points, entry.comment, answer)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    write_table(path, COLUMNS, rows)


def changed_since(entry: Given, answer: str) -> bool:
    """Whether an answer is another than the one that was marked."""
    if entry.points is None or not entry.answer:
        return False
    return " ".join(entry.answer.split()) != " ".join(answer.split())
