"""What processes there are, what they hold, and their end; for Linux."""

import contextlib
import ctypes
import os
import resource
import signal

import psutil

GONE = (psutil.NoSuchProcess, OSError)
SET_DEATH_SIGNAL, SET_DUMPABLE, SET_SUBREAPER = 1, 4, 36  # prctl


def prctl(what: int, value: int) -> None:
    """Set an attribute of this process; see prctl(2)."""
    ctypes.CDLL(None).prctl(what, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3)


def running() -> list[int]:
    """All processes of the sandbox but the keeper, those that have ended included."""
    if os.getpid() == 1:
        return [pid for pid in psutil.pids() if pid != 1]
    return [child.pid for child in psutil.Process().children(recursive=True)]


def memory(pids: list[int], limit: int) -> int:
    """Bytes that processes hold, exact only above the limit.

    Resident memory counts a page of the keeper's again for every fork, so beyond the
    limit it is the proportional share that counts.
    """
    resident = shares = 0
    processes = list(_alive(pids))
    for process in processes:
        with contextlib.suppress(*GONE):
            resident += process.memory_info().rss
    if resident <= limit:
        return resident
    for process in processes:
        try:
            shares += process.memory_full_info().pss
        except GONE:
            continue
        except psutil.AccessDenied:  # it hides, so all that it holds counts
            return resident
    return shares


def worked(pids: list[int]) -> float:
    """Seconds that processes have been at work, which waiting is not."""
    seconds = 0.0
    for process in _alive(pids):
        with contextlib.suppress(*GONE):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def spent() -> float:
    """Seconds of work of all processes of the sandbox, those that are gone included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime
    for process in _alive(running()):
        with contextlib.suppress(*GONE):
            seconds += sum(process.cpu_times()[:4])  # its own, its ended children's
    return seconds


def _alive(pids: list[int]):
    for pid in pids:
        with contextlib.suppress(*GONE):
            yield psutil.Process(pid)


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
    most = psutil.Process().memory_info().vms + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
