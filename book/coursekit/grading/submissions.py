"""What a class has handed in: who, which notebook, which files, and what is in them."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from coursekit.authoring.assignment import Assignment, AssignmentError
from coursekit.authoring.notebooks import defined, mark_written, prompt, starter
from coursekit.walls.files import Unreadable, read_bytes

LARGEST = 10 * 2**20  # bytes of a notebook
MOST_FILES = 200
# How learning platforms name what they give out; `student` is the id that counts.
NAMES = {
    "plain": r"(?P<student>.+)",
    "canvas": r"[^_]*_(?:LATE_)?(?P<student>\d+)_\d+_(?P<file>.+)",
    "moodle": r".*_(?P<student>\d+)_assignsubmission_file_?(?P<file>.*)",
}
# What browsers and platforms add to the name of a second file.
RENAMED = r"(?:[-_]\d+| ?\(\d+\))"
DEFINED = re.compile(r"^(?:def|class)\s+(\w+)", re.MULTILINE)
UNANSWERED = "*Your answer.*"  # what earlier starters say where an answer goes
CLUTTER = re.compile(r"(^|/)(\.|__MACOSX|Thumbs\.db|desktop\.ini)")


@dataclass(frozen=True)
class Submission:
    """One student's files by name; `problem` says why they cannot be graded."""

    student: str
    files: dict[str, Path] = field(default_factory=dict)
    problem: str = ""
    status: str = ""  # "duplicate" or "unknown" where that is the problem


@dataclass(frozen=True)
class Notebook:
    """Code cells to run, answers in words by question, and remarks.

    Cells have their numbers among all code cells; `answers` are those that answer a
    question.
    """

    cells: dict[int, str]
    answers: dict[int, str]
    written: dict[str, str]
    notes: list[str]


def collect(
    folder: Path, names: str = "plain", roster: Iterable[str] | None = None
) -> list[Submission]:
    """The submissions in a folder: one file or one folder for each student.

    Args:
        folder: holds `STUDENT.ipynb` or `STUDENT/...`, or what a platform made
        names: "plain", "canvas", "moodle", or a pattern with the group `student` and,
            for a file whose own name is a part of it, `file`
        roster: the ids that there are; others are not graded, but reported

    Two entries of one student that are not parts of one submission, and ids that the
    roster does not have, come back with a `problem` and are not to be graded.

    Raises AssignmentError for a pattern or a folder that is none.
    """
    if not folder.is_dir():
        raise AssignmentError(f"{folder} is no folder with submissions")
    pattern = _pattern(names)
    found: dict[str, Submission] = {}
    for entry in sorted(folder.iterdir()):
        if CLUTTER.search(entry.name):
            continue
        if entry.is_symlink():
            problem = "it is a link: put the file itself there"
            found[entry.name] = Submission(entry.stem, problem=problem)
            continue
        whole = entry.name if entry.is_dir() else _stem(entry, names)
        match = pattern.fullmatch(whole)
        if not match:
            found[entry.name] = Submission(
                entry.name, problem="its name does not follow the pattern"
            )
            continue
        student = match["student"].strip()
        given = match.groupdict().get("file")
        files = _below(entry) if entry.is_dir() else {given or entry.name: entry}
        before = found.get(student)
        if before and (not given or set(before.files) & set(files)):
            both = sorted({*before.files, *files})
            problem = f"handed in twice: {', '.join(both)}; keep one"
            found[student] = replace(before, problem=problem, status="duplicate")
        else:
            files = {**before.files, **files} if before else files
            found[student] = Submission(student, files)
    known = None if roster is None else set(roster)
    return [_enrolled(s, known) for s in found.values()]


def _pattern(names: str) -> re.Pattern:
    try:
        pattern = re.compile(NAMES.get(names, names))
    except re.error as error:
        raise AssignmentError(f"{names!r} is no pattern: {error}") from error
    if "student" not in pattern.groupindex:
        raise AssignmentError(f"{names!r} has no group (?P<student>...)")
    return pattern


def _stem(entry: Path, names: str) -> str:
    return entry.stem if names == "plain" else entry.name


def _enrolled(submission: Submission, known: set[str] | None) -> Submission:
    if known is None or submission.student in known:
        return submission
    problem = "not on the roster: correct the name of the file or the roster"
    return replace(submission, problem=problem, status="unknown")


