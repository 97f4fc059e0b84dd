"""Tests say what is wrong: helpers, verdicts, seeds, and the check in the notebook."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from coursekit import checking
from coursekit.testing import close, points, weights
from coursekit.testing.student import Student
from coursekit.testing.suite import (
    SEVERAL,
    SuiteError,
    find_tests,
    run_test,
    seed_of,
    silent_asserts,
)
from coursekit.walls.answers import Answers

WRONG = [
    (None, torch.ones(2), "expected a tensor of shape [2], got None"),
    (1.0, torch.ones(2), "expected a tensor of shape [2], got a float"),
    (torch.ones(3), torch.ones(2), "expected shape [2], got [3]"),
    (torch.ones(2).long(), torch.ones(2), "expected floating values, got torch.int64"),
    (torch.ones(2), torch.ones(2).bool(), "expected true or false values"),
    (torch.tensor([1, 2]), torch.tensor([1, 3]), "got 2 at [1] where 3 is right; 1 of"),
    (torch.tensor([1.0, math.nan]), torch.ones(2), "1 values are not finite"),
    (torch.tensor([1.0, 1.1]), torch.ones(2), "got 1.1 at [1] where 1 is right"),
    (torch.tensor(2.0), torch.tensor(1.0), "got 2 where 1 is right"),
    ([1, 2], [1, 3], "it[1]: got 2 where 3 is right"),
    ([1], [1, 3], "expected a list of 2, got a list of 1"),
    (True, 1, "expected a number, got a bool"),
    (math.inf, 1.0, "inf is not finite"),
    (0.5, 0.6, "got 0.5 where 0.6 is right"),
    (1, "1", "expected '1', got 1"),
    (1, True, "expected True, got 1"),
]


@pytest.mark.parametrize(("actual", "expected", "words"), WRONG)
def test_close_says_what_is_wrong(actual, expected, words):
    with pytest.raises(AssertionError) as caught:
        close(actual, expected, "it")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (torch.ones(2, dtype=torch.float64), torch.ones(2)),
        (torch.ones(2).int(), torch.ones(2).long()),
        (torch.zeros(0), torch.zeros(0)),
        (torch.tensor([math.inf]), torch.tensor([math.inf])),
        ((1, 2.0), [1, 2]),
        (torch.tensor(3), 3),
        ("x", "x"),
    ],
)
def test_close_takes_what_is_the_same(actual, expected):
    close(actual, expected, "it")


def test_double_precision_is_compared_more_strictly():
    near = torch.ones(1, dtype=torch.float64) + 1e-5
    close(near.float(), torch.ones(1), "it")
    with pytest.raises(AssertionError):
        close(near, torch.ones(1, dtype=torch.float64), "it")


@pytest.mark.parametrize("wanted", [torch.float32, torch.float64])
@pytest.mark.parametrize("found", [torch.bfloat16, torch.float16, torch.float32])
def test_coarser_numbers_are_refused_even_where_they_are_right(found, wanted):
    """Else the tolerance of the coarse ones would hide a mistake of half a percent."""
    if found == wanted:
        close(torch.ones(2, dtype=found), torch.ones(2, dtype=wanted), "it")
        return
    for number in (1.0, 1.004):
        value = torch.full((2,), number).to(found)
        with pytest.raises(AssertionError) as caught:
            close(value, torch.ones(2, dtype=wanted), "it")
        assert f"it: expected {wanted}, got {found}, which" in str(caught.value)


def test_the_tolerance_is_that_of_what_is_expected():
    coarse = torch.ones(2, dtype=torch.bfloat16)
    close(torch.full((2,), 1.01), coarse, "it")
    with pytest.raises(AssertionError, match=r"got 1\.04 at \[0\]"):
        close(torch.full((2,), 1.04), coarse, "it")
    with pytest.raises(AssertionError, match=r"got 1\.004 at \[0\]"):
        close(torch.full((2,), 1.004), torch.ones(2), "it")
    with pytest.raises(
        AssertionError, match=r"torch\.bfloat16, which has fewer digits"
    ):
        close(torch.tensor(0.5).bfloat16(), 0.5, "it")


def test_a_known_mistake_is_named():
    right, known = torch.tensor([1.0, 2.0]), {"it is doubled": torch.tensor([2.0, 4.0])}
    known["it is turned round"] = lambda: torch.tensor([2.0, 1.0])
    known |= {"it is a pair": (1, 2), "it is squared": torch.tensor([1.0, 4.0])}
    said = {
        (2.0, 4.0): ". This is what comes out if it is doubled",
        (2.0, 1.0): ". This is what comes out if it is turned round",
        (1.0, 4.0): ". This is what comes out if it is squared",
        (3.0, 3.0): "2 of 2 differ",
    }
    for numbers, words in said.items():
        with pytest.raises(AssertionError) as caught:
            close(torch.tensor(numbers), right, "it", mistakes=known)
        assert str(caught.value).endswith(words)
    close(right, right, "it", mistakes={"it is right": lambda: 1 / 0})
    same = {"one is taken": 3, "all are counted": lambda: 3, "none is": 0}
    with pytest.raises(AssertionError, match=r"one is taken, or if all are counted$"):
        close(3, 4, "it", mistakes=same)
    pairs = {"both are exchanged": (2, 1)}
    with pytest.raises(AssertionError, match="if both are exchanged"):
        close([2, 1], (1, 2), "it", mistakes=pairs)


def test_points_are_above_zero():
    with pytest.raises(ValueError, match="more than 0 points"):
        points(0)


LIKE = {"w": torch.zeros(2, 3)}


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"w": torch.zeros(3, 2)}, "w has shape [3, 2], not [2, 3]"),
        ({"w": torch.zeros(2, 3), "v": torch.zeros(1)}, "not expected ['v']"),
        ({"v": torch.zeros(2, 3)}, "missing ['w']"),
        ({"w": torch.zeros(2, 3).long()}, "w is torch.int64"),
        ({"w": torch.full((2, 3), math.nan)}, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, tensors, words):
    path = tmp_path / "m.safetensors"
    save_file(tensors, path)
    with pytest.raises(AssertionError) as caught:
        weights({path.name: path}, path.name, like=LIKE)
    assert words in str(caught.value)


def test_weights_come_with_their_notes_and_in_the_models_dtype(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.ones(2, 3).bfloat16()}, path, {"steps": "9"})
    found = weights({path.name: path}, path.name, like=LIKE)
    assert found.tensors["w"].dtype == torch.float32
    assert found.metadata == {"steps": "9"}


@pytest.mark.parametrize("data", [b"", b"x" * 100, (2**60).to_bytes(8, "little")])
def test_a_file_that_is_none_is_refused(tmp_path, data):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(AssertionError, match="not a complete safetensors file"):
        weights({path.name: path}, path.name)


def test_weights_may_be_too_large_missing_or_a_link(tmp_path):
    path, link = tmp_path / "m.safetensors", tmp_path / "link"
    path.write_bytes(bytes(100))
    link.symlink_to(path)
    for files, words in (
        ({"m": path}, "larger than"),
        ({}, "hand in m"),
        ({"m": link}, "link"),
    ):
        with pytest.raises(AssertionError, match=words):
            weights(files, "m", limit=10)


GOOD = '''
from coursekit.testing import points

@points(2)
def test_q1_it_doubles(student, gen):
    """It doubles."""
    assert student.double(2) == 4, "double 2 is 4"
'''


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "test_q1.py"
    path.write_text(text)
    return path


def test_tests_are_found_with_points_and_title(tmp_path):
    (test,) = find_tests([written(tmp_path, GOOD)])
    found = test.name, test.question, test.points, test.title, test.asks_student
    assert found == ("test_q1_it_doubles", "q1", 2, "It doubles.", True)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("@points(2)", "", "no @points"),
        ('"""It doubles."""', "", "docstring"),
        ("student, gen", "student, tmp_path", "tmp_path"),
        ("test_q1_it_doubles", "test_doubles", "call test_doubles test_q1_what"),
        ("from coursekit", "from nowhere", "ModuleNotFoundError"),
    ],
)
def test_tests_of_another_form_are_refused(tmp_path, old, new, words):
    with pytest.raises(SuiteError, match=words):
        find_tests([written(tmp_path, GOOD.replace(old, new))])


def test_a_name_may_not_be_there_twice(tmp_path):
    path = written(tmp_path, GOOD)
    with pytest.raises(SuiteError, match="twice"):
        find_tests([path, path])


def test_an_assertion_without_words_is_found(tmp_path):
    text = GOOD.replace(', "double 2 is 4"', "")
    assert silent_asserts(written(tmp_path, text)) == [7]
    assert not silent_asserts(written(tmp_path, GOOD))


def test_seeds_depend_on_name_and_secret():
    seeds = {seed_of(n, s) for n in ("a", "b") for s in ("", "x", "y")}
    assert len(seeds) == 6
    assert seed_of("a", "x") == seed_of("a", "x")


@pytest.mark.parametrize(
    ("double", "kind", "message"),
    [
        (lambda x: 2 * x, "passed", ""),
        (lambda x: x, "failed", "double 2 is 4"),
        (lambda x: 1 / 0, "raised", "ZeroDivisionError: division by zero"),
        (lambda x: torch.ones(2), "judge", "your answer does not have the form"),
    ],
)
def test_verdicts_tell_why(tmp_path, double, kind, message):
    (test,) = find_tests([written(tmp_path, GOOD)])
    verdict = run_test(test, Student(Answers({"double": double}).reply), {})
    assert verdict.kind == kind
    assert verdict.message.startswith(message)
    assert verdict.points == (2 if kind == "passed" else 0)


def test_measured_numbers_come_with_the_verdict_passed_or_not(tmp_path):
    text = GOOD.replace("import points", "import measured, points")
    asserts = "    assert student"
    text = text.replace(asserts, f'    measured("twice", student.double(2))\n{asserts}')
    path = written(tmp_path, text)
    (test,) = find_tests([path])
    for double, kind, found in (
        (lambda x: 2 * x, "passed", {"twice": 4.0}),
        (lambda x: x, "failed", {"twice": 2.0}),
        (lambda x: math.inf, "judge", {}),
        (lambda x: 1 / 0, "raised", {}),
    ):
        verdict = run_test(test, Student(Answers({"double": double}).reply), {})
        assert (verdict.kind, verdict.measured) == (kind, found)


@pytest.mark.parametrize("name", ["passed", "failed", "judge"])
def test_an_exception_called_passed_is_none_the_less_an_exception(tmp_path, name):
    def double(x):
        raise type(name, (Exception,), {})(name)

    (test,) = find_tests([written(tmp_path, GOOD)])
    verdict = run_test(test, Student(Answers({"double": double}).reply), {})
    assert (verdict.kind, verdict.points, verdict.passed) == ("raised", 0, False)


def test_every_message_but_that_of_a_stub_says_where_to_read_on(tmp_path):
    text = GOOD.replace("@points(2)", "@points(2, read='chapter 04')")
    (test,) = find_tests([written(tmp_path, text)])

    def stub(x):
        raise NotImplementedError

    for double, says in (
        (lambda x: x, "double 2 is 4\nRead on: chapter 04"),
        (lambda x: 1 / 0, "ZeroDivisionError: division by zero\nRead on: chapter 04"),
        (lambda x: torch.ones(2), ")\nRead on: chapter 04"),
        (lambda x: 2 * x, ""),
        (stub, "not implemented yet"),
    ):
        verdict = run_test(test, Student(Answers({"double": double}).reply), {})
        assert verdict.message.endswith(says)
        assert (says == "") == (verdict.message == "")


def test_a_stub_is_called_not_implemented(tmp_path):
    def double(x):
        raise NotImplementedError("q1")

    (test,) = find_tests([written(tmp_path, GOOD)])
    verdict = run_test(test, Student(Answers({"double": double}).reply), {})
    assert verdict.message == "not implemented yet"


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    written(tmp_path / "tests", GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(checking.STRICT, raising=False)
    return monkeypatch


def test_check_prints_what_is_wrong(in_folder, capsys):
    checking.check("q1", {"double": lambda x: x})
    assert "q1: 0 of 1 tests here pass" in (said := capsys.readouterr().out)
    assert "      double 2 is 4\n" in said


def test_of_several_that_fail_the_first_is_to_be_repaired(in_folder, capsys):
    two = GOOD.replace("q1_it", "q1_one").replace("(2) == 4", "(1) == 2")
    Path("tests/test_q1_one.py").write_text(two)
    checking.check("q1", {"double": lambda x: x})
    assert capsys.readouterr().out.endswith(f"\n{SEVERAL}\n")
    for double in (lambda x: x + 1, lambda x: 2 * x):  # right for 1, right for all
        checking.check("q1", {"double": double})
        assert SEVERAL not in capsys.readouterr().out


def test_check_is_strict_when_told_so(in_folder):
    in_folder.setenv(checking.STRICT, "1")
    checking.check("q1", {"double": lambda x: 2 * x})
    with pytest.raises(AssertionError, match="double 2 is 4"):
        checking.check("q1", {"double": lambda x: x})


def test_check_knows_its_questions_and_its_folder(in_folder, tmp_path):
    with pytest.raises(ValueError, match="no tests for 'q9'; there are tests for q1"):
        checking.check("q9", {})
    (tmp_path / "elsewhere").mkdir()
    in_folder.chdir(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="the folder that the zip made"):
        checking.check("q1", {})
