"""Tables as they are read: by spreadsheets, Canvas, Moodle and Gradescope.

Written after their sources: `lib/gradebook_importer.rb` of canvas-lms,
`mod/assign/feedback/offline/importgradeslib.php` and `lib/csvlib.class.php` of Moodle,
whose tables PHP's `fgetcsv` splits, and the autograder specifications of Gradescope.
"""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema

SIGNS = tuple("=+-@＝＋－＠")
HARM = re.compile(r"[(|!]")  # a function, another program, another sheet
STUDENT_COLUMNS = ["SIS User ID", "SIS Login ID", "Integration ID", "Root Account"]


def formulas(text: str) -> list[str]:
    """Cells that a spreadsheet might run, whatever it takes for the separator."""
    found = []
    for mark in ",;\t":
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark):
            cells = [line for cell in row for line in cell.splitlines() or [cell]]
            # the first line of a cell is where a formula always counts
            firsts = {cell.lstrip(' "') for cell in row if mark == ","}
            bare = {cell.lstrip(' "\t') for cell in cells}
            found += [c for c in firsts if c.startswith(SIGNS) and c != "-"]
            found += [c for c in bare if c.startswith(SIGNS) and HARM.search(c)]
    return found


def canvas(path: Path) -> dict[str, str]:
    """Grades by Canvas's own number of a student.

    Raises AssertionError for a table that Canvas would not take.
    """
    text = path.read_text(encoding="utf-8")
    widths = {}
    for mark in ";,":
        lines = text.splitlines(keepends=True)[:3]
        counts = {len(next(csv.reader([line], delimiter=mark), ())) for line in lines}
        widths[mark] = counts.pop() if len(counts) == 1 else 0
    mark = ";" if widths[";"] > widths[","] else ","
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    head = next(rows)
    named = 2 if head[:2] == ["LastName", "FirstName"] else 1
    assert "Name" in head[0] or "Student" in head[0]
    assert "ID" in head[named]
    fixed = named + 1
    while head[fixed] in STUDENT_COLUMNS:
        fixed += 1
    assert head[fixed] == "Section"
    (grade,) = range(fixed + 1, len(head))
    found = {}
    for row in rows:
        assert len(row) == len(head)
        if "Points Possible" in row[0]:
            continue
        if all(re.fullmatch(r"\s*(Manual Posting.*)?\s*", cell) for cell in row):
            continue
        assert row[named] not in found
        found[row[named]] = decimal(row[grade].strip())
    return found


def decimal(cell: str) -> str:
    """A number with a comma or a point, as Canvas's `decimal_comma_to_period`."""
    if not re.fullmatch(r"-?[0-9.,]+%?", cell):
        return cell
    *whole, last = re.split("[,.]", cell)
    return f"{''.join(whole)}.{last}" if whole else last


def php(text: str) -> list[list[str]]:
    """Rows as PHP's `fgetcsv` splits them, for which a backslash keeps a quote."""
    rows, row, at = [], [], 0
    while at < len(text):
        cell, start = "", at
        while start < len(text) and text[start] in " \t":
            start += 1
        if text[start : start + 1] == '"':
            at = start + 1
            while at < len(text):
                if text[at] == "\\":
                    cell += text[at : at + 2]
                    at += 2
                elif text[at : at + 2] == '""':
                    cell += '"'
                    at += 2
                elif text[at] == '"':
                    at += 1
                    break
                else:
                    cell += text[at]
                    at += 1
        while at < len(text) and text[at] not in ",\n":
            cell += text[at]
            at += 1
        row.append(cell)
        if at >= len(text) or text[at] == "\n":
            rows.append(row)
            row = []
        at += 1
    return rows


def moodle(path: Path) -> dict[str, str]:
    """Grades by the number of a participant; an empty cell changes nothing there.

    Raises AssertionError for a table that Moodle would not take.
    """
    text = path.read_text(encoding="utf-8-sig")
    head, *rows = php(re.sub("\r\n?", "\n", text).strip())
    number, grade = head.index("Identifier"), head.index("Grade")
    assert "Last modified (grade)" in head
    assert not [name for name in head if "omments" in name or "text" in name]
    assert {len(row) for row in rows} == {len(head)}
    skipped = len("Participant ")
    return {r[number][skipped:]: r[grade] for r in rows if r[grade].strip()}


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
SEEN = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
TEST = {
    "score": NUMBER,
    "max_score": NUMBER,
    "status": {"enum": ["passed", "failed"]},
    "name": TEXT,
    "name_format": FORMAT,
    "number": TEXT,
    "output": TEXT,
    "output_format": FORMAT,
    "tags": {"type": "array", "items": TEXT},
    "visibility": SEEN,
    "extra_data": {"type": "object"},
}
RESULTS = {
    "score": NUMBER,
    "execution_time": NUMBER,
    "output": TEXT,
    "output_format": FORMAT,
    "test_output_format": FORMAT,
    "test_name_format": FORMAT,
    "visibility": SEEN,
    "stdout_visibility": SEEN,
    "extra_data": {"type": "object"},
    "tests": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": TEST,
            "additionalProperties": False,
        },
    },
}


def gradescope(path: Path) -> dict[str, Any]:
    """The content of a `results.json`.

    Raises ValidationError for one that is not of the form that Gradescope describes,
    and ValueError for what other languages do not take for JSON or for text.
    """
    text = path.read_bytes().decode("utf-8")

    def no(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    made = json.loads(text, parse_constant=no)
    json.dumps(made, ensure_ascii=False).encode("utf-8")  # no lone surrogate
    if re.search(r"(?<!\\)(?:\\\\)*\\u0000", text):
        raise ValueError("databases take no NUL")
    form = {"properties": RESULTS, "additionalProperties": False, "required": ["score"]}
    jsonschema.validate(made, {"type": "object", **form})
    return made
