"""Whatever an editor has saved is read."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from coursekit.authoring.assignment import load
from coursekit.authoring.notebooks import instructor, mark_written, prompt, starter
from coursekit.grading.reading import notebook_of, read_notebook
from coursekit.grading.remarks import broken, where
from coursekit.grading.submissions import Submission
from coursekit.walls.files import Unreadable, read_bytes

EXAMPLE = load(Path(__file__).parent.parent / "assignments" / "example")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.ipynb", "b.ipynb"], "2 notebooks: a.ipynb, b.ipynb; keep one"),
        (["solution.py"], "no notebook in it, but solution.py"),
        ([], "no notebook in it, but nothing"),
    ],
)
def test_no_telling_which_notebook_is_reported(names, words):
    files = {name: Path(name) for name in names}
    with pytest.raises(Unreadable, match=words):
        notebook_of(Submission("ada", files), EXAMPLE)


@pytest.mark.parametrize(
    "name",
    ["example.ipynb.txt", "example.ipynb.json", "EXAMPLE.IPYNB", "x-checkpoint.ipynb"],
)
def test_a_notebook_is_known_however_it_was_saved(name):
    path, note = notebook_of(Submission("ada", {name: Path(name)}), EXAMPLE)
    assert path == Path(name)
    assert note == f"graded {name}, since no example.ipynb is there"


def test_a_copy_that_jupyter_keeps_is_not_taken_for_the_notebook():
    files = {n: Path(n) for n in ("mine.ipynb", "mine-checkpoint.ipynb")}
    assert notebook_of(Submission("ada", files), EXAMPLE)[0] == Path("mine.ipynb")


def test_the_notebook_of_the_right_name_is_taken_and_another_name_remarked():
    files = {name: Path(name) for name in ("draft.ipynb", "x/example.ipynb")}
    assert notebook_of(Submission("ada", files), EXAMPLE) == (
        Path("x/example.ipynb"),
        "",
    )
    _, note = notebook_of(Submission("a", {"b.ipynb": Path("b.ipynb")}), EXAMPLE)
    assert "since no example.ipynb is there" in note


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "example.ipynb"
    path.write_bytes(data)
    return path


def test_cells_come_without_experiments_and_words_by_question(tmp_path):
    book = json.dumps(instructor(EXAMPLE)).encode()
    found = read_notebook(saved(tmp_path, book), EXAMPLE)
    assert list(found.cells) == [1, 2, 3, 4, 5, 6]
    assert found.answers == {2: ("q1",), 4: ("q2",), 6: ("q3",)}
    assert found.written["q4"].startswith("The bias is there")
    assert not found.notes
    blank = json.dumps(starter(EXAMPLE)).encode()
    found = read_notebook(saved(tmp_path, blank), EXAMPLE)
    assert found.written == {"q4": ""}
    assert all(cell.given for cell in found.saved)


def test_cells_have_the_numbers_that_the_student_sees(tmp_path):
    tagged = {"cell_type": "code", "metadata": {"tags": ["experiment"]}, "source": "1"}
    book = instructor(EXAMPLE)
    cells = [tagged, *book.cells, {"cell_type": "code", "source": "last"}]
    data = json.dumps({**book, "cells": cells}).encode()
    found = read_notebook(saved(tmp_path, data), EXAMPLE)
    assert list(found.cells) == [2, 3, 4, 5, 6, 7, 9]
    assert found.cells[9] == "last"


def test_a_cell_without_tags_answers_what_it_defines(tmp_path):
    sources = ["x = 1", "class Balance(:\n    pass", "def route(): 1", "def other(): 1"]
    cells = [{"cell_type": "code", "source": source} for source in sources]
    data = json.dumps({"cells": cells}).encode()
    found = read_notebook(saved(tmp_path, data), EXAMPLE)
    assert found.answers == {2: ("q2",), 3: ("q1",)}


MARK = mark_written("q4")
GIVEN = [MARK, f"{MARK}\n\n*Your answer.*", f"{MARK}\n\n{prompt('q4')}"]


def answered(tmp_path: Path, *texts: str, kept: str = "", above: str = ""):
    """The starter with another answer cell, or without it, and further text cells."""
    book = starter(EXAMPLE)
    book.cells[-1:] = [{**book.cells[-1], "source": kept}] if kept else []
    text = {"cell_type": "markdown", "metadata": {}}
    more = [{**text, "source": t} for t in texts]
    cells = [{**text, "source": above}, *book.cells, *more]
    data = json.dumps({**book, "cells": cells}).encode()
    return read_notebook(saved(tmp_path, data), EXAMPLE)


@pytest.mark.parametrize("kept", ["", *GIVEN])
def test_an_answer_that_is_not_where_it_belongs_is_remarked(tmp_path, kept):
    found = answered(tmp_path, kept=kept, above="Because.")
    assert found.written == {"q4": ""}
    assert found.notes == ["q4: no answer in its cell, but text in other cells"]
    assert not answered(tmp_path, " ", kept=kept).notes
    assert bool(answered(tmp_path, "Because.").notes)


@pytest.mark.parametrize("kept", GIVEN)
def test_an_answer_goes_on_in_the_cells_below_its_own(tmp_path, kept):
    found = answered(tmp_path, "Because.", "So it is.", kept=kept)
    assert (found.written, found.notes) == ({"q4": "Because.\n\nSo it is."}, [])
    found = answered(tmp_path, "A note.", kept=f"{kept}\n\nBecause.", above="Mine.")
    assert (found.written, found.notes) == ({"q4": "Because.\n\nA note."}, [])


def test_an_answer_ends_where_the_starter_goes_on(tmp_path):
    answer = {"cell_type": "markdown", "source": f"{MARK}\n\nBecause."}
    own = {"cell_type": "code", "source": "x = 1"}
    more = {"cell_type": "markdown", "source": "So it is."}
    cells = [answer, own, more, *starter(EXAMPLE).cells[:-1], {**more, "source": "No."}]
    book = json.dumps({"cells": cells}).encode()
    found = read_notebook(saved(tmp_path, book), EXAMPLE)
    assert found.written == {"q4": "Because.\n\nSo it is."}


def test_an_answer_in_words_in_a_code_cell_is_read_and_remarked(tmp_path):
    cell = {"cell_type": "code", "source": f"{MARK}\n\nBecause."}
    book = json.dumps({"cells": [cell, {**cell, "source": "x = 1"}]}).encode()
    found = read_notebook(saved(tmp_path, book), EXAMPLE)
    assert found.written == {"q4": "Because."}
    assert found.notes == ["q4: its answer in words stands in a code cell"]
    assert found.cells == {2: "x = 1"}


def test_an_answer_is_found_when_its_tags_are_lost(tmp_path):
    cell = {"cell_type": "markdown", "source": [mark_written("q4"), "\n\nBecause."]}
    book = json.dumps({"cells": [cell]}).encode()
    assert read_notebook(saved(tmp_path, book), EXAMPLE).written == {"q4": "Because."}


@pytest.mark.parametrize(
    ("encoding", "noted"),
    [("utf-8", 0), ("utf-8-sig", 0), ("utf-16", 1), ("cp1252", 1)],
)
def test_notebooks_of_other_encodings_are_read(tmp_path, encoding, noted):
    book = {"cells": [{"cell_type": "code", "source": "x = 'é'"}]}
    data = json.dumps(book, ensure_ascii=False).encode(encoding)
    found = read_notebook(saved(tmp_path, data), EXAMPLE)
    assert found.cells == {1: "x = 'é'"}
    assert len(found.notes) == noted


def test_a_notebook_of_version_3_is_read(tmp_path):
    cells = [{"cell_type": "code", "input": ["x = 1"]}]
    head = {"cell_type": "heading", "level": 10**9, "source": "A router"}
    sheets = [{"cells": cells}, {}, {"cells": [head, *cells]}]
    found = read_notebook(
        saved(tmp_path, json.dumps({"worksheets": sheets}).encode()), EXAMPLE
    )
    assert found.cells == {1: "x = 1", 2: "x = 1"}
    assert found.saved[1].source == "###### A router"


@pytest.mark.parametrize(
    "source",
    ["x = 1\r\ny = 2", "x = 1\ry = 2", ["x = 1\r\n", "y = 2"], ["x = 1", "y = 2"]],
)
def test_lines_end_in_many_ways(tmp_path, source):
    book = json.dumps({"cells": [{"cell_type": "code", "source": source}]}).encode()
    found = read_notebook(saved(tmp_path, book), EXAMPLE)
    assert found.cells == {1: "x = 1\ny = 2"}


def test_outputs_may_be_large(tmp_path):
    book = instructor(EXAMPLE)
    data = json.dumps(book).encode()
    image = b'"outputs": [{"data": {"image/png": "' + b"x" * 60 * 2**20 + b'"}}]'
    path = saved(tmp_path, data.replace(b'"outputs": []', image, 1))
    assert list(read_notebook(path, EXAMPLE).cells) == [1, 2, 3, 4, 5, 6]
    with path.open("r+b") as file:
        file.truncate(101 * 2**20)
    with pytest.raises(Unreadable, match="larger than 100 MiB"):
        read_notebook(path, EXAMPLE)


N = 40_000  # characters, at which what takes the square of it is seen
LONG = [
    "\n" * N,
    " " * N + "x",
    "from " + "import " * (N // 10) + "\n",
    "x " * N,
]
LONG += [
    "<!-- " * N,
    "'" * N,
    "?" + " " * N + "x",
    "a:" * N,
    "#" * N,
]
LONG += ["-l " * N, "\u00a0" * N, "!" * N, "words of a text " * (N // 10) + "!"]


def test_no_cell_holds_the_reader_up(tmp_path):
    cells = [{"cell_type": "code", "source": source} for source in LONG]
    path = saved(tmp_path, json.dumps({"cells": cells}).encode())
    began = time.process_time()
    book = read_notebook(path, EXAMPLE)
    wrong = {1: "NameError: name 'nowhere' is not defined"}
    assert where("nowhere", book, wrong).startswith("no cell defines")
    answered = replace(book, answers={1: ("q1",)})
    assert broken(wrong, answered) == [f"q1: code cell 1: {wrong[1]}"]
    assert time.process_time() - began < 5


def test_what_of_a_cell_is_not_run_is_said_by_its_number(tmp_path):
    sources = ["x = 1", "%time y = 2\n!ls", "%matplotlib inline"]
    cells = [{"cell_type": "code", "source": source} for source in sources]
    found = read_notebook(
        saved(tmp_path, json.dumps({"cells": cells}).encode()), EXAMPLE
    )
    assert found.told == {2: "line 2: `!ls` was not run: grading has no shell"}
    assert found.cells[2].startswith("y = 2\n")


def test_an_experiment_is_known_by_its_line_and_run_if_it_has_an_answer(tmp_path):
    line = "# experiment: grading does not run this cell"
    sources = [f"{line}\nx = 1", f"{line}\ndef route(): 1", "y = 1"]
    tags = {"tags": ["experiment"]}
    cells = [{"cell_type": "code", "source": s, "metadata": tags} for s in sources]
    cells[0]["metadata"] = {}
    data = json.dumps({"cells": cells}).encode()
    assert list(read_notebook(saved(tmp_path, data), EXAMPLE).cells) == [2]


@pytest.mark.parametrize(
    "data",
    [b"", b'{"cells": [', b"[1]", b"3", b"[" * 10**6, b'{"cells": 3}', bytes(100),
     b'{"worksheets": [3]}', b"1" * 5000],
)  # fmt: skip
def test_what_is_no_notebook_is_unreadable(tmp_path, data):
    with pytest.raises(Unreadable):
        read_notebook(saved(tmp_path, data), EXAMPLE)


def test_only_regular_files_of_a_size_are_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(10))
    assert read_bytes(path, 10) == bytes(10)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(path)
    for name, limit in (("x", 9), ("pipe", 9), ("link", 99), ("none", 9), (".", 9)):
        with pytest.raises(Unreadable):
            read_bytes(tmp_path / name, limit)
