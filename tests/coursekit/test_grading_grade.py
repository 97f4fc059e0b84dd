"""A class from the folder to the table, interrupted, marked by hand, graded again."""

import copy
import csv
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from hostile import below
from interrupted import begin, end, until

from coursekit import __main__ as command
from coursekit.__main__ import PROBLEMS
from coursekit.authoring.assignment import AssignmentError, load
from coursekit.authoring.notebooks import instructor, starter
from coursekit.grading import grade as grading
from coursekit.grading.manual import Given, version_of
from coursekit.grading.results import Result
from coursekit.grading.submissions import Submission
from coursekit.grading.tables import read_table, write_table
from coursekit.reports.report import distribution, row_of, table
from coursekit.walls.begin import template
from coursekit.walls.sandbox import WALLS, opened

FOLDER = Path(__file__).parent.parent / "assignments" / "example"
EXAMPLE = load(FOLDER)
LINE = (FOLDER / "reference" / "line.safetensors").read_bytes()


def hand_in(folder: Path, student: str, notebook, line: bytes | None = LINE) -> Path:
    path = folder / student / "example.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = notebook if isinstance(notebook, str) else json.dumps(notebook)
    path.write_text(text, encoding="utf-8")
    if line:
        (path.parent / "line.safetensors").write_bytes(line)
    return path


def slipped() -> dict:
    """A notebook with a slip in q1 below an experiment, and q4 in another cell."""
    book = instructor(EXAMPLE)
    first, *rest, _ = copy.deepcopy(book.cells)
    tagged = {"cell_type": "code", "metadata": {"tags": ["experiment"]}, "source": "1"}
    (answer,) = [cell for cell in rest if "q1" in cell.metadata.get("tags", [])]
    answer.source = answer.source.replace("def route(scores", "def route(:")
    words = {"cell_type": "markdown", "metadata": {}, "source": "Because."}
    return {**book, "cells": [first, tagged, *rest, words]}


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def grade(class_: Path, out: Path, *more: str) -> int:
    given = ["grade", str(class_), "--assignment", str(FOLDER), "--out", str(out)]
    return command.main([*given, "--quiet", "--jobs", "2", *more])


@pytest.fixture(scope="module")
def graded(walls, tmp_path_factory):
    """A small class, graded once with a roster, as the command line does it."""
    base = tmp_path_factory.mktemp("graded")
    hand_in(base / "class", "ada", instructor(EXAMPLE))
    hand_in(base / "class", "bo", starter(EXAMPLE), line=None)
    hand_in(base / "class", "cy", "{broken")
    hand_in(base / "class", "dee", instructor(EXAMPLE), line=None)
    kim = hand_in(base / "class", "kim", instructor(EXAMPLE), line=None).parent
    (kim / "line (1).safetensors").write_bytes(LINE)
    hand_in(base / "class", "lee", slipped())
    hand_in(base / "class", "who", instructor(EXAMPLE))
    roster = base / "roster.csv"
    roster.write_text("name,student\nA,ada\nB,bo\nC,cy\nD,dee\nE,eve\nK,kim\nL,lee\n")
    code = grade(base / "class", base / "out", "--roster", str(roster))
    return base, code


def test_every_number_in_the_table_is_right(graded):
    base, code = graded
    rows = rows_of(base / "out")
    points = {s: [r["q1"], r["q2"], r["q3"], r["auto"]] for s, r in rows.items()}
    assert points == {
        "ada": ["4", "3", "2", "9"],
        "bo": ["0", "0", "0", "0"],
        "cy": ["", "", "", ""],
        "dee": ["4", "3", "0", "7"],
        "kim": ["4", "3", "2", "9"],
        "lee": ["0", "3", "2", "5"],
        "who": ["", "", "", ""],
        "eve": ["", "", "", ""],
    }
    statuses = {student: row["status"] for student, row in rows.items()}
    assert statuses == {
        "ada": "ok", "bo": "look", "cy": "unreadable", "dee": "look", "kim": "look",
        "lee": "look", "who": "unknown", "eve": "missing",
    }  # fmt: skip
    assert code == PROBLEMS


