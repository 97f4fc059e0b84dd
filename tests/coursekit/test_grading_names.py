"""A name is one in every spelling, another in every other, and harmless everywhere."""

import os
import socket
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coursekit.authoring.assignment import load
from coursekit.grading.manual import read_tables
from coursekit.grading.names import UNSEEN, file_name, key, sight, spelled, visible
from coursekit.grading.submissions import Submission, collect, handed_in
from coursekit.grading.tables import TableError, read_roster

FOLDER = Path(__file__).parent.parent / "assignments" / "example"
EXAMPLE = load(FOLDER)
ANY = st.text(max_size=20) | st.text(
    "aAäÄа\u0308\u200f\u200b ﬁ１1.-~%\udcfc", max_size=8
)


@given(ANY)
def test_spellings_of_a_name_are_the_same(name):
    for form in ("NFC", "NFD", "NFKC"):
        assert key(unicodedata.normalize(form, name)) == key(name)
    assert key(spelled(name)) == key(f" {name}\u200f ") == key(key(name)) == key(name)
    assert spelled(spelled(name)) == spelled(name)
    assert not UNSEEN.search(spelled(name) + visible(name))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Mu\u0308ller", "Müller", True),
        ("ADA", "ada", True),
        ("ａｄａ１", "ada1", True),
        ("a\u200bd\u200fa", "ada", True),
        ("Bo  Ek", "Bo\nEk", True),
        ("a\u200dda\ufe0f", "ada", True),
        ("аda", "ada", False),
        ("Strauß", "Strauss", False),
        ("José", "Jose", False),
        ("ada.", "ada", False),
    ],
)
def test_what_is_the_same_name(one, other, same):
    assert (key(one) == key(other)) == same


def test_names_that_look_alike_are_known():
    assert sight("аdа") == sight("ada") == sight("ADA")
    assert sight("ΝΙΚΟ") != sight("ada")
    assert sight("s1O") == sight("slo")


@given(ANY, ANY)
def test_files_are_different_and_have_a_name_on_every_system(one, other):
    name = file_name(one)
    assert 0 < len(name.encode()) <= 200
    assert not set(name) & set('/\\:*?"<>|\0')
    assert name[0] not in "-. "
    assert name[-1] not in ". "
    assume(one != other)
    assert file_name(other) != name


@pytest.mark.parametrize("name", ["字" * 300, "a/b", "CON", "-x"])
def test_nobody_is_called_like_the_file_of_another(name):
    assert file_name(file_name(name)) != file_name(name)


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        ("Müller, Bo", "Müller, Bo"),
        ("名前", "名前"),
        ("..", "%2E%2E"),
        ("../x", "%2E.%2Fx"),
        ("-rf", "%2Drf"),
        ("aux.txt", "%61ux.txt"),
        ("NUL", "%4EUL"),
        ("console", "console"),
        ("a. ", "a.%20"),
        ("", "%"),
    ],
)
def test_names_of_files_are_readable(student, expected):
    assert file_name(student) == expected
    long = file_name("字" * 300 + student)
    assert long.startswith("字" * 30)
    assert len(long.encode()) < 200


def test_points_by_hand_find_their_student_as_a_spreadsheet_saves_them(tmp_path):
    path = tmp_path / "manual.csv"
    text = "student,question,points\nMu\u0308ller,q4,1\n7,q4,2\n08,q4,0.5\n8,q4,3\n"
    path.write_text(text, encoding="utf-8")
    students = ["Müller", "007", "08", "008", "8"]
    (table,) = read_tables(path, [], EXAMPLE, students)
    points = {student: given.points for (student, _), given in table.items()}
    assert points == {"Müller": 1, "007": 2, "08": 0.5, "8": 3}
    path.write_text(text + "007,q4,3\n", encoding="utf-8")
    with pytest.raises(TableError, match="q4 of 007 is there twice"):
        read_tables(path, [], EXAMPLE, students)
    path.write_text(text.replace("8,q4,0.5\n8", "9"), encoding="utf-8")
    with pytest.raises(TableError, match="points by hand for 09"):
        read_tables(path, [], EXAMPLE, students)


def hand_in(folder: Path, *names: str | bytes) -> Path:
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder


def test_a_student_is_one_in_every_spelling(tmp_path):
    hand_in(tmp_path, "Mu\u0308ller/example.ipynb", "BO.ipynb", "a\u200fda.ipynb")
    roster = ["Müller", "bo", "ada", "cy"]
    found = {one.student: one for one in collect(tmp_path, roster=roster)}
    assert set(found) == {"Müller", "bo", "ada"}
    assert not [one.problem for one in found.values() if one.problem]
    assert found["Müller"].notes == found["bo"].notes == ()
    assert found["ada"].notes == (r"odd characters in the name 'a\u200fda'",)


def test_two_spellings_handed_in_are_two_hand_ins_of_one(tmp_path):
    hand_in(tmp_path, "Mu\u0308ller.ipynb", "Müller.ipynb", "Ada.ipynb", "ada.ipynb")
    found = collect(tmp_path)
    assert [one.status for one in found] == ["duplicate"] * 2
    assert "Ada.ipynb, ada.ipynb" in found[0].problem


