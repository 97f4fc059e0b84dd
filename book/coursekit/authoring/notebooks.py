"""From a master to the starter that students get and to the instructor's notebook.

In a cell tagged `answer` and with its question, what stands between the lines
`# BEGIN SOLUTION` and `# END SOLUTION` is replaced in the starter: by the lines that
begin with `# STARTER: ` there, or else by `raise NotImplementedError`.
Cells tagged `solution` are left out of the starter, `written` ones emptied, and those
tagged `experiment` say in their first line that grading does not run them.
"""

import ast
import copy
import re
from collections.abc import Iterator

from nbformat import NotebookNode
from nbformat.v4 import new_notebook

from coursekit.authoring.assignment import Assignment, AssignmentError

BEGIN, END, STARTER = "# BEGIN SOLUTION", "# END SOLUTION", "# STARTER:"
MARKERS = (BEGIN, END, STARTER, "BEGIN SOLUTION", "END SOLUTION")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
EXPERIMENT = "# experiment: grading does not run this cell"
REVEALING = 16  # characters of a solution line that is not there by chance


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    found = cell.get("metadata", {}).get("tags", [])
    return {tag for tag in found if isinstance(tag, str)}


def mark_written(question: str) -> str:
    """The line by which the answer to a written question is found again."""
    return f"<!-- {question}: your answer goes below; keep this line -->"


def prompt(question: str) -> str:
    """What stands in the starter where the answer to a written question goes."""
    number = question.removeprefix("q")
    return f"*Question {number}: write your answer in this cell.*"


def labelled(cell: NotebookNode) -> str:
    """The source of a cell; that of an experiment says so, as tags do not show."""
    if cell.cell_type != "code" or "experiment" not in tags(cell):
        return cell.source
    first = cell.source.startswith((EXPERIMENT, "%%"))  # what has to stand first
    return cell.source if first else f"{EXPERIMENT}\n{cell.source}"


def _regions(source: str, where: str) -> Iterator[tuple[bool, str]]:
    """Lines with whether they lie in a solution; markers are left out."""
    inside = False
    for line in source.splitlines():
        bare = line.strip()
        if bare in (BEGIN, END):
            if inside == (bare == BEGIN):
                raise AssignmentError(f"{where}: {bare!r} where it does not belong")
            inside = bare == BEGIN
            yield inside, line.replace(bare, "")
        elif bare.startswith(("# BEGIN SOL", "# END SOL")):
            raise AssignmentError(f"{where}: write {BEGIN!r} and {END!r}, not {bare!r}")
        else:
            yield inside, line
    if inside:
        raise AssignmentError(f"{where}: a solution does not end")


def solve(source: str, where: str = "a cell") -> str:
    """A cell with its solution and without markers."""
    list(_regions(source, where))  # raises if they do not match
    lines = source.splitlines()
    bare = (BEGIN, END)
    return "\n".join(x for x in lines if x.strip() not in bare and STARTER not in x)


def stub(source: str, question: str, where: str = "a cell") -> str:
    """A cell as the student gets it."""
    kept: list[str] = []
    given: list[str] = []
    before = False
    for (inside, line), raw in zip(
        _regions(source, where), source.splitlines(), strict=True
    ):
        if inside and not before:
            given, indent = [], line
        elif inside and raw.strip().startswith(STARTER):
            text = raw.strip().removeprefix(STARTER).removeprefix(" ")
            given.append(f"{indent}{text}")
        elif before and not inside:
            kept += given or [f'{indent}raise NotImplementedError("{question}")']
        elif not inside:
            kept.append(line)
        before = inside
    return "\n".join(kept)


def question_of(cell: NotebookNode, assignment: Assignment) -> str:
    """The question of an answer or written cell; raises AssignmentError if unclear."""
    known = {*assignment.questions, *assignment.written}
    found = tags(cell) & known
    if len(found) != 1:
        raise AssignmentError(
            f"tag the cell with one question of {sorted(known)}:\n{cell.source[:200]}"
        )
    return found.pop()


