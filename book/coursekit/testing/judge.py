"""A notebook is judged: its cells are run in a sandbox, the tests ask from here."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from coursekit.testing.student import Student, StudentError
from coursekit.testing.suite import Test, Verdict, run_test, seed_of
from coursekit.walls.sandbox import Ended, Sandbox

LEFT_OUT = 6  # cells that may take the session along; then there is no session
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
        self.left_out: dict[int, str] = {}  # cells that took the session along
        self.wrong: dict[int, str] = {}  # cells that raised
        self.notes: list[str] = []
        self.wasted: dict[str, float] = defaultdict(float)  # seconds, by question

    def load(self) -> bool:
        """Run all cells in a new session; a cell that kills it is left out."""
        while len(self.left_out) <= LEFT_OUT:
            self.box.start()
            self.wrong = {}
            try:
                for number, source in self.cells.items():
                    if number in self.left_out:
                        continue
                    if wrong := self.box.cell(source, number):
                        self.wrong[number] = wrong
                return True
            except Ended as end:
                self.left_out[number] = end.kind
                self.note(f"code cell {number} was left out: {self.why(end.kind)}")
        return False

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

        def ask(request: bytes) -> bytes:
            if self.wasted[test.question] > self.limits.question:
                text = f"the answers to {test.question} have used up their time"
                raise StudentError(text, "time")
            seconds = test.seconds or self.limits.call
            try:
                return self.box.ask(request, seconds)
            except Ended as end:
                if end.kind in SUSPECT:
                    self.note(f"{test.question}: {self.why(end.kind, seconds)}")
                raise StudentError(self.why(end.kind, seconds), end.kind) from None

        if not self.ready(seed_of(test.name, secret)):
            ask = _nobody
        verdict = run_test(test, Student(ask), files, secret)
        if self.box.alive and self.box.end():
            self.note(f"{test.question}: it left processes behind, which were ended")
        if not self.box.alive:
            self.load()  # at the cost of this question
            self.wasted[test.question] += time.monotonic() - began
        elif verdict.kind in ("time", "memory"):
            self.wasted[test.question] += time.monotonic() - began
        if verdict.kind in SUSPECT:
            self.note(f"{test.question}: {verdict.message}")
        return verdict

    def ready(self, seed: int) -> bool:
        """Have a fork for the next test, in a new session if the last one is gone."""
        for _ in range(2):
            if self.box.alive or self.load():
                try:
                    self.box.begin(seed)
                    return True
                except Ended:
                    continue
        return False


def _nobody(request: bytes) -> bytes:
    raise StudentError("the notebook cannot be run", "died")
