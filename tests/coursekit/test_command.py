"""The command line, as the guides show it."""

import json
import runpy
import shutil
import signal
import sys
from pathlib import Path

import pytest

from coursekit import __main__ as command
from coursekit.__main__ import PROBLEMS
from coursekit.authoring.assignment import load
from coursekit.authoring.build import solved
from coursekit.authoring.notebooks import starter

COMMANDS = ["build", "check", "grade", "prove", "export", "leaderboard", "similar"]
FOLDER = str(Path(__file__).parent.parent / "assignments" / "example")
ASKED = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main([name, "--help"])
    assert caught.value.code == 0
    assert f"coursekit {name}" in capsys.readouterr().out
    (commands,) = command.parser()._subparsers._group_actions
    silent = [one.dest for one in commands.choices[name]._actions if not one.help]
    assert not silent


def test_the_package_is_a_program_that_can_be_asked_to_end(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["coursekit", "--help"])
    before = {number: signal.getsignal(number) for number in ASKED}
    try:
        with pytest.raises(SystemExit):
            runpy.run_path(command.__file__, run_name="__main__")
        handlers = [signal.getsignal(number) for number in ASKED]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert handlers == [signal.default_int_handler] * 2
    assert "usage: python -m coursekit" in capsys.readouterr().out


def test_a_release_and_a_solution_are_built(tmp_path, capsys):
    shutil.copytree(FOLDER, tmp_path / "example")
    call = ["build", str(tmp_path / "example"), "--instructor", str(tmp_path / "own")]
    assert command.main(call) == 0
    made = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in made] == ["example.zip", "example.ipynb"]
    assert all(path.is_file() for path in made)


def test_an_unknown_assignment_is_named(capsys):
    assert command.main(["build", "nothing"]) == command.MISUSED
    assert "no assignment nothing; there are" in capsys.readouterr().err


def test_one_notebook_is_checked(walls, tmp_path, capsys):
    path = solved(load(FOLDER), tmp_path)
    assert command.main(["check", FOLDER, str(path)]) == 0
    path.write_text(json.dumps(starter(load(FOLDER))), encoding="utf-8")
    assert command.main(["check", FOLDER, str(path)]) == PROBLEMS
    said = capsys.readouterr().out
    assert "NO  q1  Without a bias the k highest scores are chosen" in said
    assert "not implemented yet" in said
    assert "hidden" not in said


def test_grades_are_exported(tmp_path, capsys):
    (tmp_path / "grades.csv").write_text("student,auto,total,max\nada,9,9,9\n")
    course = tmp_path / "canvas.csv"
    course.write_text("Student,ID,SIS Login ID,HW (3)\nAda,1,ada,\nBo,2,bo,\n")
    out = tmp_path / "out.csv"
    call = ["export", "canvas", str(tmp_path), "--out", str(out)]
    assert command.main(call) == command.MISUSED
    call += ["--course", str(course)]
    assert command.main(call) == command.MISUSED
    assert command.main([*call, "--column", "HW"]) == 0
    assert "without a grade: bo" in capsys.readouterr().out
    assert "Ada,1,ada,9" in out.read_text()
