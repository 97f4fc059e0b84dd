"""Whatever ends a grader, the next goes on: no grade is lost, changed or doubled."""

import errno
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from interrupted import (
    begin,
    by_hand,
    check_whole,
    copied,
    end,
    make_class,
    results_of,
    rows_of,
    run,
    until,
)

import coursekit
from coursekit import __main__ as command
from coursekit.grading import grade as grading


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    return make_class(tmp_path_factory.mktemp("marked"))


# Where a grader may be struck.


@dataclass
class Fate:
    """A process of the grader's is killed when so many files have been touched.

    `victim` is the grader, or whoever touches the file, which may be a judge. A file
    that is just being written has lost a half then, as after a power cut.
    """

    after: int  # files touched
    victim: str
    place: str = ""  # where files count

    def await_(self) -> None:
        """Count, in this process and its forks, and strike."""
        self.count, grader = mmap.mmap(-1, 1), os.getpid()
        fsync = os.fsync

        def strike() -> bool:
            self.count[0] += 1
            return self.count[0] > self.after

        def kill() -> None:
            os.kill(grader if self.victim == "grader" else os.getpid(), signal.SIGKILL)
            time.sleep(10)  # a judge, till it is gone with its grader

        def watch(event: str, arguments: tuple) -> None:
            known = ("open", "os.rename", "os.remove", "os.link", "os.mkdir")
            there = event in known and str(arguments[0]).startswith(self.place)
            if there and strike():
                kill()

        def half(file: int) -> None:
            fsync(file)
            if strike():
                os.ftruncate(file, os.fstat(file).st_size // 2)
                kill()

        os.fsync = half
        sys.addaudithook(watch)


def one_by_one(function, items, jobs, seconds):
    """Instead of `each`: judges in the grader's own process, which costs no fork."""
    yield from ((item, function(item), "") for item in items)


fates = st.builds(Fate, st.integers(0, 65), st.sampled_from(["grader", "it"]))


@settings(max_examples=50, phases=[Phase.generate])  # others take minutes
@given(st.tuples(fates, fates), st.integers(0, 3))
def test_killed_twice_at_any_moment_nothing_is_lost_changed_or_counted_twice(
    marked, twice, forked
):
    with copied(marked) as base:
        told = ("--manual", str(base / "brought.csv"))
        before = results_of(base)
        for fate in twice:
            fate.place = str(base / "out")
            each = grading.each if forked == 3 else one_by_one

            def prepare(fate=fate, each=each):
                grading.each = each
                fate.await_()

            run(base, *told, before=prepare)
            there = results_of(base)  # each of them is whole
            assert {"ada", "ben"} <= set(there)
            assert there["ada"] == before["ada"]
            assert by_hand(base).items() >= {"ada": 1.5, "ben": 1.0}.items()
            assert set(rows_of(base)) in ({"ada", "ben"}, {"ada", "ben", "cy"})
            before = there
        code, said = run(base, *told)
        assert code == 0, said
        check_whole(base, before)


# Other ends, other graders.


def waits(base: Path):
    """A `mark` that says who runs it and waits for ever."""

    def mark(*_):
        (base / f"judge.{os.getpid()}").touch()
        time.sleep(30)

    return mark


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def judges(base: Path, number: int) -> list[int]:
    """The processes that judge, as soon as there are so many."""
    until(lambda: len(list(base.glob("judge.*"))) == number)
    return [int(path.suffix[1:]) for path in base.glob("judge.*")]


def test_a_killed_grader_takes_its_judges_along_and_the_next_may_begin(marked):
    with copied(marked) as base:
        grader = begin(base, mark=waits(base))
        found = judges(base, 2)
        os.kill(grader, signal.SIGKILL)
        assert end(base, grader)[0] == -signal.SIGKILL
        until(lambda: all(map(gone, found)))
        code, said = run(base, "--manual", str(base / "brought.csv"))
        assert code == 0, said
        check_whole(base, results_of(marked))


def test_a_judge_that_is_killed_gives_an_error_and_no_number(marked):
    """For memory, say; the others are judged, and the next run makes up for it."""

    def dies(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    with copied(marked) as base:
        assert run(base, mark=dies)[0] == command.PROBLEMS
        rows = rows_of(base)
        assert {rows[s]["status"] for s in ("ben", "cy")} == {"error"}
        assert rows["ben"]["total"] == rows["cy"]["auto"] == ""
        assert "the grader failed: exit code -9" in rows["cy"]["reason"]
        assert by_hand(base) == {"ada": 1.5, "ben": 1.0}
        assert run(base, "--manual", str(base / "brought.csv"))[0] == 0
        check_whole(base, {"ada": results_of(marked)["ada"]})


@pytest.mark.parametrize("fork", [1, 2])
def test_an_interrupt_that_falls_into_a_fork_is_not_lost(marked, fork):
    """Python drops what its hooks raise in a fork."""
    forks = []

    def interrupt():
        forks.append(1)
        if len(forks) == fork:
            os.kill(os.getpid(), signal.SIGTERM)

    with copied(marked) as base:
        hook = {"before": lambda: os.register_at_fork(before=interrupt)}
        code, said = run(base, "--jobs", "1", **hook)
        assert code == 130
        assert "the same command goes on" in said
        done = results_of(base)
        if fork == 2:  # the first one has done its work
            assert done["ben"] != results_of(marked)["ben"]
        assert run(base, "--manual", str(base / "brought.csv"))[0] == 0
        check_whole(base, done)


def no_space(after: int):
    """From the file of this number on there is no space left."""
    count, fsync = mmap.mmap(-1, 1), os.fsync

    def full(file):
        count[0] += 1
        if count[0] > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    os.fsync = full


def check_full(base: Path, code: int, said: str) -> None:
    """The grader has stopped, said where and what helps, and lost nothing."""
    assert code == command.MISUSED, said
    assert f"{base / 'out'}" in said
    assert "No space left on device): free some space there, then the same" in said
    assert by_hand(base).items() >= {"ada": 1.5, "ben": 1.0}.items()
    assert set(rows_of(base)) in ({"ada", "ben"}, {"ada", "ben", "cy"})


# Written are a note, two results, the table for marking, that of grades, and pages.
@pytest.mark.parametrize("written", range(6))
def test_a_full_disk_stops_the_grader_and_costs_nothing(marked, written):
    with copied(marked) as base:
        told = ("--manual", str(base / "brought.csv"))
        check_full(base, *run(base, *told, before=lambda: no_space(written)))
        before = results_of(base)
        if written == 3:
            assert len(before) == 3
        assert run(base, *told)[0] == 0
        check_whole(base, before)


@pytest.mark.parametrize("pages", [0, 2])
def test_a_disk_that_is_really_full_does_so_too(marked, tmp_path, pages):
    disk = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(disk, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        base = Path(shutil.copytree(marked, tmp_path / "base"))
        free, ballast = os.statvfs(base), base / "ballast"
        ballast.write_bytes(bytes((free.f_bavail - pages) * free.f_frsize))
        (base / "said").unlink()
        (base / "said").symlink_to("/dev/null")
        assert run(base)[0] == command.MISUSED
        before = results_of(base)
        assert len(before) == (3 if pages else 2)
        ballast.unlink()
        assert run(base, "--manual", str(base / "brought.csv"))[0] == 0
        check_whole(base, before)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_judges_that_find_no_space_stop_the_grader(marked):
    """Where the sandbox is begun, in the folder for temporary files."""

    def mark(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with copied(marked) as base:
        code, said = run(base, mark=mark)
        assert code == command.MISUSED
        assert f"{tempfile.gettempdir()} cannot be written (No space" in said
        assert results_of(base) == results_of(marked)


# Clocks that are set, and results that stay.


def test_a_jumping_clock_changes_nothing(marked):
    """Durations come from a clock that nobody sets; dates of files count nothing."""
    with copied(marked) as base:

        def jumping():
            jumps = iter(range(0, 10**12, 10**6))
            time.time = lambda: 1e9 - next(jumps)
            time.time_ns = lambda: int(time.time() * 1e9)

        told = ("--manual", str(base / "brought.csv"))
        assert run(base, *told, before=jumping)[0] == 0
        before = results_of(base)
        check_whole(base, before)
        for number, path in enumerate(base.rglob("*")):
            os.utime(path, (0, 0) if number % 2 else (2**32, 2**32))
        assert run(base, *told)[0] == 0
        assert results_of(base) == before
        path = base / "class" / "ada" / "example.ipynb"
        text, stat = path.read_text(encoding="utf-8"), path.stat()
        path.write_text(text.replace("old", "owl"), encoding="utf-8")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert run(base, *told)[0] == 0
        assert results_of(base)["ada"] != before["ada"]


def test_the_kit_reads_no_clock_that_can_be_set():
    kit = Path(coursekit.__file__).parent
    for path in kit.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"time\.time(_ns)?\b|datetime|getmtime|\.st_[amc]time", text
        ), path


def test_results_stay_until_there_are_others(marked):
    """Of a run with --again that was interrupted at once, too."""
    with copied(marked) as base:
        fate = Fate(14, "grader", str(base / "out"))
        before = results_of(base)
        run(base, "--again", before=fate.await_)
        assert set(results_of(base)) >= set(before)
