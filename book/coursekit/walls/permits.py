"""Processes only by leave: the kernel asks the keeper before the session forks.

A filter on the session holds every call that would start a process until whoever has
the filter's other end says yes or no. No code in the session can undo that, whatever
it changes there; see seccomp_unotify(2).
"""

import ctypes
import fcntl
import os
import platform
import select
import struct

from coursekit.walls.filters import no_process_rules, packed
from coursekit.walls.processes import prctl

SECCOMP = {"x86_64": 317, "aarch64": 277}
SET_FILTER, NEW_LISTENER, NO_NEW_PRIVILEGES = 1, 8, 38
ASK = 0x7FC00000  # what a filter returns so that the kernel asks
RECEIVE, ANSWER = 0xC0502100, 0xC0182101  # ioctl
QUESTION = struct.Struct("=QII64x")  # its number, the thread, flags, the call
REPLY = struct.Struct("=QqiI")  # the number, a value, an error, flags
GO_ON, REFUSED = 1, -1  # a flag; EPERM


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("rules", ctypes.c_char_p))


def ask_first() -> int | None:
    """Let this process and what it starts ask; the end to answer at, an open file.

    None where the kernel cannot: then nobody is asked, and nothing is refused.
    """
    machine = platform.machine()
    rules = packed(no_process_rules(machine, ASK))
    program = _Program(len(rules) // 8, rules)
    prctl(NO_NEW_PRIVILEGES, 1)
    call = ctypes.CDLL(None, use_errno=True).syscall
    asked = (SET_FILTER, NEW_LISTENER, ctypes.byref(program))
    listener = call(SECCOMP[machine], *asked)
    return None if listener < 0 else listener


class Permits:
    """The end at which leave is given, once for each time that it is due."""

    def __init__(self, listener: int):
        self.listener = listener

    def fileno(self) -> int:
        """The open file, which can be read when somebody asks."""
        return self.listener

    def answer(self, thread: int = 0) -> bool:
        """Answer who asks, with yes if it is this thread; whether it was."""
        question = bytearray(QUESTION.size)
        try:
            fcntl.ioctl(self.listener, RECEIVE, question)
            number, asks, _ = QUESTION.unpack(question)
            says = (0, 0, GO_ON) if asks == thread else (0, REFUSED, 0)
            fcntl.ioctl(self.listener, ANSWER, bytearray(REPLY.pack(number, *says)))
        except OSError:  # it has gone meanwhile
            return False
        return asks == thread

    def grant(self, thread: int, seconds: float) -> bool:
        """Give leave to one thread, once; False if it has not asked in some seconds."""
        asked = select.poll()
        asked.register(self.listener, select.POLLIN)
        while asked.poll(1000 * seconds):
            if self.answer(thread):
                return True
        return False

    def close(self) -> None:
        """Close the file: who still asks gets ENOSYS."""
        os.close(self.listener)
