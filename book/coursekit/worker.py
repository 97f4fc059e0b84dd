"""Runs inside the sandbox: a keeper, a session forked from it, a fork for each test.

The keeper is the first process of the sandbox. It has imported torch, runs no code of
the student's, and cannot be killed, stopped or read from inside. The session runs the
notebook's cells, in threads that may start no process. Each test gets a fork of the
session, so that no test sees what another has done; it may start no process either.
The keeper passes messages on, watches time, memory and processes, and ends what goes
too far.

    grader --stdin--> keeper --control--> session --fork--> test --pair--> keeper

Messages from the grader are a JSON head and, after a zero byte, the bytes of a request.
"""

import ast
import contextlib
import ctypes
import json
import linecache
import os
import re
import resource
import select
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch

from coursekit.answers import Answers, own_state
from coursekit.codec import decode, encode
from coursekit.filters import forbid_processes
from coursekit.frames import Broken, Reader, send

TICK = 0.02  # seconds between two looks at memory and processes
PAGE = os.sysconf("SC_PAGE_SIZE")
SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SUBREAPER = 1, 4, 36  # prctl


def prctl(what: int, value: int) -> None:
    """Set an attribute of this process; see prctl(2)."""
    ctypes.CDLL(None).prctl(what, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


# --- what is running -----------------------------------------------------------------


def running() -> list[int]:
    """All processes of the sandbox but the keeper."""
    me = os.getpid()
    if me == 1:
        return [int(e) for e in os.listdir("/proc") if e.isdigit() and e != "1"]
    return below(me)


def below(root: int) -> list[int]:
    """The processes that descend from `root`, which need not be in a sandbox."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents[int(entry)] = int(parent)
    found, border = [], [root]
    while border:
        border = [pid for pid, parent in parents.items() if parent in border]
        found += border
    return found


def memory(pids: list[int], limit: int) -> int:
    """Bytes that processes hold, exact only above the limit.

    Resident memory counts a page of the keeper's again for every fork, so beyond the
    limit it is the proportional share that counts.
    """
    resident = shares = 0
    for pid in pids:
        try:
            held = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        except OSError:
            continue
        resident += held
    if resident <= limit:
        return resident
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except PermissionError:  # it hides, so all that it holds counts
            return resident
        except OSError:
            continue
        shares += 1024 * sum(int(x.split()[1]) for x in lines if x[:4] == "Pss:")
    return shares


def reap() -> None:
    """Take note of processes that have ended, the session's orphans too."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


# --- the session and the tests: the student's side ------------------------------------


def apart(function: Callable, **arguments) -> str:
    """Call in a thread that may start no process; this one still has to, for tests."""
    results = []

    def call() -> None:
        forbid_processes()
        results.append(function(**arguments))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return results[0] if results else "the thread ended"


def run_cell(source: str, number: int, names: dict) -> str:
    """Run a cell among `names`; what went wrong in it, or nothing."""
    file = f"<cell {number}>"
    try:
        source = plain_python(source)
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        exec(compile(source, file, "exec", dont_inherit=True), names)
    except BaseException as error:
        return Answers(names).describe(error)[:500]
    return ""


def plain_python(source: str) -> str:
    """A cell without its lines for the shell and for IPython, if it has any."""
    if source.lstrip().startswith("%%"):
        return ""
    try:
        ast.parse(source)
    except SyntaxError:
        return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)
    return source


def serve(sock: socket.socket, names: dict, seed: int) -> None:
    """Answer the requests of one test until its end."""
    answers, reader = Answers(names), Reader(sock)
    with own_state(seed):
        while request := reader.message():
            send(sock, answers.reply(request))


def session(control: socket.socket) -> None:
    """Run cells and fork for tests, as the keeper says; never returns."""
    names = new_names()
    reader = Reader(control)
    while True:
        order = json.loads(reader.message())
        if "source" in order:
            send(control, json.dumps(apart(run_cell, names=names, **order)).encode())
            continue
        _, (given,), _, _ = socket.recv_fds(control, 1, 1)
        child = os.fork()
        with socket.socket(fileno=given) as sock:
            if child == 0:
                control.close()
                try:
                    forbid_processes()
                    serve(sock, names, order["seed"])
                finally:
                    os._exit(0)
        os.waitpid(child, 0)
        send(control, b"null")


def new_names() -> dict:
    """An empty notebook; `check` does nothing here, since tests ask from outside."""
    stand_in = types.ModuleType("coursekit.checking")
    stand_in.check = lambda *args, **kwargs: None
    sys.modules["coursekit.checking"] = stand_in
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    main.display = lambda *args, **kwargs: None
    return main.__dict__


# --- the keeper -----------------------------------------------------------------------


