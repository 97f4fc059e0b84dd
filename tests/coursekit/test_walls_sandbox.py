"""What the walls keep in: network, files, processes, memory, time, the keeper."""

import os
import socket
import time
from dataclasses import replace
from functools import cache

import psutil
import pytest
import torch

from coursekit.testing.student import Student, StudentError, run
from coursekit.walls import begin, bubble, sandbox
from coursekit.walls.frames import Broken, Reader, send
from coursekit.walls.sandbox import Ended, Limits, NoSandbox, opened

LIMITS = Limits(memory=2**28, disk=2**22, file=2**21, cell=10, call=10)

# A grader's Python that lies below /tmp leaves /tmp as it is.
BELOW = any(folder.is_relative_to("/tmp") for folder in bubble.python_folders())
FULL = "Read-only" if BELOW else "No space"


@pytest.fixture(scope="module")
def box(walls):
    with opened(LIMITS) as box:
        yield box


@pytest.fixture
def ask(box):
    """Runs lines in a fork of a fresh session and gives what they call `result`."""
    box.start()
    box.cell("import os, torch", 1)
    box.begin(0)
    yield lambda lines, seconds=10: run(
        Student(lambda request: box.ask(request, seconds)), lines
    )
    box.end()


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("import socket; socket.create_connection(('127.0.0.1', 9), 1)", "refused"),
        ("import socket; socket.create_connection(('192.0.2.1', 9), 1)", "unreachable"),
        ("open('/usr/x', 'w')", "Read-only"),
        ("open('/x', 'w')", "Read-only"),
        ("open('/dev/shm/x', 'w')", "Read-only"),
        ("open('/etc/passwd')", "No such file"),
        (f"open({__file__!r})", "No such file"),
        ("open('/proc/1/mem', 'rb+')", "Permission"),
        ("os.fork()", "not permitted"),
        ("import ctypes; assert ctypes.CDLL(None).fork() > 0", "AssertionError"),
        ("import socket; socket.socket(socket.AF_VSOCK)", "not permitted"),
        ("open('/proc/sys/kernel/hostname', 'w')", "Read-only|Permission"),
        ("import subprocess; subprocess.run(['true'])", "not permitted"),
        ("os.memfd_create('x')", "not permitted"),
        ("open('/proc/1/environ').read()", "Permission"),
        ("open('/box/x', 'wb').write(bytes(2**22))", "too large"),
        (
            "for i in range(3): open(f'/tmp/{i}', 'wb').write(bytes(2**21 - 1))",
            FULL,
        ),
        (
            "for i in '12': open(f'/box/{i}', 'wb').write(bytes(2**21 - 1))\n"
            "open('/tmp/x', 'wb').write(bytes(2**20))",
            "No space",
        ),
        (
            "import glob\ntry:\n    for i in range(5000): open(f'/box/n{i}', 'w')\n"
            "finally:\n    for name in glob.glob('/box/n*'): os.remove(name)",
            "No space",
        ),
        ("held = [open('/box/o', 'w') for _ in range(300)]", "Too many open files"),
        ("x = bytearray(2**29)", "MemoryError"),
    ],
)
def test_what_is_outside_is_refused(ask, lines, error):
    with pytest.raises(StudentError, match=error):
        ask(lines)


def test_nothing_is_known_of_the_grader(ask):
    names = ask("result = sorted(os.environ)")
    assert "HOME" in names
    assert not {"COURSE_SECRET", "CI", "VIRTUAL_ENV"} & set(names)
    walk = "for place, _, names in os.walk('/kit/coursekit') for name in names"
    inside = ask(f"result = [os.path.join(place, name) {walk}]")
    assert sorted(inside) == sorted(f"/kit/coursekit/{name}" for name in bubble.INSIDE)


def test_only_its_own_processes_are_there(ask):
    assert len(ask("result = [p for p in os.listdir('/proc') if p.isdigit()]")) == 3


def test_threads_may_be_started_up_to_the_limit(walls):
    lines = """
import threading, time
try:
    for number in range(100):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
except RuntimeError:
    raise ValueError(number)"""
    with opened(Limits(processes=20)) as box:
        box.start()
        # the keeper, the session and the thread of the cell are there already
        assert box.cell(lines, 1).startswith("ValueError: 17 ")


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ("while True: pass", "time"),
        ("os._exit(0)", "died"),
        ("os.kill(os.getpid(), 9)", "died"),
    ],
)
def test_a_call_that_does_not_answer_is_ended(box, ask, lines, kind):
    with pytest.raises(Ended) as caught:
        ask(lines, 1)
    assert caught.value.kind == kind
    assert box.alive


