"""Which proof of an assignment is on record, and whether it is of what is there now."""

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

from coursekit.authoring.assignment import Assignment, AssignmentError
from coursekit.authoring.notebooks import solve
from coursekit.walls.cells import plain_python
from coursekit.walls.files import write

BOOK = Path(__file__).parent.parent.parent
PACKAGES = ("coursekit", "r1")
RECORD = "proof.txt"
# What judges: with these and what they import, verdicts may change.
JUDGES = """\
import coursekit.testing.judge, coursekit.authoring.mutants, coursekit.walls.template
import coursekit.walls.cells
"""


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
    modules = imported([JUDGES, *sources])
    digest = hashlib.sha256()
    for path in [*modules, *tests, *others]:
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def imported(sources: list[str], book: Path = BOOK) -> list[Path]:
    """The files of the book's packages that sources import, and those that they do.

    A room that is imported by its name, such as `from r1.rl import grpo_loss`, counts
    with all its files, since which of them has the name is known only when it runs.

    Raises AssignmentError for an import from these packages that no file answers.
    """
    found: dict[Path, None] = {}
    waiting = [name for source in sources for name in _names(source, "")]
    while waiting:
        for path in _files(waiting.pop(), book):
            if path not in found:
                found[path] = None
                package = ".".join(path.relative_to(book).parts[:-1])
                waiting += _names(path.read_text(encoding="utf-8"), package)
    return sorted(found)


def _names(source: str, package: str) -> Iterator[str]:
    """The full names of what a source in a package imports from the book's packages.

    Raises ImportError for a relative import that leads out of them.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names = [base]
            if base in PACKAGES:  # their rooms and modules stand for themselves
                names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] in PACKAGES)


def _files(name: str, book: Path) -> list[Path]:
    """The file of a module, or all of a room, with the `__init__` of those above it."""
    place = book.joinpath(*name.split("."))
    above = [p / "__init__.py" for p in place.parents if p.is_relative_to(book)]
    files = [path for path in above if path.is_file() and path.parent != book]
    if place.with_suffix(".py").is_file():
        return [*files, place.with_suffix(".py")]
    if (place / "__init__.py").is_file():
        return [*files, *sorted(place.rglob("*.py"))]
    raise AssignmentError(
        f"{name} is imported, but there is no {place.relative_to(book)}.py and no such "
        "folder with an __init__.py: a proof has to know what it depends on"
    )


def proved(assignment: Assignment) -> bool:
    """Whether the proof on record is of what is there now."""
    path = assignment.path(RECORD)
    return path.is_file() and path.read_text().strip() == content(assignment)


def record(assignment: Assignment) -> None:
    """Note that an assignment has been proved in full."""
    write(assignment.folder / RECORD, content(assignment) + "\n")
