"""Points by hand: none is lost, and none counts silently for another answer."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from interrupted import EXAMPLE, call, hand_in

from coursekit import __main__ as command
from coursekit.__main__ import PROBLEMS
from coursekit.grading import grade as grading
from coursekit.grading.manual import (
    Given,
    changed_since,
    manual_of,
    merged,
    read_manual,
    read_tables,
    version_of,
)
from coursekit.grading.mark import unread
from coursekit.grading.reading import notebook_of, read_notebook
from coursekit.grading.results import Result
from coursekit.grading.submissions import Submission
from coursekit.grading.tables import TableError, read_table, write_table
from coursekit.reports.report import feedback, row_of, tidy, write_reports
from coursekit.testing.suite import SEVERAL, Verdict
from coursekit.walls.files import Unreadable, write

CHANGED = "q4: the answer has changed since it was marked"


def quick(assignment, submission, secret, unsafe):
    """Full points for every notebook that can be read, with no sandbox."""
    try:
        notebook = read_notebook(notebook_of(submission, assignment)[0], assignment)
    except Unreadable as error:
        return unread(assignment, submission, str(error))
    if "error" in notebook.written["q4"]:
        return unread(assignment, submission, "the sandbox failed", "error")
    return replace(
        unread(assignment, submission, ""),
        status="ok",
        questions=dict(assignment.questions),
        written=notebook.written,
    )


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A class of ada and ben, who have answered `old`, graded once."""
    monkeypatch.setattr(grading, "mark", quick)
    monkeypatch.setattr(grading, "missing", lambda: "")
    for student in ("ada", "ben"):
        hand_in(tmp_path, student, "old")
    assert grade(tmp_path) == 0
    return tmp_path


def grade(base: Path, *more: str) -> int:
    return command.main(call(base, *more))


def enter(base: Path, student: str, **cells: str) -> None:
    """What a person types into a student's row."""
    names, rows = read_table(base / "out" / "manual.csv")
    for row in rows:
        row.update(cells if row["student"] == student else {})
    write_table(base / "out" / "manual.csv", names, rows)


def row(base: Path, student: str, name: str = "grades.csv") -> dict[str, str]:
    rows = read_table(base / "out" / name)[1]
    return {row["student"]: row for row in rows}.get(student, {})


def result(answer: str) -> Result:
    made = unread(EXAMPLE, Submission("ada"), "", "ok")
    return replace(made, questions=dict(EXAMPLE.questions), written={"q4": answer})


def duplicate(base):
    shutil.copy(base / "class/ada/example.ipynb", base / "class/ada.ipynb")


def truncate(base):
    path = base / "class/ada/example.ipynb"
    path.write_text(path.read_text()[:40])


def fail(base):
    hand_in(base, "ada", "error")


@pytest.mark.parametrize(
    ("harm", "status"),
    [(duplicate, "duplicate"), (truncate, "unreadable"), (fail, "error")],
)
def test_points_outlive_what_cannot_be_graded(base, harm, status):
    enter(base, "ada", points="1.5", comment="good")
    assert grade(base) == 0
    harm(base)
    for _ in range(2):
        assert grade(base) == PROBLEMS
        assert row(base, "ada")["status"] == status
        kept = row(base, "ada", "manual.csv")
        entered = (kept["points"], kept["comment"], kept["answer"])
        assert entered == ("1.5", "good", "old")
    (base / "class/ada.ipynb").unlink(missing_ok=True)
    hand_in(base, "ada", "old")
    assert grade(base) == 0
    assert row(base, "ada")["total"] == "10.5"
    assert row(base, "ada")["status"] == "ok"


def test_who_is_not_marked_and_cannot_be_graded_has_no_row(base):
    duplicate(base)
    assert grade(base) == PROBLEMS
    assert row(base, "ada", "manual.csv") == {}


def test_a_changed_answer_is_reported_until_its_points_are_changed(base):
    enter(base, "ada", points="1.5")
    assert grade(base) == 0
    hand_in(base, "ada", "new")
    for _ in range(3):
        assert grade(base) == 0
        assert CHANGED in row(base, "ada")["reason"]
        assert row(base, "ada")["status"] == "look"
        assert row(base, "ada", "manual.csv")["answer"] == "new"
    enter(base, "ada", points="2")
    for _ in range(2):
        assert grade(base) == 0
        assert row(base, "ada")["reason"] == ""
        assert row(base, "ada")["total"] == "11"


