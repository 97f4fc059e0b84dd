"""The numbers in the prose of a page, and what stands behind each of them.

A number of two digits or more is accepted for one of these reasons:

- *printed*: an output of the page prints it with just these digits, and the same ones
  on every run;
- *set*: it stands in the code of the page, which sets it;
- *published*: it quotes a row of the ledger data/published.csv, see `quotes`: the same
  sentence cites the source, and shares words with the row;
- *plain*: it is a year, a part of a name, or the number of a chapter, a section, an
  equation or the like; it stands in an arithmetic that comes out right; or its sentence
  is a task of an exercise, begins with a verb that sets a case (TASK), or is the line
  on time in the box at the top.

`python prose.py [CHAPTER ...]` prints the numbers that have no reason.
"""

import math
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nbformat

from r1.train.ledger import Published, read_ledger

BOOK = Path(__file__).resolve().parent

NUMBER = re.compile(
    r"(?<![A-Za-z_\d.])(?<![A-Za-z]-)(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
)
CITED = re.compile(r"\{cite:\w+\}`([^`]+)`")
ROLE = re.compile(r"\{[\w:.-]+\}`[^`]*`")
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"\]\([^)]*\)|<https?:[^>]*>|https?:\S+")
TAG = re.compile(r"<[^>]+>")
FENCE = re.compile(r"^\s*(`{3,}|~{3,}|:{3,})\s*(?:\{([\w-]+)\})?")
YEAR = re.compile(r"19\d\d|20[0-2]\d")
PART = re.compile(
    r"\b(chapters?|sections?|equations?|eqs?\.?|tables?|figures?|appendix|versions?"
    r"|pages?|claims?|exercises?|lines?|Day|parts?|[Ss]tep|issues?|pull requests?)"
    r"(?:\s+\d[\d.]*(?:,| and| to| or|-)?)*\s+$",
    re.IGNORECASE,
)
NAME = re.compile(
    r"\b(LLaMA-3\.1|Qwen2\.5|DeepSeek|DeepSeek LLM|Llama|Llama 3|Llama 3\.1|AIME|MATH)"
    r"\s+$|[A-Za-z][\w.]*-$"
)
TASK = re.compile(
    r"^(Take|Let|Suppose|Assume|Imagine|Say that|Set|Choose|Change|Give|Write)\b"
)
ARITHMETIC = re.compile(r"(?:[\d.\s+*/()-]|sqrt\(|log\()+")
MEASURED = "nbval-ignore-output"
TIME = "- **Time:**"  # held by tests/book/test_second_edition.py
MATH = re.compile(r"\$([^$]+)\$")


class Quote(NamedTuple):
    """A place where a number of a sentence starts, and the row that the number quotes.

    `doubtful` if another row fits as well.
    """

    start: int
    row: Published
    doubtful: bool


class Sentence(NamedTuple):
    """One line of prose: where it stands, its text, and whether a task sets it."""

    line: int
    text: str
    task: bool


def bare(number: str) -> str:
    """A number without the marks that only help to read it."""
    return number.replace(",", "").replace("_", "").replace("{", "").replace("}", "")


def forms(row: Published) -> set[str]:
    """All ways of writing a published number that a sentence may use."""
    return {bare(form) for form in (row.number, *row.also.split("|")) if form}


def numbers(text: str) -> list[tuple[str, str]]:
    """The numbers of two digits or more in a text, each with what stands before it."""
    text = text.replace("{,}", ",")
    found = [(m[0], text[: m.start()]) for m in NUMBER.finditer(text)]
    return [(n, before) for n, before in found if sum(c.isdigit() for c in n) > 1]


def sentences(twin: str) -> list[Sentence]:
    """The lines of prose of a text twin: no code, no display equations, no captions."""
    lines = twin.splitlines()
    start = lines.index("---", 1) + 1 if lines and lines[0] == "---" else 0
    stack, result, equation = [], [], False
    for number, line in enumerate(lines[start:], start + 1):
        fence = FENCE.match(line)
        if fence:
            mark, name = fence.groups()
            if name is None and stack and stack[-1][0] == mark:
                stack.pop()
            elif not stack or stack[-1][1] not in ("code-cell", "code", "math"):
                stack.append((mark, name or "code"))
            continue
        inside = [name for _, name in stack]
        if {"code-cell", "code", "math"} & set(inside):
            continue
        if line.startswith("$$"):
            # "$$" opens and closes; "$$ (eq-label)" closes.
            equation = not equation and not line[2:].rstrip().endswith("$$")
            continue
        if equation or not line.strip() or line.startswith((":", "#", "+++", "(")):
            continue
        if "<!--" in line or (re.match(r"^\s*[\w-]+:\s", line) and inside):
            continue
        result.append(Sentence(number, line, "exercise" in inside))
    return result


def printed(notebook: nbformat.NotebookNode) -> set[str]:
    """All numbers of a notebook's outputs that are the same on every run."""
    texts = []
    for cell in notebook.cells:
        if MEASURED in cell.metadata.get("tags", []):
            continue
        for output in cell.get("outputs", []):
            texts.append(output.get("text", ""))
            data = output.get("data", {})
            texts += [
                data.get("text/plain", ""),
                TAG.sub(" ", data.get("text/html", "")),
            ]
    return _all_numbers(texts)


def set_in_code(notebook: nbformat.NotebookNode) -> set[str]:
    """All numbers of a notebook's code."""
    return _all_numbers(c.source for c in notebook.cells if c.cell_type == "code")


def _all_numbers(texts) -> set[str]:
    pattern = re.compile(r"\d[\d,_]*(?:\.\d+)?")
    return {bare(m.rstrip(",_")) for text in texts for m in pattern.findall(text)}