def test_what_needs_a_look_says_why(graded):
    out = graded[0] / "out"
    reasons = {student: row["reason"] for student, row in rows_of(out).items()}
    missing, wait = "no line.safetensors", "written answers wait for points"
    assert reasons["bo"].startswith(f"{missing}; {wait}")
    assert reasons["dee"].startswith(f"{missing}; {wait}")
    assert reasons["kim"].startswith("took line (1).safetensors, since no line.")
    said = "q1: code cell 3: SyntaxError: invalid syntax (line 1: 'def route(:"
    assert said in reasons["lee"]
    assert "q4: no answer in its cell, but text in other cells" in reasons["lee"]
    page = (out / "overview.html").read_text(encoding="utf-8")
    assert "code cell 3: SyntaxError" in page


def test_totals_wait_for_points_by_hand(graded):
    rows = rows_of(graded[0] / "out")
    assert rows["ada"]["written"] == rows["ada"]["total"] == ""
    assert "manual.csv" in rows["ada"]["reason"]
    assert rows["ada"]["max"] == "12"


def test_pages_show_messages_and_no_test(graded):
    out = graded[0] / "out"
    page = (out / "feedback" / "dee.html").read_text(encoding="utf-8")
    assert "hand in line.safetensors beside the notebook" in page
    assert "assert" not in page
    assert "could not be graded" in (out / "feedback" / "cy.html").read_text()
    overview = (out / "overview.html").read_text(encoding="utf-8")
    assert "s for each submission" in overview
    assert "bubblewrap" in overview


def test_grading_again_judges_nothing_anew_and_keeps_points_by_hand(
    graded, tmp_path, monkeypatch
):
    base = shutil.copytree(graded[0], tmp_path / "graded")
    out = base / "out"
    before = {p: p.read_bytes() for p in (out / "json").iterdir()}
    names, rows = read_table(out / "manual.csv")
    for row in rows:
        row["points"], row["comment"] = ("1.5" if row["student"] == "ada" else ""), "ok"
    write_table(out / "manual.csv", names, rows)
    monkeypatch.setattr(grading, "mark", None)  # judging would fail
    roster = str(base / "roster.csv")
    for _ in range(2):
        assert grade(base / "class", out, "--roster", roster) == PROBLEMS
        ada = rows_of(out)["ada"]
        assert (ada["auto"], ada["written"], ada["total"]) == ("9", "1.5", "10.5")
        assert rows_of(out)["dee"]["total"] == ""
    assert {p: p.read_bytes() for p in (out / "json").iterdir()} == before


def test_an_answer_that_has_changed_since_it_was_marked_is_reported():
    points = {"q1": 4.0, "q2": 3.0, "q3": 2.0}
    written = {"q4": "new"}
    result = Result("ada", "example", "ok", "", WALLS, points, written)
    entry = Given(2.0, marked=version_of("old"))
    row = row_of(result, EXAMPLE, {("ada", "q4"): entry})
    assert (row.total, row.status) == (11, "look")
    entry = Given(2.0, marked=version_of("new "))
    row = row_of(result, EXAMPLE, {("ada", "q4"): entry})
    assert (row.total, row.status) == (11, "ok")


def waits(judge, place: Path):
    """A `mark` that waits in an open sandbox for all students but the first."""

    def mark(assignment, submission, *more):
        if submission.student != "s0":
            with opened(assignment.limits):
                (place / "open").touch()
                time.sleep(1000)
        return judge(assignment, submission, *more)

    return mark


def with_own_template() -> None:
    """As in a process that the command begins; here others have made one before."""
    template.cache_clear()
    template()


def test_a_real_class_that_is_ended_twice_is_taken_up_again(walls, tmp_path):
    """By an interrupt, and then by a kill, while a submission is in its sandbox."""
    for student in ("s0", "s1"):
        hand_in(tmp_path / "class", student, instructor(EXAMPLE))
    place, out, before = tmp_path / "open", tmp_path / "out", below()
    grader = begin(tmp_path, "--jobs", "1", mark=waits(grading.mark, tmp_path))
    until(place.exists)
    os.kill(grader, signal.SIGTERM)
    code, said = end(tmp_path, grader)
    assert (code, "the same command goes on" in said) == (130, True)
    done = {p: p.read_bytes() for p in out.glob("json/*.json")}
    assert [path.stem for path in done] == ["s0"]
    until(lambda: below() <= before)

    place.unlink()
    mark = waits(grading.mark, tmp_path)
    grader = begin(tmp_path, "--jobs", "1", before=with_own_template, mark=mark)
    until(place.exists)
    family = psutil.Process(grader).children(recursive=True)
    assert len(family) >= 4  # template, guard and keeper, and a judge
    os.kill(grader, signal.SIGKILL)
    assert end(tmp_path, grader)[0] == -signal.SIGKILL
    _, left = psutil.wait_procs(family, timeout=20)
    assert not left

    assert grade(tmp_path / "class", out) == 0
    assert all(path.read_bytes() == data for path, data in done.items())
    assert [row["auto"] for row in rows_of(out).values()] == ["9"] * 2