def _clean(cells: list[NotebookNode], name: str) -> NotebookNode:
    """A notebook of cells with stable ids, without outputs."""
    for number, cell in enumerate(cells):
        cell.id = f"{name}-{number:02d}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return new_notebook(cells=cells, metadata=metadata, nbformat_minor=5)


def starter(assignment: Assignment) -> NotebookNode:
    """The notebook that students get.

    Raises AssignmentError for markers that do not match, for answers that the master
    does not tag, and for a heading in an answer in words, where it would be lost.
    """
    cells, answered = [], set()
    for cell in copy.deepcopy(assignment.master.cells):
        marks = tags(cell)
        if "solution" in marks:
            continue
        if "written" in marks:
            question = question_of(cell, assignment)
            if heading := re.search(r"^#+ .*", cell.source, re.MULTILINE):
                raise AssignmentError(
                    f"{heading[0]!r} is a part of the answer to {question}, which "
                    f"students do not get; put a line +++ above it"
                )
            cell.source = f"{mark_written(question)}\n\n{prompt(question)}"
            answered.add(question)
        elif "answer" in marks:
            question = question_of(cell, assignment)
            cell.source = stub(cell.source, question, question)
            answered.add(question)
        elif BEGIN in cell.source:
            raise AssignmentError(f"a solution in no answer cell:\n{cell.source[:200]}")
        cell.source = labelled(cell)
        cells.append(cell)
    asked = {test.question for test in assignment.tests if test.asks_student}
    wanted = asked | set(assignment.written)  # others are judged by files alone
    if missing := wanted - answered:
        raise AssignmentError(f"{assignment.name}: no cell answers {sorted(missing)}")
    return _clean(cells, assignment.name)


def instructor(assignment: Assignment) -> NotebookNode:
    """The notebook with all solutions, as a perfect student would hand it in."""
    cells = copy.deepcopy(assignment.master.cells)
    for cell in cells:
        if "written" in tags(cell):
            question = question_of(cell, assignment)
            cell.source = f"{mark_written(question)}\n\n{cell.source}"
        elif cell.cell_type == "code":
            cell.source = solve(cell.source)
        cell.source = labelled(cell)
    return _clean(cells, assignment.name)


def _answers(assignment: Assignment) -> Iterator[tuple[str, str]]:
    """The question and the source of every answer cell."""
    for cell in assignment.master.cells:
        if cell.cell_type == "code" and "answer" in tags(cell):
            yield question_of(cell, assignment), cell.source


def defined(assignment: Assignment) -> dict[str, list[str]]:
    """The functions and classes that the answer cells define, by question."""
    found: dict[str, list[str]] = {question: [] for question in assignment.questions}
    for question, source in _answers(assignment):
        for node in ast.parse(solve(source)).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[question].append(node.name)
    return found


def constants(assignment: Assignment) -> list[str]:
    """The names to which solutions give a value outside of functions."""
    names: dict[str, None] = {}
    for question, source in _answers(assignment):
        given = {ast.dump(node) for node in ast.parse(stub(source, question)).body}
        for node in ast.parse(solve(source)).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and (
                ast.dump(node) not in given
            ):
                leaves = [leaf for leaf in ast.walk(node) if isinstance(leaf, ast.Name)]
                stored = [leaf for leaf in leaves if isinstance(leaf.ctx, ast.Store)]
                names |= dict.fromkeys(leaf.id for leaf in stored)
    return list(names)


def solution_lines(assignment: Assignment) -> set[str]:
    """Lines that stand in solutions, and nowhere else in the master."""
    secret: set[str] = set()
    shown: set[str] = set()
    for cell in assignment.master.cells:
        hidden = tags(cell) & {"solution", "written"}
        for inside, line in _regions(cell.source, "a cell"):
            target = secret if hidden or inside else shown
            if STARTER not in line:
                target.add(line.strip().lstrip("# "))
            else:
                shown.add(line.strip().removeprefix(STARTER).strip())
    return {
        line for line in secret - shown if len(re.sub(r"\s", "", line)) >= REVEALING
    }
