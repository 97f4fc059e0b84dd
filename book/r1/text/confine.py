"""Run as a script: give up what a small program does not need, then run it.

`r1.text.programs` starts it in a process of its own; nothing here is for the caller's.
"""

import ctypes
import json
import platform
import signal
import sys
from pathlib import Path

# System calls that remain, by name, with their numbers on x86-64 and on AArch64.
CALLS = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "lseek": (8, 62),
    "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291),
    "faccessat": (269, 48), "readlinkat": (267, 78), "getdents64": (217, 61),
    "pread64": (17, 67), "fcntl": (72, 25), "dup": (32, 23), "getcwd": (79, 17),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "mremap": (25, 216), "madvise": (28, 233), "futex": (202, 98),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "sched_yield": (24, 124), "getrandom": (318, 278),
    "sched_getaffinity": (204, 123), "restart_syscall": (219, 128),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_getres": (229, 114),
    "clock_gettime": (228, 113), "gettimeofday": (96, 169), "times": (100, 153),
    "getrusage": (98, 165), "getpid": (39, 172), "gettid": (186, 178),
    "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "uname": (63, 160),
    "sysinfo": (99, 179), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
X86_ONLY = (21, 4, 6, 89)  # access, stat, lstat, readlink
OPENAT, IOCTL = (257, 56), (16, 29)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
WRITING = 0o1103  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
IS_TERMINAL = 0x5401  # TCGETS
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refuse: EPERM
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16  # offsets; an argument has 8 bytes


def filter_rules(machine: str) -> list[tuple[int, int, int, int]]:
    """The kernel's filter as instructions (code, jump if true, if false, operand).

    A call of the list passes, `openat` if it does not write, `ioctl` if it asks
    whether a file is a terminal; every other call fails with EPERM.

    Raises KeyError for a machine that is not in MACHINES.
    """
    column, architecture = MACHINES[machine]
    numbers = [call[column] for call in CALLS.values()]
    # Numbers of system calls mean other calls on other architectures (32-bit calls on
    # x86-64), so the architecture is checked first.
    rules = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture)]
    rules += [(RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    for number in (*numbers, *(X86_ONLY if column == 0 else ())):
        # Jumps count the instructions to skip: another number skips ALLOW.
        rules += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    for call, argument, test in (
        (OPENAT, 2, (ANY_BIT, 0, 1, WRITING)),
        (IOCTL, 1, (EQUAL, 1, 0, IS_TERMINAL)),
    ):
        # If it is another call, skip the four instructions that look at its argument.
        # ARGUMENT reads the lower half of the 8 bytes, which holds all the flags.
        rules += [(EQUAL, 0, 4, call[column]), (LOAD, 0, 0, ARGUMENT + 8 * argument)]
        rules += [test, (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    # What is not listed fails: a list of forbidden calls would miss new ones.
    return [*rules, (RETURN, 0, 0, REFUSE)]


class _Rule(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("operand", ctypes.c_uint),
    )


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("rules", ctypes.POINTER(_Rule)))


def install_filter(rules: list[tuple[int, int, int, int]] | None = None) -> None:
    """Leave this thread only the system calls of the list; there is no way back.

    Threads and processes that it starts later inherit it. Other rules can be given.

    Raises OSError where the kernel refuses.
    Source: seccomp(2) and prctl(2) of the Linux manual.
    """
    rules = [_Rule(*rule) for rule in rules or filter_rules(platform.machine())]
    program = _Filter(len(rules), (_Rule * len(rules))(*rules))
    libc = ctypes.CDLL(None, use_errno=True)
    die_with_parent, no_new_privileges, set_filter, by_rules = 1, 38, 22, 2
    word = ctypes.c_ulong  # what the kernel reads, and not an int
    zeros = (word(0), word(0), word(0))
    libc.prctl(die_with_parent, word(signal.SIGKILL), *zeros)
    if libc.prctl(no_new_privileges, word(1), *zeros) or libc.prctl(
        set_filter, word(by_rules), ctypes.byref(program), *zeros[1:]
    ):
        raise OSError(ctypes.get_errno(), "the kernel refuses a filter of system calls")


def set_limits(cpu: int, memory: int, output: int, files: int) -> None:
    """Limit seconds of CPU, bytes of address space, bytes a file, open files."""
    import resource  # not there on Windows

    for what, most in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, output),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_NPROC, 0),  # of no effect for root: the filter refuses too
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    source = Path(sys.argv[1]).read_bytes()
    set_limits(**json.loads(sys.argv[2]))
    install_filter()
    exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})
