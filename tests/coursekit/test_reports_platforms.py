"""Tables reach spreadsheets and platforms with every grade, and with no formula."""

import csv
import io
import time

import jsonschema
import platforms
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursekit.grading.results import Result, path_of, write_result
from coursekit.grading.tables import TableError, read_table, tame, text_of, wild
from coursekit.reports.export import canvas, gradescope_all, moodle, shown
from coursekit.testing.suite import Verdict
from coursekit.walls.sandbox import WALLS

# What begins, ends or splits a cell, and what a formula needs to do harm.
BITS = st.sampled_from([*"=+-@\t\r\n;,|!(' \"\\＝", "cmd", "ü", "\0", "{{"])
NASTY = st.lists(BITS, max_size=12).map("".join) | st.text(max_size=12)
DDE = "=cmd|'/c calc'!A1"


@given(NASTY)
def test_a_cell_comes_back_as_it_was(text):
    assert wild(tame(text)) == text


@given(st.lists(NASTY, min_size=1, max_size=3))
def test_no_spreadsheet_finds_a_formula_in_our_tables(cells):
    names = [f"c{number}" for number in range(len(cells))]
    row = dict(zip(names, cells, strict=True))
    text = text_of(names, [row])
    assert not platforms.formulas(text)
    assert len(list(csv.reader(io.StringIO(text, newline="")))) == 2


