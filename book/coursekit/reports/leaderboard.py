"""A leaderboard from graded submissions, under names that nobody can trace.

It reads `json/` of the folder that `grade --out` has made. What ranks are points of
some questions, then numbers that their tests have `measured`, such as an accuracy.
"""

import hashlib
import hmac
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from coursekit.grading.results import Result, read_result
from coursekit.grading.tables import TableError, write_table
from coursekit.reports.report import PAGES
from coursekit.walls.files import write

FIRST = "amber brave calm dapper eager fleet gentle hazel ivory jolly keen lucid"
FIRST += " mellow nimble olive plucky quiet ruby silver tidy"
LAST = "badger crane dormouse egret falcon gecko heron ibex jackdaw kestrel lynx marten"
LAST += " newt otter puffin quail raven seal tern vole"


@dataclass
class Entry:
    """A line of the board; who shares a place has the same points and numbers."""

    student: str
    points: float
    measured: dict[str, float] = field(default_factory=dict)
    place: int = 0
    name: str = ""


def read_results(folder: Path) -> list[Result]:
    """The results of all submissions that were graded.

    Raises TableError for a folder without any.
    """
    paths = sorted((folder / "json").glob("*.json"))
    graded = [result for result in map(read_result, paths) if result.graded]
    if not graded:
        raise TableError(f"{folder.name}: nothing is graded there; run grade first")
    return graded


def ranked_questions(results: list[Result], asked: Iterable[str] = ()) -> list[str]:
    """The questions that count: those asked for, or all whose tests measure something.

    Raises TableError for an unknown question, and where no test measures anything.
    """
    known = list(results[0].questions)
    if unknown := sorted(set(asked) - set(known)):
        raise TableError(f"no questions {unknown}; there are {', '.join(known)}")
    verdicts = [verdict for result in results for verdict in result.verdicts]
    found = {verdict.question for verdict in verdicts if verdict.measured}
    chosen = [q for q in known if q in (set(asked) or found)]
    if not chosen:
        raise TableError("no test measures anything: name questions (--questions)")
    return chosen


def board(
    results: list[Result],
    questions: list[str],
    high: Iterable[str] = (),
    low: Iterable[str] = (),
) -> list[Entry]:
    """Entries by points of the questions, then by numbers: high ones first, or low.

    Raises TableError for a number that no test of these questions has measured.
    """
    entries = []
    for result in results:
        entry = Entry(result.student, sum(result.questions[q] for q in questions))
        for verdict in result.verdicts:
            if verdict.question in questions:
                entry.measured |= verdict.measured
        entries.append(entry)
    known = sorted({name for entry in entries for name in entry.measured})
    if unknown := sorted({*high, *low} - set(known)):
        raise TableError(f"nothing measured as {unknown}; there are {known}")

    def key(entry: Entry) -> tuple[float, ...]:
        ups = (_rank(entry.measured.get(name), -1) for name in high)
        downs = (_rank(entry.measured.get(name), 1) for name in low)
        return (-round(entry.points, 6), *ups, *downs)

    entries.sort(key=lambda entry: (key(entry), entry.student))
    for number, entry in enumerate(entries, 1):
        before = entries[number - 2] if number > 1 else None
        tied = before is not None and key(before) == key(entry)
        entry.place = before.place if tied else number
    return entries


def _rank(value: float | None, sign: int) -> float:
    """A number to rank by; none, and what is no number, comes last."""
    return math.inf if value is None or math.isnan(value) else sign * value


def pseudonyms(students: Iterable[str], secret: str) -> dict[str, str]:
    """A name for each student, the same for the same secret, no two alike."""
    taken: dict[str, str] = {}
    first, last = FIRST.split(), LAST.split()
    for student in sorted(students):
        name, tries = "", 0
        while not name or name in taken.values():
            text = f"{tries}\0{student}".encode()
            digest = hmac.digest(secret.encode(), text, hashlib.sha256)
            a, b, c = digest[0] % len(first), digest[1] % len(last), digest[2] % 90
            name, tries = f"{first[a]} {last[b]} {c + 10}", tries + 1
        taken[student] = name
    return taken


def write_board(
    grades: Path,
    out: Path,
    asked: Iterable[str] = (),
    high: Iterable[str] = (),
    low: Iterable[str] = (),
    secret: str = "",
    ids: bool = False,
) -> list[Entry]:
    """Write `leaderboard.html` and `.csv`; the key to its names stays with the grades.

    Pseudonyms come from `secret`; without one they are new each time. With `ids` the
    board has the students' ids.

    Raises TableError for what is not there.
    """
    results = read_results(grades)
    questions = ranked_questions(results, asked)
    high, low = list(high), list(low)
    entries = board(results, questions, high, low)
    students = [entry.student for entry in entries]
    names = pseudonyms(students, secret or secrets.token_hex())
    for entry in entries:
        entry.name = entry.student if ids else names[entry.student]
    # within a place by name: the order of ids would give some away
    entries.sort(key=lambda entry: (entry.place, entry.name))
    columns = list(dict.fromkeys([*high, *low]))
    columns += sorted({n for entry in entries for n in entry.measured} - {*columns})
    tests = {v.test: v for result in results for v in result.verdicts}.values()
    page = PAGES.get_template("leaderboard.html").render(
        assignment=results[0].assignment,
        entries=entries,
        columns=columns,
        questions=questions,
        most=sum(test.max for test in tests if test.question in questions),
        order=[*high, *(f"{name} (low first)" for name in low)],
    )
    rows = [
        {"place": e.place, "name": e.name, "points": e.points, **e.measured}
        for e in entries
    ]
    write(out / "leaderboard.html", page)
    write_table(out / "leaderboard.csv", ["place", "name", "points", *columns], rows)
    if not ids:
        key = [{"student": s, "name": names[s]} for s in sorted(students)]
        write_table(grades / "pseudonyms.csv", ["student", "name"], key)
    return entries
