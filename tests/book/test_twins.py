"""What execute.py promises to those who write the chapters."""

import os
import shutil
from pathlib import Path
from unittest import mock

import execute
import nbformat
import pytest
from jupytext.cli import jupytext

NAME = "01_demo"
HEADER = """\
---
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
---

# Demo

"""
CLOCK = """\
```{code-cell} ipython3
:tags: [nbval-ignore-output]

import time
print( time.time_ns() )
```
"""
# What jupytext might write in another way than an author would: cell metadata of
# both kinds, a long alt text, a magic, an empty line at the start of a cell.
VARIED = (
    HEADER
    + """\
A sentence.

+++ {"tags": ["margin"]}

A note.

```{code-cell} ipython3
---
tags: [hide-input]
mystnb:
  image:
    alt: A curve that falls from 2.3 to 0.1 over two thousand steps, then stays flat
---

%config InlineBackend.figure_formats = ["svg"]
x = {'a':1}
x
```

A sentence between.

"""
    + CLOCK
)


def cell(source):
    return f"```{{code-cell}} ipython3\n{source}\n```\n"


@pytest.fixture
def book(tmp_path):
    shutil.copy(execute.BOOK.parent / "pyproject.toml", tmp_path)
    (tmp_path / "book" / "text").mkdir(parents=True)
    return tmp_path / "book"


@pytest.fixture
def author(book):
    """Writes the twin, later than all other files; returns its path."""
    later = iter(range(1, 100))

    def write(text):
        twin, _ = execute.pair(NAME, book)
        twin.write_text(text, encoding="utf-8")
        now = twin.stat().st_mtime + next(later)
        os.utime(twin, (now, now))
        return twin

    return write


def made(root, text):
    """A book with one chapter on which twin and notebook agree."""
    shutil.copy(execute.BOOK.parent / "pyproject.toml", root)
    (root / "book" / "text").mkdir(parents=True)
    (root / "book" / "text" / f"{NAME}.md").write_text(text, encoding="utf-8")
    assert run(root / "book") == 0
    return root


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return made(tmp_path_factory.mktemp("plain"), HEADER + cell("1")) / "book"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return made(tmp_path_factory.mktemp("finished"), VARIED)


def run(book, *options):
    return execute.main([*options, NAME], book=book)


def stored(book):
    return (book / f"{NAME}.ipynb").read_bytes()


def printed(book):
    """What each code cell printed or showed."""
    notebook = nbformat.read(book / f"{NAME}.ipynb", as_version=4)
    return [
        "".join(o.get("text") or o.data["text/plain"] for o in cell.outputs)
        for cell in execute.code_cells(notebook)
    ]


def test_a_second_run_changes_no_byte(book, author):
    twin = author(VARIED)
    assert run(book) == 0
    before = stored(book), twin.read_bytes()
    assert run(book) == 0
    assert (stored(book), twin.read_bytes()) == before
    assert not [path for path in book.iterdir() if path.name[0] == "."]


def test_readers_get_a_plain_notebook_of_what_was_written(book, author, capsys):
    author(HEADER + "(part)=\n## Part\n\n" + cell("2 + 1"))
    assert run(book) == 0
    assert f"{NAME}: plain notebook written" in capsys.readouterr().out
    made = nbformat.read(book / "notebooks" / f"{NAME}.ipynb", as_version=4)
    assert made.cells[0].source.endswith("as in Colab.\n\n## Part")
    assert made.cells[1].outputs[0].data["text/plain"] == "3"


def test_refresh_takes_the_new_output_of_a_cell_that_differs_every_time(book, author):
    author(HEADER + CLOCK)
    run(book)
    before = printed(book)
    run(book, "--refresh")
    assert printed(book) != before


def test_a_changed_source_renews_the_outputs_after_it_only(book, author):
    author(HEADER + CLOCK + "\nThen\n\n" + cell("1") + "\nand\n\n" + CLOCK)
    run(book)
    first, _, last = printed(book)
    author(HEADER + CLOCK + "\nnow\n\n" + cell("2") + "\nand\n\n" + CLOCK)
    run(book)
    assert printed(book)[:2] == [first, "2"]
    assert printed(book)[2] != last


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings\nwarnings.warn('old')", "UserWarning: old"),
        ("import sys\nprint(1, file=sys.stderr)", "writes to stderr"),
        ("object()", "prints a memory address"),
        ("print('/'.join(['', 'home', 'me']))", "prints a path of this machine"),
    ],
    ids=["exception", "warning", "stderr", "address", "path"],
)
def test_a_failing_cell_is_named_and_leaves_the_old_notebook(
    plain, book, author, capsys, source, message
):
    shutil.copytree(plain, book, dirs_exist_ok=True)
    before = stored(book)
    author(HEADER + cell("1") + "\nThen\n\n" + cell(source))
    assert run(book) == 1
    assert stored(book) == before
    error = capsys.readouterr().err
    assert f"{NAME}: code cell 2" in error
    assert source.splitlines()[-1].replace("'", '"') in error
    assert message in error
    assert "\x1b" not in error, "color codes, though this is no terminal"


def test_a_cell_that_takes_too_long_fails(book, author, capsys):
    author(HEADER + cell("import time\n\ntime.sleep(60)"))
    assert run(book, "--timeout", "1") == 1
    assert "code cell 1 fails" in capsys.readouterr().err