def test_a_changed_answer_is_reported_until_its_points_are_confirmed(base):
    enter(base, "ada", points="1.5")
    assert grade(base) == 0
    hand_in(base, "ada", "new")
    assert grade(base) == 0
    marked = row(base, "ada", "manual.csv")["marked"]
    assert marked == f"1.5 for {version_of('old')}"
    enter(base, "ada", marked="")
    for _ in range(2):
        assert grade(base) == 0
        assert row(base, "ada")["reason"] == ""
    hand_in(base, "ada", "old")
    assert grade(base) == 0
    assert CHANGED in row(base, "ada")["reason"]


def test_points_count_again_when_the_old_answer_comes_back(base):
    enter(base, "ada", points="1.5")
    for answer, reported in [("old", False), ("new", True), ("old\n", False)]:
        hand_in(base, "ada", answer)
        assert grade(base) == 0
        assert (CHANGED in row(base, "ada")["reason"]) is reported
    assert row(base, "ada", "manual.csv")["marked"] == ""


def test_no_points_for_an_empty_answer_are_not_points_for_a_later_one(base):
    hand_in(base, "ada", "")
    assert grade(base) == 0
    enter(base, "ada", points="0")
    assert grade(base) == 0
    hand_in(base, "ada", "late")
    assert grade(base) == 0
    assert CHANGED in row(base, "ada")["reason"]


@pytest.mark.parametrize("answer", ["1/2", "=1", "'=1", "\ud800", "a;b\r\n\n c", '"'])
def test_what_a_spreadsheet_does_to_an_answer_changes_nothing(tmp_path, answer):
    path, results = tmp_path / "manual.csv", [result(answer)]
    write(path, manual_of(results, {}, EXAMPLE))
    names, rows = read_table(path)
    for name in (names, [name for name in names if name != "version"]):
        mangled = {"answer": "2. Jan"} if "version" in name else {}
        write_table(path, name, [rows[0] | {"points": "1"} | mangled])
        (entry,) = read_manual(path, EXAMPLE).values()
        assert not changed_since(entry, answer)


def test_a_table_of_before_is_read_and_reported(tmp_path):
    path = tmp_path / "manual.csv"
    path.write_text("student,question,points,answer\nada,q4,1,old\nben,q4,2,\n")
    given = read_manual(path, EXAMPLE)
    assert changed_since(given["ada", "q4"], "new")
    assert not changed_since(given["ada", "q4"], " old")
    assert not changed_since(given["ben", "q4"], "new")
    results = [result("new")]
    write(path, manual_of(results, given, EXAMPLE))
    assert changed_since(read_manual(path, EXAMPLE)["ada", "q4"], "new")


def test_several_tables_count_in_one_command(base):
    head = "student,question,points,comment"
    (base / "m1.csv").write_text(f"{head}\nada,q4,1.5,one\nben,q4,,\n")
    (base / "m2.csv").write_text(f"{head}\nada,q4,,\nben,q4,2,two\n")
    tables = ["--manual", str(base / "m1.csv"), "--manual", str(base / "m2.csv")]
    assert grade(base, *tables) == 0
    assert [row(base, s)["total"] for s in ("ada", "ben")] == ["10.5", "11"]
    (base / "m3.csv").write_text(f"{head}\nada,q4,,unclear\nben,q4,3,\n")
    assert grade(base, "--manual", str(base / "m3.csv")) == 0
    assert [row(base, s)["total"] for s in ("ada", "ben")] == ["10.5", "12"]
    assert row(base, "ada", "manual.csv")["comment"] == "unclear"
    assert row(base, "ben", "manual.csv")["comment"] == "two"


def test_a_later_table_wins_unless_it_is_of_an_older_answer():
    old, new = version_of("old"), version_of("new")
    first = {("ada", "q4"): Given(1.0, "", "new", new, new)}
    later = {("ada", "q4"): Given(2.0, "", "new", new, new)}
    older = {("ada", "q4"): Given(3.0, "", "old", old, old)}

    def points(*tables):
        return merged(tables, [result("new")])["ada", "q4"].points

    assert points(first, later) == 2
    assert points(first, older) == points(older, first) == 1
    assert points(older, {("ada", "q4"): replace(older["ada", "q4"], points=2)}) == 2


def test_a_table_that_is_not_there_is_named(base, capsys):
    assert grade(base, "--manual", str(base / "none.csv")) == command.MISUSED
    assert "none.csv cannot be read" in capsys.readouterr().err


