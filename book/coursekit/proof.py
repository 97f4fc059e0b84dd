"""Which proof of an assignment is on record, and whether it is of what is there now."""

import ast
import hashlib
from pathlib import Path

from coursekit.assignment import Assignment
from coursekit.files import write
from coursekit.notebooks import solve
from coursekit.session import plain_python

BOOK = Path(__file__).parent.parent
RECORD = "proof.txt"
# What judges: with these and what they import, verdicts may change.
JUDGES = ("import coursekit.mark, coursekit.mutants, coursekit.worker",)


def content(assignment: Assignment) -> str:
    """A number that changes with all that the verdicts of a proof depend on.

    These are the assignment's files but its pages and its zip, and the modules of this
    kit and of r1 that judging, the tests or the master import.
    """
    code = [cell for cell in assignment.master.cells if cell.cell_type == "code"]
    tests = [*assignment.paths("tests/public"), *assignment.paths("tests/hidden")]
    others = [*assignment.paths("files"), *assignment.paths("reference")]
    others += [
        assignment.path("mutants.toml"),
        assignment.path(f"{assignment.name}.md"),
    ]
    sources = [plain_python(solve(cell.source)) for cell in code]
    sources += [path.read_text("utf-8") for path in tests if path.suffix == ".py"]
    modules = imported([*JUDGES, *sources])
    digest = hashlib.sha256()
    for path in [*modules, *tests, *others]:
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def imported(sources: list[str]) -> list[Path]:
    """The files of the book's packages that sources import, and those that they do."""
    waiting, found = list(sources), set()
    while waiting:
        names = set()
        for node in ast.walk(ast.parse(waiting.pop())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {node.module or "", *parts}
        for name in names:
            if name.partition(".")[0] in ("coursekit", "r1"):
                path = BOOK / f"{name.replace('.', '/')}.py"
                if path.is_file() and path not in found:
                    found.add(path)
                    waiting.append(path.read_text(encoding="utf-8"))
    return sorted(found)


def proved(assignment: Assignment) -> bool:
    """Whether the proof on record is of what is there now."""
    path = assignment.path(RECORD)
    return path.is_file() and path.read_text().strip() == content(assignment)


def record(assignment: Assignment) -> None:
    """Note that an assignment has been proved in full."""
    write(assignment.folder / RECORD, content(assignment) + "\n")
