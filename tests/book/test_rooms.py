"""The rooms of r1 build on one another in one direction only, and keep their names."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[2] / "book"
# From the ground up: a room imports from itself and from the rooms before it.
ROOMS = ["text", "model", "cost", "train", "rl", "recipe"]
# Beside the rooms: they import nothing of r1, and no room imports them.
BESIDE = ["plotting", "stats", "timing"]
FILES = sorted(path for path in (BOOK / "r1").rglob("*.py"))
EXPERIMENTS = sorted((BOOK / "experiments").glob("*.py"))
NO_TORCH = ["r1.text", "r1.cost.counting", "r1.cost.bill", "r1.cost.schedule"]
NO_TORCH += ["r1.cost.memory", "r1.train.records"]

each_file = pytest.mark.parametrize(
    "path", [*FILES, *EXPERIMENTS], ids=lambda path: str(path.relative_to(BOOK))
)


def imported(path):
    """The modules that a file imports, anywhere in it: {"torch", "r1.model.config"}."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by the full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(name):
    """ "model" of "r1.model.moe"; None for what is not in a room."""
    parts = name.split(".")
    return parts[1] if parts[0] == "r1" and parts[1] in ROOMS else None


def test_every_folder_is_a_room_and_every_file_stands_in_one_or_beside():
    folders = {p.name for p in (BOOK / "r1").iterdir() if p.is_dir()} - {"__pycache__"}
    assert folders == set(ROOMS)
    alone = {p.stem for p in (BOOK / "r1").glob("*.py")} - {"__init__"}
    assert alone <= set(BESIDE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(BOOK)))
def test_a_room_imports_only_rooms_below_it(path):
    room = room_of("r1." + ".".join(path.relative_to(BOOK / "r1").parts))
    used = {name for name in imported(path) if name.startswith("r1.")}
    if room is None:
        assert not used, f"{path.name} stands beside the rooms"
        return
    allowed = ROOMS[: ROOMS.index(room) + 1]
    assert {room_of(name) for name in used} <= set(allowed), sorted(used)


@each_file
def test_inside_of_the_house_a_name_is_imported_from_the_file_that_defines_it(path):
    """Readers import from rooms; files from files, so that a search finds the use."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in map(
            "r1.{}".format, ROOMS
        ):
            names = {alias.name for alias in node.names}
            files = {
                p.stem for p in (BOOK / node.module.replace(".", "/")).glob("*.py")
            }
            assert names <= files, sorted(names - files)


@pytest.mark.parametrize("room", ROOMS)
def test_no_two_files_of_a_room_import_one_another_in_a_circle(room):
    files = {p.stem: imported(p) for p in (BOOK / "r1" / room).glob("*.py")}
    needs = {
        name: {n.split(".")[2] for n in used if n.startswith(f"r1.{room}.")}
        for name, used in files.items()
    }
    placed: set[str] = set()
    while ready := {n for n in needs if n not in placed and needs[n] <= placed}:
        placed |= ready
    assert placed == set(needs), f"a circle among {sorted(set(needs) - placed)}"


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_shows_is_there_and_hides_no_file(room):
    shown = import_module(f"r1.{room}")
    files = {p.stem for p in Path(shown.__file__).parent.glob("*.py")} - {"__init__"}
    tree = ast.parse(Path(shown.__file__).read_text(encoding="utf-8"))
    (call,) = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    words = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    assert set(words["submodules"]) == files
    for file, names in words["submod_attrs"].items():
        for name in names:
            assert name not in files, f"{name} is a file: give one another name"
            there = getattr(import_module(f"r1.{room}.{file}"), name)
            assert getattr(shown, name) is there


@pytest.mark.parametrize("module", NO_TORCH)
def test_what_needs_no_tensor_loads_no_torch(module):
    files = sorted(BOOK.glob(f"{module.replace('.', '/')}/*.py"))
    names = [f"{module}.{p.stem}" for p in files if p.stem != "__init__"] or [module]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=BOOK, check=False)
    assert done.returncode == 0


@each_file
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [n for n in tree.body if isinstance(n, kinds) and n.name[0] != "_"]
    assert ast.get_docstring(tree), "the file says nothing about itself"
    assert not [node.name for node in public if not ast.get_docstring(node)]


def test_every_room_has_its_folder_of_tests():
    """As the README says."""
    folders = {p.name for p in Path(__file__).parents[1].iterdir() if p.is_dir()}
    assert {*ROOMS, "experiments", "coursekit", "book", "faults", "bench"} <= folders
