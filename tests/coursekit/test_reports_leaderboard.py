"""The leaderboard ranks by points, then by what was measured, and names nobody."""

import pytest

from coursekit.__main__ import MISUSED, main
from coursekit.grading.results import Result, path_of, write_result
from coursekit.grading.tables import TableError, read_table
from coursekit.reports.leaderboard import (
    board,
    pseudonyms,
    ranked_questions,
    read_results,
)
from coursekit.testing.suite import Verdict
from coursekit.walls.sandbox import WALLS


def verdict(question, points, **measured):
    name, kind = f"test_{question}_it", "passed" if points else "failed"
    return Verdict(name, question, "It works.", points, 4.0, kind, "", measured)


def result(student, q1, q2, status="ok", **measured):
    questions = {"q1": q1, "q2": q2}
    verdicts = [verdict("q1", q1), verdict("q2", q2, **measured)]
    return Result(
        student, "runs", status, "", WALLS, questions=questions, verdicts=verdicts
    )


CLASS = [
    result("ada", 4.0, 3.0, accuracy=0.8, tokens=40.0),
    result("bo", 0.0, 3.0, accuracy=0.9, tokens=50.0),
    result("cy", 4.0, 3.0, accuracy=0.9, tokens=30.0, status="look"),
    result("dee", 4.0, 1.0, accuracy=0.9, tokens=30.0),
    result("eve", 0.0, 3.0),
    result("finn", 0.0, 3.0, accuracy=0.8, tokens=40.0),
    result("gus", None, None, status="unreadable"),
]


@pytest.fixture
def grades(tmp_path):
    for one in CLASS:
        write_result(path_of(tmp_path / "grades", one.student), one)
    return tmp_path / "grades"


def order(entries):
    return [(entry.place, entry.student) for entry in entries]


def test_points_come_first_then_numbers_and_equals_share_a_place(grades):
    entries = board(read_results(grades), ["q2"], ["accuracy"], ["tokens"])
    assert order(entries) == [
        (1, "cy"), (2, "bo"), (3, "ada"), (3, "finn"), (5, "eve"), (6, "dee"),
    ]  # fmt: skip
    assert order(board(read_results(grades), ["q1", "q2"]))[:2] == [
        (1, "ada"), (1, "cy"),
    ]  # fmt: skip


def test_questions_whose_tests_measure_something_count(grades):
    results = read_results(grades)
    assert ranked_questions(results) == ["q2"]
    assert ranked_questions(results, ["q1"]) == ["q1"]
    with pytest.raises(TableError, match="no questions"):
        ranked_questions(results, ["q9"])
    with pytest.raises(TableError, match="nothing measured as"):
        board(results, ["q2"], ["speed"])


def test_pseudonyms_need_the_secret_and_are_all_different():
    students = [f"s{number}" for number in range(300)]
    names = pseudonyms(students, "secret")
    assert len(set(names.values())) == 300
    assert names == pseudonyms(reversed(students), "secret")
    assert names != pseudonyms(students, "another")


def test_the_page_names_nobody_unless_asked(grades, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SECRET", "x")
    out = tmp_path / "site"
    arguments = ["leaderboard", str(grades), "--out", str(out), "--high", "accuracy"]
    assert main([*arguments, "--low", "tokens"]) == 0
    page = (out / "leaderboard.html").read_text(encoding="utf-8")
    names, rows = read_table(out / "leaderboard.csv")
    assert names == ["place", "name", "points", "accuracy", "tokens"]
    assert [row["place"] for row in rows] == ["1", "2", "3", "3", "5", "6"]
    key = {r["name"]: r["student"] for r in read_table(grades / "pseudonyms.csv")[1]}
    assert key[rows[0]["name"]] == "cy"
    assert rows[0]["name"] in page
    assert "Points of 4" in page
    assert not [s for s in key.values() if f">{s}<" in page]
    assert sorted(path.name for path in out.iterdir()) == [
        "leaderboard.csv",
        "leaderboard.html",
    ]
    assert main([*arguments, "--ids"]) == 0
    assert ">cy<" in (out / "leaderboard.html").read_text(encoding="utf-8")
    assert "no secret" not in capsys.readouterr().out


def test_a_folder_without_grades_is_named(tmp_path, capsys):
    assert main(["leaderboard", str(tmp_path), "--out", str(tmp_path)]) == MISUSED
    assert "nothing is graded there" in capsys.readouterr().err
