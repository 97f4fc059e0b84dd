"""The kit's rooms build on one another in one direction, and are what they say."""

import ast
import re
from pathlib import Path

import pytest

import coursekit

KIT = Path(coursekit.__file__).parent
# The rooms and the two ways in; each may import itself and those before it.
ORDER = ["walls", "testing", "checking", "authoring", "grading", "reports", "__main__"]
LISTED = r"^    (\w+)  +\S"  # a name in a docstring's list, and what it is for
FILES = sorted(path for path in KIT.rglob("*.py") if path.parent != KIT)
FILES += [path for path in sorted(KIT.glob("*.py")) if path.stem != "__init__"]
each_file = pytest.mark.parametrize(
    "path", FILES, ids=[path.relative_to(KIT).as_posix() for path in FILES]
)


def room(path):
    return path.relative_to(KIT).parts[0].removesuffix(".py")


def imported(path):
    """The full names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"import from {node.module} by its full name"
            yield node.module


def test_every_file_is_in_a_room_or_a_way_in():
    assert {room(path) for path in FILES} == set(ORDER)


@each_file
def test_rooms_import_only_those_below(path):
    used = [name.split(".") for name in imported(path) if name[:9] == "coursekit"]
    assert all(len(name) > 1 for name in used), "import a room, and not the kit"
    above = ORDER[ORDER.index(room(path)) + 1 :]
    assert not [".".join(name) for name in used if name[1] in above]


@each_file
def test_r1_is_used_where_the_kernel_is_asked_and_nowhere_else(path):
    """What judges must not change with the book's own mechanisms."""
    used = [name for name in imported(path) if name.partition(".")[0] == "r1"]
    assert not used or path.name in ("filters.py", "sandbox.py")


def test_the_kit_says_which_rooms_it_has():
    said = re.findall(LISTED, coursekit.__doc__, re.MULTILINE)
    assert said == [name for name in ORDER if (KIT / name).is_dir()]
    for name in ORDER:
        if not (KIT / name).is_dir():
            assert f"`{name}`" in coursekit.__doc__


@pytest.mark.parametrize("name", [name for name in ORDER if (KIT / name).is_dir()])
def test_a_room_says_which_files_it_has(name):
    tree = ast.parse((KIT / name / "__init__.py").read_text(encoding="utf-8"))
    text = ast.get_docstring(tree, clean=False)
    files = {path.stem for path in (KIT / name).glob("*.py")} - {"__init__"}
    assert set(re.findall(LISTED, text, re.MULTILINE)) == files


@each_file
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [n for n in tree.body if isinstance(n, kinds) and n.name[0] != "_"]
    assert ast.get_docstring(tree), "the module says nothing about itself"
    assert not [node.name for node in public if not ast.get_docstring(node)]
