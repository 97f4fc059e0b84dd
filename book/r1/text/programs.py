"""Programs as answers: run in a process of their own, judged by what they print.

It withstands accidents: endless loops, too much memory or output, processes and
threads, network, signals to others, and any writing, deleting or renaming of files are
refused by limits and a filter of system calls, without privileges, on Linux. It is no
boundary against an attacker: a program can read what its user can read, and it talks
to the same kernel. Programs of strangers belong in a container or a virtual machine.
"""

import functools
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import NamedTuple

from r1.text import confine


@dataclass(frozen=True)
class Limits:
    """What a run may use: seconds of CPU and of the clock, bytes, open files.

    `output` holds for stdout and stderr each, `source` for the program itself.
    """

    cpu: int = 2
    wall: float = 10.0
    memory: int = 256 * 2**20
    output: int = 2**16
    files: int = 32
    source: int = 2**16


class Result(NamedTuple):
    """How a run ended: "ok", "error", "time", "output" or "source", and what it said.

    `message` is the last line of stderr, or the signal that ended it.
    """

    status: str
    stdout: str
    message: str


DEFAULTS = Limits()


@contextmanager
def _started(folder: Path, limits: Limits) -> Iterator[subprocess.Popen]:
    """The process of a program; killed with its group on the way out."""
    (folder / "empty").mkdir()
    limits_of_process = {
        k: getattr(limits, k) for k in ("cpu", "memory", "output", "files")
    }
    # isolated from the user's settings, without site-packages, and writing no .pyc
    command = [sys.executable, "-I", "-S", "-B", confine.__file__]
    command += [str(folder / "program.py"), dumps(limits_of_process)]
    with (
        (folder / "stdin").open("rb") as stdin,
        (folder / "stdout").open("wb") as stdout,
        (folder / "stderr").open("wb") as stderr,
        subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=folder / "empty",
            env={},
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                # start_new_session made the process the leader of a group of its own,
                # so its children are killed with it.
                os.killpg(process.pid, signal.SIGKILL)


def _run(source: str, stdin: str, limits: Limits) -> Result:
    if len(source) > limits.source:
        return Result("source", "", f"{len(source)} characters")
    with tempfile.TemporaryDirectory(prefix="r1_program_") as name:
        folder = Path(name)
        for file, text in (("program.py", source), ("stdin", stdin)):
            (folder / file).write_bytes(text.encode("utf-8", "replace"))
        with _started(folder, limits) as process:
            try:
                code = process.wait(limits.wall)
            except subprocess.TimeoutExpired:
                code = None
        out, err = ((folder / f).read_bytes() for f in ("stdout", "stderr"))
    message = err.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
    # RLIMIT_FSIZE stops a file at exactly this size.
    if len(out) >= limits.output or len(err) >= limits.output:
        status = "output"
    # A negative code is the signal that ended it. The kernel sends SIGXCPU at the soft
    # limit of CPU time and SIGKILL at the hard one.
    elif code in (None, -signal.SIGKILL, -signal.SIGXCPU):
        status = "time"
    else:
        status = "error" if code else "ok"
        message = signal.Signals(-code).name if code < 0 else message
    return Result(status, out.decode("utf-8", "replace"), message)


@functools.cache
def available() -> bool:
    """Whether programs can be run here: on Linux, where the kernel takes the filter."""
    if sys.platform != "linux" or platform.machine() not in confine.MACHINES:
        return False
    return _run("print(1)", "", DEFAULTS) == ("ok", "1\n", "")


def run_program(source: str, stdin: str = "", limits: Limits = DEFAULTS) -> Result:
    """Run Python source on `stdin` in a process of its own; it never raises for it.

    The process has an empty folder, an empty environment, no site-packages, and what
    `confine` leaves of system calls. What it withstands, and what it does not, is said
    at the top of this module.

    Raises OSError where `available` is false.
    """
    if not available():
        raise OSError("programs are run on Linux only, with its filter of system calls")
    return _run(source, stdin, limits)


@dataclass(frozen=True)
class ProgramTask:
    """A program to write; `cases` are inputs and the outputs that they must give."""

    prompt: str
    gold: str
    cases: tuple[tuple[str, str], ...]

    def check(self, answer: str) -> bool:
        """Whether the program prints what it should in every case, spaces aside."""
        for stdin, expected in self.cases:
            result = run_program(answer, stdin)
            if result.status != "ok" or result.stdout.split() != expected.split():
                return False
        return True


# What to print of the numbers x: in words, as a program's expression, as our function.
TASKS = (
    ("their sum", "sum(x)", sum),
    ("the largest", "max(x)", max),
    ("the smallest", "min(x)", min),
    (
        "how many of them are even",
        "sum(n % 2 == 0 for n in x)",
        lambda x: len([n for n in x if n % 2 == 0]),
    ),
    (
        "the difference between the largest and the smallest",
        "max(x) - min(x)",
        lambda x: sorted(x)[-1] - sorted(x)[0],
    ),
    (
        "the sum of their squares",
        "sum(n * n for n in x)",
        lambda x: sum(abs(n) ** 2 for n in x),
    ),
)


def random_program_task(rng: random.Random, cases: int = 3) -> ProgramTask:
    """Draw a task about a line of whole numbers, with cases that it does not show."""
    words, expression, function = rng.choice(TASKS)
    pairs = []
    for _ in range(cases):
        x = [rng.randint(-99, 99) for _ in range(rng.randint(3, 8))]
        pairs.append((" ".join(map(str, x)) + "\n", f"{function(x)}\n"))
    return ProgramTask(
        f"Read one line of whole numbers and print {words}.",
        f"x = [int(word) for word in input().split()]\nprint({expression})\n",
        tuple(pairs),
    )
