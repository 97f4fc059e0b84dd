"""One notebook, whoever has saved it how: its cells, and its answers in words."""

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from coursekit.authoring.assignment import Assignment
from coursekit.authoring.notebooks import (
    EXPERIMENT,
    defined,
    mark_written,
    prompt,
    starter,
)
from coursekit.grading.archives import BOOK
from coursekit.grading.names import key
from coursekit.grading.submissions import Submission
from coursekit.walls.cells import is_python, plain_cells, plain_python
from coursekit.walls.files import Unreadable, read_bytes

LARGEST = 100 * 2**20  # bytes of a notebook, most of which are outputs
KEPT_COPY = "-checkpoint.ipynb"  # what Jupyter keeps beside a notebook
SPACE = r"[^\S\n]"  # also one that Python does not take
PROSE = re.compile(
    rf"^{SPACE}*(?:[-*>]{SPACE}*)?(?:[^\W\d_]+[,;:]? ){{4}}[^\W\d_]+", re.MULTILINE
)
QUOTED = re.compile(r"(\"{3}|'{3}).*?(?:\1|\Z)", re.DOTALL)
CODE = "code"  # is added to the tags of words in a code cell
UNANSWERED = "*Your answer.*"  # what earlier starters say where an answer goes


def making(name: str, before: str = "") -> re.Pattern:
    """Lines that define a name, with nothing but `before` in front; both are patterns.

    >>> bool(making("x").search("y = 1\\nx: int = 2")), making("x").search(" x = 1")
    (True, None)
    """
    return re.compile(
        rf"^{before}(?:(?:(?:async{SPACE}+)?def|class){SPACE}+{name}\b"
        rf"|{name}{SPACE}*(?::[^=\n]+)?=(?!=))",
        re.MULTILINE,
    )


DEFINED = making(r"(\w+)", r"(?:>>>[ \t]?)?")


@dataclass(frozen=True)
class Cell:
    """A cell as it was saved: what kind, what it says, and how students find it.

    `kind` is "code", "experiment", which is code that is not run, or "text"; `number`
    counts code cells, or, for text, all cells. `given` are those that the starter has.
    """

    kind: str
    number: int
    source: str
    tags: frozenset[str] = frozenset()
    given: bool = False

    @property
    def place(self) -> str:
        """How to name it to somebody who looks at the notebook."""
        first = " ".join(self.source.split())[:30]
        if self.kind == "text":
            return f"the text of cell {self.number} from the top ({first}...)"
        return f"code cell {self.number}"


@dataclass(frozen=True)
class Notebook:
    """Code cells to run, answers in words by question, and remarks.

    Cells have their numbers among all code cells; `answers` are those that answer
    questions, `told` says what of a cell is not run, and `saved` are all of them.
    """

    cells: dict[int, str]
    answers: dict[int, tuple[str, ...]]
    written: dict[str, str]
    notes: list[str]
    told: dict[int, str] = field(default_factory=dict)
    saved: tuple[Cell, ...] = ()


def notebook_of(submission: Submission, assignment: Assignment) -> tuple[Path, str]:
    """The notebook to grade, and a remark if its name is not the assignment's.

    Raises Unreadable if there is none, or no telling which.
    """
    if submission.problem:
        raise Unreadable(submission.problem)
    books = {n: p for n, p in submission.files.items() if BOOK.search(n)}
    books = {n: p for n, p in books.items() if not n.endswith(KEPT_COPY)} or books
    wanted = f"{assignment.name}.ipynb"
    exact = [p for n, p in books.items() if n.rpartition("/")[2] == wanted]
    if len(exact) == 1:
        return exact[0], ""
    if len(books) == 1:
        (name, path), *_ = books.items()
        plain_name = key(path.stem) == key(submission.student)
        note = f"graded {name}, since no {wanted} is there"
        return path, "" if plain_name else note
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
    """The text of a cell, with plain line ends."""
    source = cell.get("source", cell.get("input", ""))
    parts = source if isinstance(source, list) else [source]
    parts = [part for part in parts if isinstance(part, str)]
    bare = len(parts) > 1 and not any(p.endswith(("\n", "\r")) for p in parts[:-1])
    text = ("\n" if bare else "").join(parts)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _tags(cell: dict) -> frozenset[str]:
    metadata = cell.get("metadata")
    found = metadata.get("tags") if isinstance(metadata, dict) else None
    found = found if isinstance(found, list) else []
    return frozenset(tag for tag in found if isinstance(tag, str))


def _held(path: Path) -> tuple[list[dict], list[str]]:
    """The cells of a notebook as they were saved, and remarks.

    Raises Unreadable for what is no notebook.
    """
    text, notes = _text(read_bytes(path, LARGEST))
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path.name} is damaged: {error}") from error
    held = held if isinstance(held, dict) else {}
    sheets = held.get("worksheets")
    if "cells" not in held and isinstance(sheets, list):  # format 3
        parts = [s.get("cells") if isinstance(s, dict) else None for s in sheets]
        held = {"cells": [c for p in parts if isinstance(p, list) for c in p] or None}
    if not isinstance(held.get("cells"), list):
        raise Unreadable(f"{path.name} is JSON, but no notebook")
    return [cell for cell in held["cells"] if isinstance(cell, dict)], notes


