"""CSV tables: read with their faults named, written so that spreadsheets stay tame."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coursekit.walls.files import write

FORMULA = ("=", "+", "-", "@", "\t", "\r")
MARK = "\ufeff"
csv.field_size_limit(2**24)  # characters of a cell; a notebook is at most 10 MiB


class TableError(ValueError):
    """A table that cannot be taken as it is; the text names row, value and remedy."""


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a CSV file in UTF-8, with commas or with semicolons.

    Raises TableError for a file that is missing, empty, damaged or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
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
    filled = [row + [""] * (len(names) - len(row)) for row in rows[1:] if any(row)]
    return names, [
        {name: wild(cell) for name, cell in zip(names, row, strict=False)}
        for row in filled
    ]


def between(text: str) -> str:
    """What stands between the cells of a table: what makes more columns of its head."""

    def width(mark: str) -> int:
        return len(next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), ()))

    return ";" if width(";") > width(",") else ","


def tame(value: Any) -> str:
    """A cell's text; a spreadsheet is kept from taking it for a formula."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:.10g}"
    return f"'{value}" if value.lstrip("'").startswith(FORMULA) else value


def wild(text: str) -> str:
    """A cell's text as it was before `tame`."""
    tamed = text[:1] == "'" and text.lstrip("'").startswith(FORMULA)
    return text[1:] if tamed else text


def text_of(
    names: list[str], rows: Iterable[Mapping[str, Any]], tamed: bool = True
) -> str:
    """The text of a CSV file; a table of another system's stays as it is, untamed."""
    shown = tame if tamed else lambda value: value
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([shown(row.get(name)) for name in names] for row in rows)
    return buffer.getvalue()


def write_table(
    path: Path, names: list[str], rows: Iterable[Mapping], mark: bool = False
) -> None:
    """Write a CSV file in one step; by a `mark` spreadsheets know that it is UTF-8."""
    write(path, (MARK if mark else "") + text_of(names, rows))


def number(text: str, most: float, where: str) -> float | None:
    """Points in a cell, None if it is empty.

    Raises TableError for what is no number from 0 to `most`.
    """
    text = text.strip().replace(",", ".")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise TableError(f"{where}: {text!r} is no number") from None
    if not 0 <= value <= most:
        raise TableError(f"{where}: {text} is not between 0 and {most:g}")
    return value


def ids(rows: list[dict[str, str]], column: str, where: str) -> list[str]:
    """The ids in a column, stripped; raises TableError if one is there twice."""
    found = [row[column].strip() for row in rows if row[column].strip()]
    if twice := sorted({x for x in found if found.count(x) > 1}):
        raise TableError(f"{where}: {', '.join(twice)} more than once in {column!r}")
    return found


def read_roster(path: Path) -> list[str]:
    """The ids of a class, from the column `student`, or the first one.

    Raises TableError for an id that is there twice.
    """
    names, rows = read_table(path)
    return ids(rows, "student" if "student" in names else names[0], path.name)
