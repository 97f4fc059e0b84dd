"""Programs are judged in bounded time and leave nothing behind."""

import contextlib
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from r1.rl.rewards import accuracy_reward
from r1.text import confine
from r1.text.programs import (
    TASKS,
    Limits,
    ProgramTask,
    available,
    random_program_task,
    run_program,
)

LINUX = sys.platform == "linux"
needs_linux = pytest.mark.skipif(not LINUX, reason="programs are run on Linux only")
SHORT = Limits(cpu=1, wall=100.0)  # whoever computes is ended by its own seconds
ASLEEP = Limits(cpu=10, wall=1.0)
PATIENT = Limits(cpu=10, wall=100.0)  # a busy machine must not turn errors into "time"

HOSTILE = {
    "loops": ("while True: pass", "time", ""),
    "sleeps": ("import time\ntime.sleep(60)", "time", ""),
    "ignores the signal that its time is up": (
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
        "while True: pass",
        "time",
        "",
    ),
    "reads stdin forever": ("import sys\nwhile True: sys.stdin.read()", "time", ""),
    "eats memory at once": ("x = bytearray(10**9)", "error", "MemoryError"),
    "eats memory in bites": (
        "x = []\nwhile True: x.append(bytearray(10**6))",
        "error",
        "MemoryError",
    ),
    "floods stdout": ("while True: print('x' * 1000)", "output", ""),
    "floods stderr": (
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
        "output",
        "",
    ),
    "forks": ("import os\nwhile True: os.fork()", "error", "PermissionError"),
    "starts a thread": (
        "import threading\nthreading.Thread(target=print).start()",
        "error",
        "RuntimeError",
    ),
    "starts a program": (
        "import subprocess\nsubprocess.run(['sleep', '60'])",
        "error",
        "PermissionError",
    ),
    "becomes a program": (
        "import os, sys\nos.execv(sys.executable, ['python'])",
        "error",
        "PermissionError",
    ),
    "opens a socket": ("import socket\nsocket.socket()", "error", "PermissionError"),
    "opens a socket pair": (
        "import socket\nsocket.socketpair()",
        "error",
        "PermissionError",
    ),
    "writes a file": ("open('left', 'w')", "error", "PermissionError"),
    "makes a folder": ("import os\nos.mkdir('left')", "error", "PermissionError"),
    "renames a file": (
        "import os\nos.rename('../stdin', '../left')",
        "error",
        "PermissionError",
    ),
    "deletes a file": ("import os\nos.remove('../stdin')", "error", "PermissionError"),
    "empties a file": (
        "import os\nos.truncate('../stdin', 0)",
        "error",
        "PermissionError",
    ),
    "changes rights": ("import os\nos.chmod('.', 0)", "error", "PermissionError"),
    "signals everybody": ("import os\nos.kill(-1, 9)", "error", "PermissionError"),
    "raises its limits": (
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
        "error",
        "ValueError",
    ),
    "calls the kernel itself": (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.fork() == -1 and ctypes.get_errno() == 1\n1 / 0",
        "error",
        "ZeroDivisionError",
    ),
    "touches memory that is not there": (
        "import ctypes\nctypes.string_at(0)",
        "error",
        "SIGSEGV",
    ),
    "opens files without end": (
        "x = [open('../stdin') for _ in range(10**6)]",
        "error",
        "OSError",
    ),
    "calls itself without end": ("def f(): f()\nf()", "error", "RecursionError"),
    "nests deeply": ("(" * 20_000 + ")" * 20_000, "error", ""),
    "is no program": ("print(", "error", "SyntaxError"),
    "has a zero byte": ("\0", "error", "null bytes"),
    "is half of a pair of surrogates": ("\ud800", "error", "SyntaxError"),
    "is too long": ("#" * 2**17, "source", "131072 characters"),
    "exits early with success": ("import os\nos._exit(0)\nprint(5)", "ok", ""),
    "exits early without": ("raise SystemExit(3)", "error", ""),
}


def running(folder):
    """Processes that were started with something in the folder."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if str(folder) in command.read_text(errors="replace"):
                found.append(command)
    return found


@needs_linux
def test_this_machine_can_run_programs():
    assert available()


@needs_linux
@pytest.mark.parametrize("name", HOSTILE)
def test_a_program_that(name, tmp_path, monkeypatch):
    """Ends as it should in bounded time, and leaves no process and no file."""
    source, status, message = HOSTILE[name]
    available()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    start = time.perf_counter()
    limits = SHORT if status == "time" else PATIENT
    limits = ASLEEP if name == "sleeps" else limits
    result = run_program(source, "1 2 3\n", limits)
    assert time.perf_counter() - start < (11 if name == "sleeps" else 60)
    assert result.status == status
    assert message in result.message
    assert len(result.stdout) <= limits.output
    assert len(result.message) <= 200
    assert not running(tmp_path)
    assert not list(tmp_path.iterdir())


@needs_linux
def test_a_program_that_sleeps_can_be_seen_while_it_does(tmp_path, monkeypatch):
    """Otherwise the test above would find nothing to complain about."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ThreadPoolExecutor() as pool:
        future = pool.submit(run_program, "import time\ntime.sleep(60)", "", ASLEEP)
        while not future.done() and not (seen := running(tmp_path)):
            time.sleep(0.05)
    assert seen
    assert future.result().status == "time"


