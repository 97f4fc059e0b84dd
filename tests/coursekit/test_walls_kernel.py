"""What the kernel itself holds, with all bans lifted: fork bombs, memory, the groups.

Every sandbox here tries its limit with harmless threads before a bomb begins, and a
bomb forks nine times and then waits, so that without limits 512 processes come of it;
the last one, which does not stop, only comes when all others were held.
"""

import os
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path

import psutil
import pytest

from coursekit.testing.student import Student, StudentError
from coursekit.walls import begin, bubble, filters, kernel, sandbox
from coursekit.walls.sandbox import Ended, Limits, NoSandbox, opened

LIMITS = Limits(memory=2**28, processes=24)
# A keeper without its bans and its looks, so that only the kernel is in a bomb's way.
FREE = """
from coursekit.walls import filters, permits, processes
permits.ask_first = lambda: None
filters.forbid_processes = lambda: None
processes.memory = lambda *_: 0
from coursekit.walls.template import main
main()
"""
BOMB = """
import ctypes, os, time
def bomb(fork=os.fork):
    first = os.getpid()
    for _ in range(9):
        try:
            if fork() < 0: raise OSError
        except OSError: open('/box/full', 'w')
    while os.getpid() != first or not os.path.exists('/box/full'): time.sleep(0.01)
"""
WAYS = {
    "a cell": f"{BOMB}bomb()",
    "a call": f"{BOMB}f = bomb",
    "an import": f"open('/box/evil.py', 'w').write({BOMB + 'bomb()'!r})\n"
    "import sys\nsys.path.insert(0, '/box')\nimport evil",
    "an exit": f"{BOMB}import atexit\natexit.register(bomb)\natexit._run_exitfuncs()",
    "a thread": f"{BOMB}import threading\nt = threading.Thread(target=bomb)\n"
    "t.start()\nt.join()",
    "a library": f"{BOMB}bomb(ctypes.CDLL(None).fork)",
    "a bomb that does not stop": "import os\nwhile True:\n    try: os.fork()\n"
    "    except OSError: open('/box/full', 'w')",
}


def below(ancestor: int) -> dict[int, int]:
    """Threads of all processes that a process has begun, by their numbers."""
    threads = {}
    for process in psutil.Process(ancestor).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            threads[process.pid] = process.num_threads()
    return threads


@contextmanager
def other_template():
    """Sandboxes from a template of their own, while the bans are lifted."""
    command = bubble.template
    program = [sys.executable, "-u", "-B", "-c", FREE]
    begin.template.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bubble, "template", lambda *of: [*command(*of)[:-5], *program])
        try:
            yield
        finally:
            begin.template().close()
            begin.template.cache_clear()


@pytest.fixture(scope="module")
def free(walls):
    """One template without bans, for all tests here."""
    with other_template():
        yield


@pytest.fixture(params=["groups", "no groups"])
def boxes(free, request, monkeypatch):
    """Two sandboxes side by side, of which only the kernel holds the processes."""
    if request.param == "groups" and "pids" not in kernel.places():
        pytest.skip("this user may make no control groups here")
    if request.param == "no groups":
        monkeypatch.setattr(kernel, "places", dict)
    with ExitStack() as stack:
        made = [sandbox._opened(begin.by_template, LIMITS, {}) for _ in range(2)]
        boxes = [stack.enter_context(box) for box in made]
        for box in boxes:
            assert box.tried()[0] < LIMITS.processes, "no bomb: nothing would hold it"
        yield boxes
    for _ in range(100):
        if len(below(begin.template().process.pid)) == 1:
            return  # the template is all that is left
        time.sleep(0.05)
    pytest.fail(f"left: {below(begin.template().process.pid)}")


def throw(box, source: str) -> bool:
    """Set off a bomb, in a cell or a call; whether it met a limit, and no other did."""
    box.start()
    try:
        box.cell(source, 1, seconds=1, most=9)
        box.begin(0)
        Student(lambda request: box.ask(request, 1, most=9)).f()
    except (Ended, StudentError):
        pass
    box.start()
    box.cell("import os\ndef f(x): return x, os.path.exists('/box/full')", 1)
    box.begin(0)
    answer = Student(lambda request: box.ask(request, 10)).f(3)
    box.end()
    box.cell("os.path.exists('/box/full') and os.remove('/box/full')", 2)
    return answer == (3, True)


@pytest.mark.alone  # what a bomb does to others is no fault of theirs
def test_a_bomb_anywhere_is_held_by_the_kernel_and_the_next_one_is_judged(boxes):
    top, done = 0, []

    def watch():
        nonlocal top
        while not done:
            top = max(top, sum(below(begin.template().process.pid).values()))
            time.sleep(0.03)

    with ThreadPoolExecutor(3) as pool:
        watching = pool.submit(watch)
        try:
            for name, source in WAYS.items():
                held = list(pool.map(throw, boxes, [source, source]))
                assert held == [True, True], name
        finally:
            done.append(True)
        watching.result()
    # beside the template, and for each sandbox a process that waits for its end
    assert LIMITS.processes < top <= 2 * LIMITS.processes + 3


def test_memory_is_held_by_the_kernel_and_the_keeper_outlives_it(free):
    if "memory" not in kernel.places():
        pytest.skip("this user may make no control groups for memory here")
    hog = "import os\nfor _ in range(3): os.fork()\nx = b'x' * (150 * 2**20)\n"
    with sandbox._opened(begin.by_template, LIMITS, {}) as box:
        box.start()
        with pytest.raises(Ended):
            box.cell(f"{hog}while True: pass", 1, seconds=1)
        (folder,) = kernel.places()["memory"].glob(f"{kernel.PREFIX}_{os.getpid()}_*")
        peak = [folder / n for n in ("memory.peak", "memory.max_usage_in_bytes")]
        held = max(int(path.read_text()) for path in peak if path.exists())
        most = LIMITS.memory + LIMITS.disk + sandbox.KEPT
        assert LIMITS.memory < held <= most < 8 * 150 * 2**20
        box.start()
        assert box.cell("1", 1) == ""


