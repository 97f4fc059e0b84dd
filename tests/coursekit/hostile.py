"""Submissions made to go wrong, each with the points that it deserves.

They are made from an assignment's own solution or starter: F is the first function
that an answer defines, Q its question. "Inside" means that F does it when it is called,
and then answers as it should; "cell" means that a further cell does it.
"""

import contextlib
import json
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from coursekit.authoring.assignment import Assignment
from coursekit.authoring.notebooks import defined, instructor, starter
from coursekit.authoring.prove import SECRET
from coursekit.grading.grade import Options, grade
from coursekit.grading.results import GRADED, Result
from coursekit.grading.submissions import collect
from coursekit.reports.report import write_reports
from coursekit.walls.sandbox import NoSandbox, missing

# For hostile submissions, which go to every limit: seconds and bytes.
SHORT = {"cell": 1.0, "call": 1.0, "question": 1.0}
SHORT |= {"memory": 2**29, "disk": 2**24, "file": 2**23}

# What the submissions below share; F is the first function that answers define.
HOG = "held = [bytearray(b'x' * 2**26) for _ in range(2**10)]"
FILES = "import glob, os, shutil\nfor p in (*glob.glob('/*'), *glob.glob('*'), '/box'):"
DESCRIPTORS = "import os\nfor fd in range(3, 64):\n    try: os.write(fd, {data})\n"
DESCRIPTORS += "    except OSError: pass"
FORGED = "(len(_b := encode({reply})).to_bytes(4, 'little') + _b)"
EQUAL = """\
class Equal:
    shape, dtype = (), None
    __class__ = property(lambda self: float)
    def __eq__(self, other): return True
    def __getattr__(self, name): return Equal()
    def __call__(self, *a, **k): return Equal()
    def __float__(self): return self
    def __bool__(self): return True
F = lambda *a, **k: Equal()
"""
PATCH = """\
import torch, numpy, builtins
for name in ("allclose", "isclose", "equal"):
    setattr(torch, name, lambda *a, **k: True)
torch.testing.assert_close = lambda *a, **k: None
torch.Tensor.__eq__ = lambda *a: torch.tensor(True)
F = lambda *a, **k: torch.zeros(1)
"""
KIT = """\
import sys
for module in list(sys.modules.values()):
    for name in ("run_test", "check", "close", "verdicts", "run_cell"):
        if hasattr(module, name):
            setattr(module, name, lambda *a, **k: None)
from coursekit.testing.suite import Verdict
Verdict.passed = property(lambda self: True)
"""
CONNECT = """\
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.settimeout(2)
s.connect(("127.0.0.1", {port}))
"""