class Keeper:
    """Forks sessions, passes messages on and keeps the limits.

    `limits` holds "memory" in bytes and "processes".
    """

    def __init__(self, channel: socket.socket, limits: dict):
        self.channel, self.limits = channel, limits
        self.control: socket.socket | None = None
        self.test: socket.socket | None = None
        self.session = 0

    def serve(self) -> None:
        """Answer the grader until it closes the channel."""
        reader = Reader(self.channel)
        send(self.channel, b"{}\0ready")
        while True:
            try:
                head, _, body = reader.message().partition(b"\0")
            except Broken:
                self.end_all()
                return
            order = json.loads(head)
            status, reply = getattr(self, "do_" + order.pop("do"))(body, **order)
            head = json.dumps({"status": status, "alive": self.session != 0})
            send(self.channel, head.encode() + b"\0" + reply)

    def do_start(self, body: bytes) -> tuple[str, bytes]:
        """End everything and fork a session without any cell."""
        self.end_all()
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            ours.close()
            self.channel.close()
            prctl(SET_DUMPABLE, 1)  # so that the keeper may see its memory
            prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
            silence()
            limit_memory(self.limits["memory"])
            try:
                session(theirs)
            finally:
                os._exit(1)
        theirs.close()
        self.control, self.session = ours, child
        return "ok", b""

    def do_cell(self, body: bytes, number: int, seconds: float) -> tuple[str, bytes]:
        """Run a cell in the session; the reply is what went wrong, as JSON."""
        try:
            order = {"source": body.decode(), "number": number}
            send(self.control, json.dumps(order).encode())
        except (Broken, AttributeError):
            self.end_all()
            return "died", b""
        status, reply = self.wait(self.control, seconds)
        if status != "ok":
            self.end_all()
        return status, reply

    def do_test(self, body: bytes, seed: int) -> tuple[str, bytes]:
        """Fork the session for a test."""
        self.test, theirs = socket.socketpair()
        try:
            with theirs:
                send(self.control, json.dumps({"seed": seed}).encode())
                socket.send_fds(self.control, [b"t"], [theirs.fileno()])
        except (Broken, OSError, AttributeError):
            self.end_all()
            return "died", b""
        return "ok", b""

    def do_ask(self, body: bytes, seconds: float) -> tuple[str, bytes]:
        """Pass a request on to the test's fork, which is ended if it goes too far."""
        try:
            send(self.test, body)
        except (Broken, AttributeError):
            return "died", b""
        status, reply = self.wait(self.test, seconds)
        if status != "ok":
            self.do_end()
        return status, reply

    def do_end(self, body: bytes = b"") -> tuple[str, bytes]:
        """End the test's fork and whatever it has started; the session stays.

        If the session does not say that it is ready again, it is ended too.
        """
        if self.test is None:
            return "ok", b""
        self.test.close()
        self.test = None
        others = first = self.others()
        deadline = time.monotonic() + 10
        while others and time.monotonic() < deadline:
            for pid in others:
                kill(pid)
            time.sleep(0.002)
            reap()
            others = self.others()
        if others or self.wait(self.control, 10)[0] != "ok":
            self.end_all()
        return ("left" if len(first) > 1 else "ok"), b""

    def others(self) -> list[int]:
        """The processes below the keeper, without the session."""
        return [pid for pid in running() if pid != self.session]

    def wait(self, sock: socket.socket, seconds: float) -> tuple[str, bytes]:
        """The next message, or why there is none: time, memory, processes, died."""
        now = time.monotonic()
        deadline, look, reader = now + seconds, now + TICK, Reader(sock)
        while True:
            ready = select.select([sock], [], [], TICK)[0]
            try:
                if ready and (message := reader.advance()) is not None:
                    return "ok", message
            except Broken:
                return "died", b""
            if (now := time.monotonic()) < look:
                continue
            look = now + TICK
            if now > deadline:
                return "time", b""
            reap()
            pids = running()
            if len(pids) > self.limits["processes"]:
                self.end_all()
                return "processes", b""
            if memory(pids, self.limits["memory"]) > self.limits["memory"]:
                return "memory", b""

    def end_all(self) -> None:
        """Kill everything below the keeper, the session too."""
        while pids := running():
            if os.getpid() == 1:
                kill(-1)  # all at once, so that nothing forks away
            else:
                for pid in pids:
                    kill(pid)
            reap()
            time.sleep(0.002)
        for sock in (self.control, self.test):
            if sock:
                sock.close()
        self.control, self.test, self.session = None, None, 0


def kill(pid: int) -> None:
    """Kill a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def limit_memory(more: int) -> None:
    """Let this process and its forks reserve only so many bytes more."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (held + more, held + more))


def silence() -> None:
    """Send what the student's code prints to nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)


def main() -> None:
    """Keep the limits given as JSON, for a grader at the socket on standard input."""
    limits = json.loads(sys.argv[1])
    channel = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process then ignores it
    prctl(SET_SUBREAPER, 1)
    prctl(SET_DUMPABLE, 0)  # nobody inside may read or write the keeper's memory
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file"], limits["file"]))
    torch.set_num_threads(1)
    decode(encode(torch.zeros(1)))  # what is used by all is loaded before the forks
    Keeper(channel, limits).serve()
    os._exit(0)  # taking torch down properly would take half a second


if __name__ == "__main__":
    main()