@pytest.mark.skipif(os.getuid() != 0, reason="the kernel limits every other user")
def test_where_the_kernel_holds_no_processes_nothing_is_graded(walls, monkeypatch):
    """As for root without control groups, who may name no other user."""
    monkeypatch.setattr(kernel, "places", dict)
    monkeypatch.setattr(bubble, "user_space", lambda: None)
    monkeypatch.setattr(sandbox, "tried", cache(sandbox.tried.__wrapped__))
    with (
        other_template(),
        pytest.raises(NoSandbox, match="does not hold a submission to 32"),
        opened(LIMITS),
    ):
        pass


def test_what_a_try_finds_wrong_is_named():
    assert sandbox.refused(31, "", 32) == ""
    assert "may start 9 processes" in sandbox.refused(8, "", 32)
    assert "cannot read /torch.py" in sandbox.refused(31, "/torch.py", 32)


MOUNTS = """\
30 24 0:26 / /sys/fs/cgroup/pids rw,nosuid shared:9 - cgroup cgroup rw,pids
31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 /docker/1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""


def test_own_groups_are_found_in_both_versions():
    text = "8:pids:/a/b\n4:memory:/docker/1/c\n3:freezer:/\n1:cpu,cpuacct:/\n0::/u\n"
    base = Path("/sys/fs/cgroup")
    assert kernel.own_groups(text, MOUNTS) == {
        "pids": base / "pids/a/b",
        "memory": base / "memory/c",
        "cpu": base / "cpu",
        "cpuacct": base / "cpu",
        "": base / "unified/u",
    }
    for outside in ("/elsewhere", "/docker/12"):
        assert kernel.own_groups(f"4:memory:{outside}\n", MOUNTS) == {}


def test_the_nearest_group_that_hands_its_count_down_is_taken(tmp_path):
    own = tmp_path / "user.slice/app.slice/shell.scope"
    own.mkdir(parents=True)
    for folder, names in ((own, ""), (own.parent, "memory pids"), (tmp_path, "pids")):
        (folder / "cgroup.subtree_control").write_text(names)
        (folder / "cgroup.procs").touch()
    assert kernel.handed_down(own) == {"pids": own.parent, "memory": own.parent}
    (own.parent / "cgroup.subtree_control").write_text("memory")
    assert kernel.handed_down(own) == {}  # the one above says nothing, so no further


@pytest.mark.parametrize("file", ["memory.max", "memory.limit_in_bytes"])
def test_a_group_has_its_limits_and_is_removed(tmp_path, monkeypatch, file):
    """On folders that are none of the kernel's, whose files are made beforehand."""
    name = f"{kernel.PREFIX}_{os.getpid()}_7"
    monkeypatch.setattr(kernel, "places", lambda: dict.fromkeys(kernel.FILES, tmp_path))
    monkeypatch.setattr(kernel, "NUMBERS", count(7))
    monkeypatch.setattr(Path, "mkdir", lambda path: made(path, file))
    monkeypatch.setattr(Path, "rmdir", lambda path: path.rename(tmp_path / "gone"))
    with kernel.group(32, 10**9) as group:
        group.add(1)
        assert (tmp_path / name / "pids.max").read_text() == "32"
        assert (tmp_path / name / file).read_text() == str(10**9)
        assert (tmp_path / name / "cgroup.procs").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["gone"]


def made(path: Path, *names: str) -> None:
    """A folder as the kernel would make it for a group."""
    os.mkdir(path)
    for name in ("pids.max", "cgroup.procs", *names):
        (path / name).touch()


def answer(rules, call: int, argument: int = 0, architecture: int = 0) -> int:
    """What the kernel does with a system call, by rules of its filter."""
    data = {filters.NUMBER: call, filters.ARGUMENT: argument}
    data[filters.ARCHITECTURE] = architecture
    place, held = 0, 0
    while True:
        code, yes, no, value = rules[place]
        place += 1
        if code == filters.RETURN:
            return value
        if code == filters.LOAD:
            held = data[value]
        else:
            true = held == value if code == filters.EQUAL else held & value
            place += yes if true else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_filters_refuse_what_they_should_on_both_machines(machine):
    column, architecture = filters.MACHINES[machine]
    everywhere = filters.kernel_rules(machine)
    processes = filters.no_process_rules(machine, 7)

    def says(rules, call, argument=0):
        return answer(rules, call, argument, architecture)

    clone, connect = filters.CLONE[column], filters.SOCKET[column]
    assert answer(everywhere, 0, architecture=1) == filters.KILL
    for numbers in filters.REFUSED.values():
        assert says(everywhere, numbers[column]) == filters.REFUSE
    for flag in (0x20000, 0x10000000, 0x40000000):
        assert says(everywhere, clone, flag | 17) == filters.REFUSE
    assert says(everywhere, clone, 17) == says(everywhere, 0) == filters.ALLOW
    families = [f for f in range(50) if says(everywhere, connect, f) == filters.ALLOW]
    assert families == [1, 2, 10, 16]  # local ones, IP, and what asks for addresses
    assert says(processes, clone, 17) == 7
    assert says(processes, clone, filters.CLONE_THREAD) == filters.ALLOW
    assert says(processes, filters.CLONE3) == filters.NOT_THERE
    assert len(filters.packed(everywhere)) == struct.calcsize("HBBI") * len(everywhere)
