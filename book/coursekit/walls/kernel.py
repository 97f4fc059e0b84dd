"""Control groups: what a sandbox may hold, counted by the kernel; for Linux.

Both versions of them are used where this user may make groups: version 2 below the
nearest group above the grader that hands its controllers down, as systemd arranges it,
version 1 below the grader's own. Where there are none, `walls.inner` has limits for
processes that hold without.
"""

import contextlib
import functools
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "coursekit"
PATIENCE = 10.0  # seconds in which the processes of a group that is closed must end
NUMBERS = itertools.count()
Groups = dict[str, Path]  # folders by controller, "pids" and "memory"
# By controller, the files that take a limit: the first that is there.
FILES = {
    "pids": ("pids.max",),
    "memory": ("memory.max", "memory.limit_in_bytes"),
}
SWAP = {"memory.swap.max": 0, "memory.swappiness": 0}


def own_groups(groups: str, mounts: str) -> Groups:
    """The grader's own groups by controller, from /proc/self/cgroup and mountinfo.

    Version 2 has one for all controllers, under the name "". What is not mounted, or
    lies outside of what is, is left out.
    """
    mounted: dict[str, tuple[str, str]] = {}
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        root, point = place.split()[3:5]
        name, _, options = kind.split(" ", 2)
        if name == "cgroup2":
            mounted[""] = root, point
        elif name == "cgroup":
            mounted |= dict.fromkeys(options.split(","), (root, point))
    found = {}
    for line in groups.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            root, point = mounted.get(name, ("", ""))
            if root and Path(path).is_relative_to(root):
                found[name] = Path(point) / Path(path).relative_to(root)
    return found


def handed_down(own: Path) -> Groups:
    """The nearest group of version 2, from one's own upwards, to make groups in.

    It has to be ours to write, and to hand down its count of processes.
    """
    for folder in (own, *own.parents):
        try:
            names = (folder / "cgroup.subtree_control").read_text().split()
        except OSError:  # above what is mounted
            return {}
        ours = os.access(folder, os.W_OK)
        if "pids" in names and ours and os.access(folder / "cgroup.procs", os.W_OK):
            return {name: folder for name in FILES if name in names}
    return {}


@functools.cache
def places() -> Groups:
    """Where groups can be made here, by controller; tried, and swept of old ones."""
    try:
        own = own_groups(
            Path("/proc/self/cgroup").read_text(),
            Path("/proc/self/mountinfo").read_text(),
        )
    except OSError:
        return {}
    found = handed_down(own[""]) if "" in own else {}
    found |= {name: own[name] for name in FILES if name in own}
    for name, folder in list(found.items()):
        for old in folder.glob(f"{PREFIX}_*"):  # of a grader that was killed
            if not Path("/proc", old.name.split("_")[1]).exists():
                with contextlib.suppress(OSError):
                    old.rmdir()
        try:
            with _made({name: folder}):
                pass
        except OSError:
            del found[name]
    return found


@contextlib.contextmanager
def group(processes: int, memory: int) -> Iterator["Group"]:
    """Groups with these limits, memory in bytes; whatever is in them then is ended.

    Raises OSError where groups could be made before and cannot now.
    """
    limits = {"pids": processes, "memory": memory}
    with _made(places()) as folders:
        for name, folder in folders.items():
            file = next(folder / n for n in FILES[name] if (folder / n).exists())
            file.write_text(str(limits[name]))
            for swap, value in SWAP.items():
                if (folder / swap).exists():
                    (folder / swap).write_text(str(value))
        yield Group(folders)


class Group:
    """What one sandbox may hold."""

    def __init__(self, folders: Groups):
        self.folders = folders

    def add(self, pid: int) -> None:
        """Bring in a process; what it starts from now on is in as well."""
        for folder in set(self.folders.values()):
            (folder / "cgroup.procs").write_text(str(pid))


@contextlib.contextmanager
def _made(within: Groups) -> Iterator[Groups]:
    name = f"{PREFIX}_{os.getpid()}_{next(NUMBERS)}"
    folders = {controller: folder / name for controller, folder in within.items()}
    made: set[Path] = set()
    try:
        for folder in folders.values():
            if folder not in made:
                folder.mkdir()
                made.add(folder)
        yield folders
    finally:
        for folder in made:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a group, and end what is still in it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.002)
