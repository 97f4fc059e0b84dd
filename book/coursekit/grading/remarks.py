"""Remarks on a question that lost points where something other than the answer may be
at fault: a cell that was not run, an answer where none is looked for, a name unknown.
"""

import re
from collections.abc import Iterator, Mapping

from coursekit.authoring.assignment import Assignment
from coursekit.authoring.notebooks import defined
from coursekit.grading.reading import SPACE, Notebook, defining, making
from coursekit.testing.suite import Verdict
from coursekit.walls.answers import MISSING
from coursekit.walls.cells import INSTALLS

BLANK = "NotImplementedError: "  # what a starter's cell raises, and its question
# What keeps a cell from defining anything and is seldom meant.
BROKEN = ("SyntaxError", "IndentationError", "TabError", "NameError")
BROKEN += ("UnboundLocalError", "ImportError", "ModuleNotFoundError")
# What an answer may raise since it is in a sandbox, or since a cell was not run.
OUTSIDE = ("PermissionError", "FileNotFoundError", "OSError", "BlockingIOError")
OUTSIDE += ("gaierror", "URLError", "ConnectionRefusedError")
UNKNOWN = re.compile(rf"{re.escape(MISSING)}(\w+)|name '(\w+)' is not defined")


def broken(wrong: Mapping[int, str], notebook: Notebook) -> list[str]:
    """Remarks on cells that answer a question and raised what is seldom meant."""
    return [
        _raised(question, number, text, notebook)
        for number, text in wrong.items()
        for question in notebook.answers.get(number, ())
        if text.partition(":")[0] in BROKEN
    ]


def remarks(
    assignment: Assignment,
    notebook: Notebook,
    wrong: Mapping[int, str],
    verdicts: list[Verdict],
) -> list[str]:
    """Remarks on the questions that lost points, with the cell and the remedy.

    `wrong` says what cells raised, by their numbers. A question that was left as the
    starter has it gets none.
    """
    found = broken(wrong, notebook)
    lost = [q for q in assignment.questions if _lost(q, verdicts)]
    for question in lost:
        found += _on(question, assignment, notebook, wrong, verdicts)
    if lost:
        told = notebook.told.items()
        found += [f"code cell {n}, {t}" for n, t in told if not INSTALLS.search(t)]
    return list(dict.fromkeys(found))


def _lost(question: str, verdicts: list[Verdict]) -> bool:
    return any(v.question == question and not v.passed for v in verdicts)


def _on(
    question: str,
    assignment: Assignment,
    notebook: Notebook,
    wrong: Mapping[int, str],
    verdicts: list[Verdict],
) -> Iterator[str]:
    own = [n for n, answered in notebook.answers.items() if question in answered]
    left = [n for n in own if _left(n, wrong.get(n, ""), question, notebook)]
    for number in own:
        if number in wrong and number not in left:
            yield _raised(question, number, wrong[number], notebook)
    failed = [v for v in verdicts if v.question == question and not v.passed]
    if not left:
        for verdict in failed:
            for one, other in UNKNOWN.findall(verdict.message):
                yield f"{question}: {where(one or other, notebook, wrong)}"
    for verdict in failed:
        known = not UNKNOWN.search(verdict.message)
        if known and verdict.message.partition(":")[0] in (*BROKEN, *OUTSIDE):
            yield f"{question}: {' '.join(verdict.message.split())[:200]}"
    for cell in notebook.saved:
        part = cell.source.strip("\n")[:1].isspace()
        part = part and {cell.number, cell.number - 1} & set(own)
        if part and cell.kind == "code" and not cell.given:
            text = f"{cell.place} begins with an indented line"
            yield f"{question}: {text}: is it a part of the cell above?"
    for name in defined(assignment)[question]:
        if text := _also(name, notebook):
            yield f"{question}: {text}"


def _left(number: int, text: str, question: str, notebook: Notebook) -> bool:
    """Whether a cell says that this question, or an earlier one, was left out.

    One that answers several and stops at another may hold an answer behind it.
    """
    if not text.startswith(BLANK):
        return False
    others = set(notebook.answers[number]) - {question}
    return not any(text.startswith(f"{BLANK}{other}") for other in others)


def _also(name: str, notebook: Notebook) -> str:
    """Where else a name that a cell defines stands; empty if nowhere."""
    cells = [cell for cell in defining(notebook, name) if not cell.given]
    times = [len(making(name).findall(c.source)) * (c.kind == "code") for c in cells]
    several = len({" ".join(c.source.split()) for c in cells}) > 1
    if not any(times) or not (several or max(times) > 1):
        return ""
    places = ", ".join(cell.place for cell in cells)
    return (
        f"{name} stands in {places}; of the code that is run the last one counts: "
        "delete the others"
    )


def _raised(question: str, number: int, text: str, notebook: Notebook) -> str:
    said = f"{question}: code cell {number}: {' '.join(text.split())[:200]}"
    if not (unknown := UNKNOWN.match(text.partition(": ")[2])):
        return said
    name = unknown[1] or unknown[2]
    imports = rf"^{SPACE}*(?:from .{{1,80}})?import .{{0,200}}\b{name}\b"
    imports = re.compile(imports, re.MULTILINE)
    makes = {cell.number for cell in defining(notebook, name) if cell.kind == "code"}
    below = [c for c in notebook.saved if c.kind == "code" and c.number > number]
    for cell in below:
        if cell.number in makes or imports.search(cell.source):
            return f"{said}: {cell.place} has it, and cells are run from the top"
    return said


def where(name: str, notebook: Notebook, wrong: Mapping[int, str]) -> str:
    """Why a name is not known, and the remedy."""
    cells = list(defining(notebook, name))
    if not cells:
        return f"no cell defines {name}: a name that is asked for has to stay"
    cell = max(cells, key=lambda cell: cell.kind == "code")
    first = cell.source.lstrip().partition("\n")[0]
    if cell.kind == "text":
        why = "which is not run: make it a code cell"
    elif cell.kind == "experiment":
        why = "an experiment, which is not run: move it to a cell without this tag"
    elif cell.number in wrong:
        why = f"which raised {wrong[cell.number][:100]}"
    elif first.startswith("%%"):
        why = f"below {first[:40]}, which keeps no name: delete that line"
    elif not making(name).search(cell.source):
        why = "but not as a line at its margin: is it commented out?"
    else:
        why = "but it is not there when all cells have been run"
    return f"{name} is not defined; it stands in {cell.place}, {why}"