def test_an_interrupted_write_leaves_the_old_notebook(plain, book, author, monkeypatch):
    shutil.copytree(plain, book, dirs_exist_ok=True)
    before = stored(book)
    author(HEADER + cell("2"))
    replace = os.replace

    def interrupted(source, target):
        if str(target).endswith(".ipynb"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(book)
    assert stored(book) == before
    assert not [path for path in book.iterdir() if path.name[0] == "."]


@pytest.mark.parametrize("late", [False, True], ids=["before", "while it is written"])
def test_a_book_that_cannot_be_written_is_said_in_one_line(
    book, author, capsys, monkeypatch, late
):
    author(HEADER + cell("1"))
    if late:
        denied = PermissionError(30, "Read-only file system", "01_demo.md")
        monkeypatch.setattr(Path, "write_text", mock.Mock(side_effect=denied))
        said = "Read-only file system: '01_demo.md'"
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        said = "text is not to be written into; copy the book"
    monkeypatch.setattr(execute, "run", mock.Mock(side_effect=AssertionError))
    assert run(book) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_edits_made_in_the_notebook_are_not_overwritten(plain, book, capsys):
    shutil.copytree(plain, book, dirs_exist_ok=True)
    twin, _ = execute.pair(NAME, book)
    notebook = nbformat.read(book / f"{NAME}.ipynb", as_version=4)
    notebook.cells[0].source = "# Another title"
    nbformat.write(notebook, book / f"{NAME}.ipynb")
    os.utime(twin, (1, 1))
    before = stored(book)
    assert run(book) == 1
    assert stored(book) == before
    assert "jupytext --sync" in capsys.readouterr().err


def test_jupytext_finds_nothing_to_change_in_either_direction(book, author):
    twin = author(VARIED)
    run(book)
    before = stored(book), twin.read_bytes()
    notebook = book / f"{NAME}.ipynb"
    for older, newer in [(twin, notebook), (notebook, twin)]:
        os.utime(older, (1, 1))
        os.utime(newer)
        assert jupytext(["--sync", str(newer)]) == 0
        assert (stored(book), twin.read_bytes()) == before
    assert run(book, "--check") == 0


def test_the_code_of_a_twin_is_laid_out_by_the_rules_of_the_book(author):
    mixed = "from r1 import config\nimport torch\nimport json\nx = {'a':1}"
    twin = author(HEADER + cell(mixed))
    notebook = execute.formatted(execute.read_twin(twin), twin)
    imports = "import json\n\nimport torch\n\nfrom r1 import config\n\n"
    assert execute.code_cells(notebook)[0].source == imports + 'x = {"a": 1}'


def test_an_unknown_name_gets_the_close_ones(book, author, capsys):
    author(HEADER)
    assert execute.main(["01_dmo"], book=book) == 1
    assert f"did you mean {NAME}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# No header\n", "kernelspec"),
        ("---\nkernelspec: [\n---\n", "cannot be read as a twin"),
        (HEADER + cell("x = = 1"), "ruff cannot read the code"),
    ],
    ids=["no header", "broken header", "no Python"],
)
def test_a_twin_that_is_not_valid_is_named(book, author, capsys, text, message):
    twin = author(text)
    assert run(book) == 1
    error = capsys.readouterr().err
    assert str(twin) in error
    assert message in error


def drop_notebook(book):
    (book / f"{NAME}.ipynb").unlink()


def drop_twin(book):
    (book / "text" / f"{NAME}.md").unlink()


def in_twin(old, new):
    def change(book):
        twin = book / "text" / f"{NAME}.md"
        text = twin.read_text(encoding="utf-8")
        assert old in text
        twin.write_text(text.replace(old, new), encoding="utf-8")

    return change


def in_notebook(change_cell):
    def change(book):
        notebook = nbformat.read(book / f"{NAME}.ipynb", as_version=4)
        change_cell(execute.code_cells(notebook)[0], notebook)
        nbformat.write(notebook, book / f"{NAME}.ipynb")

    return change


CHANGES = {
    "01_demo.ipynb is missing": drop_notebook,
    "01_demo.md is missing": drop_twin,
    "another source": in_twin("A sentence between.", "A word between."),
    "another metadata": in_twin("hide-input", "hide-output"),
    "cells in the twin": in_twin("# Demo", "# Demo\n\n+++\n\nMore"),
    "not in the form": in_twin('{"a": 1}', "{'a':1}"),
    "another id": in_notebook(lambda cell, _: cell.update(id="other")),
    "not run from top to bottom": in_notebook(
        lambda cell, _: cell.update(execution_count=None)
    ),
    "own metadata": in_notebook(
        lambda _, notebook: notebook.metadata.language_info.update(version="3.11.7")
    ),
}


@pytest.mark.parametrize(("sentence", "change"), CHANGES.items(), ids=CHANGES)
def test_check_reports_each_kind_of_disagreement(
    finished, tmp_path, capsys, sentence, change
):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    book = tmp_path / "book"
    assert run(book, "--check") == 0
    change(book)
    capsys.readouterr()
    assert run(book, "--check") == 1
    assert sentence in capsys.readouterr().out
