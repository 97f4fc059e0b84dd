"""Release and instructor's folder of an assignment, the same bytes every time."""

import io
import tomllib
import zipfile
from pathlib import Path

import nbformat

from coursekit.authoring.assignment import Assignment, AssignmentError
from coursekit.authoring.notebooks import MARKERS, instructor, solution_lines, starter
from coursekit.testing.budget import spoken
from coursekit.walls.files import write

KIT = Path(__file__).parent.parent
# What a student needs of this kit to run `check`.
SHIPPED = ["checking.py"]
SHIPPED += [f"walls/{name}.py" for name in ("__init__", "files", "codec", "answers")]
SHIPPED += [f"testing/{name}.py" for name in ("__init__", "assertions", "student")]
SHIPPED += ["testing/suite.py", "testing/weights.py"]
INIT = '"""The part of the book\'s coursekit that checks answers in a notebook."""\n'
REQUIREMENTS = ("jupyterlab", "numpy>=2", "safetensors>=0.4", "torch>=2.5")
DATE = (1980, 1, 1, 0, 0, 0)
README = """\
# {title}

1. Unpack this folder and open a terminal in it.
2. `python -m pip install -r requirements.txt` (Python 3.11 or later)
3. `jupyter lab {name}.ipynb`
4. Replace each `raise NotImplementedError` by your answer; keep names and arguments.
5. The cells with `check(...)` run the tests in `tests/`, and say what is wrong and
   where to read on. Grading runs them with other numbers, and more tests.
6. Before handing in: restart the kernel, run all cells, save. Hand in {handed_in}.
   If you leave a question out, the cells behind it that use it stop with
   NotImplementedError; go on below them. That costs nothing.

Grading runs your cells from top to bottom, {cell:g} seconds at most for each, without
network, in an empty folder with the files that came with this one, and then calls your
functions, {call:g} seconds at most for each call, unless the handout says more. All of
it together may take {work} of work and {wait} of waiting, such as sleeping. When
three quarters of that are used up no other cell is begun: the rest is for the tests.
A cell tagged `experiment`, as its first line says, is left out. Processes cannot be
started there, so lines with `!` and cells below `%%bash` are not run. The folder
`coursekit/` only serves `check`.
"""


def _notebook(nb: nbformat.NotebookNode) -> bytes:
    return (nbformat.writes(nb) + "\n").encode()


def _shared(assignment: Assignment) -> dict[str, bytes]:
    """The files that the student's and the instructor's folder both have."""
    files = {f"tests/{p.name}": p.read_bytes() for p in assignment.public}
    files |= {p.name: p.read_bytes() for p in assignment.paths("files")}
    files["coursekit/__init__.py"] = INIT.encode()
    files |= {f"coursekit/{name}": (KIT / name).read_bytes() for name in SHIPPED}
    if assignment.r1:
        sources = sorted((KIT.parent / "r1").rglob("*.py"))
        names = [path.relative_to(KIT.parent).as_posix() for path in sources]
        files |= {n: p.read_bytes() for n, p in zip(names, sources, strict=True)}
    return files


def release(assignment: Assignment) -> dict[str, bytes]:
    """What students get, by path in the zip.

    Raises AssignmentError if any of it holds a line or a marker of a solution.
    """
    name = assignment.name
    handed_in = " and ".join([f"`{name}.ipynb`", *(f"`{f}`" for f in assignment.files)])
    limits = assignment.limits
    readme = README.format(
        title=assignment.title,
        name=name,
        handed_in=handed_in,
        cell=limits.cell,
        call=limits.call,
        work=spoken(limits.work),
        wait=spoken(limits.wait),
    )
    needed = {*REQUIREMENTS, *assignment.requires}
    if assignment.r1:
        project = tomllib.loads((KIT.parents[1] / "pyproject.toml").read_text("utf-8"))
        needed |= set(project["project"]["dependencies"])
    files = {
        f"{name}.ipynb": _notebook(starter(assignment)),
        "README.md": readme.encode(),
        "requirements.txt": ("\n".join(sorted(needed)) + "\n").encode(),
        **_shared(assignment),
    }
    leaks = leaked(assignment, files)
    if leaks:
        raise AssignmentError("the release would give away:\n" + "\n".join(leaks))
    return {f"{name}/{path}": files[path] for path in sorted(files)}


def leaked(assignment: Assignment, files: dict[str, bytes]) -> list[str]:
    """Lines of the solution, and markers, that files hold: "file: line".

    Files of this kit and of r1 are left out, and so is what is no text.
    """
    secret, found = solution_lines(assignment), []
    for name, data in files.items():
        if name.startswith(("coursekit/", "r1/")):
            continue
        text = data.decode("utf-8", "replace")
        if name.endswith(".ipynb"):
            cells = nbformat.reads(text, as_version=4).cells
            text = "\n".join(cell.source for cell in cells)
        found += [f"{name}: {mark}" for mark in MARKERS if mark in text]
        held = {line.strip().lstrip("# ") for line in text.splitlines()} & secret
        found += [f"{name}: {line}" for line in sorted(held)]
    return found


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip with fixed dates and rights."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            info = zipfile.ZipInfo(path, DATE)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, files[path])
    return buffer.getvalue()


def build(assignment: Assignment, instructors: Path | None = None) -> list[Path]:
    """Write the release zip and, into a folder outside of the book, the solution.

    Raises AssignmentError for a release that gives something away, and for tests that
    do not add up.
    """
    assert assignment.tests  # raises for what is wrong with them
    path = assignment.folder / "release" / f"{assignment.name}.zip"
    made = zipped(release(assignment))
    if not path.is_file() or path.read_bytes() != made:  # its date is then kept
        write(path, made)
    written = [path]
    if instructors:
        written.append(solved(assignment, instructors))
    return written


def solved(assignment: Assignment, folder: Path) -> Path:
    """Write the instructor's notebook with all that it needs to be run there."""
    files = _shared(assignment)
    files |= {p.name: p.read_bytes() for p in assignment.paths("reference")}
    for name, data in files.items():
        write(folder / name, data)
    path = folder / f"{assignment.name}.ipynb"
    write(path, _notebook(instructor(assignment)))
    return path
