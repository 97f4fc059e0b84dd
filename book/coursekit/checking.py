"""`check("q1", globals())` in a notebook: run the public tests, say what is wrong."""

import os
from pathlib import Path
from textwrap import indent
from typing import Any

from coursekit.testing.student import Student
from coursekit.testing.suite import Verdict, advice, find_tests, run_test, seed_of
from coursekit.walls.answers import Answers, own_state

STRICT = "COURSEKIT_STRICT"  # if set, a check that fails raises


def find_folder(start: Path) -> Path:
    """The folder with the public tests for a notebook that runs in `start`.

    Raises FileNotFoundError where there is none.
    """
    for folder in (start / "tests" / "public", start / "tests"):
        if any(folder.glob("test_*.py")):
            return folder
    raise FileNotFoundError(
        "no folder tests here: run the notebook in the folder that the zip made"
    )


def verdicts(question: str, names: dict[str, Any], folder: Path) -> list[Verdict]:
    """Run a question's public tests on the names of a notebook.

    Raises ValueError for a question without tests.
    """
    tests = find_tests(sorted((folder).glob("test_*.py")))
    chosen = [test for test in tests if test.question == question]
    if not chosen:
        known = ", ".join(dict.fromkeys(test.question for test in tests))
        raise ValueError(f"no tests for {question!r}; there are tests for {known}")
    files = {path.name: path for path in Path.cwd().iterdir() if path.is_file()}
    found = []
    for test in chosen:
        with own_state(seed_of(test.name, "")):
            found.append(run_test(test, Student(Answers(names).reply), files))
    return found


def check(question: str, names: dict[str, Any]) -> None:
    """Print how a question does: `check("q1", globals())`.

    With COURSEKIT_STRICT set it raises AssertionError unless all tests pass.
    """
    found = verdicts(question, names, find_folder(Path.cwd()))
    passed = [verdict for verdict in found if verdict.passed]
    lines = [f"{question}: {len(passed)} of {len(found)} tests here pass"]
    for verdict in found:
        numbers = [f"{name} {value:.4g}" for name, value in verdict.measured.items()]
        title = f"{verdict.title} ({', '.join(numbers)})" if numbers else verdict.title
        lines.append(f"  {'ok' if verdict.passed else 'NO'}  {title}")
        if not verdict.passed:
            lines.append(indent(verdict.message, " " * 6))
    if said := advice(found):
        lines.append(said)
    text = "\n".join(lines)
    if len(passed) < len(found) and os.environ.get(STRICT):
        raise AssertionError(text)
    print(text)
