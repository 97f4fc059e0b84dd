"""Values travel as data, and nothing else does."""

import json
import math
import pickle

import numpy as np
import pytest
import torch

from coursekit.walls.codec import LENGTH, Garbage, Unsendable, decode, encode

SAME = [
    None,
    True,
    -3,
    10**30,
    0.1,
    math.inf,
    "é\ud800",
    b"\x00\xff",
    [1, [2.0, "x"]],
    (1, (), [None]),
    {"a": 1, 2: [3]},
    {1, 2},
    torch.float64,
]


@pytest.mark.parametrize("value", SAME, ids=repr)
def test_plain_values_come_back_as_they_were(value):
    back = decode(encode(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool],
    ids=str,
)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_tensors_come_back_with_dtype_and_shape(dtype, shape):
    value = torch.ones(shape).to(dtype)
    back = decode(encode({"x": [value, value.T if value.ndim == 2 else value]}))["x"][0]
    torch.testing.assert_close(back, value)


def test_arrays_come_back_as_arrays():
    back = decode(encode(np.arange(6).reshape(2, 3)))
    assert isinstance(back, np.ndarray)
    assert back.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_tensor_that_needs_a_gradient_is_sent_as_numbers():
    back = decode(encode(torch.ones(2, requires_grad=True)))
    assert not back.requires_grad


class Always(float):
    def __eq__(self, other):
        return True

    __hash__ = None


def test_a_number_that_equals_everything_arrives_as_a_number():
    back = decode(encode(Always(2.0)))
    assert type(back) is float
    assert back != 3.0


@pytest.mark.parametrize(
    "value", [object(), lambda: 1, pytest], ids=["object", "function", "module"]
)
def test_objects_are_not_sent(value):
    with pytest.raises(Unsendable, match="no number, text, list or tensor"):
        encode(value)


def test_a_list_that_holds_itself_is_not_sent():
    value = []
    value.append(value)
    with pytest.raises(Unsendable, match="holds itself"):
        encode(value)


def test_more_than_the_limit_is_not_sent():
    with pytest.raises(Unsendable, match="too many"):
        encode(torch.zeros(2**25))


def test_objects_can_be_given_names():
    data = encode([len], lambda v: ("handle", [7]) if callable(v) else None)
    assert decode(data, {"handle": lambda of: ("seventh", of)}) == [("seventh", [7])]


def framed(head: bytes, body: bytes = b"\x02\0\0\0\0\0\0\0{}") -> bytes:
    return LENGTH.pack(len(head)) + head + body


GARBAGE = {
    "empty": b"",
    "short": b"\x01",
    "a pickle": pickle.dumps([1]),
    "a long head": LENGTH.pack(2**31) + b"{}",
    "no JSON": framed(b"{"),
    "nested": framed(b"[" * 10**5),
    "a long number": framed(b"1" * 5000),
    "an unknown kind": framed(b'{"is": "object", "of": 1}'),
    "no kind": framed(b'{"of": 1}'),
    "a missing tensor": framed(b'{"is": "tensor", "of": "0"}'),
    "a function of torch": framed(b'{"is": "dtype", "of": "load"}'),
    "a set of lists": framed(b'{"is": "set", "of": [{"is": "list", "of": []}]}'),
    "no tensors": framed(b"1", b"junk"),
    "a tensor's header too long": framed(b"1", b"\xff" * 16),
    "more tensor than bytes": framed(
        b"1",
        (head := json.dumps({"0": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode())  # noqa: E501
        and len(head).to_bytes(8, "little") + head,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
def test_bytes_that_nobody_encoded_are_refused(name):
    with pytest.raises(Garbage):
        decode(GARBAGE[name])