def test_a_spreadsheet_sees_that_the_table_is_utf_8(tmp_path):
    path = tmp_path / "manual.csv"
    write(path, manual_of([result("é" * 200_000)], {}, EXAMPLE))
    assert path.read_bytes().startswith(b"\xef\xbb\xbfstudent,")
    assert read_manual(path, EXAMPLE)["ada", "q4"].answer == "é" * 200_000


def test_a_marked_student_whose_file_is_gone_is_named_with_remedies(base, capsys):
    enter(base, "ben", points="1")
    assert grade(base) == 0
    shutil.rmtree(base / "class/ben")
    before = (base / "out/manual.csv").read_bytes()
    assert grade(base) == command.MISUSED
    said = capsys.readouterr().err
    assert "points by hand for ben: nothing handed in; put back" in said
    assert "or delete their rows in manual.csv" in said
    assert (base / "out/manual.csv").read_bytes() == before
    assert (base / "out/json/ben.json").exists()


def test_a_wrong_table_is_refused_before_anything_is_judged(base, monkeypatch):
    enter(base, "ada", points="99")
    monkeypatch.setattr(grading, "grade", None)  # judging would fail
    assert grade(base) == command.MISUSED


def test_points_saved_while_a_class_is_graded_are_kept(base, monkeypatch):
    judge = grading.grade

    def meanwhile(*arguments):
        enter(base, "ada", points="1.5")
        return judge(*arguments)

    monkeypatch.setattr(grading, "grade", meanwhile)
    assert grade(base) == 0
    assert row(base, "ada")["total"] == "10.5"
    assert row(base, "ada", "manual.csv")["points"] == "1.5"


def test_who_has_gone_leaves_no_result_and_no_page(base):
    out, cy = base / "out", "c.y"
    hand_in(base, cy, "old")
    hand_in(base, "O'Neil & <Söhne>", "old")
    (base / "class/dup").mkdir()
    shutil.copy(base / "class/ada/example.ipynb", base / "class/dup.ipynb")
    assert grade(base) == PROBLEMS
    assert (out / "feedback/dup.html").exists()
    (out / "json/notes.json").write_text('{"mine": 1}')
    (out / "json/list.json").write_text("[]")
    (out / "json/ben.txt").write_text("mine")
    (out / "feedback/letter.html").write_text("<title>A letter</title>")
    for name in (cy, "ben", "dup", "O'Neil & <Söhne>"):
        shutil.rmtree(base / "class" / name)
    (base / "class/dup.ipynb").unlink()
    assert grade(base) == 0
    left = {path.name for path in out.glob("*/*")}
    mine = {"notes.json", "list.json", "ben.txt", "letter.html"}
    assert left == {"ada.json", "ada.html", *mine}
    assert [path.name for path in (out / "feedback").glob("a*")] == ["ada.html"]
    tidy(out, [])
    assert {path.name for path in out.glob("*/*")} == mine


def test_students_are_told_what_concerns_them(tmp_path):
    write_reports(tmp_path, [result("new")], EXAMPLE, {})
    page = (tmp_path / "feedback/ada.html").read_text(encoding="utf-8")
    assert "written answers are not marked yet" in page
    old = version_of("old")
    given = {("ada", "q4"): Given(1.0, "", "new", version_of("new"), old)}
    line = row_of(result("new"), EXAMPLE, given)
    assert f"{CHANGED}: in manual.csv change the points" in line.reason()
    page += feedback(result("new"), line, EXAMPLE)
    assert CHANGED in page
    assert "manual.csv" not in page


def test_of_several_that_fail_the_page_says_which_to_repair():
    kinds = [("q1", "failed"), ("q2", "failed"), ("q2", "passed"), ("q2", "todo")]
    found = [Verdict("test", q, q, 0, 1, kind, "no") for q, kind in kinds]
    for verdicts, told in ((found, ["q2"]), (found[:3], [])):
        graded = replace(result("new"), verdicts=verdicts)
        page = feedback(graded, row_of(graded, EXAMPLE, {}), EXAMPLE)
        parts = page.split("<h2>")[1:]
        assert [part[:2] for part in parts if SEVERAL in part] == told


def test_points_of_unknown_students_are_refused_in_each_table(tmp_path):
    path = tmp_path / "manual.csv"
    path.write_text("student,question,points\nadda,q4,1\n")
    with pytest.raises(TableError, match="adda: nothing handed in"):
        read_tables(tmp_path / "none.csv", [path], EXAMPLE, ["ada"])
