"""One notebook, whoever has saved it how: its cells, and its answers in words."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from coursekit.authoring.assignment import Assignment
from coursekit.authoring.notebooks import defined, mark_written, prompt, starter
from coursekit.grading.names import key
from coursekit.grading.submissions import Submission
from coursekit.walls.files import Unreadable, read_bytes

LARGEST = 10 * 2**20  # bytes of a notebook
DEFINED = re.compile(r"^(?:def|class)\s+(\w+)", re.MULTILINE)
UNANSWERED = "*Your answer.*"  # what earlier starters say where an answer goes


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
        plain = key(path.stem) == key(submission.student)
        return path, "" if plain else f"graded {name}, since no {wanted} is there"
    if not books:
        held = ", ".join(sorted(submission.files)[:5]) or "nothing"
        raise Unreadable(f"no notebook in it, but {held}; ask for {wanted}")
    raise Unreadable(
        f"{len(books)} notebooks: {', '.join(sorted(books)[:5])}; keep one"
    )


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
