"""What Jupyter takes beyond Python is turned into Python, line by line, or named."""

import ast
import linecache
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from coursekit.walls import cells, shell
from coursekit.walls.cells import DEPTH, Plain, plain, plain_cells, plain_python
from coursekit.walls.session import run_cell

DEF = "def f():\n    return 1"
SHELL = "was not run: grading has no shell"


@pytest.mark.parametrize(
    "source",
    ["", "x = 1", DEF, "x = 7 % 2\n# what?\n'''\n%time\n'''", "x = '\u00a0'", "x\r\ny",
     "s = 'get it'", "await f()"],
)  # fmt: skip
def test_plain_python_stays_as_it_is(source):
    assert plain(source) == Plain(source)


@pytest.mark.parametrize(
    ("source", "turned"),
    [
        (f"%%time\n{DEF}", f"\n{DEF}\n"),
        (f"\n\n%%time\n{DEF}", f"\n\n\n{DEF}\n"),
        (f"%%capture\n%%time\n{DEF}", f"\n\n{DEF}\n"),
        (f"%%capture out\n{DEF}", f"out = get_ipython().captured()\n{DEF}\n"),
        (f"%%prun -s cumulative\n{DEF}", f"\n{DEF}\n"),
        ("%time x = f(3)", "x = f(3)\n"),
        ("if x:\n    y = %time f(3)", "if x:\n    y = f(3)\n"),
        ("%time é = 'ü'; z = 'é'", "é = 'ü'; z = 'é'\n"),
        ("%prun -l 3 -s time f(3)", "f(3)\n"),
        ("%time -x + y", "-x + y\n"),
        ("time x = f()", "x = f()\n"),
        ("%%time\nz = await g()\n%time await h()", "\nz = await g()\nawait h()\n"),
        (">>> x = 1\n... y = 2", "x = 1\ny = 2\n"),
        ("In [3]: x = 1", "x = 1\n"),
        ("    x = 1\n    y = 2", "x = 1\ny = 2\n"),
        ("%%html\n<b>", ""),
        ("%%LaTeX\n$x$", ""),
        (f"get_ipython().run_cell_magic('time', '', {DEF!r})", f"{DEF}"),
        ("x?", "get_ipython().run_line_magic('pinfo', 'x')\n"),
    ],
)
def test_what_runs_python_is_python(source, turned):
    found = plain(source)
    assert (found.source, found.notes) == (turned, ())
    ast.parse(found.source)


@pytest.mark.parametrize(
    ("source", "kept", "notes"),
    [
        ("x = 1\n!ls -l", "x = 1", [(2, f"`!ls -l` {SHELL}")]),
        ("y = !ls\nz = 1", "z = 1", [(1, f"`!ls` {SHELL}")]),
        ("%%time\nx = 1\n\n!ls", "x = 1", [(4, f"`!ls` {SHELL}")]),
        ("%%capture\n!pip install x", "", [(2, f"`!pip install x` {SHELL}")]),
        ("pip install x", "", [(1, "`%pip install x` was not run")]),
        ("%%bash\nls\nx = 1", "", [(1, "the cell below `%%bash` was not run")]),
        (f"%%python3\n{DEF}", "", [(1, "the cell below `%%python3` was not run")]),
        (f"%%heat\n{DEF}", DEF, [(1, "`%%heat` is not known: its cell was run without "
                                  "it")]),
        ("%%heat\nto the max", "", [(1, "the cell below `%%heat` was not run")]),
        ("%", "", [(1, "`%` was not run")]),
        ("%heat up\nx = 1", "x = 1", [(1, "`%heat up` was not run")]),
        ("x = 1\n%%time\ny = 2", "y = 2", [(2, "`%%time` was not run")]),
        (DEF.replace("    ", "\u00a0" * 4), DEF,
         [(2, "a character that cannot be seen (U+00A0) was read as a space")]),
        (f"\ufeff{DEF}\u200b", DEF,
         [(1, "a character that cannot be seen (U+FEFF) was left out"),
          (2, "a character that cannot be seen (U+200B) was left out")]),
    ],
)  # fmt: skip
def test_what_is_not_run_is_said_with_its_line(source, kept, notes):
    found = plain(source)
    assert kept in found.source
    assert list(found.notes) == notes
    assert found.told().startswith(f"line {notes[0][0]}: {notes[0][1]}")


