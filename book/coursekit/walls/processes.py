"""What processes there are, what they hold, and their end; for Linux."""

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SUBREAPER = 1, 4, 36  # prctl
# Places in /proc/PID/stat behind the name, see proc(5): parent, clock ticks of work of
# its own and of its children that have ended, bytes reserved, pages held.
PARENT, WORK, RESERVED, HELD = 1, slice(11, 15), 20, 21
TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def prctl(what: int, value: int) -> None:
    """Set an attribute of this process; see prctl(2)."""
    ctypes.CDLL(None).prctl(what, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


def stat(pid: int) -> list[int]:
    """Numbers about a process, none if it is gone.

    Read here, since psutil takes a hundred times as long and the keeper waits for it.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return [0, *map(int, text.rpartition(b") ")[2].split()[1:])]


def running() -> list[int]:
    """All processes of the sandbox but the keeper, those that have ended included."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    if os.getpid() == 1:
        return [pid for pid in pids if pid != 1]
    parents = {pid: said[PARENT] for pid in pids if (said := stat(pid))}
    found: set[int] = set()
    while (
        more := {p for p, of in parents.items() if of in found | {os.getpid()}} - found
    ):
        found |= more
    return sorted(found)


def memory(pids: list[int], limit: int) -> int:
    """Bytes that processes hold, exact only above the limit.

    Resident memory counts a page of the keeper's again for every fork, so beyond the
    limit it is the proportional share that counts.
    """
    resident = PAGE * sum(said[HELD] for said in map(stat, pids) if said)
    if resident <= limit:
        return resident
    shares = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except PermissionError:  # it hides, so all that it holds counts
            return resident
        except OSError:
            continue
        shares += 1024 * int(text.partition("\nPss:")[2].split()[0])
    return shares


def worked(pids: list[int]) -> float:
    """Seconds that processes have been at work, which waiting is not."""
    return sum(sum(said[WORK][:2]) for said in map(stat, pids) if said) / TICK


def spent() -> float:
    """Seconds of work of all processes of the sandbox, those that are gone included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = sum(sum(said[WORK]) for said in map(stat, running()) if said)
    return ended.ru_utime + ended.ru_stime + ticks / TICK


def reap() -> None:
    """Take note of processes that have ended, the session's orphans too."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def kill(pid: int, how: int = signal.SIGKILL) -> None:
    """Kill a process that may be gone already, or send it another signal."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def kill_first() -> None:
    """Let the kernel end this process first, and not the keeper, for want of memory."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")


def limit_memory(more: int) -> None:
    """Let this process and its forks reserve only so many bytes more."""
    most = stat(os.getpid())[RESERVED] + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