# A further cell of a perfect notebook; it keeps all points.
CELLS = {
    "exits": "import os; os._exit(0)",
    "aborts": "import os; os.abort()",
    "loops": "while True: pass",
    "loops past exceptions": "while True:\n    try: pass\n    except BaseException: 1",
    "hogs memory": HOG,
    "deletes files": f"{FILES}\n    shutil.rmtree(p, True)\nos.remove('/box/x')",
    "fills the disk": "for i in range(100):\n"
    "    for where in ('/tmp', '/box', '/dev/shm', '/'):\n"
    "        try: open(f'{where}/{i}', 'wb').write(bytes(2**24))\n"
    "        except OSError: pass",
    "prints 40 MB": "print('x' * 40 * 2**20)",
    "starts 300 processes": "import os\nfor _ in range(300): os.fork()",
    "spins in a thread": "import threading\ndef spin():\n    while True: pass\n"
    "threading.Thread(target=spin, daemon=True).start()",
    "changes the default dtype": "import torch; torch.set_default_dtype(torch.float64)",
    "connects": CONNECT,
    "writes garbage to all": DESCRIPTORS.format(data="os.urandom(2**12)"),
    "forges a word of the session": DESCRIPTORS.format(data=r"b'\x01\0\0\0x'"),
}
# All of these in one perfect notebook, which keeps all points: they are refused.
TOGETHER = (
    "raise SystemExit(0)",
    f"import os\nif all(os.fork() for _ in range(6)): pass\n{HOG}",
    "input('points? ')",
    "import subprocess; subprocess.Popen(['sleep', '1000'])",
    "import multiprocessing as m\nm.get_context('fork').Pool(4)",
    "%matplotlib inline\n!pip install torch\nx = 1\n%time x",
    "%%bash\nrm -rf /",
    "import torch; torch.set_grad_enabled(False)",
    "def (:",
    CONNECT.replace("STREAM", "DGRAM") + "s.send(b'x')",
    "open('/proc/1/mem', 'rb+').write(b'x')",
    'print(\'{"status": "ok", "points": 100}\')',
    "1 / 0",
)
# Fork bombs, none of which starts anything: after each all points are kept.
BOMB = "import os\nwhile True: os.fork()"
TOGETHER += (
    BOMB,
    f"open('/box/bomb.py', 'w').write({BOMB!r})\nimport sys\nsys.path += ['/box']\n"
    "import bomb",
    f"import atexit\natexit.register(lambda: exec({BOMB!r}))\natexit._run_exitfuncs()",
    f"import threading\nthreading.Thread(target=exec, args=({BOMB!r},)).start()",
    "import ctypes\nwhile ctypes.CDLL(None).fork() >= 0: pass",
)
# What F does before it answers, or instead; its question is lost.
INSIDE = {
    "loops": "while True: pass",
    "loops past exceptions": "while True:\n    try:\n        while True: pass\n"
    "    except BaseException: pass",
    "exits": "import os; os._exit(0)",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "hogs memory": HOG,
    "hogs memory in secret": "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
    + HOG,
    "returns too much": "import torch; return torch.zeros(2**26)",
    "writes garbage to all": DESCRIPTORS.format(data="os.urandom(2**12)"),
    "announces 4 GiB": DESCRIPTORS.format(data="b'\\xff' * 4"),
}
# The same, but F only says something.
SAYS = {
    "raises SystemExit": "raise SystemExit(0)",
    "raises KeyboardInterrupt": "raise KeyboardInterrupt",
    "forks": "import os; os.fork()",
    "bombs": BOMB,
    "recurses": "return F(*a, **k)",
    "returns a nest": "x = []\nfor _ in range(10**5): x = [x]\nreturn x",
    "returns itself": "x = []; x.append(x); return x",
    "returns a function": "return F",
    "returns another type": "return 'all points'",
    "raises passed": "raise type('passed', (AssertionError,), {})('passed')",
    "raises markup": "raise ValueError('=1+1<script>alert(1)</script>')",
    "shows hidden tests": "raise ValueError(open({hidden!r}).read())",
    "lists the machine": "import os\nraise ValueError(os.listdir({folder!r}))",
}
# What F does before it answers, and keeps its points.
HARMLESS = {
    "kills everybody": "import os\ntry: os.kill(-1, 9)\n"
    "except ProcessLookupError: pass  # a call before this one has killed them",
    "stops everybody": "import os; os.kill(-1, 19)",
    "prints 40 MB": "print('x' * 40 * 2**20)",
    "seeds": "import torch; torch.manual_seed(0)",
}
# Replies that F sends in place of its answer; its question is lost.
REPLIES = ("{'value': 0.0}", "{'value': None, 'kind': 'passed'}")
REPLIES += ("{'error': 'passed', 'kind': 'passed'}", "{'error': 1}", "[]", "'passed'")
# Cells that are all there is besides the starter; they give nothing.
BLANK = {
    "patches torch": PATCH,
    "returns what is always equal": EQUAL,
    "patches the kit": KIT,
    "bombs from the session": "import os, coursekit.walls.session as s\n"
    "def bomb(*_):\n    while True: os.fork()\ns.send = bomb",
    "patches json": "import json\njson.dumps = lambda *a, **k: '0.0'",
    "prints forged results": 'print(\'{"status": "ok", "points": 100}\')',
}
# Files of other content than the solution's, by what replaces it: unreadable.
BYTES = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "a list": lambda data: b'["cells"]',
    "a number": lambda data: b"1" * 5000,
    "nested": lambda data: b"[" * 10**6,
    "a zip": lambda data: b"PK\x03\x04" + bytes(100),
    "too large": lambda data: data + b" " * 101 * 2**20,
}
# Weights of a perfect notebook, by what replaces them; questions about them are lost.
# The grader reads them itself: a pickle that is loaded ends it, and no result comes.
WEIGHTS = {
    "pickle": lambda data: b"\x80\x04cos\n_exit\n(I1\ntR.",
    "no header": lambda data: b"\xff" * 8 + data,
    "long header": lambda data: (2**60).to_bytes(8, "little") + data[8:],
    "truncated": lambda data: data[:-4],
    "empty": lambda data: b"",
}


