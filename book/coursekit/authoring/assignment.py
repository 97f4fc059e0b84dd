"""An assignment as its author wrote it: a master, its points, its tests.

    book/assignments/NAME/
        NAME.md        master with solutions, MyST text
        handout.md     the page in the book
        rubric.md      for the written questions
        mutants.toml   wrong solutions, and exactly the tests that each fails
        tests/public/  shipped to students; tests/hidden/ is not
        files/         data that students get beside the notebook, if any
        reference/     files that a perfect student hands in, such as weights, if any
        release/       NAME.zip, made with the site or by `python -m coursekit build`

An overlay is a folder of the same form: its files replace those of the same name, and
those of other names are added. Its `points.toml` may change points: `q1 = 6`.
"""

import functools
import hashlib
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from coursekit.testing.suite import Test, find_tests, silent_asserts
from coursekit.walls.sandbox import Limits

KIT = Path(__file__).parent.parent
ASSIGNMENTS = KIT.parent / "assignments"
KEYS = {"name", "title", "questions", "written", "files", "limits", "requires", "r1"}
KEYS |= {"needs"}
UNITS = {"memory": 2**20, "file": 2**20, "disk": 2**20}  # given in MiB


class AssignmentError(ValueError):
    """What an author or an instructor has to put right, in words."""


@dataclass(frozen=True)
class Assignment:
    """A master, the points of its questions, and what its notebook may use.

    `files` are what is handed in beside the notebook, `requires` further requirements
    of the starter; `r1` says whether the starter comes with the package of this name.
    `needs` names the questions whose functions those of a later question call.
    """

    folder: Path
    overlay: Path | None
    name: str
    title: str
    questions: dict[str, float]
    written: dict[str, float]
    files: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    requires: tuple[str, ...] = ()
    r1: bool = False
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def max_auto(self) -> float:
        """Points that tests give."""
        return sum(self.questions.values())

    @property
    def max(self) -> float:
        """All points, those given by hand included."""
        return self.max_auto + sum(self.written.values())

    def lost_with(self, question: str) -> frozenset[str]:
        """A question, and those that cannot be answered without its functions."""
        needing = {later for later, needed in self.needs.items() if question in needed}
        return frozenset({question, *needing})

    def path(self, name: str) -> Path:
        """A file of the assignment, the overlay's if it has one."""
        over = self.overlay / name if self.overlay else None
        return over if over and over.exists() else self.folder / name

    def paths(self, folder: str, pattern: str = "*") -> list[Path]:
        """The files in a folder of the assignment, in the order of their names."""
        found: dict[str, Path] = {}
        for base in (self.folder, self.overlay):
            if base and (base / folder).is_dir():
                files = (base / folder).glob(pattern)
                found |= {path.name: path for path in files if path.is_file()}
        return [found[name] for name in sorted(found)]

    @functools.cached_property
    def public(self) -> list[Path]:
        """Test files that students get."""
        return self.paths("tests/public", "*.py")

    @functools.cached_property
    def tests(self) -> list[Test]:
        """All tests; raises AssignmentError unless they add up to the points."""
        paths = [*self.paths("tests/public", "test_*.py")]
        paths += self.paths("tests/hidden", "test_*.py")
        for path in paths:
            if lines := silent_asserts(path):
                raise AssignmentError(
                    f"{path.name}, lines {lines}: an assertion needs a message that "
                    "tells the student what is wrong"
                )
        tests = find_tests(paths)
        for question, most in self.questions.items():
            given = sum(t.points for t in tests if t.question == question)
            if abs(given - most) > 1e-9:
                raise AssignmentError(
                    f"{self.name}: the tests of {question} give {given:g} points, the "
                    f"master promises {most:g}"
                )
        unknown = {test.question for test in tests} - set(self.questions)
        if unknown:
            raise AssignmentError(
                f"{self.name}: tests for {sorted(unknown)}, no points"
            )
        return tests

    @functools.cached_property
    def master(self) -> NotebookNode:
        """The master as a notebook."""
        return read_master(self.path(f"{self.name}.md"))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A number that changes with the tests, the points, the limits or this kit.

        Read once, so that it is the same for a whole class.
        """
        digest = hashlib.sha256()
        paths = [*self.paths("tests/public"), *self.paths("tests/hidden")]
        paths += [*self.paths("files"), self.path(f"{self.name}.md")]
        paths += sorted(KIT.rglob("*.py"))
        for path in paths:
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
        digest.update(repr(self.questions).encode())
        return digest.hexdigest()[:16]


def read_master(path: Path) -> NotebookNode:
    """A master's text as a notebook; raises AssignmentError if it is not there."""
    if not path.is_file():
        raise AssignmentError(f"no master {path.name} in {path.parent.name}")
    return jupytext.reads(path.read_text(encoding="utf-8"), fmt="md:myst")


def _limits(given: dict, name: str) -> Limits:
    known = {f.name for f in fields(Limits)}
    if unknown := set(given) - known:
        raise AssignmentError(f"{name}: unknown limits {sorted(unknown)} of {known}")
    for key, value in given.items():
        if type(value) not in (int, float) or not value > 0:
            raise AssignmentError(f"{name}: limits: {key} is {value!r}, not above 0")
    return replace(Limits(), **{k: v * UNITS.get(k, 1) for k, v in given.items()})


def find(name: str | Path) -> Path:
    """The folder of an assignment given by name or path.

    Raises AssignmentError with the names that there are.
    """
    for folder in (Path(name), ASSIGNMENTS / name):
        if (folder / f"{folder.resolve().name}.md").is_file():
            return folder.resolve()
    known = [p.parent.name for p in sorted(ASSIGNMENTS.glob("*/mutants.toml"))]
    raise AssignmentError(
        f"no assignment {name}; there are {', '.join(known) or 'none'}"
    )


def load(folder: str | Path, overlay: Path | None = None) -> Assignment:
    """Read an assignment's front matter and points.

    Raises AssignmentError for what is missing or unknown there.
    """
    folder = find(folder)
    name = folder.name
    over = overlay / f"{name}.md" if overlay else None
    master = read_master(over if over and over.exists() else folder / f"{name}.md")
    given = dict(master.metadata.get("assignment", {}))
    if unknown := set(given) - KEYS:
        raise AssignmentError(
            f"{name}: unknown keys {sorted(unknown)} of {sorted(KEYS)}"
        )
    if missing := {"name", "title", "questions"} - set(given):
        raise AssignmentError(f"{name}: the front matter lacks {sorted(missing)}")
    if given["name"] != name:
        raise AssignmentError(f"{name}: the front matter calls it {given['name']!r}")
    questions = {q: float(p) for q, p in given["questions"].items()}
    needs = {q: tuple(needed) for q, needed in given.get("needs", {}).items()}
    if strange := {q for pair in needs.items() for q in (pair[0], *pair[1])} - set(
        questions
    ):
        raise AssignmentError(f"{name}: needs names {sorted(strange)}, no questions")
    if overlay and (overlay / "points.toml").exists():
        changed = tomllib.loads((overlay / "points.toml").read_text(encoding="utf-8"))
        questions |= {q: float(p) for q, p in changed.items()}
    return Assignment(
        folder=folder,
        overlay=overlay,
        name=name,
        title=str(given["title"]),
        questions=questions,
        written={q: float(p) for q, p in given.get("written", {}).items()},
        files=tuple(given.get("files", ())),
        limits=_limits(given.get("limits", {}), name),
        requires=tuple(given.get("requires", ())),
        r1=bool(given.get("r1", False)),
        needs=needs,
    )
