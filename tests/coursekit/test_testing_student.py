"""A test asks, the notebook answers with copies, and errors name the student's line."""

import linecache

import pytest
import torch

from coursekit.testing.student import (
    Student,
    StudentError,
    changed,
    gradient,
    largest,
    run,
)
from coursekit.walls.answers import Answers, own_state
from coursekit.walls.codec import Garbage, encode

SOURCE = """
import torch
size = 576
def double(x, by=2):
    return by * x
def spoil(x):
    x.zero_()
    return x
def fails(x):
    y = x + 1
    raise ValueError("the shapes differ")
def todo():
    raise NotImplementedError("q1")
def outer(a, b):
    return (a[:, None] * b[None, :]).sum(), "and more"
def draw(gen):
    return torch.rand(2, generator=gen)
def leave():
    raise SystemExit(3)
class Counter:
    def __init__(self):
        self.n = 0
        self.hidden = object()
    def up(self, by=1):
        self.n += by
        return self
layer = torch.nn.Linear(2, 1, bias=False)
"""


@pytest.fixture
def student():
    names = {"__name__": "__main__"}
    linecache.cache["<cell>"] = (1, None, SOURCE.splitlines(True), "<cell>")
    exec(compile(SOURCE, "<cell>", "exec"), names)
    return Student(Answers(names).reply)


def test_functions_and_values_are_there_by_name(student):
    assert student.double(3, by=4) == 12
    assert student["size"] == 576


def test_arguments_are_copies(student):
    x = torch.ones(2)
    assert student.spoil(x).tolist() == [0, 0]
    assert x.tolist() == [1, 1]


def test_changed_shows_the_arguments_after_the_call(student):
    _, (after,) = changed(student.spoil, torch.ones(2))
    assert after.tolist() == [0, 0]


def test_objects_keep_their_state(student):
    counter = student.Counter()
    assert counter.up().n == 1
    counter.n = 5
    counter.up(by=2)
    assert counter.n == 7
    assert student.Counter().n == 0


def test_an_object_or_a_function_can_be_an_argument(student):
    counter = student.Counter()
    assert student.double([counter], 1)[0].up().n == 1
    assert counter.n == 1
    assert callable(student["double"])
    assert run(student, "result = [double(i) for i in range(3)]") == [0, 2, 4]


def test_a_generator_draws_the_same_on_both_sides(student):
    gen, same = torch.Generator().manual_seed(7), torch.Generator().manual_seed(7)
    assert torch.equal(student.draw(gen), torch.rand(2, generator=same))


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("fails", "raised", "the shapes differ (line 11 of fails: raise"),
        ("todo", "todo", "q1"),
        ("nothing", "raised", "the notebook does not define nothing"),
        ("size", "raised", "size is not a function"),
        ("leave", "raised", "SystemExit: 3"),
    ],
)
def test_errors_come_with_the_line_of_the_student(student, name, kind, words):
    arguments = (torch.ones(1),) if name == "fails" else ()
    with pytest.raises(StudentError) as caught:
        getattr(student, name)(*arguments)
    assert caught.value.kind == kind
    assert words in str(caught.value)


def test_the_largest_tensor_made_is_counted(student):
    value, elements = largest(student.outer, torch.ones(30), torch.ones(20))
    assert value == (600, "and more")
    assert elements == 600


def test_views_make_nothing_large(student):
    _, elements = largest(student.double, torch.ones(1).expand(1000), 1)
    assert elements == 1000
    _, elements = largest(run_expand(student), torch.ones(1))
    assert elements <= 1


def run_expand(student):
    return run(student, "result = lambda x: x.expand(1000)[0]")


def test_gradients_come_for_each_tensor_argument(student):
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0])
    found = gradient(student.outer, a, b)
    assert found.inputs[0].tolist() == [3, 3]
    assert found.inputs[1].tolist() == [3]


def test_gradients_of_a_module_come_with_its_parameters(student):
    x = torch.tensor([[1.0, 2.0]])
    found = gradient(student["layer"], x, cotangent=torch.ones(1, 1))
    assert found.parameters["weight"].tolist() == [[1, 2]]
    assert found.inputs[0].shape == (1, 2)


def test_a_value_of_another_shape_than_its_cotangent_is_an_error(student):
    with pytest.raises(StudentError, match="shape"):
        gradient(student.double, torch.ones(3), cotangent=torch.ones(2))


@pytest.mark.parametrize(
    "reply",
    [
        b"junk",
        encode(3),
        encode({"error": 3, "kind": "x"}),
        encode({}),
        encode({"value": 1}, lambda v: ("handle", ["0"]) if v == 1 else None),
    ],
    ids=["junk", "a number", "an error that is no text", "nothing", "a handle"],
)
def test_a_reply_that_is_none_is_the_students_fault(reply):
    with pytest.raises(StudentError) as caught:
        Student(lambda request: reply).double(1)
    assert caught.value.kind == "garbage"
    assert not isinstance(caught.value, Garbage)


def test_a_probe_that_lies_about_its_form_is_the_students_fault():
    student = Student(lambda request: encode({"value": 1}))
    for probe in (largest, gradient, changed):
        with pytest.raises(StudentError):
            probe(student.double, 1)


def test_state_is_seeded_inside_and_put_back_afterwards():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with own_state(5), torch.no_grad():
            first = torch.rand(1)
            assert first.dtype == torch.float32
        with own_state(5):
            assert torch.equal(torch.rand(1), first)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.random.get_rng_state(), before)
