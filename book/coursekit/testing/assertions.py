"""Assertions that tell a student what is wrong, and what a test says of itself."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

# By the type of what is expected, never by that of what came back.
TOLERANCE = {torch.float64: (1e-7, 1e-9), torch.bfloat16: (2e-2, 1e-2)}
TOLERANCE |= {torch.float16: (1e-2, 1e-3)}
DEFAULT_TOLERANCE = (1e-4, 1e-5)
MEASURED: dict[str, float] = {}  # by the test that runs; the suite empties it


def points(number: float, seconds: float | None = None, read: str = "") -> Callable:
    """Mark a test with its points and, if calls may take long, seconds for each.

    `read` is where to read on for who fails it: 'chapter 04, "Two processes"'.

    Raises ValueError for points that are not above zero.
    """
    if not number > 0:
        raise ValueError(f"a test has more than {number} points")

    def mark(test: Callable) -> Callable:
        test.points, test.seconds, test.read = number, seconds, read
        return test

    return mark


def measured(name: str, value: float) -> None:
    """Let a number go to the grades with the verdict, passed or not: an accuracy, say.

    Raises ValueError for one that is not finite, which JSON cannot hold.
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}")
    MEASURED[name] = float(value)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def close(
    actual: Any,
    expected: Any,
    what: str,
    rtol: float | None = None,
    atol: float | None = None,
    mistakes: Mapping[str, Any] | None = None,
) -> None:
    """Fail with a message unless a value has the type, shape and numbers expected.

    Tensors are compared by kind of number, shape, finiteness and value, lists and
    tuples by each element, anything else for equality. Numbers may be finer than those
    expected and not coarser; the tolerance follows those expected.

    Args:
        actual: what came back
        expected: what is right
        what: names it in messages
        rtol: relative tolerance, instead of the one for the type expected
        atol: absolute tolerance, instead of the one for the type expected
        mistakes: values that known mistakes give, or functions that make them, by the
            words behind "This is what comes out if"
    """
    try:
        _close(actual, expected, what, rtol, atol)
    except AssertionError as error:
        known = mistakes or {}
        made = [words for words in known if _is(actual, known[words], rtol, atol)]
        if not made:
            raise
        text = f"{error}. This is what comes out if {', or if '.join(made)}"
        raise AssertionError(text) from None


def _is(actual: Any, wrong: Any, rtol: float | None, atol: float | None) -> bool:
    try:
        _close(actual, wrong() if callable(wrong) else wrong, "", rtol, atol)
    except AssertionError:
        return False
    return True


def _close(actual, expected, what, rtol, atol) -> None:
    if isinstance(expected, torch.Tensor):
        _close_tensors(actual, expected, what, rtol, atol)
    elif isinstance(expected, list | tuple):
        kind = type(expected).__name__
        _require(
            isinstance(actual, list | tuple) and len(actual) == len(expected),
            f"{what}: expected a {kind} of {len(expected)}, got {_name(actual)}",
        )
        for index, (a, e) in enumerate(zip(actual, expected, strict=True)):
            _close(a, e, f"{what}[{index}]", rtol, atol)
    elif isinstance(expected, float) or type(expected) is int:
        _close_numbers(actual, expected, what, rtol, atol)
    else:
        same = type(actual) is type(expected) and actual == expected
        _require(same, f"{what}: expected {expected!r}, got {_shown(actual)}")


def _close_tensors(actual, expected, what, rtol, atol) -> None:
    shape = list(expected.shape)
    _require(
        isinstance(actual, torch.Tensor),
        f"{what}: expected a tensor of shape {shape}, got {_name(actual)}",
    )
    _require(
        list(actual.shape) == shape,
        f"{what}: expected shape {shape}, got {list(actual.shape)}",
    )
    wanted, found = _kind(expected), _kind(actual)
    _require(wanted == found, f"{what}: expected {wanted} values, got {actual.dtype}")
    if wanted != "floating":
        wrong = actual != expected
        _require_none(wrong, actual, expected, what)
        return
    _require_fine(actual.dtype, expected.dtype, what)
    a, e = actual.double(), expected.double()
    broken = ~a.isfinite() & e.isfinite()
    _require(not broken.any(), f"{what}: {int(broken.sum())} values are not finite")
    default = TOLERANCE.get(expected.dtype, DEFAULT_TOLERANCE)
    rtol = default[0] if rtol is None else rtol
    atol = default[1] if atol is None else atol
    wrong = ~torch.isclose(a, e, rtol, atol, equal_nan=True)
    _require_none(wrong, a, e, what)


def _kind(tensor: torch.Tensor) -> str:
    if tensor.is_complex() or tensor.dtype == torch.bool:
        return "complex" if tensor.is_complex() else "true or false"
    return "floating" if tensor.is_floating_point() else "whole"


def _require_fine(found: torch.dtype, wanted: torch.dtype, what: str) -> None:
    """Fail for numbers with fewer digits than those expected."""
    _require(
        torch.finfo(found).eps <= torch.finfo(wanted).eps,
        f"{what}: expected {wanted}, got {found}, which has fewer digits (keep the "
        "type of the numbers that the function is given)",
    )


def _require_none(wrong, actual, expected, what: str) -> None:
    """Fail with the first wrong number beside the right one, if any are wrong."""
    if not wrong.any():
        return
    index = tuple(wrong.nonzero()[0].tolist())
    at = f" at {list(index)}" if index else ""
    a, e = actual[index].item(), expected[index].item()
    share = f"; {int(wrong.sum())} of {wrong.numel()} differ" if index else ""
    text = f"{what}: got {_digits(a)}{at} where {_digits(e)} is right{share}"
    raise AssertionError(text)


def _close_numbers(actual, expected, what, rtol, atol) -> None:
    if isinstance(actual, torch.Tensor) and actual.numel() == 1:
        if actual.is_floating_point():
            _require_fine(actual.dtype, torch.float32, what)
        actual = actual.item()
    number = isinstance(actual, int | float) and not isinstance(actual, bool)
    _require(number, f"{what}: expected a number, got {_name(actual)}")
    _require(abs(actual) < 1e300, f"{what}: {_digits(actual)} is not finite")
    if isinstance(expected, int) and rtol is None and atol is None:
        same = actual == expected
    else:
        rtol = DEFAULT_TOLERANCE[0] if rtol is None else rtol
        atol = DEFAULT_TOLERANCE[1] if atol is None else atol
        same = abs(actual - expected) <= atol + rtol * abs(expected)
    text = f"{what}: got {_digits(actual)} where {_digits(expected)} is right"
    _require(same, text)


def _digits(value: float) -> str:
    """A number as messages have it, a whole one with all of its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) < 10**18 else "a number of 19 digits or more"
    return str(value) if isinstance(value, complex) else f"{value:.6g}"


def _name(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _shown(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, str | int | float) else _name(value)
