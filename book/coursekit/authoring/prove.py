"""The proof that an assignment grades itself."""

import tempfile
from pathlib import Path

from coursekit.authoring.assignment import Assignment
from coursekit.authoring.mutants import (
    Variant,
    blank,
    mutants,
    reference,
    write_files,
    zeros,
)
from coursekit.authoring.packs import Pack, alone, covering, packed
from coursekit.testing.judge import judge_cells
from coursekit.testing.suite import READ_ON, Verdict
from coursekit.walls.cells import plain_python
from coursekit.walls.forks import spread
from coursekit.walls.sandbox import NoSandbox, missing, opened

SECRET = "proof"  # with it mutants fail just what they list


def prove(assignment: Assignment, jobs: int = 2, quick: bool = False) -> list[str]:
    """What is wrong with an assignment; an empty list is the proof.

    The reference must pass all tests, the blank starter and a stub of zeros none, each
    mutant exactly those that it does not list, and every test must fail for some
    mutant. `quick` judges, of the mutants, only as many as fail every test once, those
    of several questions in one notebook.

    Raises AssignmentError for what cannot even be tried, NoSandbox without bubblewrap.
    """
    if missing():
        raise NoSandbox(missing())
    known = mutants(assignment)
    listed = {name for mutant in known for name in mutant.fails}
    unfailed = [test.name for test in assignment.tests if test.name not in listed]
    wrong = [f"no mutant fails {name}" for name in unfailed]
    names = [mutant.name for mutant in known]
    wrong += [f"two mutants are called {n!r}" for n in {*names} if names.count(n) > 1]
    right = reference(assignment)
    packs = [alone(right), alone(blank(assignment)), alone(zeros(assignment))]
    if quick:
        packs += packed(assignment, right, covering(known))
    else:
        packs += [alone(mutant) for mutant in known]
    judged = spread(lambda part: _judged(assignment, part), packs, jobs)
    for variant, verdicts in judged:
        wrong += disagreements(variant, verdicts)
    return wrong


def _judged(
    assignment: Assignment, part: list[Pack]
) -> list[tuple[Variant, list[Verdict]]]:
    """Judge notebooks one after the other in one sandbox: their code is our own."""
    shown = {path.name: path for path in assignment.paths("files")}
    found = []
    with opened(assignment.limits, shown) as box:
        for pack in part:
            variant, tests = pack.variant, pack.tests(assignment.tests)
            with tempfile.TemporaryDirectory() as folder:
                files = write_files(variant, Path(folder))
                cells = dict(enumerate(map(plain_python, variant.cells), 1))
                judged = judge_cells(box, tests, cells, files, SECRET)
            found += pack.verdicts(judged[1])
    return found


def disagreements(variant: Variant, verdicts: list[Verdict]) -> list[str]:
    """Where the verdicts are others than those that a variant has to get."""
    found = []
    for verdict in verdicts:
        expected = variant.fails is None or verdict.test in variant.fails
        if verdict.passed and expected:
            found.append(f"{variant.name}: passes {verdict.test}")
        elif not verdict.passed and not expected:
            found.append(f"{variant.name}: fails {verdict.test}: {verdict.message}")
        elif verdict.kind == "judge" and variant.fails is not None:
            found.append(
                f"{variant.name}: {verdict.test} must say what is wrong, with an "
                f"assertion, and not raise: {verdict.message}"
            )
        if variant.fails and not verdict.passed and READ_ON not in verdict.message:
            found.append(
                f"{variant.name}: {verdict.test} does not say where to read on: "
                """@points(1, read='chapter 04, "Two processes"')"""
            )
    messages = [verdict.message for verdict in verdicts]
    if variant.says and not any(variant.says in message for message in messages):
        found.append(f"{variant.name}: no message says {variant.says!r}")
    return found
