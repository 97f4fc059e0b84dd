"""The walls of one submission, made inside those of bubblewrap that many share.

A process that has imported torch forks for a submission, and the fork shuts itself in:
it gets processes, files in memory, a network of its own without a way out, and a user
of its own, and then gives up every privilege that this has needed. What it shares with
those before it and beside it can only be read.
"""

import ctypes
import fcntl
import os
import platform
import re
import resource
import shutil
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from coursekit.walls.filters import install_filter, kernel_rules
from coursekit.walls.processes import SET_DEATH_SIGNAL, SET_DUMPABLE, prctl

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_FILES, NEW_QUEUES, NEW_USER = 0x20000, 0x08000000, 0x10000000  # unshare(2)
NEW_PROCESSES, NEW_NETWORK = 0x20000000, 0x40000000
READ_ONLY, NO_SETUID, NO_DEVICE, NO_PROGRAM, REMOUNT, BIND = 1, 2, 4, 8, 32, 4096
DETACH = 2  # umount2(2)
DROP_FROM_BOUND, CAPABILITIES, VERSION_3 = 24, 64, 0x20080522  # prctl(2), capset(2)
FLAGS_OF_INTERFACE, UP_AND_RUNNING = 0x8914, 0x41  # netdevice(7)
ROOT, NOBODY = 0, 1  # as the sandbox of a grader that is root numbers its users
SETTINGS = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")
FILES = 4096  # files and folders in memory
COUNTED_APART = (5, 14)  # since this Linux each user namespace counts its processes


def _asked(done: int, what: str) -> None:
    if done:
        raise OSError(ctypes.get_errno(), f"the kernel refuses {what}")


def unshare(kinds: int) -> None:
    """Leave namespaces for new ones; raises OSError where the kernel refuses."""
    _asked(LIBC.unshare(kinds), f"the namespaces {kinds:#x}")


def mount(source: str, place: str, kind: str, flags: int, data: str = "") -> None:
    """See mount(2); raises OSError where the kernel refuses."""
    words = [word.encode() for word in (source, place, kind)]
    done = LIBC.mount(*words, ctypes.c_ulong(flags), data.encode())
    _asked(done, f"to mount {place}")


def own_files(disk: int, files: Mapping[str, int]) -> None:
    """Folders /box and /tmp of `disk` bytes in all, and copies of files in the first.

    `files` are open, by name. /tmp stays as it is, read-only, where it holds Python.
    """
    plain = NO_SETUID | NO_DEVICE | NO_PROGRAM
    mount("proc", "/proc", "proc", plain)
    for place in filter(os.path.exists, SETTINGS):
        mount(place, place, "", BIND)
        mount(place, place, "", BIND | REMOUNT | READ_ONLY | plain)
    size = sum(os.fstat(file).st_size for file in files.values())
    data = f"size={disk + size},nr_inodes={FILES},mode=755"
    mount("memory", "/kept", "tmpfs", NO_SETUID | NO_DEVICE, data)
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    held = [line.split()[4] for line in lines]
    for place in ("box", "tmp"):
        if not any(point.startswith(f"/{place}/") for point in held):
            os.mkdir(f"/kept/{place}")
            os.chmod(f"/kept/{place}", 0o777)
            mount(f"/kept/{place}", f"/{place}", "", BIND)
    _asked(LIBC.umount2(b"/kept", DETACH), "to hide a folder")
    os.chdir("/box")
    give(files)


def give(files: Mapping[str, int | str]) -> None:
    """Copies of files in /box, which a submission may change, as at home."""
    for name, file in files.items():
        with open(file, "rb") as source, open(f"/box/{name}", "xb") as copy:
            shutil.copyfileobj(source, copy, 2**20)
        os.chmod(f"/box/{name}", 0o666)


def own_network() -> None:
    """Let the loopback interface answer, that nothing listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH22x", b"lo", UP_AND_RUNNING)
        fcntl.ioctl(any_socket, FLAGS_OF_INTERFACE, asked)


def leave_root() -> None:
    """Become another user than root, whose processes the kernel does not limit."""
    if os.getuid() == ROOT and len(Path("/proc/self/uid_map").read_text().split()) > 3:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        prctl(SET_DUMPABLE, 1)


def own_user() -> None:
    """A user namespace of its own, so that no other sandbox is counted with this."""
    user, group = os.getuid(), os.getgid()
    unshare(NEW_USER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def give_up() -> None:
    """Give up all privileges, for good, and the system calls that nobody needs."""
    for number in range(CAPABILITIES):
        prctl(DROP_FROM_BOUND, number)
    head = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    _asked(LIBC.capset(head, (ctypes.c_uint32 * 6)()), "to give up privileges")
    install_filter(kernel_rules(platform.machine()))
    prctl(SET_DEATH_SIGNAL, 0)  # the filter's maker has set it


def limit(limits: Mapping[str, int], apart: bool) -> None:
    """What the kernel holds of this process and of all that it will start.

    Processes and threads only where no others of the same user are counted with them.
    """
    most = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits["file"],
    }
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if apart and tuple(map(int, release.groups())) >= COUNTED_APART:
        most[resource.RLIMIT_NPROC] = limits["processes"]
    for what, value in most.items():
        resource.setrlimit(what, (value, value))
