"""A class to rehearse grading with: its folder, its roster, and the table due for it.

    python tests/coursekit/rehearsal.py ASSIGNMENT DIR
    python tests/coursekit/rehearsal.py ASSIGNMENT DIR --compare GRADES

The first line makes a class, the second compares the grades of it with those due:

    DIR/class/          what forty students have handed in, many of them badly
    DIR/roster.csv      their ids
    DIR/expected.csv    the points and the status that each has to get

Right solutions and those of `mutants.toml` stand beside blank starters, submissions
that loop, exit, cheat or cannot be read, one handed in twice, one of a stranger, and
two that are missing.
"""

import argparse
import copy
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hostile import Hostile, hostile
from nbformat.v4 import new_code_cell

from coursekit.authoring.assignment import Assignment, AssignmentError, load
from coursekit.authoring.mutants import Variant, mutants, reference
from coursekit.authoring.notebooks import instructor, starter, tags
from coursekit.authoring.prove import SECRET
from coursekit.grading.tables import TableError, read_table, text_of
from coursekit.walls.files import write

BAD = (
    "inside loops",
    "inside exits",
    "inside hogs memory",
    "inside shows hidden tests",
    "a last cell loops",
    "a last cell exits",
    "blank patches torch",
    "blank returns what is always equal",
    "without its cell",
    "every cell twice",
    "not UTF-8",
    "another name",
    "truncated",
    "empty",
    "two notebooks",
    "no notebook",
)
BLANKS, MISSING = 3, 2
STRANGER = "stranger"
NOWHERE = 9  # a port on which nobody listens


