"""What students are told: the message of every test that a known mistake fails.

    python tests/coursekit/messages.py [ASSIGNMENT ...] [--coarse] [--only WORDS]

Prints a line for each mutant of `mutants.toml` and, below it, each message. All runs in
this process, without walls, since the mistakes are our own. With `--coarse` functions
return their tensors in bfloat16.
"""

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from coursekit import checking
from coursekit.authoring.assignment import ASSIGNMENTS, Assignment, load
from coursekit.authoring.mutants import ZEROS, Variant, mutants, write_files
from coursekit.authoring.notebooks import defined
from coursekit.authoring.prove import SECRET
from coursekit.testing.student import Student
from coursekit.testing.suite import Test, Verdict, run_test, seed_of
from coursekit.walls.answers import Answers, own_state
from coursekit.walls.session import run_cell

EXAMPLE = Path(__file__).parent.parent / "assignments" / "example"
FOLDERS = [EXAMPLE, *sorted(p.parent for p in ASSIGNMENTS.glob("*/mutants.toml"))]
# The stub of zeros, which keeps its numbers and loses their digits.
COARSE = ZEROS.replace(
    "_torch.zeros_like(value)",
    "value.bfloat16() if value.is_floating_point() else value",
).replace("type(value)() if isinstance(value, (bool, int, float, str)) else ", "")


def coarse(assignment: Assignment, variant: Variant) -> Variant:
    """A variant whose functions and methods return tensors of bfloat16."""
    lines = [COARSE]
    for name in (n for found in defined(assignment).values() for n in found):
        is_class = any(f"class {name}" in cell for cell in variant.cells)
        kind = "class" if is_class else "function"
        lines.append(f"{name} = _zero_{kind}({name})")
    cells = [*variant.cells, "\n".join(lines)]
    return Variant(variant.name, cells, variant.files, variant.fails)


@contextlib.contextmanager
def opened(assignment: Assignment, variant: Variant) -> Iterator[tuple[dict, dict]]:
    """The names of a variant's notebook, run here, and the files handed in."""
    names: dict[str, Any] = {"__name__": "__main__"}
    nothing = mock.patch.object(checking, "check")
    with (
        tempfile.TemporaryDirectory() as beside,
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        nothing,
    ):
        for path in assignment.paths("files"):
            Path(folder, path.name).write_bytes(path.read_bytes())
        files = write_files(variant, Path(beside))
        with contextlib.redirect_stdout(None):
            for number, source in enumerate(variant.cells, 1):
                run_cell(source, number, names)
        yield names, files


def verdict(test: Test, names: dict[str, Any], files: dict[str, Path]) -> Verdict:
    """A test's verdict on names that are here."""
    with own_state(seed_of(test.name, SECRET)):
        return run_test(test, Student(Answers(names).reply), files, SECRET)


def told(assignment: Assignment, variant: Variant) -> list[Verdict]:
    """The verdicts of a variant in the questions of which it has to fail tests.

    Of one that fails none, in all questions.
    """
    listed = {t.question for t in assignment.tests if t.name in (variant.fails or ())}
    tests = [t for t in assignment.tests if not listed or t.question in listed]
    with opened(assignment, variant) as (names, files):
        return [verdict(test, names, files) for test in tests]


CHAPTERS = Path(__file__).parents[2] / "book" / "text"
PLACE = re.compile(r"(chapter \d\d|handout|notebook)(?:, question (\d+))?(.*)")
WORDS = re.compile(r', "([^"]+)"')


def sections(text: str) -> dict[str, str]:
    """The text below each heading, with that of the headings below it."""
    found: dict[str, str] = {}
    open_: list[tuple[int, str]] = []
    code = False
    for line in text.splitlines():
        code ^= line.startswith("```")
        if not code and (heading := re.match(r"(#+) +(.*)", line)):
            level = len(heading[1])
            open_ = [one for one in open_ if one[0] < level] + [(level, heading[2])]
        for _, name in open_:
            found[name] = found.get(name, "") + line + "\n"
    return found


def lost(read: str, folder: Path) -> list[str]:
    """The places of a "Read on:" that are not in the book, for an assignment's folder.

    A place is 'chapter 04, "HEADING"', 'handout, question 2', 'handout, "HEADING"' or
    'notebook, "HEADING"', and may end with words of the section: ', "c_i / m"'.
    """
    return [place for place in read.split("; ") if not _there(place, folder)]


def _there(place: str, folder: Path) -> bool:
    match = PLACE.fullmatch(place)
    if not match:
        return False
    where, question, rest = match.groups()
    names = {"handout": "handout.md", "notebook": f"{folder.name}.md"}
    paths = [folder / names[where]] if where in names else []
    paths += CHAPTERS.glob(f"{where[-2:]}_*.md")
    parts = sections(paths[0].read_text(encoding="utf-8")) if paths else {}
    words = WORDS.findall(rest)
    if "".join(f', "{word}"' for word in words) != rest:
        return False
    if question:
        wanted = [name for name in parts if name.startswith(f"Question {question}:")]
    else:
        wanted, words = words[:1], words[1:]
    section = parts.get(wanted[0], "") if wanted else ""
    plain = " ".join(section.split())
    return bool(section) and all(word in plain for word in words)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("assignments", nargs="*")
    parser.add_argument("--coarse", action="store_true")
    parser.add_argument("--only", default="", help="mutants with this in their name")
    asked = parser.parse_args()
    for name in asked.assignments or FOLDERS:
        assignment = load(name)
        print(f"# {assignment.name}")
        for variant in mutants(assignment):
            if asked.only in variant.name:
                used = coarse(assignment, variant) if asked.coarse else variant
                print(f"\n## {variant.name}")
                for found in told(assignment, used):
                    if not found.passed:
                        print(f"* {found.test} [{found.kind}] {found.message}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