@pytest.mark.parametrize(
    "source",
    ["def (:", "%time x\ndef (:", "def (:\u00a0", "%%time\ndef (:", "%time f("],
)
def test_what_is_no_python_stays_wrong_on_its_own_line(source):
    names = {"get_ipython": lambda: shell.Shell(names)}
    wrong = run_cell(plain_python(source), 1, names)
    assert wrong.startswith("SyntaxError")
    assert "time" not in wrong


@pytest.mark.parametrize(
    "source",
    ["%time x\n" * 10**4 + "def (:", "%%time\n" * 10**3, "(" * 10**5, "!" * 10**6,
     "%" + "x" * 10**6, "x = \\\n" * 10**4 + "%time 1", "\u00a0" * 10**6, "'" * 10**6,
     "%time " * 10**4],
    ids=range(9),
)  # fmt: skip
def test_no_cell_holds_the_grader_up(source):
    began = time.process_time()
    assert isinstance(plain(source).source, str)
    assert time.process_time() - began < 3


def test_no_notebook_holds_the_grader_up(monkeypatch):
    monkeypatch.setattr(cells, "ALL", cells.MOST // 3)  # a tenth of a second
    found = plain_cells(dict.fromkeys(range(10**4), "%time x\n" * 100 + "def (:"))
    assert not found[0].notes
    assert found[9999].notes == ((1, "there is too much to be turned into Python"),)


def test_cell_magics_within_each_other_come_to_an_end():
    assert plain("%%time\n" * DEPTH + "x = 1").source.strip() == "x = 1"
    assert plain("%%time\n" * 2 * DEPTH + "x = 1").notes


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """Runs a cell among names that a fixture keeps, and gives what went wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = {"__name__": "__main__"}
    stand_in = shell.Shell(names)
    names["get_ipython"] = lambda: stand_in

    def run(source):
        # In a thread, as in a session: the browser's tests have a loop in this one.
        return thread.submit(run_cell, plain_python(source), 1, names).result()

    run.names = names
    with ThreadPoolExecutor(1) as thread:
        yield run
    linecache.cache.pop("<cell 1>", None)
    shell.loop().close()
    shell.loop.cache_clear()


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nawait asyncio.sleep(0)\nx = 1",
        "%%capture out\nprint(1)\nx = 1 + len(out.stdout) + len(out.outputs)",
        "%%time\nx = 1",
        "y = %timeit -o -n 2 -r 1 sum(range(9))\nx = int(y.average < 1)",
        "%%writefile m.py\nx = 1\n",
        "y = !ls\nx = 1 + len(y) + len(y.s)",
        "%env X=1\nimport os\nx = int(os.environ['X'])",
        "%cd no/such/folder\nx = 1",
        "get_ipython().run_line_magic('time', 'x = 1')",
        "get_ipython().run_cell_magic('time', '', 'x = 1')\ny = 2",
        "get_ipython().magic('time x = 1')",
        "get_ipython().ast_node_interactivity = 'all'\nx = 1",
        "get_ipython().events.register('post_execute', print)\nx = 1",
        "if 'IPKernelApp' not in get_ipython().config: x = 1",
    ],
)
def test_the_shell_does_what_a_cell_asks(cell, source):
    assert cell(source) == ""
    if "writefile" in source:
        assert cell("%run m.py") == ""
    assert cell.names["x"] == 1


def test_what_is_timed_leaves_no_name_behind_and_runs_once(cell):
    assert cell("seen = []\n") == ""
    assert cell("%%timeit -n 100\nseen.append(1)\nx = 1\nf = lambda: x\nf()") == ""
    assert cell.names["seen"] == [1]
    assert "x" not in cell.names


def test_an_import_from_the_future_holds_for_later_cells(cell):
    assert cell("from __future__ import annotations") == ""
    assert cell("def f(x: Nothing): return x") == ""
    names = {}
    assert "Nothing" in run_cell("def f(x: Nothing): return x", 1, names)


def test_what_a_timed_cell_raises_names_the_students_line(cell):
    assert cell("%%time\nx = 1\n1 / 0").endswith("(line 3 of <module>: 1 / 0)")
    assert cell("x = 1\n%time 1 / 0").endswith("(line 2 of <module>: 1 / 0)")


def test_what_is_compiled_is_given_back():
    @shell.uncompiled
    def f(x):
        return x

    @shell.uncompiled(mode="max-autotune")
    def g(x):
        return x

    assert (f(1), g(2)) == (1, 2)
