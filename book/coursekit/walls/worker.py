"""A keeper inside the sandbox, a session forked from it, a fork of that for each test.

The keeper is the first process of the sandbox. It has imported torch, runs no code of
the student's, and cannot be killed, stopped or read from inside. The session runs the
notebook's cells, in threads that may start no process. Each test gets a fork of the
session, so that no test sees what another has done; it may start no process either.
For each of them the kernel asks the keeper, who lets nothing else start. The keeper
passes messages on, watches time, memory and processes, and ends what goes too far; the
kernel holds what it might see too late.

    grader --stdin--> keeper --control--> session --fork--> test --pair--> keeper

Messages from the grader are a JSON head and, after a zero byte, the bytes of a request.
"""

import json
import math
import os
import resource
import select
import signal
import socket
import sys
import threading
import time

from coursekit.walls import inner
from coursekit.walls.frames import IDLE, Broken, Reader, send
from coursekit.walls.permits import Permits, ask_first
from coursekit.walls.processes import (
    SET_DEATH_SIGNAL,
    SET_DUMPABLE,
    SET_SUBREAPER,
    kill,
    kill_first,
    limit_memory,
    memory,
    prctl,
    reap,
    running,
    spent,
    worked,
)
from coursekit.walls.session import session, silence

PATIENCE = 10.0  # seconds for the other side to take a message, or to be ready again
# Files open at once. The kernel also counts files on their way through sockets, for all
# processes of a user, and refuses who has the lower limit: so the keeper has a higher.
OPEN = 256
TICK = 0.02  # seconds between two looks at memory and processes


class Keeper:
    """Forks sessions, passes messages on and keeps the limits.

    `limits` are those of `walls.sandbox`, by name.
    """

    def __init__(self, channel: socket.socket, limits: dict):
        self.channel, self.limits = channel, limits
        self.control: socket.socket | None = None
        self.test: socket.socket | None = None
        self.session = 0
        self.permits: Permits | None = None

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
            head = {"status": status, "alive": self.session != 0, "worked": spent()}
            send(self.channel, json.dumps(head).encode() + b"\0" + reply)

    def do_start(self, body: bytes) -> tuple[str, bytes]:
        """End everything and fork a session without any cell."""
        self.end_all()
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            try:
                ours.close()
                self.channel.close()
                self.shut_in(theirs)
                session(theirs)
            finally:
                os._exit(1)
        theirs.close()
        ours.settimeout(PATIENCE)
        self.control, self.session = ours, child
        _, listener, _, _ = socket.recv_fds(ours, 1, 1)
        self.permits = Permits(listener[0]) if listener else None
        return "ok", b""

    def shut_in(self, control: socket.socket) -> None:
        """What holds the session, done by itself before any line of the student's."""
        prctl(SET_DUMPABLE, 1)  # so that the keeper may see its memory
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        silence()
        kill_first()
        limit_memory(self.limits["memory"])
        seconds = math.ceil(self.limits["work"]) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        listener = ask_first()
        if listener is None:
            control.send(b"-")
        else:
            socket.send_fds(control, [b"+"], [listener])
            os.close(listener)
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN, OPEN))

    def do_cell(
        self, body: bytes, number: int, seconds: float, most: float
    ) -> tuple[str, bytes]:
        """Run a cell in the session; the reply is what went wrong, as JSON."""
        try:
            order = {"source": body.decode(), "number": number}
            send(self.control, json.dumps(order).encode())
        except (Broken, AttributeError):
            self.end_all()
            return "died", b""
        status, reply = self.wait(self.control, seconds, most)
        if status != "ok":
            self.end_all()
        return status, reply

    def do_test(self, body: bytes, seed: int) -> tuple[str, bytes]:
        """Fork the session for a test."""
        self.test, theirs = socket.socketpair()
        self.test.settimeout(PATIENCE)
        try:
            with theirs:
                send(self.control, json.dumps({"seed": seed}).encode())
                socket.send_fds(self.control, [b"t"], [theirs.fileno()])
            if self.permits and not self.permits.grant(self.session, PATIENCE):
                raise Broken("the session has not forked")
        except (Broken, OSError, AttributeError):
            self.end_all()
            return "died", b""
        return "ok", b""

    def do_ask(self, body: bytes, seconds: float, most: float) -> tuple[str, bytes]:
        """Pass a request on to the test's fork, which is ended if it goes too far."""
        try:
            send(self.test, body)
        except (Broken, AttributeError):
            self.do_end()
            return "died", b""
        status, reply = self.wait(self.test, seconds, most)
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
        kill(self.session, signal.SIGCONT)  # somebody may have stopped it
        others = first = self.others()
        deadline = time.monotonic() + PATIENCE
        while others and time.monotonic() < deadline:
            for pid in others:
                kill(pid)
            # the session says that its fork is gone; what that has started may be left
            select.select([self.control], [], [], 0.002)
            reap()
            others = self.others()
        if others or self.wait(self.control, PATIENCE, IDLE * PATIENCE)[0] != "ok":
            self.end_all()
        return ("left" if len(first) > 1 else "ok"), b""

    def others(self) -> list[int]:
        """The processes below the keeper, without the session."""
        return [pid for pid in running() if pid != self.session]

    def wait(
        self, sock: socket.socket, seconds: float, most: float
    ) -> tuple[str, bytes]:
        """The next message, or why there is none: time, memory, processes, died.

        Time is up after these seconds if at least half of them were work; on a busy
        machine, and for who only waits, after `most`.
        """
        now = time.monotonic()
        began, look, reader = now, now + TICK, Reader(sock)
        before = worked(running())
        ends = select.poll()
        for end in filter(None, (sock, self.permits)):
            ends.register(end, select.POLLIN)
        while True:
            ready = dict(ends.poll(1000 * TICK))
            if self.permits and ready.get(self.permits.fileno(), 0) & select.POLLIN:
                self.permits.answer()
            try:
                if sock.fileno() in ready and (message := reader.advance()) is not None:
                    return "ok", message
            except Broken:
                return "died", b""
            if (now := time.monotonic()) < look:
                continue
            look = now + TICK
            reap()
            pids = running()
            if now - began > seconds and (
                now - began > most or worked(pids) - before > seconds / 2
            ):
                return "time", b""
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
        for end in (self.control, self.test, self.permits):
            if end:
                end.close()
        self.control, self.test, self.session, self.permits = None, None, 0, None

    def do_try(self, body: bytes) -> tuple[str, bytes]:
        """How many threads can be started, and a file that cannot be read any more.

        At most one thread more than the limit; the kernel counts processes alike.
        """
        end, started = threading.Event(), []
        try:
            for _ in range(self.limits["processes"] + 1):
                thread = threading.Thread(target=end.wait)
                thread.start()
                started.append(thread)
        except RuntimeError:
            pass
        end.set()
        for thread in started:
            thread.join()
        files = [getattr(m, "__file__", "") or "" for m in list(sys.modules.values())]
        hidden = (f for f in files if f[:1] == "/" and not os.access(f, os.R_OK))
        return "ok", json.dumps([len(started), next(hidden, "")]).encode()


def keep(channel: socket.socket, limits: dict, apart: bool) -> None:
    """Keep limits for a grader at a socket; `apart` if in a sandbox. Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the first process then ignores it
    prctl(SET_SUBREAPER, 1)
    prctl(SET_DUMPABLE, 0)  # nobody inside may read or write the keeper's memory
    inner.limit(limits, apart)
    Keeper(channel, limits).serve()
    os._exit(0)  # taking torch down properly would take half a second