def test_waiting_for_a_busy_machine_costs_nothing_for_a_while(ask):
    assert ask("import time\ntime.sleep(0.75)\nresult = 1", 0.25) == 1
    with pytest.raises(Ended) as caught:
        ask("import time\ntime.sleep(10)", 0.25)
    assert caught.value.kind == "time"


def test_the_next_test_begins_from_the_cells_again(box, ask):
    ask("torch.ones = None; os.fresh = False")
    box.end()
    box.begin(0)
    student = Student(lambda request: box.ask(request, 10))
    lines = "result = [callable(torch.ones), hasattr(os, 'fresh')]"
    assert run(student, lines) == [True, False]


def test_the_keeper_outlives_what_kills_everybody(box, ask):
    ask("for s in (9, 19, 2, 15): os.kill(1, s)")
    ask("os.kill(-1, 9)")
    box.end()
    assert not box.alive
    with pytest.raises(Ended):
        box.begin(0)
    box.start()
    assert box.cell("1 / 0", 1).startswith("ZeroDivisionError")


@pytest.mark.parametrize(
    ("cell", "kind"), [("while True: pass", "time"), ("import os; os._exit(1)", "died")]
)
def test_a_cell_that_does_not_come_back_ends_its_session(box, cell, kind):
    box.limits = replace(LIMITS, cell=1)
    box.start()
    with pytest.raises(Ended) as caught:
        box.cell(cell, 1)
    assert caught.value.kind == kind
    assert not box.alive
    box.limits = LIMITS


@pytest.mark.parametrize(
    "cell",
    [
        "from coursekit.checking import check\ncheck('q1', globals())",
        "display(3)",
        "import sys\nassert sys.modules[__name__].__dict__ is globals()",
    ],
)
def test_cells_of_notebooks_run_as_they_are(box, cell):
    box.start()
    assert box.cell(cell, 1) == ""


def test_memory_is_counted_by_shares_not_twice(box):
    """Forks share the pages of torch; counted for each, they would be too much."""
    box.start()
    box.cell("import torch\nkept = torch.ones(40 * 2**20 // 4)", 1)
    box.begin(0)
    student = Student(lambda request: box.ask(request, 10))
    lines = "import time\nx = torch.ones(40 * 2**20 // 4)\ntime.sleep(.2)"
    assert run(student, f"{lines}\nresult = float(x.sum())") > 0
    box.end()


def test_who_hides_its_memory_pays_for_all_that_it_seems_to_hold(box):
    """What a process that may not be dumped shares cannot be read, so all counts."""
    box.start()
    box.cell("import ctypes, torch\nkept = torch.ones(40 * 2**20 // 4)", 1)
    box.begin(0)
    student = Student(lambda request: box.ask(request, 10))
    hides = "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)"
    lines = "import time\nx = torch.ones(40 * 2**20 // 4)\ntime.sleep(1)"
    with pytest.raises(Ended) as caught:
        run(student, f"{hides}\n{lines}\nresult = float(x.sum())")
    assert caught.value.kind == "memory"
    box.end()


def test_a_fork_that_takes_no_message_is_ended(walls, monkeypatch):
    """By a keeper that waits a second for it, and not ten."""
    hasty = "from coursekit.walls import template, worker\n"
    hasty += "worker.PATIENCE = 1.0\ntemplate.main()"
    monkeypatch.setattr(bubble, "PYTHON", [*bubble.PYTHON[:-2], "-c", hasty])
    template = begin.template
    monkeypatch.setattr(begin, "template", cache(template.__wrapped__))
    with sandbox._opened(begin.by_template, LIMITS, {}) as box:
        box.start()
        later = "threading.Timer(0.1, lambda: os.kill(os.getpid(), 19)).start()"
        box.cell(f"import os, threading\ndef f(x): {later}", 1)
        box.begin(0)
        student = Student(lambda request: box.ask(request, 2))
        student.f(1)
        time.sleep(0.5)
        began = time.monotonic()
        with pytest.raises(Ended):
            student.f(torch.zeros(2**20))
        assert box.alive
        assert time.monotonic() - began < 10
        box.end()
    begin.template().close()


def test_a_word_that_a_cell_forges_ends_its_session(box):
    box.start()
    forged = "for i in range(3, 30):\n    try: os.write(i, b'\\x01\\0\\0\\0x')\n"
    with pytest.raises(Ended):
        box.cell(f"import os\n{forged}    except OSError: pass", 1)


def test_nothing_is_left_when_the_sandbox_closes(walls):
    with opened(LIMITS) as box:
        box.start()
        keeper = psutil.Process(box.keeper)
        assert len(keeper.children()) == 1
    assert keeper.wait(5) is None


