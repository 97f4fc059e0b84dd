"""A notebook is judged: its cells are run in a sandbox, the tests ask from here."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from coursekit.testing.budget import Budget
from coursekit.testing.student import Student, StudentError
from coursekit.testing.suite import Test, Verdict, run_test, seed_of
from coursekit.walls.sandbox import Ended, Sandbox

LEFT_OUT = 6  # cells that may take the session along; then there is no session
CELLS = 0.75  # of the budget: when it is used up no other cell is begun
RESERVED = "three quarters of the time for all cells and calls are used up"
SUSPECT = ("processes", "garbage")


def judge_cells(
    box: Sandbox,
    tests: Iterable[Test],
    cells: Mapping[int, str],
    files: Mapping[str, Path],
    secret: str = "",
) -> tuple["Marker", list[Verdict]]:
    """Run tests on a notebook's cells, by number, in an open sandbox.

    Raises Broken and NoSandbox where the sandbox, not the submission, is at fault.
    """
    marker = Marker(box, cells)
    marker.load()
    return marker, [marker.judge(test, files, secret) for test in tests]


class Marker:
    """Runs tests on a notebook in a sandbox, whatever the notebook does to it."""

    def __init__(self, box: Sandbox, cells: Mapping[int, str]):
        self.box, self.cells, self.limits = box, cells, box.limits
        self.budget = Budget(self.limits.work, self.limits.wait)
        self.left_out: dict[int, str] = {}  # cells that took the session along
        self.ended: set[int] = set()  # cells that came to their end
        self.wrong: dict[int, str] = {}  # cells that raised
        self.notes: list[str] = []
        self.wasted: dict[str, float] = defaultdict(float)  # seconds, by question

    def load(self) -> bool:
        """Run all cells in a new session; a cell that kills it is left out.

        So is what would be begun when three quarters of the budget are used up.
        """
        while len(self.left_out) <= LEFT_OUT and not self.budget.out:
            with self.budget.charged(self.box):
                self.box.start()
            self.wrong = {}
            for number in [n for n in self.cells if n not in self.left_out]:
                if self.budget.used >= CELLS and number not in self.ended:
                    self.note(f"code cells from {number} on were not run: {RESERVED}")
                    return True
                if self.budget.out or not self.run(number):
                    break
            else:
                return True
        return False

    def run(self, number: int) -> bool:
        """Run a cell; whether the session has outlived it."""
        bounds = self.budget.bounds(self.limits.cell)
        try:
            with self.budget.charged(self.box):
                wrong = self.box.cell(self.cells[number], number, **bounds)
        except Ended as end:
            self.left_out[number] = end.kind
            why = self.budget.why if self.budget.out else self.why(end.kind)
            self.note(f"code cell {number} was left out: {why}")
            return False
        self.ended.add(number)
        if wrong:
            self.wrong[number] = wrong
        return True

    def note(self, text: str) -> None:
        """Remark what a person should look at, once."""
        if text not in self.notes:
            self.notes.append(text)

    def why(self, kind: str, seconds: float | None = None) -> str:
        """What a kind of end means, for students."""
        memory = f"{self.limits.memory / 2**30:g} GiB"
        return {
            "time": f"it did not end within {seconds or self.limits.cell:g} s",
            "memory": f"it used more than {memory} of memory",
            "processes": f"it ran more than {self.limits.processes} processes",
            "died": "it ended its process (exit, or a crash)",
        }[kind]

    def judge(self, test: Test, files: dict, secret: str) -> Verdict:
        """Run one test to its verdict, in a fork of its own."""
        if not test.asks_student:
            return run_test(test, Student(_nobody), files, secret)
        began = time.monotonic()
        begun = not self.budget.out and self.ready(seed_of(test.name, secret))

        def ask(request: bytes) -> bytes:
            if self.budget.out:
                raise StudentError(self.budget.why, "budget")
            if not begun:
                return _nobody(request)
            seconds = test.seconds or self.limits.call
            wasted = self.wasted[test.question]
            if wasted >= self.limits.question:
                text = f"the answers to {test.question} have used up their time"
                raise StudentError(text, "time")
            if wasted:
                seconds = min(seconds, max(1, round(self.limits.question - wasted)))
            try:
                with self.budget.charged(self.box):
                    return self.box.ask(request, **self.budget.bounds(seconds))
            except Ended as end:
                if self.budget.out:
                    raise StudentError(self.budget.why, "budget") from None
                if end.kind in SUSPECT:
                    self.note(f"{test.question}: {self.why(end.kind, seconds)}")
                raise StudentError(self.why(end.kind, seconds), end.kind) from None

        verdict = run_test(test, Student(ask), files, secret)
        if self.box.alive:
            with self.budget.charged(self.box):
                left = self.box.end()
            if left:
                text = "it left processes behind, which were ended"
                self.note(f"{test.question}: {text}")
        if not self.box.alive:
            self.load()  # at the cost of this question
            self.wasted[test.question] += time.monotonic() - began
        elif verdict.kind in ("time", "memory"):
            self.wasted[test.question] += time.monotonic() - began
        said = verdict.message.partition("\n")[0]
        if verdict.kind in SUSPECT:
            self.note(f"{test.question}: {said}")
        if verdict.kind == "budget":
            text = f"{said}, so not all of its tests could be run"
            self.note(f"{test.question}: {text}")
        return verdict

    def ready(self, seed: int) -> bool:
        """Have a fork for the next test, in a new session if the last one is gone."""
        for _ in range(2):
            if self.box.alive or self.load():
                try:
                    with self.budget.charged(self.box):
                        self.box.begin(seed)
                    return True
                except Ended:
                    continue
        return False


def _nobody(request: bytes) -> bytes:
    raise StudentError("the notebook cannot be run", "died")
