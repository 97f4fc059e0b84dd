"""A question that lost points says which cell, and what to do, if not the answer is."""

from pathlib import Path

import pytest

from coursekit.authoring.assignment import load
from coursekit.grading.mark import told
from coursekit.grading.reading import Cell, Notebook
from coursekit.grading.remarks import broken, remarks, where
from coursekit.testing.suite import Verdict
from coursekit.walls.answers import MISSING

EXAMPLE = load(Path(__file__).parent.parent / "assignments" / "example")
DEF = "def route(x):\n    return x"


def notebook(*cells: Cell, skipped=None, answers=None) -> Notebook:
    run = {cell.number: cell.source for cell in cells if cell.kind == "code"}
    named = {n: ("q1",) for n, source in run.items() if "route" in source}
    return Notebook(run, answers or named, {}, [], skipped or {}, cells)


def failed(message: str, question: str = "q1") -> Verdict:
    return Verdict(f"test_{question}_x", question, "", 0.0, 1.0, "raised", message)


def code(number: int, source: str) -> Cell:
    return Cell("code", number, source)


MISSED = [failed(f"{MISSING}route")]


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ("NameError: name 'x' is not defined (line 2 of <module>: x)", 1),
        ("ModuleNotFoundError: No module named 'einops'", 1),
        ("IndentationError: unexpected indent (line 2: ' y')", 1),
        ("NotImplementedError: q1 (line 3 of <module>: raise)", 0),
        ("ValueError: NameError: no", 0),
    ],
)
def test_an_answer_that_could_not_be_read_or_lacks_a_name_is_remarked(text, noted):
    book = notebook(code(7, DEF), code(9, "x"))
    assert broken({7: text, 9: text}, book) == [f"q1: code cell 7: {text}"] * noted


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (Cell("text", 4, DEF), "the text of cell 4 from the top (def route(x): return"),
        (Cell("text", 4, f"```\n{DEF}\n```"), "is not run: make it a code cell"),
        (Cell("experiment", 2, DEF), "code cell 2, an experiment, which is not run"),
        (code(2, f"%%timeit\n{DEF}"), "below %%timeit, which keeps no name: delete"),
        (code(2, "# def route(x):\n#    1"), "is it commented out?"),
        (code(2, f"if False:\n    {DEF}"), "not as a line at its margin"),
        (code(2, "route = 1"), "is not there when all cells have been run"),
        (code(2, "route: object = 1"), "is not there when all cells have been run"),
        (code(2, "def router(x): 1"), "no cell defines route: a name that is asked"),
        (code(3, DEF), "stands in code cell 3, which raised ValueError: no"),
    ],
)
def test_a_name_that_is_not_known_is_looked_for(cell, words):
    assert words in where("route", notebook(cell), {3: "ValueError: no"})


def test_code_that_is_run_is_named_before_text():
    cells = Cell("text", 1, DEF), code(2, f"%%bash\n{DEF}")
    assert "code cell 2" in where("route", notebook(*cells), {})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({2: "ValueError: no"}, ["q1: code cell 2: ValueError: no"]),
        ({2: "NotImplementedError: q1 (line 2)"}, []),
        ({2: "NotImplementedError: q9 (line 2)"}, []),
        ({4: "ValueError: no"}, []),
    ],
)
def test_an_answer_that_raised_is_remarked_if_it_is_none_that_was_left_out(wrong, said):
    found = remarks(EXAMPLE, notebook(code(2, DEF)), wrong, [failed("no")])
    assert found == said


@pytest.mark.parametrize(
    "source",
    ["scale = 2", "def scale(): 1", "from x import (y, scale)", "import scale"],
)
def test_a_name_that_a_later_cell_has_is_found_there(source):
    text = "NameError: name 'scale' is not defined (line 1 of <module>: scale)"
    (said,) = broken({2: text}, notebook(code(2, DEF), code(4, source)))
    plain = f"q1: code cell 2: {text}"
    assert said == f"{plain}: code cell 4 has it, and cells are run from the top"
    assert broken({2: text}, notebook(code(1, source), code(2, DEF))) == [plain]


def test_an_answer_behind_one_that_was_left_out_in_the_same_cell_is_remarked():
    book = notebook(code(2, DEF), answers={2: ("q1", "q2")})
    wrong = {2: "NotImplementedError: q2 (line 2)"}
    first, second = remarks(EXAMPLE, book, wrong, MISSED)
    assert first == f"q1: code cell 2: {wrong[2]}"
    assert "stands in code cell 2, which raised NotImplementedError: q2" in second


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (MISSED[0].message, "q1: route is not defined; it stands in"),
        ("NameError: name 'route' is not defined (line 1 of f: x)", "q1: route is not"),
        ("NameError: name 'scale' is not defined", "q1: no cell defines scale"),
        ("PermissionError: [Errno 1] Operation not permitted", "q1: PermissionError"),
        ("FileNotFoundError: [Errno 2] No such file: 'x'", "q1: FileNotFoundError"),
    ],
)
def test_what_a_test_met_is_remarked(message, words):
    found = remarks(EXAMPLE, notebook(Cell("text", 3, DEF)), {}, [failed(message)])
    assert found[0].startswith(words)


def test_a_wrong_answer_is_no_remark():
    book = notebook(code(2, DEF), code(3, DEF))
    assert remarks(EXAMPLE, book, {}, [failed("weights: got 1 where 2 is right")]) == []


def test_two_definitions_are_remarked_with_their_cells():
    given = Cell("experiment", 1, "route = compile(route)", given=True)
    book = notebook(given, code(2, DEF), code(5, DEF.replace("x", "y")))
    (said,) = remarks(EXAMPLE, book, {}, [failed("not implemented yet")])
    assert said == (
        "q1: route stands in code cell 2, code cell 5; of the code that is run the "
        "last one counts: delete the others"
    )
    for cells in (
        [code(2, f"{DEF}\n{DEF}")],
        [code(2, DEF), Cell("text", 4, f"x\n{DEF}")],
    ):
        assert remarks(EXAMPLE, notebook(*cells), {}, [failed("not implemented yet")])


def test_what_was_not_run_is_remarked_where_points_are_lost():
    skipped = {
        1: "line 1: `!pip install x` was not run",
        4: "line 2: `!ls` was not run",
    }
    book = notebook(code(2, DEF), skipped=skipped)
    said = "code cell 4, line 2: `!ls` was not run"
    assert remarks(EXAMPLE, book, {}, [failed("wrong")]) == [said]
    assert remarks(EXAMPLE, book, {}, []) == []
    assert told({4: "ValueError: no"}, skipped) == {
        "1": skipped[1],
        "4": "ValueError: no; line 2: `!ls` was not run",
    }
