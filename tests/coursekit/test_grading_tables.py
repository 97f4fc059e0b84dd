"""Tables come back from any spreadsheet, or with the remedy for what it has done."""

import csv
from pathlib import Path

import pytest

from coursekit.authoring.assignment import load
from coursekit.grading.manual import read_manual
from coursekit.grading.reading import LARGEST
from coursekit.grading.tables import (
    TableError,
    number,
    read_roster,
    read_table,
    tame,
    wild,
)

EXAMPLE = load(Path(__file__).parent.parent / "assignments" / "example")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("mark", [",", ";"])
def test_tables_of_any_spreadsheet_are_read(tmp_path, encoding, mark):
    path = tmp_path / "table.csv"
    cells = [["student", "question", "points", "answer"], ["Zoë", "q4", "1,5", "a;b,c"]]
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=mark).writerows(cells)
    assert read_manual(path, EXAMPLE)["Zoë", "q4"].points == 1.5
    assert read_roster(path) == ["Zoë"]


def test_one_column_and_a_semicolon_in_a_name_are_no_semicolon_table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('student\n"a;b"\n')
    assert read_roster(path) == ["a;b"]
    path.write_text("student,a;b,c\nada,1,2\n")
    assert read_table(path)[0] == ["student", "a;b", "c"]


def test_a_roster_says_where_its_ids_are_unless_it_has_nothing_else(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text('Student,ID\n"Lovelace, Ada",101\n')
    said = r"no column 'student', but 'Student', 'ID': call the one with the ids 'stu"
    with pytest.raises(TableError, match=said):
        read_roster(path)
    path.write_text("ID,student\n101,ada\n")
    assert read_roster(path) == ["ada"]
    path.write_text("Student\nada\n")
    assert read_roster(path) == ["ada"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_refused_with_its_remedy(tmp_path, encoding):
    path = tmp_path / "manual.csv"
    path.write_text("student,question,points\nZoë,q4,1\n", encoding=encoding)
    with pytest.raises(TableError, match=r"manual.csv is not in UTF-8: .* CSV UTF-8"):
        read_manual(path, EXAMPLE)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ada,q4,four,", "'four' is no number"),
        ("ada,q4,4,", "4 is not between 0 and 3"),
        ("ada,q4,-1,", "not between"),
        ("ada,q4,nan,", "is no number"),
        ("ada,q1,1,", "written questions are q4"),
        ("ada,q4,1,\nada,q4,2,", "the same answer is there twice"),
    ],
)
def test_points_by_hand_that_cannot_be_are_refused(tmp_path, line, words):
    path = tmp_path / "manual.csv"
    path.write_text(f"student,question,points,comment\n{line}\n")
    with pytest.raises(TableError, match=words):
        read_manual(path, EXAMPLE)


def test_a_roster_with_an_id_twice_is_refused(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("student\nada\nada\n")
    with pytest.raises(TableError, match="ada more than once"):
        read_roster(path)


@pytest.mark.parametrize("text", ["=1", "+a", "-2", "@x", "a", "'b", "", "'=1", "''=1"])
def test_text_is_no_formula_and_comes_back(text):
    assert not tame(text).startswith(("=", "+", "-", "@"))
    assert wild(tame(text)) == text


def test_numbers_may_have_a_decimal_comma():
    assert number("1,5", 2, "here") == 1.5
    assert number(" ", 2, "here") is None


def test_a_cell_may_be_as_long_as_an_answer():
    """Or a single student's answer stops the grading of a class; `tame` adds to it."""
    assert csv.field_size_limit() >= 2 * LARGEST
