"""A class of hostile names: everybody's own points, and no table or page that runs."""

import csv
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

import pytest
from platforms import formulas
from test_grading_names import hand_in

from coursekit import __main__ as command
from coursekit.__main__ import PROBLEMS
from coursekit.authoring.assignment import load
from coursekit.grading import grade as grading
from coursekit.grading import mark as marking
from coursekit.grading.mark import key, mark, unread
from coursekit.grading.names import UNSEEN, spelled
from coursekit.grading.submissions import collect
from coursekit.grading.tables import wild
from coursekit.reports.report import tidy
from coursekit.testing.suite import Verdict

FOLDER = Path(__file__).parent.parent / "assignments" / "example"
EXAMPLE = load(FOLDER)

# Names that a folder of Linux can have, most of which no person has.
HOSTILE = [
    "=cmd|' !A1", "+1+1", "-rf", "@SUM(A1)", "\t=1", "<script>alert(1)<!script>",
    "{{ 7 * 7 }}{% raw %}", "a\x1b[2Jb", "line\nbreak,4,4", "CON", "aux.ipynb",
    "trailing. ", "\u202eadA", "字" * 80, "Mu\u0308ller", "' OR 1=1", "$(id)", "`id`",
    "%41da", "~root", "*", "a;b\"c'", "&amp;", "{x}",
]  # fmt: skip
NOT_UTF8 = b"M\xfcller"


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def nasty(assignment, submission, secret, unsafe):
    """A mark with the name in all that a person reads, and points that tell it apart.

    No sandbox and no notebook are needed.
    """
    points = float(len(submission.student.encode("utf-8")) % 5)
    message = f"{submission.student}</td><img src=x onerror=alert(1)>\x00\r\x1b[31m"
    verdict = Verdict("test_q1", "q1", "It.", points, 4.0, "failed", message)
    return replace(
        unread(assignment, submission, ""),
        status="look",
        reason=f"=HYPERLINK({submission.student}\x07)",
        questions={"q1": points, "q2": 0.0, "q3": 0.0},
        written={"q4": f"x;{submission.student}\r-1"},
        verdicts=[verdict],
        cells={"1": message},
    )


def grade(class_: Path, out: Path, *more: str) -> int:
    """Grade by the command, with a stub for a judge."""
    call = ["grade", str(class_), "--assignment", str(FOLDER), "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grading, "mark", nasty)
        patch.setattr(grading, "missing", lambda: "")
        return command.main([*call, "--quiet", *more])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A class of hostile names, graded twice."""
    base = tmp_path_factory.mktemp("hostile")
    hand_in(base / "class", *[f"{name}/example.ipynb" for name in HOSTILE])
    hand_in(base / "class", NOT_UTF8 + b"/example.ipynb")
    assert [grade(base / "class", base / "out") for _ in range(2)] == [0, 0]
    return base


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_everybody_in_a_hostile_class_has_a_row_of_their_own(hostile):
    expected = {*map(spelled, HOSTILE), r"M\xfcller"}
    rows = rows_of(hostile / "out/grades.csv")
    assert {wild(row["student"]) for row in rows} == expected
    assert len(rows) == len(HOSTILE) + 1
    for row in rows:
        points = len(wild(row["student"]).encode()) % 5
        assert row["auto"] == str(points), "the points of somebody else"
    for name in ("grades.csv", "manual.csv"):
        text = (hostile / "out" / name).read_text(encoding="utf-8-sig")
        assert not formulas(text)
        assert len(rows_of(hostile / "out" / name)) == len(HOSTILE) + 1


def test_pages_of_a_hostile_class_show_names_and_run_nothing(hostile):
    plain = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table"}
    plain |= {"thead", "tbody", "tr", "th", "td", "bdi", "span", "strong", "br"}
    pages = list((hostile / "out").rglob("*.html"))
    assert len(pages) == len(HOSTILE) + 2
    overview = Tags((hostile / "out/overview.html").read_text(encoding="utf-8"))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not UNSEEN.search(text)
        assert Tags(text).tags <= plain
        assert not UNSEEN.search(page.name)
    for name in HOSTILE:
        assert spelled(name) in " ".join(overview.text.split())
    assert "{{ 7 * 7 }}" in overview.text
    assert "49" not in overview.text


def test_results_of_a_hostile_class_are_files_of_their_own(hostile):
    paths = list((hostile / "out/json").iterdir())
    students = {json.loads(path.read_text())["student"] for path in paths}
    assert len(students) == len(paths) == len(HOSTILE) + 1
    outside = {path.name for path in hostile.iterdir()}
    assert outside == {"class", "out"}


def test_what_the_command_prints_is_plain(hostile, tmp_path, capsys):
    roster = tmp_path / "roster.csv"
    roster.write_text("student\nCON\n", encoding="utf-8")
    out = tmp_path / "out"
    assert grade(hostile / "class", out, "--roster", str(roster)) == PROBLEMS
    said = capsys.readouterr().out
    assert not UNSEEN.search(said)
    assert said.count("not on the roster") == len(HOSTILE)
    assert said.count("\n") == len(HOSTILE) + 4


def test_a_leaderboard_of_a_hostile_class_runs_nothing(hostile, tmp_path):
    call = ["leaderboard", str(hostile / "out"), "--questions", "q1", "--ids"]
    assert command.main([*call, "--out", str(tmp_path)]) == 0
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert not {"script", "img"} & Tags(page).tags
    assert not formulas((tmp_path / "leaderboard.csv").read_text(encoding="utf-8-sig"))


def test_results_and_pages_of_who_has_gone_are_deleted(hostile, tmp_path):
    out = shutil.copytree(hostile / "out", tmp_path / "out")
    for folder, ending in (("json", "json"), ("feedback", "html")):  # of earlier kits
        now, before = f"Müller.{ending}", f"M%C3%BCller.{ending}"
        (out / folder / now).rename(out / folder / before)
    tidy(out, ["CON"])
    assert {path.name for path in out.glob("*/*")} == {"%43ON.json", "%43ON.html"}


def test_a_zip_is_graded_and_what_is_odd_reaches_the_table(tmp_path, monkeypatch):
    marker = SimpleNamespace(notes=[], wrong={})
    monkeypatch.setattr(marking, "judge_cells", lambda *given: (marker, []))
    with ZipFile(tmp_path / "a\u200fda.zip", "w") as archive:
        archive.writestr("example.ipynb", '{"cells": []}')
        archive.writestr("../up", "x")
    (one,) = collect(tmp_path, room=tmp_path / "room")
    result = mark(EXAMPLE, one, used=SimpleNamespace())
    assert (result.student, result.status) == ("ada", "look")
    assert result.reason.startswith(
        r"odd characters in the name 'a\u200fda'; ada.zip: "
    )
    assert "left out ../up, whose path leads elsewhere" in result.reason
    assert key(EXAMPLE, one, "") != key(EXAMPLE, replace(one, notes=()), "")
