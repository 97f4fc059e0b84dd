"""CSV tables: read with their faults named, written so that spreadsheets stay tame."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from coursekit.grading.names import key, visible
from coursekit.walls.files import write

SIGN = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")  # what a formula begins with
HARM = re.compile(r"[(|!\r\n]")  # what one needs, beside arithmetic, or the line's end
MARK = "\ufeff"  # by it spreadsheets know that a file is in UTF-8
NUMBER = re.compile(r"\d+([.,]\d*)?(e[+-]?\d+)?|[.,]\d+", re.ASCII | re.IGNORECASE)
csv.field_size_limit(2**28)  # characters of a cell; a notebook is at most 100 MiB


class TableError(ValueError):
    """A table that cannot be taken as it is; the text names row, value and remedy."""


def read_table(
    path: Path, foreign: bool = False
) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a CSV file in UTF-8, with commas or with semicolons.

    What `tame` has put before formulas is taken away, but not in a `foreign` table.

    Raises TableError for a file that is missing, empty, damaged or not UTF-8, and for
    a row with more cells than there are columns.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TableError(f"{path.name} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path.name} is not in UTF-8: open it in the spreadsheet and save it as "
            "CSV UTF-8, which is a file type or a character set there"
        ) from error
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=between(text)))
    except csv.Error as error:
        raise TableError(f"{path.name} is damaged: {error}; save it again") from error
    if not rows:
        raise TableError(f"{path.name} is empty")
    names = [name.strip() for name in rows[0]]
    if twice := {name for name in names if name and names.count(name) > 1}:
        raise TableError(f"{path.name} has the column {sorted(twice)} twice")
    for number, row in enumerate(rows, 1):
        if any(row[len(names) :]):
            raise TableError(
                f"{path.name}, row {number} ({visible(row[0])}): {len(row)} cells, but "
                f"{len(names)} columns; save the table again with its separators"
            )
    filled = [row + [""] * (len(names) - len(row)) for row in rows[1:] if any(row)]
    shown = str if foreign else wild
    return names, [
        {name: shown(cell) for name, cell in zip(names, row, strict=False)}
        for row in filled
    ]


def between(text: str) -> str:
    """What stands between the cells of a table: what makes more columns of its head."""

    def width(mark: str) -> int:
        return len(next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), ()))

    return ";" if width(";") > width(",") else ","


def tame(value: Any) -> str:
    """A cell's text; no spreadsheet takes it for a formula, nor a part of it.

    A spreadsheet that is told another separator than the comma splits a cell at its
    semicolons, tabs and lines. There an apostrophe stands before what can do harm, but
    not before the dash of a list.
    """
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:.10g}"
    return _joined(value, [(at, at) for at in _formulas(value)], "'")


def wild(text: str) -> str:
    """A cell's text as it was before `tame`."""
    tamed = [at for at in _formulas(text) if text[at] == "'"]
    return _joined(text, [(at, at + 1) for at in tamed], "")


def _joined(text: str, cuts: list[tuple[int, int]], put: str) -> str:
    """A text with something else in the place of its parts."""
    begins = [0, *(end for _, end in cuts)]
    ends = [*(begin for begin, _ in cuts), len(text)]
    return put.join(text[a:b] for a, b in zip(begins, ends, strict=True))


def _formulas(text: str) -> Iterator[int]:
    """Where formulas begin in a cell, apostrophes before them included.

    It takes time in proportion to the text, whatever a student has put there.
    """
    harm = -1
    for sign in SIGN.finditer(text):
        at = sign.start()
        while at and text[at - 1] == "'":
            at -= 1
        before = at
        while before and (text[before - 1].isspace() or text[before - 1] == '"'):
            before -= 1
        if not before:
            yield at
            continue
        if text[before - 1] != ";" and not set(text[before:at]) & set("\t\r\n"):
            continue
        if harm < at:
            found = HARM.search(text, at)
            harm = found.start() if found else len(text)
        if text[harm : harm + 1] in ("(", "|", "!"):
            yield at


def text_of(
    names: list[str], rows: Iterable[Mapping[str, Any]], tamed: bool = True
) -> str:
    """The text of a CSV file; cells stay as they are where they are not `tamed`."""
    shown = tame if tamed else lambda value: value
    lines = [_line(names)]
    lines += [_line([shown(row.get(name)) for name in names]) for row in rows]
    return "".join(lines)


def _line(cells: list) -> str:
    """A row's text, in which a carriage return alone ends no row either."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)  # so it is quoted
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def write_table(path: Path, names: list[str], rows: Iterable[Mapping]) -> None:
    """Write a CSV file in one step."""
    write(path, MARK + text_of(names, rows))


def number(text: str, most: float, where: str) -> float | None:
    """Points in a cell, None if it is empty.

    Raises TableError for what is no number from 0 to `most`.
    """
    text = text.strip().removeprefix("+")
    if not text:
        return None
    if not NUMBER.fullmatch(text.removeprefix("-")):
        raise TableError(f"{where}: {text!r} is no number")
    value = float(text.replace(",", "."))
    if not 0 <= value <= most:
        raise TableError(f"{where}: {text} is not between 0 and {most:g}")
    return value


def ids(rows: list[dict[str, str]], column: str, where: str) -> list[str]:
    """The ids in a column, stripped; raises TableError if one is there twice."""
    found = [row[column].strip() for row in rows if row[column].strip()]
    once: dict[str, str] = {}
    for name in found:
        if (before := once.setdefault(key(name), name)) is not name:
            same = "" if before == name else f", as {before!r} and {name!r}"
            raise TableError(
                f"{where}: {visible(name)} more than once in {column!r}{same}; capital "
                "and small letters are the same, and so are composed and decomposed"
            )
    return found


def read_roster(path: Path) -> list[str]:
    """The ids of a class, from the column `student`, or the only one.

    Canvas calls a column `Student` that has names in it, so capitals count.

    Raises TableError for an id that is there twice, and for several columns of which
    none is called `student`.
    """
    names, rows = read_table(path)
    if "student" not in names and len(names) > 1:
        raise TableError(
            f"{path.name} has no column 'student', but {', '.join(map(repr, names))}: "
            "call the one with the ids 'student', in small letters"
        )
    return ids(rows, "student" if "student" in names else names[0], path.name)