def _below(folder: Path) -> dict[str, Path]:
    """The files of a folder and of those in it, by name; links are not followed."""
    paths: list[Path] = []
    for path in _walk(folder):
        paths.append(path)
        if len(paths) > MOST_FILES:
            break
    return {p.relative_to(folder).as_posix(): p for p in sorted(paths)}


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if CLUTTER.search(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def notebook_of(submission: Submission, assignment: Assignment) -> tuple[Path, str]:
    """The notebook to grade, and a remark if its name is not the assignment's.

    Raises Unreadable if there is none, or no telling which.
    """
    if submission.problem:
        raise Unreadable(submission.problem)
    books = {n: p for n, p in submission.files.items() if n.endswith(".ipynb")}
    wanted = f"{assignment.name}.ipynb"
    exact = [p for n, p in books.items() if n.rpartition("/")[2] == wanted]
    if len(exact) == 1:
        return exact[0], ""
    if len(books) == 1:
        (name, path), *_ = books.items()
        plain = path.stem == submission.student
        return path, "" if plain else f"graded {name}, since no {wanted} is there"
    if not books:
        held = ", ".join(sorted(submission.files)[:5]) or "nothing"
        raise Unreadable(f"no notebook in it, but {held}; ask for {wanted}")
    raise Unreadable(
        f"{len(books)} notebooks: {', '.join(sorted(books)[:5])}; keep one"
    )


def handed_in(
    submission: Submission, assignment: Assignment
) -> tuple[dict[str, Path], list[str]]:
    """The files beside the notebook that the assignment asks for, and remarks.

    One that is missing is replaced by the one file with its name and a number.
    """
    files = submission.files.items()
    by_name = {n.rpartition("/")[2]: p for n, p in files if not p.is_symlink()}
    found = {n: by_name[n] for n in assignment.files if n in by_name}
    others, notes = sorted(set(by_name) - set(found)), []
    for wanted in assignment.files:
        if wanted not in found:
            name, note = _renamed(wanted, others)
            found |= {wanted: by_name[name]} if name else {}
            notes.append(note)
    return found, notes


def _renamed(wanted: str, names: list[str]) -> tuple[str, str]:
    """The file that was meant for a missing one, empty if none, and a remark."""
    stem, suffix = Path(wanted).stem, Path(wanted).suffix
    pattern = re.compile(re.escape(stem) + RENAMED + re.escape(suffix))
    alike = [name for name in names if pattern.fullmatch(name)]
    if len(alike) == 1:
        return alike[0], f"took {alike[0]}, since no {wanted} is there"
    held = [name for name in names if Path(name).suffix == suffix][:5]
    return "", f"no {wanted}" + (f", but {', '.join(held)}" if held else "")


def _text(data: bytes) -> tuple[str, list[str]]:
    for mark, code in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(code, "replace"), ["the notebook is UTF-16"]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        note = "the notebook is not UTF-8; it was read as Windows-1252"
        return data.decode("cp1252", "replace"), [note]


def _source(cell: dict) -> str:
    source = cell.get("source", cell.get("input", ""))
    parts = source if isinstance(source, list) else [source]
    return "".join(part for part in parts if isinstance(part, str))


def _tags(cell: dict) -> set[str]:
    metadata = cell.get("metadata")
    found = metadata.get("tags") if isinstance(metadata, dict) else None
    return (
        {t for t in found if isinstance(t, str)} if isinstance(found, list) else set()
    )


def read_notebook(path: Path, assignment: Assignment) -> Notebook:
    """The cells and the answers in words of a notebook, whoever has saved it how.

    Raises Unreadable for what is no notebook.
    """
    text, notes = _text(read_bytes(path, LARGEST))
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path.name} is damaged: {error}") from error
    cells = held.get("cells") if isinstance(held, dict) else None
    if cells is None and isinstance(held, dict):  # version 3
        sheets = held.get("worksheets")
        first = sheets[0] if isinstance(sheets, list) and sheets else None
        cells = first.get("cells") if isinstance(first, dict) else None
    if not isinstance(cells, list):
        raise Unreadable(f"{path.name} is JSON, but no notebook")
    cells = [cell for cell in cells if isinstance(cell, dict)]
    code = [c for c in cells if c.get("cell_type") == "code"]
    run = {n: c for n, c in enumerate(code, 1) if "experiment" not in _tags(c)}
    names = {f: q for q, found in defined(assignment).items() for f in found}
    asked = {n: _question(cell, assignment, names) for n, cell in run.items()}
    words = [c for c in cells if c.get("cell_type") in ("markdown", "raw")]
    written = {q: _words(words, q) for q in assignment.written}
    return Notebook(
        {n: _source(cell) for n, cell in run.items()},
        {n: question for n, question in asked.items() if question},
        written,
        [*notes, *_astray(words, written, assignment)],
    )


def _question(cell: dict, assignment: Assignment, names: dict[str, str]) -> str:
    """The question that a code cell answers, by tag or by what it defines, if any."""
    tagged = [q for q in assignment.questions if {"answer", q} <= _tags(cell)]
    made = [names[f] for f in DEFINED.findall(_source(cell)) if f in names]
    return next(iter([*tagged, *made]), "")


def _answers(cell: dict, question: str) -> bool:
    """Whether a cell holds the answer to a written question, by tag or by its line."""
    tagged = {"written", question} <= _tags(cell)
    return tagged or mark_written(question) in _source(cell)


def _words(cells: list[dict], question: str) -> str:
    """The answer to a written question, without what the starter says there."""
    found = []
    for cell in cells:
        if _answers(cell, question):
            text = _source(cell)
            for given in (mark_written(question), prompt(question)):
                text = text.replace(given, "")
            found.append(text.strip())
    return "\n\n".join(text for text in found if text not in ("", UNANSWERED))


def _astray(
    cells: list[dict], written: dict[str, str], assignment: Assignment
) -> list[str]:
    """Remarks on questions without an answer, where other cells hold further text."""
    empty = [question for question, answer in written.items() if not answer]
    if not empty:
        return []
    given = {"", *(" ".join(c.source.split()) for c in starter(assignment).cells)}
    others = [c for c in cells if not any(_answers(c, q) for q in written)]
    if all(" ".join(_source(cell).split()) in given for cell in others):
        return []
    return [f"{q}: no answer in its cell, but text in other cells" for q in empty]