def comes_out(formula: str) -> bool:
    """Whether an arithmetic such as $(10 - 5)/5 = 1$ holds at the printed digits."""
    for old, new in (("\\cdot", "*"), ("\\times", "*"), ("{,}", ""), ("\\approx", "=")):
        formula = formula.replace(old, new)
    formula = re.sub(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}", r"((\1)/(\2))", formula)
    formula = re.sub(r"\\sqrt\{?(\d+)\}?", r"sqrt(\1)", formula)
    formula = re.sub(r"\\ln\s*(\d+)", r"log(\1)", formula)
    formula = re.sub(r"\^\{?(-?\d+)\}?", r"**\1", formula).replace("\\,", "")
    sides = [side.strip() for side in formula.split("=")]
    if len(sides) < 2 or not all(map(ARITHMETIC.fullmatch, sides)):
        return False
    try:
        values = [eval(s, {"sqrt": math.sqrt, "log": math.log}) for s in sides]
    except (SyntaxError, ZeroDivisionError, TypeError):
        return False
    digits = len(sides[-1].split(".")[1]) if "." in sides[-1] else 0
    last = values[-1]
    return all(abs(value - last) <= 0.5 * 10**-digits + 1e-9 for value in values)


def is_label(before: str) -> bool:
    """Whether a number is part of a name, or that of a chapter or an equation."""
    return bool(PART.search(before) or NAME.search(before))


def is_plain(number: str, before: str, sentence: Sentence) -> bool:
    """Whether a number needs no support, by the rules at the top of this file."""
    return bool(
        YEAR.fullmatch(number)
        or is_label(before)
        or sentence.text.startswith(TIME)
        or sentence.task
        or TASK.match(sentence.text)
    )


def without_marks(text: str) -> str:
    """A sentence with blanks for its roles, code, links and correct arithmetic."""
    for mark in (ROLE, CODE, LINK):
        text = mark.sub(lambda m: " " * len(m[0]), text)
    return MATH.sub(lambda m: " " * len(m[0]) if comes_out(m[1]) else f" {m[1]} ", text)


@cache
def rows_by_form() -> dict[str, list[Published]]:
    """The rows of the ledger by each way of writing their numbers."""
    rows = defaultdict(list)
    for row in read_ledger().values():
        for form in forms(row):
            rows[form].append(row)
    return rows


def words(text: str) -> set[str]:
    """The words of a text, in small letters."""
    return set(re.findall(r"\w+", text.lower()))


def words_shared(row: Published, spoken: set[str]) -> int:
    """How many words a sentence shares with a row.

    0 if there is none of the row's unit, and none of four letters of its description.
    """
    telling = words(row.unit) | {word for word in words(row.what) if len(word) > 3}
    if not telling & spoken:
        return 0
    return len(words(f"{row.what} {row.unit} {row.place}") & spoken)


def quotes(text: str, cited: dict[str, int]) -> list[Quote]:
    """The published numbers that a sentence quotes, with their rows.

    `text` has no marks, and `cited` says where it cites each source. A row is quoted
    if it has the number, its source is cited, and the sentence shares words with it;
    where more rows fit than the sentence has such numbers, those are quoted that share
    most. No row is quoted twice: of equal numbers, the one that stands nearest before
    the citation is the quote, and of different forms the first.
    """
    places, spoken, found = defaultdict(list), words(text), {}
    for number, before in numbers(text):
        if not is_label(before):
            places[bare(number)].append(len(before))
    for source, at in cited.items():
        for number, starts in places.items():
            quoted = {quote.row for quote in found.values()}
            rows = [r for r in rows_by_form().get(number, ()) if r.source == source]
            rows = [row for row in rows if row not in quoted]
            shared = {row: words_shared(row, spoken) for row in rows}
            fit = sorted(filter(shared.get, rows), key=lambda row: -shared[row])
            free = [start for start in starts if start not in found]
            free.sort(key=lambda start: (start > at, abs(start - at)))
            count = min(len(fit), len(free))
            last, *others = [shared[row] for row in fit[max(count - 1, 0) :]] or [0]
            chosen = [row for row in rows if row in fit[:count]]
            for start, row in zip(sorted(free[:count]), chosen, strict=True):
                found[start] = Quote(start, row, doubtful=last in others)
    return [found[start] for start in sorted(found)]


def quoted_in(sentence: Sentence) -> list[Quote]:
    """The published numbers that a sentence of a twin quotes."""
    cited = {}
    for group in CITED.finditer(sentence.text):
        for key in group[1].split(","):
            cited.setdefault(key.strip(), group.start())
    return quotes(without_marks(sentence.text), cited)


def unsupported(text: list[Sentence], known: set[str]) -> list[tuple[Sentence, str]]:
    """The numbers of sentences without a reason; `known` are printed or set."""
    result = []
    for sentence in text:
        published = {form for q in quoted_in(sentence) for form in forms(q.row)}
        for number, before in numbers(without_marks(sentence.text)):
            if bare(number) in known | published or is_plain(number, before, sentence):
                continue
            result.append((sentence, bare(number)))
    return result


def without_support(name: str) -> list[tuple[Sentence, str]]:
    """The numbers of a chapter's prose that nothing stands behind."""
    twin = (BOOK / f"text/{name}.md").read_text(encoding="utf-8")
    notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
    return unsupported(sentences(twin), printed(notebook) | set_in_code(notebook))


if __name__ == "__main__":
    chapters = sys.argv[1:] or sorted(p.stem for p in BOOK.glob("text/*.md"))
    for chapter in chapters:
        for sentence, number in without_support(chapter):
            print(f"{chapter}:{sentence.line}: {number}: {sentence.text}")