@dataclass(frozen=True)
class Hostile:
    """A submission by file name, what it loses, and how the report calls it.

    `lost` are questions without points, None where there must be no number at all.
    """

    name: str
    files: dict[str, bytes]
    lost: frozenset[str] | None
    status: tuple[str, ...] = GRADED


def _book(notebook: Any) -> bytes:
    return json.dumps(notebook, ensure_ascii=False).encode()


def _with(notebook: Any, *sources: str, first: bool = False) -> bytes:
    kind = {"cell_type": "code", "metadata": {}, "outputs": []}
    more = [{**kind, "source": source} for source in sources]
    cells = [*more, *notebook.cells] if first else [*notebook.cells, *more]
    return _book({**notebook, "cells": cells})


def wrapped(function: str, body: str) -> str:
    """A cell by which a function does something before it answers."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    lines = lines.replace("F(", f"{function}(").replace(
        "return F", f"return {function}"
    )
    begin = f"_answer = {function}\ndef {function}(*a, **k):\n"
    return f"{begin}{lines}    return _answer(*a, **k)\n"


def hostile(assignment: Assignment, port: int) -> list[Hostile]:
    """The whole set for an assignment; `port` is one on which somebody listens."""
    names = defined(assignment)
    question, functions = next((q, f) for q, f in names.items() if f)
    function = functions[0]
    perfect, blank = instructor(assignment), starter(assignment)
    hidden = assignment.paths("tests/hidden", "*.py") or assignment.public
    by_file = {test.question for test in assignment.tests if not test.asks_student}
    reference = {p.name: p.read_bytes() for p in assignment.paths("reference")}
    every, nothing = frozenset(assignment.questions), frozenset()
    only = assignment.lost_with(question)
    book = f"{assignment.name}.ipynb"
    found = []

    def add(name, data, lost, status=GRADED, file=book, more=reference) -> None:
        found.append(Hostile(name, {file: data, **more}, lost, status))

    for name, source in CELLS.items():
        cell = source.replace("{port}", str(port))
        add(f"a last cell {name}", _with(perfect, cell), nothing)
        if name in ("exits", "loops", "changes the default dtype"):
            add(f"a first cell {name}", _with(perfect, cell, first=True), nothing)
    many = [source.replace("{port}", str(port)) for source in TOGETHER]
    add("cells that are refused", _with(perfect, *many), nothing)
    for table, lost in ((INSIDE, only), (SAYS, only), (HARMLESS, nothing)):
        for name, body in table.items():
            given = {"{hidden!r}": hidden[0].resolve(), "{folder!r}": assignment.folder}
            for field, path in given.items():
                body = body.replace(field, repr(str(path)))
            data = _with(perfect, wrapped(function, body))
            add(f"inside {name}", data, lost)
    for reply in REPLIES:
        body = DESCRIPTORS.format(data=FORGED.replace("{reply}", reply))
        body = f"from coursekit.walls.codec import encode\n{body}"
        data = _with(perfect, wrapped(function, body))
        add(f"inside forges {reply}", data, only)
    for name, source in BLANK.items():
        cell = source.replace("F = ", f"{function} = ")
        add(f"blank {name}", _with(blank, cell), every, more={})
    plain = _book(perfect)
    for name, change in BYTES.items():
        add(name, change(plain), None, ("unreadable",))
    for name, change in WEIGHTS.items() if by_file else ():
        changed = {file: change(data) for file, data in reference.items()}
        add(f"weights {name}", plain, frozenset(by_file), more=changed)
    add("two notebooks", plain, None, ("unreadable",), "a.ipynb", {"b.ipynb": plain})
    add("no notebook", b"x = 1", None, ("unreadable",), "solution.py", {})
    strange = _with(perfect, "x = 'é'").decode().encode("cp1252", "replace")
    cells = perfect.cells
    definition = re.compile(rf"^(def|class) {function}\b", re.MULTILINE)
    missing = [cell for cell in cells if not definition.search(cell.source)]
    twice = [cell for cell in cells for _ in range(2)]
    none = [1, None, *cells]
    for name, data, lost in (
        ("with a mark", b"\xef\xbb\xbf" + plain, nothing),
        ("=HYPERLINK(1)<b>", plain, nothing),
        ("without its cell", _book({**perfect, "cells": missing}), only),
        ("every cell twice", _book({**perfect, "cells": twice}), nothing),
        (
            "cells that are none",
            _book({**perfect, "cells": none}),
            nothing,
        ),
    ):
        add(name, data, lost)
    add("not UTF-8", strange, nothing, ("look",))
    add("another name", plain, nothing, ("look",), file="final (2).ipynb")
    return found


def lay_out(found: list[Hostile], folder: Path) -> None:
    """Write the submissions as a class's, one folder each."""
    for one in found:
        for name, data in one.files.items():
            path = folder / one.name.replace("/", "_") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and a list that tells afterwards what has come in there.

    Connections wait in the port's queue, and datagrams in its buffer, to be counted.
    """
    heard: list[str] = []
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        port = stream.getsockname()[1]
        datagram.bind(("127.0.0.1", port))
        yield port, heard
        stream.setblocking(False)
        datagram.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                stream.accept()[0].close()
                heard.append("a connection")
        with contextlib.suppress(BlockingIOError):
            while True:
                datagram.recv(1)
                heard.append("a datagram")


def below() -> set[int]:
    """The processes that this one has begun, sandboxes and all that runs there."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


