"""The folder of grades: one grader, one assignment, whole files, and no table lost."""

import errno
import json
import os
import time
from dataclasses import replace

import pytest
from interrupted import (
    EXAMPLE,
    by_hand,
    call,
    check_whole,
    copied,
    enter,
    make_class,
    results_of,
    run,
    started,
    until,
)

from coursekit import __main__ as command
from coursekit.grading import folder, manual
from coursekit.grading.manual import read_manual
from coursekit.grading.results import read_result, write_result
from coursekit.grading.tables import TableError
from coursekit.reports.leaderboard import read_results
from coursekit.walls import files
from coursekit.walls.files import Unwritable, write


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    return make_class(tmp_path_factory.mktemp("marked"))


def test_two_graders_do_not_share_a_folder_and_one_that_dies_gives_it_back(
    marked, monkeypatch, capsys
):
    monkeypatch.setattr(folder, "PATIENCE", 0.1)
    with copied(marked) as base:
        out, before = base / "out", results_of(base)

        def hold():
            with folder.held(out):
                time.sleep(30)

        with started(hold) as child:
            until((out / ".grading").exists)
            assert command.main(call(base)) == command.MISUSED
            said = capsys.readouterr().err
            assert f"another grader is at work in {out}: process {child} on " in said
            assert "choose another folder with --out" in said
            assert results_of(base) == before
        with folder.held(out):  # what was killed has left its note
            assert f"process {os.getpid()} on" in (out / ".grading").read_text()
        assert not (out / ".grading").exists()


def test_what_a_killed_grader_has_left_is_swept_and_nothing_else(marked):
    with copied(marked) as base:
        out = base / "out"
        left = ["json/ada.json", "feedback/ada.html", "grades.csv", "manual.csv"]
        left += ["overview.html", "manual.before.csv", ".grading"]
        for name in left:
            (out / f"{name}.4711.partial").write_text("{")
        mine = {out / "thesis.partial", out / "json/x.partial", out / "a.csv.1.partial"}
        for path in mine:
            path.write_text("mine")
        assert run(base, "--manual", str(base / "brought.csv"))[0] == 0
        assert set(base.rglob("*.partial")) == mine
        for path in mine:
            path.unlink()
        check_whole(base, results_of(marked))


def test_the_grades_of_another_assignment_are_not_overwritten(marked, capsys):
    with copied(marked) as base:
        path = base / "out" / "json" / "ada.json"
        write_result(path, replace(read_result(path), assignment="experts"))
        before = {p: p.read_bytes() for p in (base / "out").rglob("*") if p.is_file()}
        assert command.main(call(base)) == command.MISUSED
        assert f"{base / 'out'} has the grades of experts" in capsys.readouterr().err
        held = json.loads(path.read_text())
        path.write_text(json.dumps({"assignment": held["assignment"], "kit": "other"}))
        assert command.main(call(base)) == command.MISUSED
        before.pop(path)
        assert all(p.read_bytes() == data for p, data in before.items())


def test_grades_do_not_go_among_the_submissions(marked, capsys):
    with copied(marked) as base:
        out = base / "class" / "grades"
        assert command.main([*call(base), "--out", str(out)]) == command.MISUSED
        assert "is among the submissions" in capsys.readouterr().err
        assert not out.exists()


def older_kit(text: str) -> str:
    held = json.loads(text)
    return json.dumps({name: held[name] for name in held if name != "sum"})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace('"q2": 3.0', '"q2": 9.0'), "has been changed by"),
        (lambda text: text.replace('"status": "ok"', '"status": "look"'), "has been"),
        (lambda text: text[: len(text) // 2], ""),
        (lambda text: "", ""),
        (lambda text: "[]", ""),
        (older_kit, ""),
    ],
    ids=["points", "status", "a half", "nothing", "a list", "of an older kit"],
)
def test_a_result_that_is_not_as_it_was_written_does_not_count(marked, change, told):
    with copied(marked) as base:
        path = base / "out" / "json" / "ada.json"
        was = path.read_text()
        path.write_text(change(was))
        assert path.read_text() != was
        with pytest.raises(TableError, match=f"json/ada.json {told}"):
            read_results(base / "out")
        code, said = run(base, "--manual", str(base / "brought.csv"))
        assert code == 0
        assert (f"json/ada.json {told}" in said) == bool(told)
        assert read_result(path).questions["q2"] == 3
        assert (base / "judged").read_text().split().count("ada") == 2


def test_what_is_saved_while_the_table_is_made_is_read_again(marked, monkeypatch):
    with copied(marked) as base:
        kept = base / "out" / "manual.csv"
        results = [read_result(p) for p in sorted((base / "out/json").glob("*.json"))]
        made, calls = manual.manual_of, []

        def meanwhile(*arguments):
            text = made(*arguments)
            if not calls:
                enter(kept, ada="2.5")
            calls.append(text)
            return text

        monkeypatch.setattr(manual, "manual_of", meanwhile)
        given = manual.bring_in(kept, [], EXAMPLE, results)
        assert given["ada", "q4"].points == 2.5
        assert by_hand(base)["ada"] == 2.5
        assert len(calls) == 2


def test_a_table_without_news_is_left_alone_and_the_one_before_is_kept(marked):
    with copied(marked) as base:
        kept = base / "out" / "manual.csv"
        told = ("--manual", str(base / "brought.csv"))
        before = kept.read_bytes()
        with kept.open("ab") as spreadsheet:  # which has it open all the time
            assert run(base, *told)[0] == 0
            assert kept.read_bytes() != before
            assert (base / "out" / "manual.before.csv").read_bytes() == before
            spreadsheet.write(b"late")
        assert (base / "out" / "manual.before.csv").read_bytes() == before + b"late"
        place = kept.stat().st_ino
        assert run(base, *told)[0] == 0
        assert kept.stat().st_ino == place


def test_a_table_that_is_just_being_written_is_waited_for(tmp_path):
    path = tmp_path / "manual.csv"
    text = "student,question,points\nada,q4,1"
    path.write_text(text)

    def goes_on():
        time.sleep(0.2)
        path.write_text(text + ".5\nben,q4,2\n")

    with started(goes_on):
        given = read_manual(path, EXAMPLE)
    assert [entry.points for entry in given.values()] == [1.5, 2]


def test_a_table_without_an_end_is_taken_as_it_is_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(manual, "PATIENCE", 0.01)
    path = tmp_path / "manual.csv"
    path.write_text("student,question,points\nada,q4,1")
    assert [entry.points for entry in read_manual(path, EXAMPLE).values()] == [1]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "close the program that has it open, or make the folder"),
        (errno.ENOSPC, "free some space there"),
        (errno.EIO, "choose another place or mend this one"),
    ],
)
def test_a_file_that_cannot_be_replaced_stays_and_the_remedy_is_said(
    tmp_path, monkeypatch, number, remedy
):
    path = tmp_path / "grades.csv"
    write(path, "before")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(Unwritable, match=f"{path} cannot be written .*: {remedy}"):
        write(path, "after")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]


def test_a_disk_without_second_names_gets_a_copy(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    write(tmp_path / "a", "text")
    monkeypatch.setattr(files.os, "link", refuse)
    files.linked(tmp_path / "a", tmp_path / "b")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "a": "text",
        "b": "text",
    }