def rehearse(assignment: Assignment, folder: Path, students: int = 40) -> list[dict]:
    """Write the class of an assignment; returns the rows that it has to get.

    Raises AssignmentError for a class too small for the bad submissions, and for a
    folder that holds another class.
    """
    least = len(BAD) + BLANKS + MISSING + 3
    if students < least:
        raise AssignmentError(f"a class of {students} is too small: {least} at least")
    if strange := _others(folder / "class", f"{assignment.name}.ipynb"):
        raise AssignmentError(
            f"{folder} has {strange}, which is not of {assignment.name}'s rehearsal: "
            "choose another folder"
        )
    names = [f"s{number:02d}" for number in range(1, students + 1)]
    by_name = {one.name: one for one in hostile(assignment, NOWHERE)}
    right = reference(assignment)
    book = f"{assignment.name}.ipynb"
    empty = {book: _bytes(starter(assignment))}
    none, fine = frozenset(assignment.questions), (status_of(assignment, empty),)
    blank = Hostile("blank", empty, none, fine)
    whole = {book: _notebook(assignment, right), **right.files}
    rows, waiting = [], list(names)

    def hand_in(files: dict[str, bytes], due: dict[str, float | None], status: str):
        student = waiting.pop(0)
        for name, data in files.items():
            write(folder / "class" / student / name, data)
        rows.append({"student": student, **due, "status": status})
        return student

    for one in [by_name[name] for name in BAD] + [blank] * BLANKS:
        due = points(assignment, lost=one.lost)
        hand_in(one.files, due, " or ".join(one.status))
    twice = hand_in(whole, points(assignment, lost=None), "duplicate")
    write(folder / "class" / f"{twice}.ipynb", whole[book])
    for _ in range(MISSING):
        rows.append({"student": waiting.pop(0), "status": "missing"})
    wrong = mutants(assignment)[: (len(waiting) + 1) // 2]
    for variant in [*wrong, *[right] * (len(waiting) - len(wrong))]:
        files = {book: _notebook(assignment, variant), **variant.files}
        status = status_of(assignment, files)
        if len(variant.cells) > len(right.cells):  # what defines a name anew is said
            status = "ok or look"
        hand_in(files, points(assignment, variant.fails), status)
    for name, data in whole.items():
        write(folder / "class" / STRANGER / name, data)
    rows.append({"student": STRANGER, "status": "unknown"})
    columns = ["student", *assignment.questions, "status"]
    write(folder / "expected.csv", text_of(columns, rows))
    write(folder / "secret", SECRET + "\n")
    write(folder / "roster.csv", "\n".join(["student", *names, ""]))
    return rows


def status_of(assignment: Assignment, files: Collection[str]) -> str:
    """The status due for a notebook that runs: a file that is missing needs a look."""
    return "ok" if set(assignment.files) <= set(files) else "look"


def _others(class_: Path, book: str) -> str:
    """What shows that a class is not a rehearsal with this notebook; empty if none."""
    if not class_.is_dir() or not any(class_.iterdir()):
        return ""
    found = sorted(path.name for path in (class_ / STRANGER).glob("*.ipynb"))
    others = [f"class/{STRANGER}/{name}" for name in found if name != book]
    return "" if found == [book] else ", ".join(others) or "a folder class/"


def points(
    assignment: Assignment,
    fails: frozenset[str] = frozenset(),
    lost: frozenset[str] | None = frozenset(),
) -> dict[str, float | None]:
    """Points by question but for failed tests and lost questions; None for none."""
    due: dict[str, float | None] = dict.fromkeys(assignment.questions, 0.0)
    if lost is None:
        return dict.fromkeys(due)
    for test in assignment.tests:
        if test.name not in fails and test.question not in lost:
            due[test.question] += test.points
    return due


def _bytes(notebook: Any) -> bytes:
    return json.dumps(notebook, ensure_ascii=False).encode()


def _notebook(assignment: Assignment, variant: Variant) -> bytes:
    """The notebook of a variant, with the answers in words of the solution."""
    notebook = copy.deepcopy(instructor(assignment))
    sources = list(variant.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "experiment" not in tags(cell):
            cell.source = sources.pop(0)
    notebook.cells += [new_code_cell(source) for source in sources]
    return _bytes(notebook)


def differences(expected: Path, grades: Path) -> list[str]:
    """Where a table of grades is another than the one due; empty if nowhere.

    Raises TableError for columns that the grades lack.
    """
    columns, due = read_table(expected)
    names, rows = read_table(grades)
    if missing := [n for n in [*columns, "reason"] if n not in names]:
        raise TableError(
            f"{grades} lacks the columns {missing} of {expected}: they belong to "
            "different assignments, so name the folders of the same one"
        )
    got = {row["student"]: row for row in rows}
    strange = set(got) - {row["student"] for row in due}
    found = [f"{student}: a row too many" for student in sorted(strange)]
    found += [f"{len(rows)} rows, not {len(due)}"] if len(rows) != len(due) else []
    for row in due:
        has = got.get(row["student"])
        if has is None:
            found.append(f"{row['student']}: no row")
            continue
        for column in columns[1:]:
            fine = row[column].split(" or ")
            if has[column] not in fine:
                found.append(
                    f"{row['student']}: {column} is {has[column] or 'empty'}, "
                    f"not {row[column] or 'empty'} ({has['reason']})"
                )
    return found


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description="Make a class to rehearse grading.")
    parser.add_argument("assignment", help="name of an assignment, or its folder")
    parser.add_argument("folder", type=Path, help="where class, roster and table go")
    parser.add_argument("--students", type=int, default=40)
    help_ = "make nothing; compare the grades there with the table that is due"
    parser.add_argument("--compare", type=Path, metavar="GRADES", help=help_)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Make a class, or compare; returns 0, or 2 if misused, or 3 for other grades."""
    asked = options(arguments)
    due = asked.folder / "expected.csv"
    try:
        if asked.compare:
            wrong = differences(due, asked.compare / "grades.csv")
            print("\n".join(wrong) or "every number is right")
            return 3 if wrong else 0
        rows = rehearse(load(asked.assignment), asked.folder, asked.students)
        print(f"{len(rows)} rows are due: {due}")
        return 0
    except (AssignmentError, TableError, OSError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