@needs_linux
def test_a_program_reads_its_input_and_uses_the_standard_library():
    source = "import sys, math, re, json, collections, fractions, datetime\n"
    source += "print(math.prod(int(word) for word in sys.stdin.read().split()))"
    assert run_program(source, "2 3\n7\n") == ("ok", "42\n", "")


@needs_linux
def test_a_program_sees_no_environment_no_file_and_no_package():
    source = "import os\nprint(sorted(os.environ), os.listdir())\nimport torch"
    result = run_program(source)
    assert result.stdout == "['LC_CTYPE'] []\n"
    assert result.message == "ModuleNotFoundError: No module named 'torch'"


@needs_linux
def test_a_program_can_read_what_its_user_can():
    """Said in the docstring: this is no boundary against an attacker."""
    result = run_program(f"print(open({__file__!r}).readline())")
    assert result.stdout.startswith('"""Programs are judged')


@needs_linux
def test_the_right_program_scores_1_and_a_wrong_one_0():
    rng, seen = random.Random(0), set()
    while len(seen) < len(TASKS):
        task = random_program_task(rng)
        if task.prompt in seen:
            continue
        seen.add(task.prompt)
        assert accuracy_reward(task, f"<answer>{task.gold}</answer>") == 1
        for wrong in ("print(7)", "", "print(input())", task.gold + "print(1)"):
            assert accuracy_reward(task, f"<answer>{wrong}</answer>") == 0


@needs_linux
def test_a_program_that_knows_one_case_fails_another():
    task = ProgramTask("Print the sum.", "", (("1 2\n", "3\n"), ("5 5\n", "10\n")))
    assert not task.check("print(3)")
    assert task.check("print(sum(map(int, input().split())))")


@needs_linux
def test_output_that_is_right_does_not_save_a_program_that_fails():
    task = ProgramTask("Print 3.", "print(3)", (("", "3\n"),))
    assert task.check("print(3)")
    assert not task.check("print(3)\nraise SystemExit(1)")


@needs_linux
def test_bytes_that_are_no_text_are_replaced():
    source = "import sys\nsys.stdout.buffer.write(bytes([255, 10]))"
    assert run_program(source) == ("ok", "\ufffd\n", "")


@pytest.mark.parametrize("machine", confine.MACHINES)
def test_the_filter_passes_what_is_listed_and_refuses_the_rest(machine):
    """The rules, followed step by step as the kernel does."""

    def answer(number, arguments=(0, 0, 0), architecture=None):
        own = confine.MACHINES[machine][1]
        fields = {confine.NUMBER: number, confine.ARCHITECTURE: architecture or own}
        fields |= {confine.ARGUMENT + 8 * n: a for n, a in enumerate(arguments)}
        rules, place, value = confine.filter_rules(machine), 0, 0
        while True:
            code, if_true, if_false, operand = rules[place]
            place += 1
            if code == confine.RETURN:
                return operand
            if code == confine.LOAD:
                value = fields[operand]
            elif code == confine.EQUAL:
                place += if_true if value == operand else if_false
            else:
                place += if_true if value & operand else if_false

    column, _ = confine.MACHINES[machine]
    listed = {numbers[column] for numbers in confine.CALLS.values()}
    special = {confine.OPENAT[column], confine.IOCTL[column]}
    extra = set(confine.X86_ONLY) if column == 0 else set()
    for number in set(range(500)) - special:
        passes = number in listed | extra
        assert answer(number) == (confine.ALLOW if passes else confine.REFUSE)
        assert answer(number, architecture=7) == confine.KILL
        assert answer(number | 0x40000000) == confine.REFUSE  # x32
    openat, ioctl = confine.OPENAT[column], confine.IOCTL[column]
    assert answer(openat, (0, 0, os.O_RDONLY)) == confine.ALLOW
    for flag in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC):
        assert answer(openat, (0, 0, flag)) == confine.REFUSE
    assert answer(ioctl, (0, confine.IS_TERMINAL)) == confine.ALLOW
    assert answer(ioctl, (0, 0x5412)) == confine.REFUSE  # types into a terminal


def test_elsewhere_the_error_says_what_is_needed(monkeypatch):
    monkeypatch.setattr("r1.text.programs.available", lambda: False)
    with pytest.raises(OSError, match="Linux"):
        run_program("print(1)")
