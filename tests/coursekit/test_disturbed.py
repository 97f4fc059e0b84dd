"""No silent zero: right notebooks, disturbed in every way, get points or a remark.

Nearly all of them are judged in this process, where the cells are run as in the sandbox
but without walls, since they are our own.
"""

import contextlib
import json
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
import torch
from disturbed import BEGIN, HARMLESS, WORDS, code
from hypothesis import given, settings
from hypothesis import strategies as st
from mislaid import OTHERS
from saved_as import SAVED, plain

from coursekit.authoring.assignment import load
from coursekit.authoring.notebooks import instructor, starter
from coursekit.grading.mark import mark
from coursekit.grading.submissions import Submission
from coursekit.reports.report import feedback, row_of
from coursekit.walls import shell
from coursekit.walls.answers import Answers, own_state
from coursekit.walls.sandbox import opened
from coursekit.walls.session import new_names, run_cell

EXAMPLE = load(Path(__file__).parent.parent / "assignments" / "example")
FULL = {question: float(most) for question, most in EXAMPLE.questions.items()}
RIGHT = json.dumps(instructor(EXAMPLE))
THREAD = ThreadPoolExecutor(1)


class Here(contextlib.ExitStack):
    """Answers as a sandbox does, from this process."""

    limits, alive, worked = EXAMPLE.limits, True, 0.0

    def start(self):
        self.names = new_names()

    def cell(self, source, number, **_):
        # In a thread, as in a session: the browser's tests have a loop in this one.
        return THREAD.submit(run_cell, source, number, self.names).result()

    def begin(self, seed):
        self.enter_context(own_state(seed))
        self.answers = Answers(self.names)

    def ask(self, request, *_, **__):
        return self.answers.reply(request)

    def end(self):
        self.close()
        return False


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The result of a notebook's bytes, handed in with the file that is right."""
    folder = tmp_path_factory.mktemp("class")
    here = tmp_path_factory.mktemp("box")
    for path in EXAMPLE.paths("files"):
        (here / path.name).write_bytes(path.read_bytes())
    book = folder / "example.ipynb"
    files = {book.name: book, **{p.name: p for p in EXAMPLE.paths("reference")}}

    def judge(data: bytes, box=None):
        book.write_bytes(data)
        return mark(EXAMPLE, Submission("ada", files), used=box or Here())

    with (
        contextlib.chdir(here),
        mock.patch.dict(sys.modules),
        mock.patch.dict("os.environ"),
        mock.patch.object(torch, "compile", shell.uncompiled),
    ):
        yield judge
    shell.loop().close()
    shell.loop.cache_clear()


def changed(changes, seed):
    book, chance = json.loads(RIGHT), random.Random(seed)
    for change in changes:
        with contextlib.suppress(IndexError):  # there is no answer left to change
            change(book, chance)
    return book


def lost(result):
    """Questions that neither have their points nor a remark."""
    assert result.graded, result.reason
    found = [q for q, most in FULL.items() if result.questions[q] != most]
    found += ["q4"] if BEGIN not in result.written["q4"] else []
    return [question for question in found if f"{question}:" not in result.reason]


seeds = st.integers(0, 2**32)
saved = st.sampled_from(sorted(SAVED))


@settings(max_examples=100)
@given(changes=st.lists(st.sampled_from(HARMLESS), max_size=6), how=saved, seed=seeds)
def test_what_tools_do_costs_no_point_and_needs_no_look(judged, changes, how, seed):
    book = changed(changes, seed)
    result = judged(SAVED[how](book))
    assert not result.reason, plain(book)
    assert result.questions == FULL
    assert WORDS in result.written["q4"]


@settings(max_examples=100)
@given(
    changes=st.lists(st.sampled_from([*HARMLESS, *OTHERS * 3]), min_size=1, max_size=5),
    how=saved,
    seed=seeds,
)
def test_every_question_has_its_points_or_a_remark(judged, changes, how, seed):
    book = changed(changes, seed)
    result = judged(SAVED[how](book))
    assert not lost(result), f"{result.reason}\n{plain(book).decode()}"


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: change.__name__)
def test_each_by_itself(judged, change):
    for seed in range(5):
        assert not lost(judged(plain(changed([change], seed))))


def test_what_was_not_run_is_said_to_the_student_and_costs_no_look(judged):
    book = json.loads(RIGHT)
    book["cells"][1:1] = [code("!ls"), code("%%bash\nls"), code("1 / 0")]
    result = judged(plain(book))
    assert (result.status, result.questions) == ("ok", FULL)
    assert result.cells == {
        "1": "line 1: `!ls` was not run: grading has no shell",
        "2": "line 1: the cell below `%%bash` was not run",
        "3": "ZeroDivisionError: division by zero (line 1 of <module>: 1 / 0)",
    }
    page = feedback(result, row_of(result, EXAMPLE, {}), EXAMPLE)
    assert "the cell below `%%bash` was not run" in page


def test_a_starter_as_it_is_given_out_needs_no_look(judged):
    assert judged(json.dumps(starter(EXAMPLE)).encode()).status == "ok"


# What must work behind the walls as it does in Jupyter, in cells of one notebook.
WALLED = (
    "import torch",
    "@torch.jit.script\ndef half(x: torch.Tensor, k: int):\n    return x / k",
    "@torch.compile(dynamic=True)\ndef twice(x):\n    return 2 * x",
    "@torch.no_grad()\ndef thrice(x):\n    return 3 * x",
    "@torch.inference_mode\ndef same(x):\n    return x",
    "layer = torch.compile(torch.nn.Linear(2, 2))\nlayer.compile()",
    "assert layer._orig_mod(torch.ones(1, 2)).shape == layer(torch.ones(1, 2)).shape",
    "x = torch.ones(2)\nassert torch.equal(half(twice(thrice(x)), 2), same(3 * x))",
    "from IPython import get_ipython\nget_ipython().run_line_magic('time', 'x = 1')",
    "from IPython.display import HTML, clear_output, display\nclear_output()",
    "assert x == 1\ndisplay(HTML('<b>'))",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    "import asyncio\nlock = asyncio.Lock()\nasync with lock:\n    y = 2",
    "async with lock:\n    await asyncio.sleep(0)\n    assert y == 2",
    "%%writefile helper.py\ndef seven():\n    return 7",
    "from helper import seven\nassert seven() == 7",
    "%run helper.py\n%cd .\n%timeit seven()",
    "import tqdm.auto\nassert sum(tqdm.auto.tqdm([1, 2])) == 3",
)


@pytest.fixture(scope="module")
def box(walls):
    shown = {path.name: path for path in EXAMPLE.paths("files")}
    with opened(EXAMPLE.limits, shown) as box:
        yield box


def test_behind_the_walls_jupyters_cells_run_too(judged, box):
    book = json.loads(RIGHT)
    book["cells"][1:1] = [code(source) for source in WALLED]
    result = judged(plain(book), box)
    assert (result.reason, result.cells, result.questions) == ("", {}, FULL)


@pytest.mark.parametrize("seed", range(3))
def test_behind_the_walls_it_is_the_same(judged, box, seed):
    chance = random.Random(seed)
    book = changed(chance.sample(HARMLESS, 8), seed)
    result = judged(plain(book), box)
    assert (result.reason, result.questions) == ("", FULL)
    book = changed([*chance.sample(HARMLESS, 4), *chance.sample(OTHERS, 3)], seed)
    assert not lost(judged(plain(book), box))
