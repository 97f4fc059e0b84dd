"""A class with bad submissions among them: every number in its table is right."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hostile import SHORT
from rehearsal import differences, main, rehearse

from coursekit.authoring.assignment import AssignmentError, load
from coursekit.grading.grade import Options, grade
from coursekit.grading.submissions import collect
from coursekit.grading.tables import TableError, read_roster, read_table, write_table
from coursekit.reports.report import write_reports

EXAMPLE = load(Path(__file__).parent.parent / "assignments" / "example")


@pytest.mark.slow
@pytest.mark.alone
def test_a_class_gets_the_table_that_is_due(walls, tmp_path):
    short = replace(EXAMPLE, limits=replace(EXAMPLE.limits, **SHORT))
    rehearse(short, tmp_path, 26)
    roster = read_roster(tmp_path / "roster.csv")
    found = collect(tmp_path / "class", roster=roster)
    options = Options(jobs=os.cpu_count() or 1, quiet=True)
    results = grade(short, found, tmp_path / "out", options)
    write_reports(tmp_path / "out", results, short, {}, roster)
    wrong = differences(tmp_path / "expected.csv", tmp_path / "out" / "grades.csv")
    assert not wrong, "\n".join(wrong)


def test_forty_students_are_due_and_a_stranger(tmp_path):
    rows = rehearse(EXAMPLE, tmp_path)
    assert len(rows) == 41
    assert len(read_roster(tmp_path / "roster.csv")) == 40
    full = [row for row in rows if row.get("q1") == 4 and row.get("q3") == 2]
    assert 10 < len(full) < 30
    sign = [row for row in rows if (row.get("q1"), row.get("q2")) == (4, 0)]
    assert len(sign) == 1  # the mutant whose sign is turned round


def test_other_grades_than_those_due_are_named(tmp_path, capsys):
    expected, grades = tmp_path / "expected.csv", tmp_path / "grades.csv"
    columns = ["student", "q1", "status", "reason"]
    due = [{"student": "a", "q1": "4", "status": "ok or look"}, {"student": "b"}]
    write_table(expected, columns[:3], due)
    got = [{"student": "a", "q1": "3", "status": "look"}, {"student": "c"}]
    write_table(grades, columns, got)
    assert differences(expected, grades) == [
        "c: a row too many",
        "a: q1 is 3, not 4 ()",
        "b: no row",
    ]
    call = [str(EXAMPLE.folder), str(tmp_path), "--compare", str(tmp_path)]
    assert main(call) == 3
    write_table(grades, columns, [got[0] | {"q1": "4"}, {"student": "b"}])
    assert main(call) == 0
    assert "every number is right" in capsys.readouterr().out
    assert read_table(grades)[0] == columns


def test_a_class_too_small_for_the_bad_ones_is_refused(tmp_path):
    with pytest.raises(ValueError, match="24 at least"):
        rehearse(EXAMPLE, tmp_path, 23)


def test_grades_of_another_assignment_are_not_compared(tmp_path, capsys):
    expected, grades = tmp_path / "expected.csv", tmp_path / "grades.csv"
    write_table(expected, ["student", "q4", "status"], [{"student": "a"}])
    write_table(grades, ["student", "q1", "status", "reason"], [{"student": "a"}])
    with pytest.raises(TableError, match=r"grades.csv lacks the columns \['q4'\]"):
        differences(expected, grades)
    call = [str(EXAMPLE.folder), str(tmp_path), "--compare", str(tmp_path)]
    assert main(call) == 2
    assert str(expected) in capsys.readouterr().err


def test_a_folder_with_another_class_is_refused(tmp_path):
    rehearse(EXAMPLE, tmp_path)
    rehearse(EXAMPLE, tmp_path)  # again after a change
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AssignmentError, match=r"stranger/example.ipynb, .* another's"):
        rehearse(replace(EXAMPLE, name="another"), tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "real/class/ada").mkdir(parents=True)
    with pytest.raises(AssignmentError, match=r"a folder class/, .* choose another"):
        rehearse(EXAMPLE, tmp_path / "real")
    assert [path.name for path in (tmp_path / "real").rglob("*")] == ["class", "ada"]
