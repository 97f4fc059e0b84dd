"""What processes there are, what they hold, and their end; for Linux."""

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")  # in a second, of the clock that counts work
SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SUBREAPER = 1, 4, 36  # prctl


def prctl(what: int, value: int) -> None:
    """Set an attribute of this process; see prctl(2)."""
    ctypes.CDLL(None).prctl(what, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


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


def worked(pids: list[int]) -> float:
    """Seconds that processes have been at work, which waiting is not."""
    ticks = 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        ticks += sum(int(field) for field in stat.rpartition(")")[2].split()[11:13])
    return ticks / TICKS


def reap() -> None:
    """Take note of processes that have ended, the session's orphans too."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def kill(pid: int, how: int = signal.SIGKILL) -> None:
    """Kill a process that may be gone already, or send it another signal."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def limit_memory(more: int) -> None:
    """Let this process and its forks reserve only so many bytes more."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (held + more, held + more))
