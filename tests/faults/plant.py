"""Plant single faults, and see whether the tests find them.

`python tests/faults/plant.py [ID ...]` copies the repository to a temporary folder,
plants there the faults of faults.toml one after the other, and runs the fast tests that
stand beside each. Without an ID it plants all. `--jobs N` works in N copies side by
side. It exits with 1 if fewer than nine in ten are found.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("faults.toml")
ENOUGH = 0.9  # of the faults
FAILED = 1  # what pytest exits with where tests fail, and not where it finds none
LIMIT = 900  # seconds of one fault's tests


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
    """Run fast tests up to the first that fails; the exit code and the last line."""
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-x", "-m", "not slow"]
    command += ["-p", "no:cacheprovider", "--tb=no", *tests]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(root / "book"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        command,
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, (failed or lines)[-1]


def try_fault(fault: Fault, root: Path) -> bool:
    """Whether the tests of a fault find it; says which of them did."""
    with fault.planted(root):
        code, line = run_tests(root, fault.tests)
    found = code == FAILED
    print("found    " if found else "NOT FOUND", f"{fault.id}: {line}", flush=True)
    return found


def try_all(faults: list[Fault], jobs: int = 1) -> int:
    """Plant faults in copies of the repository; returns how many were found."""
    with tempfile.TemporaryDirectory() as folder:
        copies: Queue[Path] = Queue()
        for number in range(min(jobs, len(faults))):
            copy = Path(folder, str(number))
            copy_repository(copy)
            copies.put(copy)

        def work(fault: Fault) -> bool:
            root = copies.get()
            try:
                return try_fault(fault, root)
            finally:
                copies.put(root)

        with ThreadPoolExecutor(copies.qsize()) as pool:
            return sum(pool.map(work, faults))


def main(words: list[str] | None = None) -> int:
    """Plant what the command line asks for; 0 if enough of it is found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args(words)
    faults = read_faults()
    unknown = set(args.ids) - {fault.id for fault in faults}
    if unknown:
        parser.error(f"no fault {min(unknown)}")
    chosen = [f for f in faults if f.id in args.ids] if args.ids else faults
    found = try_all(chosen, args.jobs)
    print(f"{found} of {len(chosen)} faults found")
    return 0 if found >= ENOUGH * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
