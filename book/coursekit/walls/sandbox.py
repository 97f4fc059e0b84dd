"""The grader's end of a sandbox: what it may use, its orders, and whether it can be.

What a submission may use is held by the kernel: `walls.kernel` and `walls.inner` say
how. The keeper inside only sees to it that it is said what went wrong.
"""

import functools
import json
import os
import platform
import shutil
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from coursekit.walls import begin
from coursekit.walls.begin import NoSandbox, Way, by_itself, by_template
from coursekit.walls.files import FLAGS
from coursekit.walls.frames import IDLE, Reader, send
from coursekit.walls.kernel import group
from r1.text.confine import MACHINES

SLACK = 30.0  # seconds beyond a limit that a busy machine may need to say so
SHOWN = 2**28  # bytes of a file that a submission may see
KEPT = 2**28  # bytes beyond the limits that a sandbox may need for itself
WALLS = "bwrap"
UNSAFE = "unsafe"
MEANING = {
    WALLS: "bubblewrap: no network, read-only files, own processes, limits",
    UNSAFE: "limits only: submissions can read your files and use the network",
}


class Ended(Exception):
    """The sandbox has no answer; `kind` is time, memory, processes or died."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Seconds for each cell, for each call and for all failing calls of a question, where
    a busy machine is made allowance for; seconds of work and of waiting for all cells
    and calls together; bytes of memory, of a file, of all files; the number of
    processes and threads, the sandbox's own included.
    """

    cell: float = 20.0
    call: float = 10.0
    question: float = 15.0
    work: float = 120.0
    wait: float = 300.0
    memory: int = 2 * 2**30
    file: int = 32 * 2**20
    disk: int = 64 * 2**20
    processes: int = 32


@functools.cache
def tried() -> tuple[Way, str]:
    """How sandboxes are made here, and why they cannot be, with the remedy.

    One is made, and starts threads until the kernel refuses.
    """
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return by_itself, (
            "grading needs Linux on x86-64 or AArch64: use WSL, a container, a server"
        )
    if shutil.which("bwrap") is None:
        return by_itself, "bubblewrap is not installed: apt-get install bubblewrap"
    why = ""
    for way in (by_template, by_itself):
        limits = Limits()
        try:
            with _opened(way, limits, {}) as box:
                return way, refused(*box.tried(), limits.processes)
        except NoSandbox as error:
            why = why or f"bubblewrap cannot make a sandbox here: {error}"
    return by_itself, why


def missing() -> str:
    """Why there can be no walls here, with the remedy; empty if there can be."""
    return tried()[1]


def refused(started: int, hidden: str, limit: int) -> str:
    """What is wrong if so many threads could be started, and a file not be read."""
    if hidden:
        return f"submissions cannot read {hidden}: let all users read what Python needs"
    if started >= limit:
        return (
            f"the kernel does not hold a submission to {limit} processes and threads: "
            "grading needs Linux 5.14, or control groups for processes that you may "
            "write; and as root in a container, a user namespace with another user"
        )
    if started < limit - 1:
        return (
            f"a submission may start {started + 1} processes and threads here, and "
            f"{limit} are needed: raise `ulimit -u`, or the limit of the container"
        )
    return ""


class Sandbox:
    """The grader's end of one sandbox: start a session, run cells, ask in tests."""

    def __init__(self, limits: Limits, channel: socket.socket, keeper: int):
        self.limits, self.channel, self.keeper = limits, channel, keeper
        self.reader = Reader(channel)
        self.alive = False  # whether there is a session
        self.worked = 0.0  # seconds of work of all sessions so far

    def order(self, do: str, body: bytes = b"", wait: float = 0.0, **more):
        """Give an order and wait for its status and reply.

        Raises Broken where the sandbox itself is gone.
        """
        head = json.dumps({"do": do, **more}).encode()
        send(self.channel, head + b"\0" + body)
        self.channel.settimeout(IDLE * wait + SLACK)
        head, _, reply = self.reader.message().partition(b"\0")
        said = json.loads(head)
        self.alive, self.worked = said["alive"], said["worked"]
        return said["status"], reply

    def start(self) -> None:
        """A new session without any cell."""
        self.order("start")

    def cell(
        self,
        source: str,
        number: int,
        seconds: float | None = None,
        most: float | None = None,
    ) -> str:
        """Run a cell; what went wrong in it, or nothing.

        Raises Ended where that took the session along, also after `seconds` of work or
        `most` of waiting: those of the limits if they are not given.
        """
        order = self._limited(seconds or self.limits.cell, most)
        body = source.encode("utf-8", "replace")
        status, reply = self.order("cell", body, number=number, **order)
        if status != "ok":
            raise Ended(status)
        try:
            return str(json.loads(reply))[:500]
        except (ValueError, RecursionError):  # the cell has written it
            raise Ended("died") from None

    def begin(self, seed: int) -> None:
        """Fork the session for a test; raises Ended if there is none."""
        status, _ = self.order("test", seed=seed)
        if status != "ok":
            raise Ended(status)

    def _limited(self, seconds: float, most: float | None) -> dict[str, float]:
        most = IDLE * seconds if most is None else max(most, seconds)
        return {"seconds": seconds, "most": most, "wait": most / IDLE}

    def ask(self, request: bytes, seconds: float, most: float | None = None) -> bytes:
        """The reply to a request of a test; raises Ended if there is none."""
        status, reply = self.order("ask", request, **self._limited(seconds, most))
        if status != "ok":
            raise Ended(status)
        return reply

    def tried(self) -> tuple[int, str]:
        """How many threads can be started, and a file that cannot be read, if any."""
        started, hidden = json.loads(self.order("try")[1])
        return started, hidden

    def end(self) -> bool:
        """End a test and all its processes; whether it had started any."""
        return self.order("end", wait=15)[0] == "left"


@contextmanager
def opened(
    limits: Limits, files: Mapping[str, Path] | None = None, unsafe: bool = False
) -> Iterator[Sandbox]:
    """A sandbox with torch imported; nothing of it is left afterwards.

    `files` are shown inside, but for what is no regular file or larger than SHOWN.

    Raises NoSandbox where there can be none, or where its Python does not start.
    """
    if not unsafe and missing():
        raise NoSandbox(missing())
    way = begin.unsafe if unsafe else tried()[0]
    with _opened(way, limits, files or {}) as box:
        yield box


@contextmanager
def _opened(way: Way, limits: Limits, files: Mapping[str, Path]) -> Iterator[Sandbox]:
    with ExitStack() as stack:
        shown, size = {}, 0
        for name, path in files.items():
            with suppress(OSError):
                file = os.open(path, FLAGS)
                stack.callback(os.close, file)
                held = os.fstat(file)
                if stat.S_ISREG(held.st_mode) and held.st_size <= SHOWN:
                    shown[name] = file
                    size += held.st_size
        try:
            memory = limits.memory + limits.disk + size + KEPT
            held = stack.enter_context(group(limits.processes, memory))
            begun = begin.begun(way, asdict(limits), shown)
            channel, pid = stack.enter_context(begun)
            held.add(pid)
        except OSError as error:
            raise NoSandbox(f"the sandbox cannot be limited: {error}") from error
        yield Sandbox(limits, channel, pid)
