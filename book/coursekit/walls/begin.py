"""A keeper of its own for each submission, and the socket to it.

It is forked from a template, which has imported torch for all of them; where a machine
does not allow that, bubblewrap is started for each. Without walls it is a process.
"""

import atexit
import contextlib
import functools
import json
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from coursekit.walls import bubble
from coursekit.walls.filters import kernel_rules, packed
from coursekit.walls.frames import Broken, Reader

START = 300.0  # seconds that importing torch may take on a busy machine
END = 5.0  # seconds that a keeper has to end, once its grader has closed
WHO = struct.Struct("3i")  # process, user and group of a sender, see unix(7)
Files = Mapping[str, int]  # open files by name
Way = Callable[[dict, Files, socket.socket], contextlib.AbstractContextManager[IO]]


class NoSandbox(Exception):
    """No sandbox can be made here; the text says what to install."""


@contextmanager
def begun(way: Way, limits: dict, files: Files) -> Iterator[tuple[socket.socket, int]]:
    """A socket to a new keeper, and its process; its end, and that of all below it.

    Raises NoSandbox, with what Python said, where it does not start or is gone.
    """
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    with ours, theirs, way(limits, files, theirs) as errors:
        theirs.close()
        try:
            pid = _hello(ours)
            with _ended(pid, ours):
                yield ours, pid
        except Broken as error:
            raise NoSandbox(f"the sandbox is gone: {error}\n{said(errors)}") from error
        finally:
            ours.close()


def said(errors: IO) -> str:
    """The last that was written to a file that others write to."""
    size = os.fstat(errors.fileno()).st_size
    last = os.pread(errors.fileno(), 2000, max(0, size - 2000))
    return last.decode("utf-8", "replace").strip()


def _hello(channel: socket.socket) -> int:
    """Wait for a keeper's first message; its process, as this one numbers them."""
    channel.settimeout(START)
    try:
        first, extra, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(WHO.size))
    except OSError as error:
        raise Broken(f"receiving failed: {error}") from error
    reader = Reader(channel)
    reader.held += first
    if failed := json.loads(reader.message().partition(b"\0")[0]).get("failed"):
        raise Broken(failed)
    who = (data for _, kind, data in extra if kind == socket.SCM_CREDENTIALS)
    return WHO.unpack(next(who))[0]


@contextmanager
def _ended(pid: int, channel: socket.socket) -> Iterator[None]:
    """Wait for a keeper, which has lost its grader, to end all; else kill it."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise Broken("it has ended") from error
    try:
        yield
    finally:
        channel.close()
        if not select.select([process], [], [], END)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], END)
        os.close(process)


class Template:
    """Bubblewrap around a process that has imported torch, and forks for each order."""

    def __init__(self):
        kind = socket.SOCK_SEQPACKET
        self.orders, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs, _user_space() as space:
            call = bubble.template(space)
            self.process = _start(call, theirs, self.errors, kept=[space])
        self.orders.settimeout(START)
        atexit.register(self.close)
        if self.orders.recv(len(b"ready")) != b"ready":
            raise NoSandbox(f"bubblewrap cannot make a sandbox: {said(self.errors)}")

    def close(self) -> None:
        """End it; what it has forked ends with it."""
        self.orders.close()
        with contextlib.suppress(ChildProcessError):
            _stop(self.process)
        self.errors.close()


@functools.cache
def template() -> Template:
    """The one of this process and of those that it forks."""
    return Template()


@contextmanager
def by_template(limits: dict, files: Files, channel: socket.socket) -> Iterator[IO]:
    """A fork of the template, which is made anew if it is gone."""
    order = json.dumps({"limits": limits, "files": list(files)}).encode()
    given = [channel.fileno(), *files.values()]
    used = template()
    try:
        socket.send_fds(used.orders, [order], given)
    except OSError:
        template.cache_clear()
        used = template()
        socket.send_fds(used.orders, [order], given)
    try:
        yield used.errors
    except NoSandbox:
        if select.select([used.orders], [], [], 0)[0]:  # closed: it is gone
            template.cache_clear()
        raise


@contextmanager
def by_itself(limits: dict, files: Files, channel: socket.socket) -> Iterator[IO]:
    """Bubblewrap for one submission."""
    with (
        tempfile.TemporaryFile() as errors,
        tempfile.TemporaryFile() as rules,
        _user_space() as space,
    ):
        rules.write(packed(kernel_rules(platform.machine())))
        rules.seek(0)
        kept = [rules.fileno(), space]
        call = bubble.alone(limits, files, rules.fileno(), space)
        process = _start(call, channel, errors, kept=kept)
        try:
            yield errors
        finally:
            _stop(process)


@contextmanager
def unsafe(limits: dict, files: Files, channel: socket.socket) -> Iterator[IO]:
    """A process without walls, in an empty folder."""
    with (
        tempfile.TemporaryFile() as errors,
        tempfile.TemporaryDirectory(prefix="coursekit_") as home,
    ):
        env = bubble.environment(str(bubble.KIT.parent), home)
        call = bubble.worker(limits, walls=False)
        process = _start(call, channel, errors, home, env)
        try:
            yield errors
        finally:
            _stop(process)


@contextmanager
def _user_space() -> Iterator[int | None]:
    space = bubble.user_space()
    try:
        yield space
    finally:
        if space is not None:
            os.close(space)


def _start(call, stdin, errors, place="/", env=None, kept=()) -> subprocess.Popen:
    return subprocess.Popen(
        call,
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=env or {"PATH": os.environ.get("PATH", os.defpath)},
        cwd=place,
        pass_fds=[file for file in kept if file is not None],
        start_new_session=True,
    )


def _stop(process: subprocess.Popen) -> None:
    try:
        process.wait(END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
