"""Wrong solutions made from the right one, and the two that know nothing.

`mutants.toml` lists what students get wrong:

    [[mutant]]
    name = "weights are taken from the biased scores"
    find = "scores.gather(-1, index)"      # there exactly once in the solution
    replace = "biased.gather(-1, index)"
    says = "the bias is in the weights"    # words of a message that a student gets
    fails = ["test_q1_the_bias_leaves_the_weights_alone"]

Instead of `find` and `replace` a mutant can `append` a cell, or have a `file` that was
handed in and a `change` of it: "zeros", "noise", "missing", "truncated", "nan". With a
`file` that is text, `find` and `replace` are of that file.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load, save

from coursekit.authoring.assignment import Assignment, AssignmentError
from coursekit.authoring.notebooks import constants, defined, instructor, starter, tags

KEYS = {"name", "find", "replace", "append", "file", "change", "fails", "says"}
ZEROS = '''
import torch as _torch


def _zero(value):
    """The same shape and kind, and nothing in it."""
    if isinstance(value, _torch.Tensor):
        return _torch.zeros_like(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_zero(x) for x in value)
    if isinstance(value, dict):
        return {key: _zero(x) for key, x in value.items()}
    return type(value)() if isinstance(value, (bool, int, float, str)) else value


def _zero_function(function):
    return lambda *args, **kwargs: _zero(function(*args, **kwargs))


def _zero_class(kind):
    class Zero(kind):
        def __getattribute__(self, name):
            value = super().__getattribute__(name)
            if name.startswith("_"):
                return value
            return _zero_function(value) if callable(value) else _zero(value)

    return Zero
'''


@dataclass(frozen=True)
class Variant:
    """Code cells and files to judge, and the tests that have to fail; None for all.

    `says` are words that one of their messages must have.
    """

    name: str
    cells: list[str]
    files: dict[str, bytes] = field(default_factory=dict)
    fails: frozenset[str] | None = None
    says: str = ""


def solution_cells(assignment: Assignment) -> list[str]:
    """The code cells of the solution that grading runs."""
    return _code(instructor(assignment))


def _code(notebook) -> list[str]:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell.source for cell in code if "experiment" not in tags(cell)]


def reference(assignment: Assignment) -> Variant:
    """What earns everything."""
    files = {path.name: path.read_bytes() for path in assignment.paths("reference")}
    if missing := set(assignment.files) - set(files):
        raise AssignmentError(f"{assignment.name}: no {sorted(missing)} in reference/")
    return Variant("reference", solution_cells(assignment), files, frozenset())


def blank(assignment: Assignment) -> Variant:
    """The starter as it is given out; earns nothing."""
    return Variant("blank starter", _code(starter(assignment)))


def zeros(assignment: Assignment) -> Variant:
    """Right names and shapes, and zeros in them; earns nothing.

    Made from the solution: its constants, and what its functions, methods and
    attributes give, are emptied.
    """
    cells, kinds = solution_cells(assignment), {True: "class", False: "function"}
    names = [name for found in defined(assignment).values() for name in found]
    empty = [ZEROS]
    for name in names:
        is_class = any(f"class {name}" in cell for cell in cells)
        empty.append(f"{name} = _zero_{kinds[is_class]}({name})")
    empty += [f"{name} = _zero({name})" for name in constants(assignment)]
    files = {
        name: CHANGES["zeros"](data) if name.endswith(".safetensors") else b""
        for name, data in reference(assignment).files.items()
    }
    return Variant("stub of zeros", [*cells, "\n".join(empty)], files)


def _each_tensor(change: Callable) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        return save({name: change(tensor) for name, tensor in load(data).items()})

    return changed


def _noise(tensor: torch.Tensor) -> torch.Tensor:
    gen = torch.Generator().manual_seed(0)
    return torch.randn(tensor.shape, generator=gen).to(tensor.dtype)


CHANGES: dict[str, Callable[[bytes], bytes | None]] = {
    "zeros": _each_tensor(torch.zeros_like),
    "noise": _each_tensor(_noise),
    "nan": _each_tensor(lambda tensor: torch.full_like(tensor, float("nan"))),
    "missing": lambda data: None,
    "truncated": lambda data: data[: len(data) // 2],
}


def mutants(assignment: Assignment) -> list[Variant]:
    """The wrong solutions of `mutants.toml`.

    Raises AssignmentError for a mutant that does not apply, or lists unknown tests.
    """
    path = assignment.path("mutants.toml")
    if not path.is_file():
        raise AssignmentError(f"{assignment.name} has no mutants.toml")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8")).get("mutant", [])
    except tomllib.TOMLDecodeError as error:
        raise AssignmentError(f"{path.name}: {error}") from error
    right = reference(assignment)
    known = {test.name for test in assignment.tests}
    return [_mutant(one, right, known) for one in given]


def _mutant(given: dict, right: Variant, known: set[str]) -> Variant:
    name = given.get("name", "without a name")
    if strange := set(given) - KEYS:
        raise AssignmentError(f"mutant {name!r}: unknown keys {sorted(strange)}")
    fails = frozenset(given.get("fails", ()))
    if not fails:
        raise AssignmentError(f"mutant {name!r} lists no test that it fails")
    if not fails <= known:
        raise AssignmentError(f"mutant {name!r}: unknown tests {sorted(fails - known)}")
    cells, files = list(right.cells), dict(right.files)
    if "find" in given and "file" in given:
        text = files[given["file"]].decode()
        changed = _replaced(name, [text], given["find"], given["replace"])
        files[given["file"]] = changed[0].encode()
    elif "find" in given:
        cells = _replaced(name, cells, given["find"], given["replace"])
    if "append" in given:
        cells.append(given["append"])
    if "change" in given:
        if given["change"] not in CHANGES or given.get("file") not in files:
            raise AssignmentError(f"mutant {name!r}: no such file or change")
        data = CHANGES[given["change"]](files.pop(given["file"]))
        files |= {} if data is None else {given["file"]: data}
    if (cells, files) == (right.cells, right.files):
        raise AssignmentError(f"mutant {name!r} changes nothing")
    return Variant(name, cells, files, fails, given.get("says", ""))


def _replaced(name: str, cells: list[str], old: str, new: str) -> list[str]:
    count = sum(cell.count(old) for cell in cells)
    if count != 1:
        raise AssignmentError(
            f"mutant {name!r}: {old!r} is there {count} times, not once"
        )
    return [cell.replace(old, new) for cell in cells]


def write_files(variant: Variant, folder: Path) -> dict[str, Path]:
    """Put a variant's files into a folder, as if they had been handed in."""
    for name, data in variant.files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in variant.files}