def test_without_bubblewrap_there_is_no_sandbox_and_the_remedy_is_said(monkeypatch):
    sandbox.tried.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    try:
        with (
            pytest.raises(NoSandbox, match="apt-get install bubblewrap"),
            opened(LIMITS),
        ):
            pass
    finally:
        sandbox.tried.cache_clear()


def test_where_no_template_can_be_made_each_submission_has_bubblewrap_for_itself(
    walls, monkeypatch, tmp_path
):
    """As where bubblewrap may do what its program may not. Files are there, too."""
    begin.template.cache_clear()  # others go on with the one they have
    monkeypatch.setattr(bubble, "PRIVILEGES", ())
    way, why = sandbox.tried.__wrapped__()
    begin.template().close()
    begin.template.cache_clear()
    assert (way, why) == (begin.by_itself, "")
    file = tmp_path / "=given"
    file.write_bytes(b"text")
    with sandbox._opened(way, LIMITS, {"x": file}) as box:
        assert box.tried() == (LIMITS.processes - 1, "")
        box.start()
        assert box.cell("assert open('/box/x').read() == 'text'", 1) == ""
        assert box.cell("def f(x): return x", 2) == ""
        box.begin(0)
        assert Student(lambda request: box.ask(request, 10)).f(2) == 2
        assert not box.end()
        assert "not permitted" in box.cell("import os\nos.fork()", 3)
        assert box.cell("open('/box/x', 'w')", 4) == ""


def test_a_submission_has_copies_of_its_files_and_sees_nobody_elses(walls, tmp_path):
    (tmp_path / "link").symlink_to(__file__)
    (tmp_path / "file").write_bytes(b"text")
    os.mkfifo(tmp_path / "pipe")
    files = {path.name: path for path in tmp_path.iterdir()}
    look = "import os\nraise ValueError(os.listdir('/box'), os.listdir('/kept'))"
    with opened(LIMITS, files) as box, opened(LIMITS) as other:
        for each in (box, other):
            each.start()
        assert box.cell("assert open('/box/file').read() == 'text'", 1) == ""
        assert box.cell("open('/box/file', 'w').write('mine')", 2) == ""
        assert "(['file'], [])" in box.cell(look, 3)
        assert "([], [])" in other.cell(look, 1)
    assert (tmp_path / "file").read_bytes() == b"text"


def test_files_on_their_way_in_one_sandbox_stop_no_other(walls):
    """The kernel counts them for a user, who is the same in all sandboxes."""
    send = "import socket\nours, theirs = socket.socketpair()\n"
    send += "while True: socket.send_fds(ours, [b'x'], [0] * 250)"
    with opened(LIMITS) as box, opened(LIMITS) as other:
        box.start()
        assert "Too many references" in box.cell(send, 1)
        other.start()
        assert other.cell("def f(x): return x", 1) == ""
        other.begin(0)
        assert Student(lambda request: other.ask(request, 10)).f(2) == 2
        assert not other.end()


def test_a_template_that_is_gone_is_made_anew(walls):
    begin.template.cache_clear()  # others go on with the one they have
    with opened(LIMITS):
        before = begin.template()
    before.process.kill()
    before.process.wait()
    assert before.orders.recv(1) == b""
    with opened(LIMITS) as box:
        box.start()
        assert box.cell("1", 1) == ""
    assert begin.template() is not before
    before.close()


def test_a_session_forks_by_leave_alone_whatever_it_changes(box):
    """Its main thread, which has no ban, is made to set off a bomb."""
    box.start()
    bomb = "def bomb(*_):\n    while True:\n        try: os.fork()\n"
    bomb += "        except OSError as error: open(f'/box/{error.errno}', 'w')\n"
    box.cell(f"import os, coursekit.walls.session as s\n{bomb}s.send = bomb", 1)
    with pytest.raises(Ended):
        box.cell("1", 2, seconds=0.2)
    box.start()
    assert "'1'" in box.cell("import os\nraise ValueError(os.listdir('/box'))", 1)


def test_messages_are_whole_or_broken():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for data in (b"", b"x", bytes(10**5)):
            send(ours, data)
            assert Reader(theirs).message() == data
        ours.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(Broken, match="4294967295 bytes"):
            Reader(theirs).message()
        ours.close()
        with pytest.raises(Broken, match="closed"):
            Reader(theirs).message()


def test_a_large_tensor_goes_both_ways(box):
    box.start()
    box.cell("def same(x): return x", 1)
    box.begin(0)
    x = torch.rand(2**21)
    assert torch.equal(Student(lambda request: box.ask(request, 20)).same(x), x)
    box.end()
