"""Tests: found in files, seeded, run one at a time, each with a verdict.

The same run serves the notebook and the grading; only the `student` differs.
"""

import ast
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from coursekit.testing.assertions import MEASURED
from coursekit.testing.student import Student, StudentError

NAME = re.compile(r"test_(q\d+[a-z]?)_\w+")
ARGUMENTS = {"student", "gen", "files"}
NOT_YET = "not implemented yet"
READ_ON = "Read on: "
SEVERAL = "Several tests can fail for one reason: repair the first, then look again."
TAUGHT = ("failed", "raised", "judge", "time", "memory")  # where reading may help


class SuiteError(ValueError):
    """Tests that their author has to put right; the text names file and remedy."""


@dataclass(frozen=True)
class Test:
    """One test function and what is to know about it.

    `seconds` is for each call; `read` is where who fails it can read on.
    """

    name: str
    question: str
    points: float
    seconds: float | None
    title: str
    function: Callable
    read: str = ""

    @property
    def asks_student(self) -> bool:
        """Whether it calls the notebook's functions."""
        return "student" in inspect.signature(self.function).parameters


@dataclass(frozen=True)
class Verdict:
    """How a test ended, and what to tell the student.

    `kind` is "passed", "failed" (an assertion), "judge" (the test itself raised), or
    that of the StudentError: "raised", "todo", "time", "memory", "died" ...
    `measured` holds the numbers that the test has called `measured` with.
    """

    test: str
    question: str
    title: str
    points: float
    max: float
    kind: str
    message: str
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the test gave its points."""
        return self.kind == "passed"


def advice(found: Iterable[Verdict]) -> str:
    """What is said of a question's verdicts together, if more than one test failed."""
    return SEVERAL if sum(not verdict.passed for verdict in found) > 1 else ""


@contextmanager
def _importable(folders: list[Path]):
    """Let test files import helpers beside them, and forget these afterwards."""
    before, path = set(sys.modules), list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).parent in folders:
                del sys.modules[name]


def find_tests(paths: Iterable[Path]) -> list[Test]:
    """The tests of files, in the order of questions and files.

    Helpers in the folders of any of them can be imported by their plain name.

    Raises SuiteError for a file that cannot be run and for a test without points, of
    an unknown form, or of a name that is there twice.
    """
    if not __debug__:
        raise SuiteError("python -O ignores assertions: run without it")
    tests: dict[str, Test] = {}
    paths = list(paths)
    folders = list(dict.fromkeys(path.parent for path in paths))
    for path in paths:
        spec = importlib.util.spec_from_file_location(f"tests_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        try:
            with _importable(folders):
                exec(compile(path.read_bytes(), path.name, "exec"), module.__dict__)
        except Exception as error:
            text = f"{path.name}: {type(error).__name__}: {error}"
            raise SuiteError(text) from error
        for name, function in vars(module).items():
            if name.startswith("test_"):
                if name in tests:
                    raise SuiteError(f"{path.name}: {name} is there twice")
                tests[name] = _test(path, name, function)
    return sorted(tests.values(), key=lambda test: _rank(test.question))


def _rank(question: str) -> tuple[int, str]:
    return int(re.findall(r"\d+", question)[0]), question


def _test(path: Path, name: str, function: Callable) -> Test:
    named = NAME.fullmatch(name)
    if not named:
        raise SuiteError(f"{path.name}: call {name} test_q1_what_it_shows")
    points = getattr(function, "points", None)
    if points is None:
        raise SuiteError(f"{path.name}: {name} has no @points(...)")
    arguments = set(inspect.signature(function).parameters)
    if not arguments <= ARGUMENTS:
        raise SuiteError(f"{path.name}: {name} asks for {arguments - ARGUMENTS}")
    title = (inspect.getdoc(function) or "").partition("\n")[0]
    if not title:
        raise SuiteError(f"{path.name}: say in {name}'s docstring what it wants")
    more = function.seconds, title, function, function.read
    return Test(name, named[1], points, *more)


def silent_asserts(path: Path) -> list[int]:
    """Lines of assertions that would fail without telling the student anything."""
    tree = ast.parse(path.read_bytes())
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    return [node.lineno for node in asserts if node.msg is None]


def seed_of(name: str, secret: str) -> int:
    """A test's seed: the same for all students, not to be known without the secret."""
    digest = hashlib.sha256(f"{secret}\0{name}".encode()).digest()
    return int.from_bytes(digest[:6], "little")


def run_test(
    test: Test, student: Student, files: Mapping[str, Path], secret: str = ""
) -> Verdict:
    """Run one test to its verdict; it raises only for what is no Exception."""
    gen = torch.Generator().manual_seed(seed_of(test.name, secret))
    given = {"student": student, "gen": gen, "files": files}
    wanted = inspect.signature(test.function).parameters
    earned = 0.0
    MEASURED.clear()
    try:
        test.function(**{name: given[name] for name in wanted})
        kind, message, earned = "passed", "", test.points
    except AssertionError as error:
        kind, message = "failed", str(error) or "a condition of the test does not hold"
    except StudentError as error:
        kind, message = error.kind, str(error)
        message = NOT_YET if kind == "todo" else message
    except Exception as error:
        kind = "judge"
        said = f"{type(error).__name__}: {error}"
        message = f"your answer does not have the form that is asked for ({said})"
    message = message[:2000]
    if test.read and kind in TAUGHT:
        message += f"\n{READ_ON}{test.read}"
    return Verdict(
        test.name,
        test.question,
        test.title,
        earned,
        test.points,
        kind,
        message,
        dict(MEASURED),
    )