def test_a_folder_named_from_here_is_graded_with_its_files(
    walls, tmp_path, monkeypatch
):
    hand_in(tmp_path / "class", "ada", instructor(EXAMPLE))
    monkeypatch.chdir(tmp_path)
    assert grade(Path("class"), Path("out")) == 0
    assert rows_of(tmp_path / "out")["ada"]["auto"] == "9"


def test_a_grader_that_dies_gives_no_number(walls, tmp_path, monkeypatch):
    path = hand_in(tmp_path / "class", "ada", instructor(EXAMPLE))
    monkeypatch.setattr(grading, "mark", lambda *arguments: 1 / 0)
    monkeypatch.setattr(sys, "stderr", None)
    submission = Submission("ada", {"example.ipynb": path})
    options = grading.Options(jobs=1, quiet=True)
    (result,) = grading.grade(EXAMPLE, [submission], tmp_path / "out", options)
    assert result.status == "error"
    assert result.reason == "the grader failed: ZeroDivisionError: division by zero"
    assert result.questions == {"q1": None, "q2": None, "q3": None}


def test_a_submission_that_takes_for_ever_is_given_up(walls, tmp_path, monkeypatch):
    path = hand_in(tmp_path / "class", "ada", instructor(EXAMPLE))
    monkeypatch.setattr(grading, "mark", lambda *arguments: time.sleep(100))
    submission = Submission("ada", {"example.ipynb": path})
    options = grading.Options(jobs=1, quiet=True, deadline=0.5)
    (result,) = grading.grade(EXAMPLE, [submission], tmp_path / "out", options)
    assert "no result in 0.5 s" in result.reason


def test_without_walls_a_class_is_refused(tmp_path, monkeypatch, capsys):
    hand_in(tmp_path / "class", "ada", instructor(EXAMPLE))
    monkeypatch.setattr(grading, "missing", lambda: "bubblewrap is not installed: so")
    assert grade(tmp_path / "class", tmp_path / "out") == command.MISUSED
    assert "bubblewrap is not installed" in capsys.readouterr().err


def test_unsafe_grading_works_and_says_what_it_means(walls, tmp_path, capsys):
    hand_in(tmp_path / "class", "ada", instructor(EXAMPLE))
    assert grade(tmp_path / "class", tmp_path / "out", "--unsafe") == 0
    assert "submissions can read your files" in capsys.readouterr().out
    page = (tmp_path / "out/feedback/ada.html").read_text(encoding="utf-8")
    assert "submissions can read your files" in page
    assert rows_of(tmp_path / "out")["ada"]["auto"] == "9"


def test_missing_students_come_last_and_empty():
    rows = table([], EXAMPLE, {}, ["bo", "ada"])
    assert [row.student for row in rows] == ["ada", "bo"]
    assert {row.total for row in rows} == {None}


def test_the_distribution_counts_everybody_once():
    assert distribution([0, 0.05, 0.5, 1], 1) == [2, 0, 0, 0, 0, 1, 0, 0, 0, 1]


def test_secrets_come_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_SECRET", "one")
    assert grading.read_secret(None) == "one"
    path = tmp_path / "secret"
    path.write_text("two\n")
    assert grading.read_secret(path) == "two"
    path.write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        grading.read_secret(path)
    path.unlink()
    with pytest.raises(AssignmentError, match=r"No such file.*: write one first"):
        grading.read_secret(path)
    path.write_bytes(b"\xff")
    with pytest.raises(AssignmentError, match=r"utf-8.*: write one first"):
        grading.read_secret(path)
