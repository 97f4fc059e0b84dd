"""Whatever a platform hands out."""

from dataclasses import replace
from pathlib import Path

import pytest

from coursekit.authoring.assignment import AssignmentError, load
from coursekit.grading.submissions import Submission, collect, handed_in

EXAMPLE = load(Path(__file__).parent.parent / "assignments" / "example")


def laid_out(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("names", "files", "expected"),
    [
        (
            "plain",
            ["ada.ipynb", "Bo Ek/example.ipynb", "Bo Ek/sub/line.safetensors"],
            {"ada": ["ada.ipynb"], "Bo Ek": ["example.ipynb", "sub/line.safetensors"]},
        ),
        (
            "canvas",
            ["doejane_123_55_example.ipynb", "doejane_123_56_line.safetensors",
             "roejo_LATE_77_58_example-1.ipynb"],
            {"123": ["example.ipynb", "line.safetensors"], "77": ["example-1.ipynb"]},
        ),
        (
            "moodle",
            ["Jane Doe_456_assignsubmission_file_/example.ipynb"],
            {"456": ["example.ipynb"]},
        ),
        (
            r"hw1-(?P<student>\w+)-(?P<file>.+)",
            ["hw1-ada-example.ipynb", "hw1-ada-line.safetensors"],
            {"ada": ["example.ipynb", "line.safetensors"]},
        ),
    ],
    ids=["plain", "canvas", "moodle", "own"],
)  # fmt: skip
def test_names_of_platforms_are_understood(tmp_path, names, files, expected):
    clutter = [".DS_Store", "__MACOSX/x", "Bo Ek/.ipynb_checkpoints/old.ipynb"]
    clutter = clutter if names == "plain" else clutter[:2]
    found = collect(laid_out(tmp_path, *files, *clutter), names)
    assert {one.student: sorted(one.files) for one in found} == expected
    assert not [one.problem for one in found if one.problem]


def test_two_hand_ins_of_one_student_are_reported_by_name(tmp_path):
    laid_out(tmp_path, "ada.ipynb", "ada/example.ipynb", "bo.ipynb")
    found = {one.student: one for one in collect(tmp_path)}
    assert found["ada"].status == "duplicate"
    assert found["ada"].problem == "handed in twice: ada, ada.ipynb; keep one"
    assert not found["bo"].problem


def test_ids_that_the_roster_lacks_are_reported(tmp_path):
    laid_out(tmp_path, "ada.ipynb", "adda.ipynb")
    found = {one.student: one for one in collect(tmp_path, roster=["ada", "bo"])}
    assert found["adda"].status == "unknown"
    assert not found["ada"].problem


def test_links_are_not_followed(tmp_path):
    folder = laid_out(tmp_path / "class", "bo/example.ipynb")
    secret = tmp_path / "secret.ipynb"
    secret.write_text("{}")
    (folder / "ada.ipynb").symlink_to(secret)
    (folder / "bo" / "line.safetensors").symlink_to(secret)
    found = {one.student: one for one in collect(folder)}
    assert "link" in found["ada"].problem
    assert not handed_in(found["bo"], EXAMPLE)[0]


@pytest.mark.parametrize("names", ["(", "no group"])
def test_a_pattern_that_is_none_is_refused(tmp_path, names):
    with pytest.raises(AssignmentError):
        collect(tmp_path, names)


@pytest.mark.parametrize(
    "name",
    ["line (1).safetensors", "line(2).safetensors", "line-1.safetensors",
     "sub/line_12.safetensors"],
)  # fmt: skip
def test_a_file_renamed_on_its_way_is_taken_and_remarked(name):
    files = {n: Path(n) for n in ("example.ipynb", "points.safetensors", name)}
    found, (note,) = handed_in(Submission("kim", files), EXAMPLE)
    assert found == {"line.safetensors": Path(name)}
    assert note == f"took {Path(name).name}, since no line.safetensors is there"


def test_a_file_of_the_right_name_is_taken_without_a_word():
    names = ("line (1).safetensors", "sub/line.safetensors")
    files = {name: Path(name) for name in names}
    assert handed_in(Submission("kim", files), EXAMPLE) == (
        {"line.safetensors": Path("sub/line.safetensors")},
        [],
    )


@pytest.mark.parametrize(
    ("names", "note"),
    [
        ([], "no line.safetensors"),
        (["points.safetensors"], "no line.safetensors"),  # came with the starter
        (["line-1.csv", "outline-1.safetensors"],
         "no line.safetensors, but outline-1.safetensors"),
        (["line-1.safetensors", "line (1).safetensors"],
         "no line.safetensors, but line (1).safetensors, line-1.safetensors"),
    ],
)  # fmt: skip
def test_a_file_that_is_missing_is_remarked_with_those_there_are(names, note):
    files = {name: Path(name) for name in ("example.ipynb", *names)}
    assert handed_in(Submission("kim", files), EXAMPLE) == ({}, [note])


def test_a_file_asked_for_is_not_taken_for_another():
    two = replace(EXAMPLE, files=("line.safetensors", "line-1.safetensors"))
    files = {"line-1.safetensors": Path("x")}
    assert handed_in(Submission("kim", files), two) == (
        {"line-1.safetensors": Path("x")},
        ["no line.safetensors"],
    )