@pytest.mark.parametrize(
    "cell",
    [DDE, f" {DDE}", f"x;{DDE};y", f'a";{DDE}', f"line\n{DDE}", f"x\t{DDE}",
     "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "＝HYPERLINK(A1)"],
)  # fmt: skip
def test_a_formula_is_one_before_it_is_tamed(cell):
    rows = [{"a": "ada", "b": cell}]
    assert platforms.formulas(text_of(["a", "b"], rows, tamed=False))
    assert not platforms.formulas(text_of(["a", "b"], rows))


def test_lists_and_sums_in_answers_stay_readable():
    answer = "Because:\n- the bias is new\n- x = 3\n+ nothing else; -1"
    assert tame(answer) == answer


@pytest.mark.parametrize("unit", ["\n", "'", "=;", "'=", '\n"', "\n-a", ";\n\t =("])
def test_no_answer_takes_long(unit):
    long, began = unit * 40_000, time.process_time()
    assert wild(tame(long)) == long
    assert time.process_time() - began < 2  # 0.1 s, but many in square time


def test_a_row_with_more_cells_than_columns_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2,,\n")
    assert read_table(path)[1] == [{"a": "1", "b": "2"}]
    path.write_text("a,b\nada,2\nx\x1b,2,3\n")
    with pytest.raises(TableError, match=r"row 3 \(x\\u001b\): 3 cells, but 2 columns"):
        read_table(path)


@given(st.floats(0, 1000).map(lambda x: round(x, 6)))
def test_points_are_written_without_an_exponent(points):
    assert float(shown(points)) == points
    assert not set(shown(points)) - set("0123456789.")


NAMES = [DDE, 'Zoë "Zo" O\'Neil, jr.', "<b>Ek</b>", "a\tb", 'back\\", slash', "名前"]
OURS = [f"s{number}" for number in range(len(NAMES))]


def graded(folder, students=OURS):
    rows = [{"student": s, "auto": 9.5, "total": 9.5, "max": 12} for s in students]
    path = folder / "grades.csv"
    text = text_of(["student", "auto", "total", "max"], rows)
    path.write_text(text, encoding="utf-8-sig")
    return path


def sheet(folder, head, rows):
    with (folder / "course.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return folder / "course.csv"


def canvas_table(folder, *more, named=("Student",)):
    head = [*named, "ID", "SIS User ID", "SIS Login ID", "Root Account", "Section"]
    hidden = [*[""] * len(head), "Manual Posting", ""]
    most = ["    Points Possible", *[""] * (len(head) - 1), "12", "(read only)"]
    rows = [
        [*[name] * len(named), 100 + n, "", OURS[n], "canvas.edu", "A", "", "9"]
        for n, name in enumerate(NAMES)
    ]
    head += ["Exam (7)", "Final Score"]
    return sheet(folder, head, [hidden, most, *rows, *more])


@pytest.mark.parametrize("named", [("Student",), ("LastName", "FirstName")])
def test_canvas_takes_every_grade(tmp_path, named):
    out = tmp_path / "out.csv"
    course = canvas_table(tmp_path, named=named)
    assert canvas(graded(tmp_path), course, out, "Exam") == []
    assert platforms.canvas(out) == {str(100 + n): "9.5" for n in range(len(NAMES))}
    assert platforms.formulas(course.read_text(encoding="utf-8"))
    assert not platforms.formulas(out.read_text(encoding="utf-8"))


def test_canvas_keeps_what_it_has_where_we_have_no_grade(tmp_path):
    more = [
        ["Cy", 200, "", "cy", "", "A", "8,5", ""],
        ["Di", 201, "", "di", "", "A", "EX", ""],
        ["Ed", 202, "", "ed", "", "A", "EX", ""],
    ]
    out = tmp_path / "out.csv"
    course = canvas_table(tmp_path, *more)
    away = canvas(graded(tmp_path, [*OURS, "di"]), course, out, "Exam")
    assert away == ["cy", "di (excused there)", "ed"]
    found = platforms.canvas(out)
    assert [found[number] for number in ("200", "201", "202")] == ["8.5", "EX", "EX"]


def moodle_table(folder, *more):
    head = ["Identifier", "Full name", "Email address", "Status", "Grade"]
    head += ["Maximum grade", "Last modified (grade)", "Online text"]
    head += ["Feedback comments"]
    rows = [
        [f"Participant {n}", tame(name), f"{OURS[n]}@X.org", "Submitted", "", "12,00",
         "-", f"<p>{name}</p>", "-good"]
        for n, name in enumerate(NAMES)
    ]  # fmt: skip
    return sheet(folder, head, [*rows, *more])


@pytest.mark.parametrize("match", ["Email address", "Identifier"])
def test_moodle_takes_every_grade(tmp_path, match):
    last = ["Participant 99", "Cy", "cy@x.org", "", "8,50", "12,00", "-", "", ""]
    course, out = moodle_table(tmp_path, last), tmp_path / "out.csv"
    mails = [f"{student}@x.org" for student in OURS]
    numbers = [str(number) for number in range(len(OURS))]
    by_mail = match == "Email address"
    away = moodle(graded(tmp_path, mails if by_mail else numbers), course, out, match)
    assert away == ["cy@x.org" if by_mail else "99"]
    assert platforms.moodle(out) == dict.fromkeys(numbers, "9.5") | {"99": "8,50"}
    text = out.read_text(encoding="utf-8")
    assert not platforms.formulas(text)
    assert "'" + DDE in text  # as Moodle has given it out


def test_php_splits_a_name_that_others_do_not():
    """So backslashes are left out of a table for Moodle."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(["1", 'a\\", b', "c"])
    assert [len(row) for row in platforms.php(buffer.getvalue())] == [4]
    assert platforms.php('1,"a ""b"", c\nd",\n2,x,y') == [
        ["1", 'a "b", c\nd', ""],
        ["2", "x", "y"],
    ]


def test_a_worksheet_that_moodle_would_not_take_is_refused(tmp_path):
    course = sheet(tmp_path, ["Identifikator", "Grade"], [["Participant 1", ""]])
    with pytest.raises(TableError, match="set the language in Moodle to English"):
        moodle(graded(tmp_path, ["1"]), course, tmp_path / "o", "Identifikator")


def test_ids_of_theirs_are_found_in_every_spelling(tmp_path):
    out = tmp_path / "out.csv"
    canvas(graded(tmp_path, ["S0", " s1 "]), canvas_table(tmp_path), out, "Exam")
    assert [platforms.canvas(out)[number] for number in ("100", "101")] == ["9.5"] * 2
    twin = ["Twin", 300, "", "S0", "", "A", "", ""]
    with pytest.raises(TableError, match=r"S0 more than once .* as 's0' and 'S0'"):
        canvas(graded(tmp_path), canvas_table(tmp_path, twin), out, "Exam")


def verdict(message):
    return Verdict("test_q1_it", "q1", "It <doubles>.", 0.0, 2.0, "failed", message)


def test_gradescope_takes_every_result(tmp_path):
    students = [DDE, "-rf", "../../up", "CON", "Zoë", "字" * 90]
    graded(tmp_path, students)
    for student in students:
        message = f"<script>{student}</script>\0\ud800\u202e{{{{ 7 * 7 }}}}"
        made = Result(
            student, "hw", "look", "odd\x1b[2J", WALLS, {"q1": 9.5}, {},
            [verdict(message)], seconds=1.5,
        )  # fmt: skip
        write_result(path_of(tmp_path, student), made)
    out = tmp_path / "deep/er/out"
    assert gradescope_all(tmp_path, out) == []
    paths = list((tmp_path / "deep").rglob("results.json"))
    assert len(paths) == len(students)
    assert {path.parent.parent for path in paths} == {out}
    for path in paths:
        made = platforms.gradescope(path)
        assert (made["score"], made["output"]) == (9.5, r"odd\u001b[2J")
        assert r"\u0000\ud800\u202e{{ 7 * 7 }}" in made["tests"][0]["output"]


@pytest.mark.parametrize(
    "text",
    ['{"score": NaN}', '{"score": "9"}', '{"tests": []}', '{"score": 1, "x": 2}',
     '{"score": 1, "output": "\\ud800"}', '{"score": 1, "output": "\\u0000"}',
     '{"score": 1, "tests": [{"status": "ok"}]}'],
)  # fmt: skip
def test_what_gradescope_would_not_take_is_found(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        platforms.gradescope(path)


def test_a_result_of_another_student_is_not_exported(tmp_path):
    graded(tmp_path, ["ada"])
    made = Result("bo", "hw", "ok", "", WALLS, {"q1": 0.0})
    write_result(path_of(tmp_path, "ada"), made)
    with pytest.raises(TableError, match=r"ada\.json is of bo"):
        gradescope_all(tmp_path, tmp_path / "out")
