"""Bubblewrap's command lines: walls for one submission, or for a template of many.

Inside there is no network, no file of the machine but Python and this book's package
`r1`, all read-only, empty folders of limited size, and no process but its own.
"""

import ctypes
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

KIT = Path(__file__).parent.parent
INSIDE = ("codec", "answers", "frames", "filters", "processes", "shell")
INSIDE += ("session", "worker", "inner", "permits", "template")
INSIDE = ("__init__.py", "walls/__init__.py", *(f"walls/{name}.py" for name in INSIDE))
PYTHON = [sys.executable, "-u", "-B", "-m", "coursekit.walls.template"]
NEW_USER = 0x10000000  # unshare(2)
NOBODY = 65534  # who runs submissions where the grader is root
APART = ("ipc", "pid", "net", "uts", "cgroup-try")
# What `walls.inner` needs and gives up before any line of a student's runs.
PRIVILEGES = ("SYS_ADMIN", "NET_ADMIN", "SETUID", "SETGID", "SETPCAP", "SETFCAP")


def python_folders() -> list[Path]:
    """The folders that this Python and its packages need, outermost only."""
    places = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)}
    places |= {Path(p) for p in sys.path if Path(p).name.endswith("-packages")}
    places = {place.resolve() for place in places} | places
    return sorted(p for p in places if p.is_dir() and not p.is_relative_to("/usr"))


def _machine(user_space: int | None) -> list[str]:
    """The part of a command that all have: what of the machine is there, read-only."""
    call = ["bwrap", "--die-with-parent", "--new-session", "--as-pid-1"]
    call += ["--cap-drop", "ALL", "--clearenv", "--hostname", "sandbox"]
    call += ["--userns", str(user_space)] if user_space else ["--unshare-user"]
    call += [f"--unshare-{kind}" for kind in APART]
    for place in ("/usr", "/bin", "/lib", "/lib64"):
        if Path(place).is_symlink():
            call += ["--symlink", os.readlink(place), place]
        elif Path(place).exists():
            call += ["--ro-bind", place, place]
    call += ["--dir", "/etc"]
    call += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    call += ["--proc", "/proc", "--dev", "/dev"]
    for name, value in environment("/kit", "/box").items():
        call += ["--setenv", name, value]
    return call


def _shown() -> list[str]:
    """Python, the kit and the book's package, in folders that everybody may enter."""
    call, binds = [], {str(place): str(place) for place in python_folders()}
    binds |= {f"/kit/coursekit/{name}": str(KIT / name) for name in INSIDE}
    above = {folder for place in binds for folder in Path(place).parents}
    for folder in sorted(above - {Path("/")}):
        call += ["--dir", str(folder)]
    for place, source in binds.items():
        call += ["--ro-bind", source, place]
    for shared in ("r1", "data"):
        call += ["--ro-bind-try", str(KIT.parent / shared), f"/kit/{shared}"]
    return call


def alone(
    limits: dict, files: Mapping[str, int], filter_fd: int, user_space: int | None
) -> list[str]:
    """The command for one submission, which gets copies of open files, by name."""
    call = _machine(user_space)
    for name in ("SETUID", "SETGID") if user_space else ():
        call += ["--cap-add", f"CAP_{name}"]
    half = limits["disk"] // 2
    more = sum(os.fstat(file).st_size for file in files.values())
    # /tmp before what is bound, which may lie below it
    call += ["--perms", "0777", "--size", str(half), "--tmpfs", "/tmp", *_shown()]
    call += ["--perms", "0777", "--size", str(half + more), "--tmpfs", "/box"]
    call += ["--dir", "/given"]
    for name, file in sorted(files.items()):
        call += ["--ro-bind", os.readlink(f"/proc/self/fd/{file}"), f"/given/{name}"]
    # The root that bubblewrap makes is memory without a limit until it is read-only.
    call += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/box"]
    return [*call, "--seccomp", str(filter_fd), *worker(limits, True)]


def template(user_space: int | None) -> list[str]:
    """The command for a template, which makes further walls for each submission."""
    call = _machine(user_space)
    for name in PRIVILEGES:
        call += ["--cap-add", f"CAP_{name}"]
    for place in ("/tmp", "/box", "/kept"):
        call += ["--dir", place]
    call += [*_shown(), "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/box"]
    return [*call, *PYTHON]


def worker(limits: dict, walls: bool) -> list[str]:
    """The command inside for one submission, in a sandbox or without walls."""
    kind = "apart" if walls else "unsafe"
    return [*PYTHON, json.dumps(limits), kind]


def environment(kit: str, home: str) -> dict[str, str]:
    """All that the sandbox knows of environment variables."""
    fixed = {"PYTHONPATH": kit, "HOME": home, "TMPDIR": home, "PATH": "/usr/bin:/bin"}
    fixed |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    fixed |= {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "MPLBACKEND": "Agg"}
    return fixed | {"USER": "student", "MPLCONFIGDIR": home, "PYTHONWARNINGS": "ignore"}


def user_space() -> int | None:
    """A user namespace in which root is root and 1 is nobody, as an open file.

    Root's own processes are limited by no count. None for other graders, whose sandbox
    is theirs, and where root may not name another user.
    """
    if os.getuid() != 0:
        return None
    waiting, told = os.pipe()
    asked, free = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(waiting)
        os.close(free)
        done = ctypes.CDLL(None).unshare(NEW_USER)
        os.write(told, b"%d" % bool(done))
        os.read(asked, 1)
        os._exit(0)
    os.close(told)
    os.close(asked)
    try:
        if os.read(waiting, 1) != b"0":
            return None
        for kind in ("uid", "gid"):
            numbers = f"0 0 1\n1 {NOBODY} 1\n"
            Path(f"/proc/{child}/{kind}_map").write_text(numbers)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    except OSError:
        return None
    finally:
        os.close(free)
        os.close(waiting)
        os.waitpid(child, 0)
