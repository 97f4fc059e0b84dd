"""Starters hold no solution, and building twice gives the same bytes."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from hostile import hostile

from coursekit.authoring.assignment import ASSIGNMENTS, AssignmentError, load
from coursekit.authoring.build import build, release, solved, zipped
from coursekit.authoring.notebooks import EXPERIMENT, instructor, solve, starter, stub
from coursekit.testing.budget import spoken
from coursekit.walls.files import write

EXAMPLE = Path(__file__).parent.parent / "assignments" / "example"
CELL = """\
def f(x):
    # BEGIN SOLUTION
    y = x + 1
    # END SOLUTION
    z = 3
    # BEGIN SOLUTION
    # STARTER: y = x  # broken
    # STARTER: return y
    return y + z
    # END SOLUTION
"""


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "example")
    return tmp_path / "example"


def changed(folder: Path, name: str, old: str, new: str):
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    return load(folder)


def released(folder: Path, name: str, old: str, new: str):
    assignment = changed(folder, name, old, new)
    return assignment.tests, release(assignment)


def test_a_solution_becomes_a_stub_or_the_starters_lines():
    assert stub(CELL, "q1").splitlines() == [
        "def f(x):",
        '    raise NotImplementedError("q1")',
        "    z = 3",
        "    y = x  # broken",
        "    return y",
    ]
    assert solve(CELL).splitlines() == [
        "def f(x):",
        "    y = x + 1",
        "    z = 3",
        "    return y + z",
    ]


@pytest.mark.parametrize(
    "cell",
    [
        "# BEGIN SOLUTION\nx = 1",
        "x = 1\n# END SOLUTION",
        "# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION",
        "# BEGIN SOLUTIONS\n# END SOLUTION",
    ],
)
def test_markers_that_do_not_match_are_refused(cell):
    with pytest.raises(AssignmentError):
        stub(cell, "q1")


def test_the_release_holds_what_students_need_and_no_more():
    files = release(load(EXAMPLE))
    names = {name.removeprefix("example/") for name in files}
    assert names >= {"example.ipynb", "README.md", "requirements.txt"}
    assert names >= {"points.safetensors", "tests/test_q1.py", "tests/helpers.py"}
    assert not [n for n in names if "hidden" in n or "grade" in n or "reference" in n]


def test_the_readme_says_what_a_question_left_out_and_a_longer_call_mean():
    text = " ".join(release(load(EXAMPLE))["example/README.md"].decode().split())
    assert "10 seconds at most for each call, unless the handout says more." in text
    assert "stop with NotImplementedError; go on below them. That costs nothing" in text


def test_every_stub_in_the_starter_raises():
    answers = [
        cell
        for cell in starter(load(EXAMPLE)).cells
        if "answer" in cell.metadata.get("tags", [])
    ]
    assert len(answers) == 3
    for cell in answers:
        ast.parse(cell.source)
        assert "raise NotImplementedError" in cell.source


def test_the_written_answer_is_emptied_and_marked():
    last = starter(load(EXAMPLE)).cells[-1].source
    assert last.startswith("<!-- q4:")
    assert "balance" not in last
    assert last.endswith("*Question 4: write your answer in this cell.*")


@pytest.mark.parametrize("make", [starter, instructor])
def test_experiments_say_in_their_first_line_that_they_are_not_graded(copy, make):
    cells = make(load(copy)).cells
    found = [c for c in cells if "experiment" in c.metadata.get("tags", [])]
    assert [c.source.splitlines()[0] for c in found] == [EXPERIMENT]
    assert sum(EXPERIMENT in c.source for c in cells) == 1
    line = 'check("q3", globals())'
    changed(copy, "example.md", line, f"{EXPERIMENT}\n{line}")
    assert [c.source for c in make(load(copy)).cells] == [c.source for c in cells]


def test_cells_have_ids_that_stay():
    first, second = (starter(load(EXAMPLE)) for _ in range(2))
    ids = [cell.id for cell in first.cells]
    assert ids == [cell.id for cell in second.cells]
    assert len(set(ids)) == len(ids)
    nbformat.validate(first)
    nbformat.validate(instructor(load(EXAMPLE)))


def test_building_twice_gives_the_same_bytes():
    one, two = (zipped(release(load(EXAMPLE))) for _ in range(2))
    assert one == two
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held == release(load(EXAMPLE))


@pytest.mark.parametrize("before", ["", "    ", "# "])
def test_a_release_with_a_line_of_the_solution_is_refused(copy, before):
    line = "return weights / weights.sum(dim=-1, keepdim=True), indices"
    (copy / "files/notes.py").write_text(f"{before}{line}\n")
    with pytest.raises(AssignmentError, match="give away"):
        release(load(copy))


def test_a_release_with_a_marker_or_the_model_answer_is_refused(copy):
    for text in ("# BEGIN SOLUTION", "The bias is there to balance the load and"):
        whole = (copy / "example.md").read_text(encoding="utf-8")
        line = next(x for x in whole.splitlines() if text in x)
        (copy / "files/notes.txt").write_text(line)
        with pytest.raises(AssignmentError, match=r"notes\.txt"):
            release(load(copy))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[answer, q1]", "[answer, q9]", "tag the cell with one question"),
        (":tags: [answer, q1]", ":tags: [q1]", "a solution in no answer cell"),
        ("{q1: 4,", "{q1: 5,", "the tests of q1 give 4 points, the master promises 5"),
        ("q3: 2}", "q3: 2, q7: 1}", "q7"),
        ("name: example\n", "name: another\n", "calls it 'another'"),
        ("  title: ", "  titel: ", "unknown keys"),
        ("  files: [", "  needs: {q2: [q9]}\n  files: [", r"needs names \['q9'\]"),
        (
            "what the layer computes.",
            "it.\n\n## Next\n\nWhy?",
            "'## Next' is a part of",
        ),
        ("  files: [", "  limits: {cells: 3}\n  files: [", "unknown limits"),
        ("  files: [", "  limits: {work: 0}\n  files: [", "work is 0, not above 0"),
        ("  files: [", "  limits: {wait: 5 min}\n  files: [", "wait is '5 min'"),
    ],
)
def test_a_master_that_does_not_hold_together_is_refused(copy, old, new, words):
    with pytest.raises(AssignmentError, match=words):
        released(copy, "example.md", old, new)


def test_students_are_told_what_a_submission_may_take_in_all(copy):
    old, new = "  files: [", "  limits: {work: 90, wait: 240}\n  files: ["
    text = release(changed(copy, "example.md", old, new))["example/README.md"].decode()
    assert "90 seconds of work and 4 minutes of waiting" in " ".join(text.split())
    for path in ASSIGNMENTS.glob("*/handout.md"):
        limits = load(path.parent).limits
        said = f"{spoken(limits.work)} of work and {spoken(limits.wait)} of waiting"
        assert said in path.read_text(encoding="utf-8"), path


def test_an_assertion_without_words_is_refused(copy):
    assignment = changed(
        copy, "tests/public/test_q3.py", ', f"a slope of {w:.3f}: the points', " #"
    )
    with pytest.raises(AssignmentError, match="needs a message"):
        assert assignment.tests


def test_a_zip_is_written_again_only_where_something_has_changed(copy):
    (path,) = build(load(copy))
    os.utime(path, (0, 0))
    build(load(copy))
    assert path.stat().st_mtime == 0
    build(changed(copy, "example.md", "An assignment made", "Something made"))
    assert path.stat().st_mtime > 0


def test_what_is_shipped_is_all_that_check_needs(tmp_path):
    """The part of the kit in the zip imports nothing beside itself."""
    for name, data in release(load(EXAMPLE)).items():
        write(tmp_path / name, data)
    code = "import coursekit.checking, coursekit.testing as t; print(t.__file__)"
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path[:0] = ['.']; {code}"],
        cwd=tmp_path / "example", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(
        tmp_path / "example/coursekit/testing/__init__.py"
    )


def test_the_package_r1_is_shipped_with_its_rooms_and_what_they_require():
    files = release(load("r1_in_miniature"))
    required = files["r1_in_miniature/requirements.txt"].decode().splitlines()
    assert len({line.partition(">")[0] for line in required}) == len(required)
    assert "jaxtyping" in {line.partition(">")[0] for line in required}
    names = {name for name in files if "/r1/" in name}
    folder = ASSIGNMENTS.parent / "r1"
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    assert names == {f"r1_in_miniature/r1/{name}" for name in here}


def test_the_instructors_folder_has_the_solution_and_its_files(tmp_path):
    path = solved(load(EXAMPLE), tmp_path)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert any("scores.gather" in "".join(cell["source"]) for cell in cells)
    for name in ("tests/test_q1.py", "coursekit/checking.py", "line.safetensors"):
        assert (tmp_path / name).exists()


def test_an_overlay_adds_tests_and_changes_points(tmp_path):
    hidden = tmp_path / "tests" / "hidden"
    hidden.mkdir(parents=True)
    (hidden / "test_q1_private.py").write_text(
        "from coursekit.testing import points\n\n\n@points(2)\n"
        'def test_q1_private(student):\n    """Private."""\n'
        '    assert student.route, "no"\n'
    )
    with pytest.raises(AssignmentError, match="give 6 points"):
        assert load(EXAMPLE, tmp_path).tests
    (tmp_path / "points.toml").write_text("q1 = 6")
    assignment = load(EXAMPLE, tmp_path)
    assert "test_q1_private" in {test.name for test in assignment.tests}
    assert assignment.max_auto == 11


def test_what_needs_a_question_is_lost_with_it(copy):
    needs = "  needs: {q2: [q1]}\n  files: ["
    assignment = changed(copy, "example.md", "  files: [", needs)
    assert assignment.lost_with("q1") == {"q1", "q2"}
    assert assignment.lost_with("q2") == {"q2"}
    lost = {one.name: one.lost for one in hostile(assignment, port=9)}
    assert lost["inside exits"] == {"q1", "q2"}
    assert lost["inside prints 40 MB"] == frozenset()
