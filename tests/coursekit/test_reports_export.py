"""Grades arrive in other systems' own files, and nothing is lost on the way."""

import json
import re

import pytest

from coursekit.__main__ import MISUSED, main
from coursekit.grading.results import Result, path_of, write_result
from coursekit.grading.tables import TableError, read_table
from coursekit.reports.export import canvas, gradescope_all, moodle, points_of
from coursekit.testing.suite import Verdict
from coursekit.walls.sandbox import WALLS

GRADES = """\
student,q1,written,auto,total,max,status,reason
ada,4,1.5,9,10.5,12,ok,
bo,0,0,0,0,12,ok,
cy,,,,,12,unreadable,damaged
"""
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Essay (7),Experts (42),Final Score
    Points Possible,,,,,10,12,(read only)
"Lovelace, Ada",101,A1,ada,Monday,9,,50
"Ek, Bo",102,B1,bo,Monday,8,,40
"Cy",103,C1,cy,Monday,,,
"Student, Test",104,,eve,Monday,,,
"""
MOODLE = """\
Identifier,Full name,Email address,Status,Grade,Maximum grade,Last modified (grade)
Participant 101,Ada Lovelace,ada,Submitted,,"12,00",-
Participant 102,Bo Ek,bo,Submitted,,"12,00",-
Participant 103,Cy,cy,Submitted,,"12,00",-
"""


@pytest.fixture
def grades(tmp_path):
    path = tmp_path / "grades.csv"
    path.write_text(GRADES)
    return path


def course(tmp_path, text):
    path = tmp_path / "course.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_canvas_gets_its_own_table_and_no_other_column(grades, tmp_path):
    out = tmp_path / "out.csv"
    away = canvas(grades, course(tmp_path, CANVAS), out, "Experts")
    assert away == ["cy", "eve"]
    assert out.read_text().splitlines() == [
        "Student,ID,SIS User ID,SIS Login ID,Section,Experts (42)",
        "    Points Possible,,,,,12",
        '"Lovelace, Ada",101,A1,ada,Monday,10.5',
        '"Ek, Bo",102,B1,bo,Monday,0',
        "Cy,103,C1,cy,Monday,",
        '"Student, Test",104,,eve,Monday,',
    ]


def test_moodle_gets_its_worksheet_filled(grades, tmp_path):
    out = tmp_path / "out.csv"
    assert moodle(grades, course(tmp_path, MOODLE), out) == ["cy"]
    _, rows = read_table(out)
    assert [row["Grade"] for row in rows] == ["10.5", "0", ""]


def test_moodles_participants_are_matched_by_number(grades, tmp_path):
    grades.write_text(GRADES.replace("ada", "101").replace("bo", "102"))
    out = tmp_path / "out.csv"
    moodle(grades, course(tmp_path, MOODLE), out, match="Identifier")
    assert [row["Grade"] for row in read_table(out)[1]] == ["10.5", "0", ""]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",bo,", ",bob,", "graded, but not in .*: bo; correct"),
        (",cy,", ",ada,", "ada more than once"),
        ("Experts (42)", "Expert (42)", "0 columns 'Experts'"),
        (",10,12,", ",10,15,", r"15 points in Canvas \(Experts \(42\)\), 12 here"),
        ("SIS Login ID", "Login", "lacks the columns"),
        ("Essay (7)", "Experts (42)", "twice"),
    ],
)
def test_a_table_that_does_not_agree_is_refused(grades, tmp_path, old, new, words):
    with pytest.raises(TableError, match=words):
        canvas(
            grades,
            course(tmp_path, CANVAS.replace(old, new)),
            tmp_path / "o",
            "Experts",
        )
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("most", "words"),
    [
        ("15.00", "15 points in Moodle, 12 here"),
        ("twelve", "Maximum grade: 'twelve' is no number"),
    ],
)
def test_another_maximum_in_moodle_is_refused(grades, tmp_path, most, words):
    sheet = course(tmp_path, MOODLE.replace("12,00", most))
    with pytest.raises(TableError, match=words):
        moodle(grades, sheet, tmp_path / "o")


def test_a_student_twice_in_our_table_is_refused(grades):
    grades.write_text(GRADES.replace("bo,", "ada,"))
    with pytest.raises(TableError, match="ada more than once"):
        points_of(grades)


def test_totals_that_wait_are_not_exported_as_nothing(grades):
    grades.write_text("student,auto,total,max\nada,9,,12\n")
    with pytest.raises(TableError, match="written answers wait"):
        points_of(grades)
    assert points_of(grades, "auto") == ({"ada": 9}, 12)


VERDICT = Verdict("test_q1_it", "q1", "It doubles.", 0.0, 2.0, "failed", "no")


def with_results(folder, **points):
    for student, given in points.items():
        made = Result(student, "hw", "look", "odd", WALLS, {"q1": given}, {}, [VERDICT])
        write_result(path_of(folder, student), made)


def scores(out):
    made = {p.parent.name: json.loads(p.read_text()) for p in out.glob("*/*.json")}
    return {student: result["score"] for student, result in made.items()}


def test_gradescope_gets_scores_and_messages_of_tests(grades, tmp_path):
    with_results(tmp_path, ada=9.0, bo=0.0)
    assert gradescope_all(tmp_path, tmp_path / "out") == ["cy"]
    made = json.loads((tmp_path / "out/ada/results.json").read_text())
    assert (made["score"], made["output"]) == (10.5, "odd")
    (test,) = made["tests"]
    assert (test["score"], test["max_score"], test["status"]) == (0, 2, "failed")
    assert (test["name"], test["output"]) == ("It doubles.", "no")


@pytest.mark.parametrize(
    ("most", "said"),
    [
        ("10", ""),
        ("12", "at most 10; .* has the maximum of totals, 12: export these when"),
        ("13", ""),
    ],
)
@pytest.mark.parametrize("platform", ["canvas", "moodle"])
def test_points_from_tests_fit_the_course(
    grades, tmp_path, capsys, most, said, platform
):
    parts = [Verdict(f"test_q1_{n}", "q1", "", 0.0, 5.0, "failed", "") for n in "ab"]
    made = Result("ada", "hw", "ok", "", WALLS, {"q1": 9.0}, {}, parts)
    write_result(path_of(tmp_path, "ada"), made)
    tables = {
        "canvas": (CANVAS.replace(",10,12,", f",10,{most},"), canvas, ["Experts"]),
        "moodle": (MOODLE.replace("12,00", most), moodle, []),
    }
    text, export, more = tables[platform]
    call = (grades, course(tmp_path, text), tmp_path / "o", *more)
    if most == "13":
        with pytest.raises(TableError, match=r"13 points in .*, 10 from tests and in "):
            export(*call, column="auto")
        assert not (tmp_path / "o").exists()
        return
    export(*call, column="auto")
    err = capsys.readouterr().err
    assert re.search(said, err) if said else not err
    assert err.count("\n") <= 1


def test_gradescope_mixes_no_totals_with_points_from_tests(grades, tmp_path, capsys):
    grades.write_text(GRADES.replace("bo,0,0,0,0", "bo,0,,3,"))
    with_results(tmp_path, ada=9.0, bo=3.0)
    out = tmp_path / "out"
    call = ["export", "gradescope", str(tmp_path), "--out", str(out)]
    assert main([*call, "--points", "auto"]) == 0
    assert scores(out) == {"ada": 9, "bo": 3}
    bo = json.loads((out / "bo/results.json").read_text())
    assert bo["output"] == "odd; written answers are not marked yet"
    assert "without a grade: cy" in capsys.readouterr().out
    assert main(call) == 0
    assert scores(out) == {"ada": 10.5}  # nothing is left of what bo had
    assert "without a grade: bo, cy" in capsys.readouterr().out


def test_gradescope_mixes_no_two_gradings(grades, tmp_path):
    """The second one was interrupted before it came to the table."""
    with_results(tmp_path, ada=9.0, bo=3.0)
    with pytest.raises(TableError, match=r"bo has 0 points .* 3 in json/: .* again"):
        gradescope_all(tmp_path, tmp_path / "out")


def test_gradescope_waits_for_totals_as_the_others_do(grades, tmp_path, capsys):
    grades.write_text("student,auto,total,max,reason\nada,9,,12,\n")
    call = ["export", "gradescope", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(call) == MISUSED
    assert "fill manual.csv and grade again" in capsys.readouterr().err
    grades.write_text(GRADES)
    assert main(call) == MISUSED
    assert "no result of ada" in capsys.readouterr().err


def test_tables_with_semicolons_and_decimal_commas_are_exported(grades, tmp_path):
    grades.write_text(GRADES.replace(",", ";").replace(".", ","))
    assert points_of(grades) == ({"ada": 10.5, "bo": 0}, 12)
    out = tmp_path / "out.csv"
    canvas(grades, course(tmp_path, CANVAS.replace(",", ";")), out, "Experts (42)")
    assert out.read_text().splitlines()[1:3] == [
        "    Points Possible,,,,,12",
        "Lovelace; Ada,101,A1,ada,Monday,10.5",
    ]
