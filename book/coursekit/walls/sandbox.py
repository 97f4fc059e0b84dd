"""A sandbox around `walls.worker`: bubblewrap's walls, and the grader's end.

Inside there is no network, no file of the machine but Python and this book's package
`r1`, all read-only, an empty folder of limited size, and no process but its own. System
calls that start processes, hold memory nobody counts, or open the kernel further are
refused.
"""

import functools
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from coursekit.walls.filters import kernel_rules, packed
from coursekit.walls.frames import IDLE, Broken, Reader, send
from r1.text.confine import MACHINES

KIT = Path(__file__).parent.parent
INSIDE = ("codec", "answers", "frames", "filters", "processes", "session", "worker")
INSIDE = ("__init__.py", "walls/__init__.py", *(f"walls/{name}.py" for name in INSIDE))
SLACK = 30.0  # seconds beyond a limit that a busy machine may need to say so
START = 300.0  # seconds that importing torch may take on a busy machine
WALLS = "bwrap"
UNSAFE = "unsafe"
MEANING = {
    WALLS: "bubblewrap: no network, read-only files, own processes, limits",
    UNSAFE: "limits only: submissions can read your files and use the network",
}


class NoSandbox(Exception):
    """No sandbox can be made here; the text says what to install."""


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
    processes.
    """

    cell: float = 20.0
    call: float = 10.0
    question: float = 60.0
    work: float = 120.0
    wait: float = 300.0
    memory: int = 2 * 2**30
    file: int = 32 * 2**20
    disk: int = 64 * 2**20
    processes: int = 32


def python_folders() -> list[Path]:
    """The folders that this Python and its packages need, outermost only."""
    places = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)}
    places |= {Path(p) for p in sys.path if Path(p).name.endswith("-packages")}
    places = {place.resolve() for place in places} | places
    return sorted(p for p in places if p.is_dir() and not p.is_relative_to("/usr"))


def command(limits: Limits, files: Mapping[str, Path], filter_fd: int) -> list[str]:
    """The bubblewrap command; `files` are shown by name in the working folder."""
    call = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session"]
    call += ["--as-pid-1", "--cap-drop", "ALL", "--clearenv", "--hostname", "sandbox"]
    for place in ("/usr", "/bin", "/lib", "/lib64"):
        if Path(place).is_symlink():
            call += ["--symlink", os.readlink(place), place]
        elif Path(place).exists():
            call += ["--ro-bind", place, place]
    call += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    call += ["--proc", "/proc", "--dev", "/dev", "--size", str(limits.disk)]
    call += ["--tmpfs", "/tmp"]  # before what is bound, which may lie below /tmp
    for place in python_folders():
        call += ["--ro-bind", str(place), str(place)]
    for name in INSIDE:
        call += ["--ro-bind", str(KIT / name), f"/kit/coursekit/{name}"]
    for shared in ("r1", "data"):
        call += ["--ro-bind-try", str(KIT.parent / shared), f"/kit/{shared}"]
    call += ["--size", str(limits.disk), "--tmpfs", "/box"]
    for name, path in sorted(files.items()):
        call += ["--ro-bind", str(path.absolute()), f"/box/{name}"]
    # The root that bubblewrap makes is memory without a limit until it is read-only.
    call += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/box"]
    for name, value in environment("/kit", "/box").items():
        call += ["--setenv", name, value]
    return [*call, "--seccomp", str(filter_fd), *worker(limits)]


def worker(limits: Limits) -> list[str]:
    """The command inside, with or without walls."""
    call = [sys.executable, "-u", "-B", "-m", "coursekit.walls.worker"]
    return [*call, json.dumps(asdict(limits))]


def environment(kit: str, home: str) -> dict[str, str]:
    """All that the sandbox knows of environment variables."""
    fixed = {"PYTHONPATH": kit, "HOME": home, "TMPDIR": home, "PATH": "/usr/bin:/bin"}
    fixed |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    fixed |= {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "MPLBACKEND": "Agg"}
    return fixed | {"USER": "student", "MPLCONFIGDIR": home, "PYTHONWARNINGS": "ignore"}


@functools.cache
def missing() -> str:
    """Why there can be no walls here, with the remedy; empty if there can be."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return (
            "grading needs Linux on x86-64 or AArch64: use WSL, a container, a server"
        )
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed: apt-get install bubblewrap"
    tried = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"bubblewrap cannot make a sandbox here: {done.stderr.strip()}"
    return ""


class Sandbox:
    """The grader's end of one sandbox: start a session, run cells, ask in tests."""

    def __init__(self, limits: Limits, channel: socket.socket, process):
        self.limits, self.channel, self.process = limits, channel, process
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

    def end(self) -> bool:
        """End a test and all its processes; whether it had started any."""
        return self.order("end", wait=15)[0] == "left"


@contextmanager
def opened(
    limits: Limits, files: Mapping[str, Path] | None = None, unsafe: bool = False
) -> Iterator[Sandbox]:
    """A sandbox with torch imported; nothing of it is left afterwards.

    Raises NoSandbox where there can be none, or where its Python does not start.
    """
    if not unsafe and missing():
        raise NoSandbox(missing())
    ours, theirs = socket.socketpair()
    folder = tempfile.TemporaryDirectory(prefix="coursekit_") if unsafe else None
    with (
        folder or nullcontext("/") as home,
        tempfile.TemporaryFile() as errors,
        ours,
    ):
        with theirs:
            if unsafe:
                start = worker(limits), environment(str(KIT.parent), home)
                process = _start(*start, theirs, errors, home)
            else:
                process = _confined(limits, files or {}, theirs, errors, home)
        box = Sandbox(limits, ours, process)
        try:
            ours.settimeout(START)
            box.reader.message()
            yield box
        except Broken as error:
            errors.seek(0)
            said = errors.read()[-2000:].decode("utf-8", "replace").strip()
            raise NoSandbox(f"the sandbox is gone: {error}\n{said}") from error
        finally:
            ours.close()
            _stop(process)


def _confined(limits, files, channel, errors, home) -> subprocess.Popen:
    with tempfile.TemporaryFile() as rules:
        rules.write(packed(kernel_rules(platform.machine())))
        rules.seek(0)
        call = command(limits, files, rules.fileno())
        env = {"PATH": os.environ.get("PATH", os.defpath)}
        return _start(call, env, channel, errors, home, [rules.fileno()])


def _start(call, env, channel, errors, place, kept=()) -> subprocess.Popen:
    return subprocess.Popen(
        call,
        stdin=channel,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=env,
        cwd=place,
        pass_fds=kept,
        start_new_session=True,
    )


def _stop(process: subprocess.Popen) -> None:
    """Wait for the keeper, which has lost its grader, to end all; else kill it."""
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