def _saved(
    cells: list[dict], names: dict[str, str], assignment: Assignment
) -> list[Cell]:
    """The cells of a notebook; one that answers a question is code to be run, or text.

    An experiment, by its tag or its first line, is neither, unless it defines what a
    question asks for, as when it was merged with the answer. Words in a code cell are
    text.
    """
    known = {_bare(cell.source) for cell in starter(assignment).cells}
    found, code = [], 0
    for position, cell in enumerate(cells, 1):
        source, tags = _source(cell), _tags(cell)
        is_code, given = cell.get("cell_type") == "code", _bare(source) in known
        code += is_code
        if not is_code:
            level = cell.get("level")  # of a heading, which format 3 has
            marks = f"{'#' * min(level, 6)} " if isinstance(level, int) else ""
            given = given or _bare(marks + source) in known
            found.append(Cell("text", position, marks + source, tags, given))
        elif _in_words(source, tags, assignment, names):
            found.append(Cell("text", position, source, tags | {CODE}))
        else:
            apart = "experiment" in tags or source.startswith(EXPERIMENT)
            apart = apart and "answer" not in tags and not names.keys() & _names(source)
            kind = "experiment" if apart else "code"
            found.append(Cell(kind, code, source, tags, given))
    return found


def _in_words(
    source: str, tags: frozenset[str], assignment: Assignment, names: dict[str, str]
) -> bool:
    """Whether a code cell holds an answer in words."""
    if names.keys() & _names(source):
        return False
    held = [_answers(source, tags, question) for question in assignment.written]
    if any(held):
        return True
    if not assignment.written or "answer" in tags:
        return False
    said = PROSE.search(QUOTED.sub("", source))
    return bool(said) and not is_python(plain_python(source))


def _names(source: str) -> set[str]:
    """The names that a cell defines at its top, even if it cannot be run."""
    found = DEFINED.findall(textwrap.dedent(source.expandtabs(4)))
    return {one or other for one, other in found}


def read_notebook(path: Path, assignment: Assignment) -> Notebook:
    """The cells and the answers in words of a notebook, whoever has saved it how.

    Raises Unreadable for what is no notebook.
    """
    held, notes = _held(path)
    names = {f: q for q, found in defined(assignment).items() for f in found}
    cells = _saved(held, names, assignment)
    run = [cell for cell in cells if cell.kind == "code"]
    turned = plain_cells({cell.number: cell.source for cell in run})
    asked = {cell.number: _questions(cell, assignment, names) for cell in run}
    written, astray = _written(cells, assignment)
    return Notebook(
        {number: one.source for number, one in turned.items()},
        {number: questions for number, questions in asked.items() if questions},
        written,
        [*notes, *astray],
        {number: one.told() for number, one in turned.items() if one.notes},
        tuple(cells),
    )


def _questions(
    cell: Cell, assignment: Assignment, names: dict[str, str]
) -> tuple[str, ...]:
    """The questions that a code cell answers, by tags or by what it defines."""
    tagged = [q for q in assignment.questions if {"answer", q} <= cell.tags]
    made = [names[name] for name in _names(cell.source) if name in names]
    return tuple(sorted({*tagged, *made}))


def _mark(question: str) -> re.Pattern:
    """The line that marks a written answer, whatever its white space has become."""
    return re.compile(r"\s+".join(map(re.escape, mark_written(question).split())))


def _answers(source: str, tags: frozenset[str], question: str) -> bool:
    """Whether a cell holds the answer to a written question, by tag or by its line."""
    return {"written", question} <= tags or bool(_mark(question).search(source))


def _written(
    cells: list[Cell], assignment: Assignment
) -> tuple[dict[str, str], list[str]]:
    """The answers in words, and remarks on those that are empty where text is left.

    Text in cells that follow an answer belongs to it, as when its cell was split, up
    to the starter's next cell; other text may be an answer that has strayed.
    """
    found: dict[str, list[str]] = {question: [] for question in assignment.written}
    strayed, question, notes = False, "", []
    for cell in cells:
        held = [q for q in found if _answers(cell.source, cell.tags, q)]
        if held and cell.kind != "text":
            notes += [f"{q}: its place is among code, in {cell.place}" for q in held]
        elif held:
            question = held[-1]
            for one in held:
                found[one].append(_without_prompt(cell.source, one))
        elif cell.given:
            question = ""
        elif cell.kind != "text" or not cell.source.strip():
            continue
        elif question:
            found[question].append(cell.source.strip())
        else:
            strayed = True
        if question and CODE in cell.tags:
            notes.append(f"{question}: its answer in words stands in a code cell")
    words = {q: "\n\n".join(t for t in texts if t) for q, texts in found.items()}
    note = "no answer in its cell, but text in other cells"
    empty = [question for question, answer in words.items() if not answer]
    notes += [f"{question}: {note}" for question in empty if strayed]
    return words, list(dict.fromkeys(notes))


def _bare(text: str) -> str:
    return " ".join(text.split())


def _without_prompt(text: str, question: str) -> str:
    """An answer without what the starter says in its cell."""
    text = _mark(question).sub("", text)
    return text.replace(prompt(question), "").replace(UNANSWERED, "").strip()


def defining(notebook: Notebook, name: str) -> Iterator[Cell]:
    """The cells that define a name, or would if they were code that is run."""
    pattern = making(name, rf"(?:{SPACE}|[>#])*")
    yield from (cell for cell in notebook.saved if pattern.search(cell.source))
