"""The seconds that all cells and calls of one submission share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from coursekit.walls.frames import IDLE
from coursekit.walls.sandbox import Sandbox

LEAST = 0.1  # seconds


def spoken(seconds: float) -> str:
    """Seconds in words: "2 minutes", "90 seconds"."""
    number, unit = (seconds, "second") if seconds % 60 else (seconds / 60, "minute")
    return f"{number:g} {unit}" + ("" if number == 1 else "s")


@dataclass
class Budget:
    """Seconds of work and of waiting that a submission has, and has used.

    Work is what processors have done for it, as the sandbox's keeper counts it.
    Waiting is all other time that an order to the sandbox has taken: a sleep, or a
    processor that others had.
    """

    work: float
    wait: float
    worked: float = 0.0
    waited: float = 0.0

    @contextmanager
    def charged(self, box: Sandbox) -> Iterator[None]:
        """Count what the orders to a sandbox take."""
        began, before = time.monotonic(), box.worked
        try:
            yield
        finally:
            worked = box.worked - before
            self.worked += worked
            self.waited += max(0.0, time.monotonic() - began - worked)

    @property
    def used(self) -> float:
        """The share that is used up, of work or of waiting, whichever is more."""
        return max(self.worked / self.work, self.waited / self.wait)

    @property
    def out(self) -> bool:
        """Whether there is nothing left that would be worth beginning anything."""
        return min(self.work - self.worked, self.wait - self.waited) < LEAST

    def bounds(self, seconds: float) -> dict[str, float]:
        """A limit of work on one order, and of waiting, within what is left of both."""
        return {
            "seconds": min(seconds, self.work - self.worked),
            "most": min(IDLE * seconds, self.wait - self.waited + seconds),
        }

    @property
    def why(self) -> str:
        """What is used up, for students."""
        wait = self.waited / self.wait > self.worked / self.work
        what, most = ("waiting", self.wait) if wait else ("work", self.work)
        return f"the {spoken(most)} of {what} for all cells and calls are used up"