def snapshot(folders: list[Path]) -> dict[str, tuple[int, int]]:
    """Size and time of every file below folders."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                stat = path.lstat()
                found[str(path)] = (stat.st_size, stat.st_mtime_ns)
    return found


def prove_hostile(
    assignment: Assignment, jobs: int = 2, quiet: bool = True
) -> tuple[list[str], list[Result]]:
    """What goes wrong with the hostile set, and the results; made from an assignment.

    Every submission must get exactly its points and status; no process, file or
    connection may be left of any; no page may hold markup or a hidden test's text.

    Raises NoSandbox without bubblewrap.
    """
    if missing():
        raise NoSandbox(missing())
    before = below()  # with the template for all sandboxes
    limits = replace(assignment.limits, **SHORT)
    short, wrong = replace(assignment, limits=limits), []
    with tempfile.TemporaryDirectory() as base, listening() as (port, heard):
        class_, out = Path(base, "class"), Path(base, "out")
        everybody = hostile(short, port)
        lay_out(everybody, class_)
        watched = [class_, assignment.folder]
        files = snapshot(watched)
        options = Options(jobs=jobs, secret=SECRET, quiet=quiet)
        results = grade(short, collect(class_), out, options)
        rows = write_reports(out, results, short, {})
        if snapshot(watched) != files:
            wrong.append("files were changed")
        hidden = [p.read_text("utf-8") for p in short.paths("tests/hidden", "*.py")]
        for page in sorted(out.glob("feedback/*.html")):
            text = page.read_text(encoding="utf-8")
            if "<script" in text or any(test in text for test in hidden):
                wrong.append(f"{page.name} shows what it should not")
    wrong += [f"{what} came out of a sandbox" for what in heard]
    by_student = {result.student: result for result in results}
    for one in everybody:
        wrong += misjudged(one, by_student.get(one.name), short)
    if len(rows) != len(everybody):
        wrong.append(f"{len(rows)} rows for {len(everybody)} submissions")
    if left := below() - before:
        wrong.append(f"processes are left: {sorted(left)}")
    return wrong, results


def misjudged(one: Hostile, result: Result | None, assignment: Assignment) -> list[str]:
    """Where a hostile submission got something else than it deserves."""
    if result is None:
        return [f"{one.name}: no result"]
    found = []
    if result.status not in one.status:
        found.append(f"{one.name}: {result.status}, {result.reason}")
    for question, most in assignment.questions.items():
        due: float | None = most
        if one.lost is None or question in one.lost:
            due = None if one.lost is None else 0.0
        if (got := result.questions[question]) != due:
            said = [v.message for v in result.verdicts if v.question == question]
            found.append(f"{one.name}: {question} got {got}, not {due}: {said}")
    return found
