"""Plant single faults, and see whether the tests find them.

`python tests/faults/plant.py [ID ...]` copies the repository to a temporary folder,
plants there the faults of faults.toml one after the other, and runs the fast tests that
stand beside each. Without an ID it plants all. `--jobs N` works in N copies side by
side. With `--sound` it first runs all these tests without a fault. It exits with 1 if
fewer than nine in ten are found, or if a test fails without a fault.

Tests run in forks of this process, which has imported already what takes longer than
most of them.
"""

import argparse
import gc
import importlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import pytest

from coursekit.walls.forks import each

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("faults.toml")
ENOUGH = 0.9  # of the faults
FAILED = 1  # what pytest exits with where tests fail, and not where it finds none
LIMIT = 900  # seconds of one fault's tests
OURS = ("r1", "experiments", "coursekit")  # what a fork imports from its copy
OTHERS = "torch beartype matplotlib.pyplot scipy.stats nbclient IPython"


class Fault(NamedTuple):
    """One text of one file in the place of another, and who should notice."""

    id: str
    file: str
    old: str
    new: str
    what: str
    tests: list[str]

    @contextmanager
    def planted(self, root: Path) -> Iterator[None]:
        """Put the fault into a copy of the repository, for as long as it is tested.

        Raises ValueError where its text does not stand there exactly once.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.id}: {self.file} has {text.count(self.old)} times {self.old!r}"
            )
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")


def read_faults() -> list[Fault]:
    """The faults of the list."""
    with LIST.open("rb") as file:
        return [Fault(**row) for row in tomllib.load(file)["fault"]]


def copy_repository(target: Path) -> None:
    """Copy what a test may need: everything that git knows or would not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def run_tests(root: Path, tests: list[str]) -> tuple[int, str]:
    """Run fast tests up to the first that fails; the exit code and the last line.

    This process is then good for nothing else: it has imported from `root`.
    """
    for name in [n for n in sys.modules if n.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.path[:0] = [str(root), str(root / "book")]
    sys.dont_write_bytecode = True
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root / "book")}
    os.chdir(root)
    words = ["-n0", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "--tb=no"]
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = int(pytest.main([*words, *tests]))
    lines = said.getvalue().strip().splitlines() or [""]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return code, (failed or lines)[-1]


def try_fault(fault: Fault, root: Path) -> bool:
    """Whether the tests of a fault find it; says which of them did."""
    with fault.planted(root):
        code, line = run_tests(root, fault.tests)
    found = code == FAILED
    print("found    " if found else "NOT FOUND", f"{fault.id}: {line}", flush=True)
    return found


def sound(faults: list[Fault], root: Path) -> bool:
    """Whether all tests of faults pass without one: else each would be found."""
    named = sorted({test for fault in faults for test in fault.tests})
    code, line = run_tests(root, named)
    print("sound    " if code == 0 else "NOT SOUND", line, flush=True)
    return code == 0


def forked(function: Callable, items: list, jobs: int) -> list:
    """What a function makes of each item and of a copy of the repository, in forks.

    Raises RuntimeError where a fork has no result, with the reason.
    """
    for name in OTHERS.split():
        importlib.import_module(name)
    gc.freeze()  # pytest collects garbage again and again, and this is none
    with tempfile.TemporaryDirectory() as folder:
        copies: Queue[Path] = Queue()
        for number in range(min(jobs, len(items))):
            copy = Path(folder, str(number))
            copy_repository(copy)
            copies.put(copy)

        def work(item):
            root = copies.get()
            try:
                ((_, result, why),) = each(
                    lambda one: function(one, root), [item], 1, LIMIT
                )
            finally:
                copies.put(root)
            if why:
                raise RuntimeError(f"{item}: {why}")
            return result

        with ThreadPoolExecutor(copies.qsize()) as pool:
            return list(pool.map(work, items))


def main(words: list[str] | None = None) -> int:
    """Plant what the command line asks for; 0 if enough of it is found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--sound", action="store_true")
    args = parser.parse_args(words)
    faults = read_faults()
    unknown = set(args.ids) - {fault.id for fault in faults}
    if unknown:
        parser.error(f"no fault {min(unknown)}")
    chosen = [f for f in faults if f.id in args.ids] if args.ids else faults
    if args.sound and not all(forked(sound, [chosen], 1)):
        return 1
    found = sum(forked(try_fault, chosen, args.jobs))
    print(f"{found} of {len(chosen)} faults found")
    return 0 if found >= ENOUGH * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
