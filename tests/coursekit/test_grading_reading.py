"""Whatever an editor has saved is read."""

import json
import os
from pathlib import Path

import pytest

from coursekit.authoring.assignment import load
from coursekit.authoring.notebooks import instructor, mark_written, prompt, starter
from coursekit.grading.reading import notebook_of, read_notebook
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
    assert found.answers == {2: "q1", 4: "q2", 6: "q3"}
    assert found.written["q4"].startswith("The bias is there")
    assert not found.notes
    blank = json.dumps(starter(EXAMPLE)).encode()
    assert read_notebook(saved(tmp_path, blank), EXAMPLE).written == {"q4": ""}


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
    assert read_notebook(saved(tmp_path, data), EXAMPLE).answers == {2: "q2", 3: "q1"}


MARK = mark_written("q4")
GIVEN = [MARK, f"{MARK}\n\n*Your answer.*", f"{MARK}\n\n{prompt('q4')}"]


def answered(tmp_path: Path, *texts: str, kept: str = ""):
    """The starter with another answer cell, or without it, and further text cells."""
    book = starter(EXAMPLE)
    book.cells[-1:] = [{**book.cells[-1], "source": kept}] if kept else []
    more = [{"cell_type": "markdown", "metadata": {}, "source": t} for t in texts]
    data = json.dumps({**book, "cells": [*book.cells, *more]}).encode()
    return read_notebook(saved(tmp_path, data), EXAMPLE)


@pytest.mark.parametrize("kept", ["", *GIVEN])
def test_an_answer_in_a_cell_of_its_own_is_remarked(tmp_path, kept):
    found = answered(tmp_path, "Because.", kept=kept)
    assert found.written == {"q4": ""}
    assert found.notes == ["q4: no answer in its cell, but text in other cells"]
    assert not answered(tmp_path, " ", kept=kept).notes


@pytest.mark.parametrize("kept", GIVEN)
def test_an_answer_below_what_the_starter_says_is_no_more_than_that(tmp_path, kept):
    found = answered(tmp_path, "A note.", kept=f"{kept}\n\nBecause.")
    assert found.written["q4"].endswith("Because.")
    assert prompt("q4") not in found.written["q4"]
    assert not found.notes


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
    data = json.dumps({"worksheets": [{"cells": cells}]}).encode()
    assert read_notebook(saved(tmp_path, data), EXAMPLE).cells == {1: "x = 1"}


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