def test_a_roster_in_which_two_are_one_is_refused(tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("student\nMu\u0308ller\nMÜLLER\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"more than once .* capital and small"):
        read_roster(path)


def test_look_alikes_are_two_students_and_remarked(tmp_path):
    hand_in(tmp_path, "ada.ipynb", "аda.ipynb")
    said = "ada looks the same; this one has CYRILLIC SMALL LETTER A"
    ada, other = collect(tmp_path)
    assert (ada.student, ada.notes, other.student) == ("ada", (), "аda")
    assert other.notes == (said,)
    ada, other = collect(tmp_path, roster=["ada"])
    assert (ada.problem, other.status) == ("", "unknown")
    assert other.problem == f"not on the roster, where {said}"
    assert not [one.notes for one in collect(tmp_path, roster=["ada", "аda"])][1]


@pytest.mark.parametrize(
    ("names", "entry", "problem"),
    [
        ("canvas", "eve_7_123_55_x.ipynb", "it may be of 7 or of 123"),
        ("moodle", "E_12_assignsubmission_file_b_7_assignsubmission_file_x.ipynb",
         "in two ways"),
        (r"hw(?P<student>.*)\.ipynb", "hw\u200b.ipynb", "says no student"),
    ],
)  # fmt: skip
def test_nobody_hands_in_for_another_by_a_name(tmp_path, names, entry, problem):
    hand_in(tmp_path, entry)
    (one,) = collect(tmp_path, names, roster=["7", "12", "123"])
    assert problem in one.problem
    assert one.student in (entry, "hw.ipynb")


def test_parts_on_platforms_are_put_together(tmp_path):
    text = "J_5_assignsubmission_onlinetext_/onlinetext.html"
    hand_in(tmp_path / "m", "J_5_assignsubmission_file_/a.ipynb", text)
    hand_in(tmp_path / "c", "doe_5_9_a.ipynb", "doe_5_text.html", "de_la_6_1_a.ipynb")
    (one,) = collect(tmp_path / "m", "moodle")
    assert (one.student, list(one.files)) == ("5", ["a.ipynb", "onlinetext.html"])
    five, six = sorted(collect(tmp_path / "c", "canvas"), key=lambda one: one.student)
    assert (five.student, list(five.files)) == ("5", ["a.ipynb", "text.html"])
    assert (six.student, six.problem) == ("6", "")


def test_what_is_no_file_is_reported_and_stops_nobody(tmp_path, monkeypatch):
    hand_in(tmp_path, "ada/example.ipynb", "bo.ipynb")
    subprocess.run(["mkdir", "-p", tmp_path / f"deep{'/d' * 990}"], check=True)
    os.mkfifo(tmp_path / "pipe.ipynb")
    os.mkfifo(tmp_path / "ada/line.safetensors")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        server.bind("socket.ipynb")
    (tmp_path / "ada.ipynb").symlink_to(tmp_path / "bo.ipynb")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = {one.student: one for one in collect(tmp_path)}
    subprocess.run(["rm", "-r", tmp_path / "deep"], check=True)  # Python cannot
    assert not found["deep"].problem
    assert found["ada"].status == "duplicate"
    assert "link" in found["loop"].problem
    assert found["pipe"].problem == found["socket"].problem
    assert "a pipe, a socket or a device" in found["pipe"].problem
    assert not found["bo"].problem
    assert not handed_in(replace(found["ada"], problem=""), EXAMPLE)[0]


def test_files_near_the_top_are_found_among_many(tmp_path):
    many = [f"ada/env/{n:03}/x.py" for n in range(300)]
    hand_in(tmp_path, *many, "ada/b/z.ipynb", "ada/b/c/line")
    (one,) = collect(tmp_path)
    assert list(one.files)[:2] == ["b/z.ipynb", "b/c/line"]
    assert one.notes == (
        "more than 200 files or 1000 folders: those below were not read",
    )


def test_a_path_longer_than_the_system_takes_is_one_students(tmp_path):
    hand_in(tmp_path, "ada/example.ipynb", "bo/example.ipynb")
    script = 'cd "$0"; for n in {1..18}; do mkdir "$1"; cd -P "$1" || exit 1; done'
    subprocess.run(["bash", "-c", script, tmp_path / "ada", "x" * 250], check=True)
    try:
        ada, bo = collect(tmp_path)
    finally:
        subprocess.run(["rm", "-r", tmp_path / "ada"], check=True)  # Python cannot
    assert (list(ada.files), list(bo.files)) == (["example.ipynb"], ["example.ipynb"])
    assert ada.notes == (f"the folder {'x' * 250}: File name too long",)


def test_a_folder_that_cannot_be_read_is_one_students(tmp_path, monkeypatch):
    hand_in(tmp_path, "ada/example.ipynb", "bo/example.ipynb")
    listed = Path.iterdir

    def closed(path):
        if path.name == "ada":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    ada, bo = collect(tmp_path)
    assert ada.problem == "the folder ada: Permission denied"
    assert not bo.problem


@pytest.mark.parametrize(
    ("files", "taken", "said"),
    [
        ({"Line.SAFETENSORS": "a", "points": "p"}, "a",
         "took Line.SAFETENSORS, since no line.safetensors is there"),
        ({"line.safetensors": "a", "old/line.safetensors": "b"}, "a",
         "more than one line.safetensors: took the first"),
    ],
)  # fmt: skip
def test_files_in_other_letters_and_the_nearest_of_two_are_taken(files, taken, said):
    paths = {name: Path(path) for name, path in files.items()}
    found = handed_in(Submission("ada", paths), EXAMPLE)
    assert found == ({"line.safetensors": Path(taken)}, [said])
