"""The proof bites: whatever is wrong with an assignment is reported by name."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from coursekit.authoring import proof
from coursekit.authoring.assignment import ASSIGNMENTS, AssignmentError, load
from coursekit.authoring.mutants import ZEROS, Variant, mutants, reference, zeros
from coursekit.authoring.notebooks import constants
from coursekit.authoring.packs import alone, covering, packed
from coursekit.authoring.proof import imported, proved, record
from coursekit.authoring.prove import disagreements, prove
from coursekit.testing.suite import Verdict
from coursekit.walls.files import write

EXAMPLE = Path(__file__).parent.parent / "assignments" / "example"


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "example")
    return tmp_path / "example"


def replaced(folder: Path, name: str, *pairs: tuple[str, str]):
    text = (folder / name).read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text, encoding="utf-8")
    return load(folder)


def test_a_weakened_test_a_broken_solution_and_a_lazy_one_are_reported(walls, copy):
    replaced(
        copy,
        "tests/public/test_q2.py",
        ("balance.bias,\n        right", "right,\n        right"),
    )
    replaced(copy, "tests/public/test_q3.py", ("abs(w - 2) < 0.1", "w == w"))
    assignment = replaced(copy, "example.md", ("k, dim=-1).indices", "k).indices + 1"))
    wrong = prove(assignment)
    for part in (
        "reference: fails test_q1_without_bias_the_highest_scores_win",
        "stub of zeros: passes test_q2_the_bias_follows_the_load",
        "the sign is turned round: passes test_q2_the_bias_follows_the_load",
        "stub of zeros: passes test_q3_the_line_is_close",
    ):
        assert any(line.startswith(part) for line in wrong), (part, wrong)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(scores + bias).topk", "(score + bias).topk", "is there 0 times, not once"),
        ("(scores + bias).topk", "scores", "times, not once"),
        ("test_q1_the_bias_chooses", "test_q1_gone", "unknown tests"),
        (
            'fails = ["test_q1_the_bias_chooses"]',
            "fails = []",
            "lists no test that it fails",
        ),
        ('change = "noise"', 'change = "magic"', "no such file or change"),
        ('find = "self.bias += self.speed"', 'finds = ""', "unknown keys"),
        ("scores.topk", "(scores + bias).topk", "changes nothing"),
    ],
)
def test_a_mutant_that_does_not_apply_is_refused(copy, old, new, words):
    text = (copy / "mutants.toml").read_text(encoding="utf-8")
    (copy / "mutants.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(AssignmentError, match=words):
        mutants(load(copy))


def test_a_test_that_no_mutant_fails_is_reported(walls, copy):
    text = (copy / "mutants.toml").read_text(encoding="utf-8")
    first = text.index("[[mutant]]", 1)
    (copy / "mutants.toml").write_text(text[first:], encoding="utf-8")
    assert prove(load(copy)) == ["no mutant fails test_q1_the_bias_chooses"]


@pytest.mark.parametrize(
    "folder",
    [EXAMPLE, *sorted(path.parent for path in ASSIGNMENTS.glob("*/mutants.toml"))],
    ids=lambda folder: folder.name,
)
def test_a_quick_proof_still_sees_every_test_fail(folder):
    assignment = load(folder)
    known = mutants(assignment)
    chosen = covering(known)
    assert {t.name for t in assignment.tests} == {n for m in chosen for n in m.fails}
    assert len(chosen) < len(known)
    packs = packed(assignment, reference(assignment), chosen)
    assert {m.name for m in chosen} == {m.name for p in packs for m, _ in p.parts}
    for pack in packs:
        questions = [question for _, own in pack.parts for question in own]
        assert len(questions) == len(set(questions))
    most = max(Counter(t.question for t in assignment.tests).values())
    assert len(packs) <= most


def variant(name, *fails):
    return Variant(name, ["a"], {}, frozenset(fails))


def test_the_fewest_mutants_are_found_where_the_greedy_ones_are_more():
    known = [
        variant("wide", *"bcde"),
        variant("left", *"abc"),
        variant("right", *"def"),
    ]
    known.append(variant("alone", "x"))
    assert [mutant.name for mutant in covering(known)] == ["left", "right", "alone"]


def verdict(test, question, kind):
    return Verdict(test, question, "title", 0.0, 1.0, kind, "no\nRead on: there")


def test_mutants_of_one_notebook_are_judged_each_by_its_own_tests():
    assignment = load(EXAMPLE)
    known = mutants(assignment)
    (first, second, third) = packed(
        assignment, reference(assignment), [known[0], known[3], known[5], *known[1:3]]
    )
    assert [mutant.name for mutant, _ in first.parts] == [
        "the bias is left out", "the sign is turned round", "the line was not trained",
    ]  # fmt: skip
    right = reference(assignment)
    assert first.variant.files != right.files
    changed = zip(first.variant.cells, right.cells, strict=True)
    assert sum(one != other for one, other in changed) == 2
    assert [len(pack.parts) for pack in (second, third)] == [1, 1]
    judged = [
        verdict(
            t.name, t.question, "failed" if t.name in first.variant.fails else "passed"
        )
        for t in assignment.tests
    ]
    bare = [(replace(m, says=""), found) for m, found in first.verdicts(judged)]
    assert not [line for m, found in bare for line in disagreements(m, found)]
    turned = [replace(one, kind="passed") for one in judged]
    wrong = [line for m, v in first.verdicts(turned) for line in disagreements(m, v)]
    assert "the sign is turned round: passes test_q2_steps_add_up" in wrong
    assert {test.question for test in second.tests(assignment.tests)} == {"q1"}
    (rest,) = second.verdicts([replace(one, kind="failed") for one in judged])
    assert [one.question for one in rest[1]] == ["q1"] * 4
    assert first.tests(assignment.tests) == assignment.tests
    assert alone(reference(assignment)).tests(assignment.tests) == assignment.tests


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("example.md", "an expert's balance", "an expert's load"),
        ("mutants.toml", "the sign", "a sign"),
        ("tests/public/test_q2.py", "import torch", "import torch  # as ever"),
        ("tests/hidden/test_q2_hidden.py", "import torch", "import torch  # as ever"),
    ],
)
def test_a_proof_is_of_what_was_there(copy, name, old, new):
    assignment = load(copy)
    (copy / "proof.txt").unlink(missing_ok=True)
    assert not proved(assignment)
    record(assignment)
    assert proved(assignment)
    assert not proved(replaced(copy, name, (old, new)))


@pytest.fixture
def book(tmp_path):
    """Packages in which rooms export what their modules have, in several ways."""
    for name, text in {
        "r1/__init__.py": "",
        "r1/plotting.py": "import r1.text.tasks",
        "r1/text/__init__.py": "LAZY = {'Task': 'tasks'}\ndef __getattr__(name): ...",
        "r1/text/tasks.py": "import json",
        "r1/rl/__init__.py": "LAZY = {'grpo_loss': 'losses', 'train': 'loop'}",
        "r1/rl/losses.py": "import torch",
        "r1/rl/loop.py": "from . import losses\nfrom .deep.er import x",
        "r1/rl/deep/__init__.py": "",
        "r1/rl/deep/er.py": "from ...text import Task",
        "r1/model/__init__.py": "",
        "r1/model/moe.py": "from r1.model.layers import Layer",
        "r1/model/layers.py": "",
        "r1/model/block.py": "",
    }.items():
        write(tmp_path / name, text)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import json, torch", []),
        ("from r1.text import Task", ["", "text/", "text/tasks"]),
        ("from r1 import text", ["", "text/", "text/tasks"]),
        ("import r1.text as t", ["", "text/", "text/tasks"]),
        ("from r1 import plotting", ["", "plotting", "text/", "text/tasks"]),
        (
            "from r1.model.moe import route",
            ["", "model/", "model/layers", "model/moe"],
        ),
        ("def f():\n    from r1.rl.losses import x", ["", "rl/", "rl/losses"]),
        (
            "from r1.rl import grpo_loss",
            ["", "rl/", "rl/deep/", "rl/deep/er", "rl/loop", "rl/losses",
             "text/", "text/tasks"],
        ),
    ],
)  # fmt: skip
def test_a_proof_depends_on_what_is_imported_in_turn(book, source, names):
    """A room that is imported by its name counts with all that is in it."""
    places = [f"{n}__init__" if n == "" or n[-1] == "/" else n for n in names]
    found = [path.relative_to(book / "r1") for path in imported([source], book)]
    assert sorted(f"{path.with_suffix('')}" for path in found) == sorted(places)


@pytest.mark.parametrize(
    "source",
    [
        "from r1 import gone",
        "from r1.gone import x",
        "import r1.rl.gone",
        "from r1.rl.gone import x",
        "from r1 import *",
    ],
)
def test_an_import_that_no_file_answers_is_an_error(book, source):
    with pytest.raises(AssignmentError, match="a proof has to know"):
        imported([source], book)
    with pytest.raises(ImportError):
        imported(["from . import x"], book)


def test_every_proof_depends_on_the_judge_the_walls_and_the_stub_of_zeros(monkeypatch):
    seen = []
    monkeypatch.setattr(proof, "imported", lambda sources: seen.extend(sources) or [])
    proof.content(load(EXAMPLE))
    monkeypatch.undo()
    names = {path.relative_to(proof.BOOK).as_posix() for path in imported(seen)}
    rooms = {name.rpartition("/")[0] for name in names}
    assert rooms == {
        "coursekit", "coursekit/walls", "coursekit/testing", "coursekit/authoring",
        "r1", "r1/text",
    }  # fmt: skip
    assert [name for name in names if name.startswith("r1/")] != []
    for name in ("walls/worker", "walls/session", "testing/judge", "checking"):
        assert f"coursekit/{name}.py" in names
    assert "coursekit/__main__.py" not in names


def test_the_stub_of_zeros_has_the_right_names_and_shapes():
    names: dict = {"columns": 1.0, "solution": 1.0}  # of the cell that is left out
    for cell in zeros(load(EXAMPLE)).cells:
        if "points.safetensors" not in cell and "check(" not in cell:
            exec(cell, names)
    torch = names["torch"]
    weights, indices = names["route"](torch.rand(5, 8), torch.zeros(8), 2)
    assert weights.shape == indices.shape == (5, 2)
    assert not weights.any()
    balance = names["Balance"](3, 0.1)
    assert balance.update(torch.tensor([1, 2, 3])).tolist() == [0, 0, 0]


def test_constants_are_emptied_too(copy):
    """Those of solutions; what the starter gives stays as it is."""
    assert constants(load(EXAMPLE)) == ["columns", "solution"]
    line = "# BEGIN SOLUTION\ncolumns = "
    more = "# BEGIN SOLUTION\na, (b, c) = 1, (2, [3])\ncolumns: object = "
    assignment = replaced(copy, "example.md", (line, more))
    assert constants(assignment) == ["a", "b", "c", "columns", "solution"]
    names: dict = {"a": 1, "b": 2, "c": [3], "columns": 4.0, "solution": 5.0}
    _, *emptied = zeros(assignment).cells[-1].partition("a = _zero(a)")
    exec(ZEROS + "".join(emptied), names)
    assert [names[name] for name in "abc"] == [0, 0, [0]]
    assert "points = _zero" not in "".join(emptied)


def test_files_that_are_no_tensors_can_be_handed_in_and_changed(copy):
    text = (copy / "example.md").read_text(encoding="utf-8")
    text = text.replace("[line.safetensors]", "[line.safetensors, log.csv]")
    (copy / "example.md").write_text(text, encoding="utf-8")
    (copy / "reference" / "log.csv").write_text("step,loss\n0,1.5\n")
    added = """
[[mutant]]
name = "the loss is another"
file = "log.csv"
find = "1.5"
replace = "2.5"
fails = ["test_q3_it_holds_elsewhere"]
"""
    with (copy / "mutants.toml").open("a", encoding="utf-8") as file:
        file.write(added)
    assignment = load(copy)
    assert mutants(assignment)[-1].files["log.csv"] == b"step,loss\n0,2.5\n"
    assert zeros(assignment).files["log.csv"] == b""
