"""The student's side of a test: call what the notebook defines, and say what came out.

In grading this runs in the sandbox, in the notebook in the notebook's own process.
Requests and replies are values of `coursekit.walls.codec`, so that both behave alike: a
function gets copies, and what it returns is data or a handle on an object kept here.
"""

import linecache
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from coursekit.walls.codec import DATA, Unsendable, decode, encode

TEXT = 2000  # characters of a message
MISSING = "the notebook does not define "


class Missing(Exception):
    """The notebook does not define what a test asks for."""


class _Largest(TorchDispatchMode):
    """Notes the largest tensor made, in elements of its storage.

    Views count with what they look at, so `expand` makes nothing larger.
    """

    def __init__(self):
        super().__init__()
        self.elements = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # spares the import of torch's compiler, which takes seconds

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = {
            x.untyped_storage().data_ptr()
            for x in tree_leaves((args, kwargs))
            if isinstance(x, torch.Tensor)
        }
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor):
                storage = x.untyped_storage()
                if storage.data_ptr() not in given:
                    made = storage.nbytes() // x.element_size()
                    self.elements = max(self.elements, made)
        return out


def _largest(function: Callable, args: list, kwargs: dict, _: Any) -> Any:
    with _Largest() as mode:
        value = function(*args, **kwargs)
    return value, mode.elements


def _changed(function: Callable, args: list, kwargs: dict, _: Any) -> Any:
    return function(*args, **kwargs), args


def _gradient(function: Callable, args: list, kwargs: dict, cotangent: Any) -> Any:
    """Value, gradients of the positional tensors, gradients of a module's parameters.

    A tuple is judged by its first element; None stands where no gradient arrives.
    """
    for arg in args:
        if isinstance(arg, torch.Tensor) and arg.is_floating_point():
            arg.requires_grad_(True)
    module = getattr(function, "__self__", function)
    named = dict(module.named_parameters()) if hasattr(module, "parameters") else {}
    for parameter in named.values():
        parameter.grad = None
    value = function(*args, **kwargs)
    first = value[0] if isinstance(value, tuple | list) else value
    if not isinstance(first, torch.Tensor):
        raise TypeError(f"no gradient of a {type(first).__name__}: return a tensor")
    if cotangent is not None and first.shape != cotangent.shape:
        shapes = f"{list(first.shape)}, not {list(cotangent.shape)}"
        raise ValueError(f"the value has the shape {shapes}")
    if first.requires_grad:
        # a scalar's `backward` spares the import of sympy
        (first if cotangent is None else (first * cotangent).sum()).backward()
    grads = [arg.grad if isinstance(arg, torch.Tensor) else None for arg in args]
    return value, grads, {name: p.grad for name, p in named.items()}


PROBES = {"largest": _largest, "changed": _changed, "gradient": _gradient}


class Answers:
    """Answers requests about the names of a notebook.

    Everything it does is the student's to forge; whoever asks has to judge the values.
    """

    def __init__(self, names: dict[str, Any]):
        self.names = names
        self.handles: list[Any] = []

    def reply(self, request: bytes) -> bytes:
        """The reply to a request: {"value": ...} or {"error": ..., "kind": ...}."""
        try:
            ask = decode(request, {"handle": self._kept, "generator": _generator})
            value = getattr(self, f"do_{ask['do']}")(ask)
            return encode({"value": value}, self._keep)
        except Unsendable as error:
            return encode({"error": f"it returned {error}", "kind": "Unsendable"})
        except (Exception, SystemExit) as error:
            kind = type(error).__name__
            return encode({"error": self.describe(error)[:TEXT], "kind": kind})

    def do_call(self, ask: dict) -> Any:
        """Call a function, a method or an object, if asked with a probe."""
        function = self._find(ask["target"])
        if not callable(function):
            raise TypeError(f"{ask['target'][-1]} is not a function")
        if probe := PROBES.get(ask["probe"]):
            return probe(function, ask["args"], ask["kwargs"], ask["cotangent"])
        return function(*ask["args"], **ask["kwargs"])

    def do_get(self, ask: dict) -> Any:
        """The value of a name or attribute; a handle if it is no data."""
        return self._find(ask["target"])

    def do_set(self, ask: dict) -> None:
        """Set an attribute of an object."""
        *target, name = ask["target"]
        setattr(self._find(target), name, ask["value"])

    def do_run(self, ask: dict) -> Any:
        """Run the lines of a test here; what they call `result` is the value."""
        names = dict(self.names)
        exec(compile(ask["source"], "<test>", "exec"), names)
        return names.get("result")

    def _find(self, target: list) -> Any:
        first, *rest = target
        if isinstance(first, str):
            if first not in self.names:
                raise Missing(f"{MISSING}{first}")
            found = self.names[first]
        else:
            found = first
        for name in rest:
            found = getattr(found, name)
        return found

    def _keep(self, value: Any) -> tuple[str, Any] | None:
        """Name an object that is no data, so that later requests can speak of it."""
        if isinstance(value, DATA):
            return None
        self.handles.append(value)
        return "handle", [len(self.handles) - 1, callable(value), type(value).__name__]

    def _kept(self, of: list) -> Any:
        return self.handles[of[0]]

    def describe(self, error: BaseException) -> str:
        """Name, text and the student's own line of an exception, without any path."""
        if isinstance(error, Missing):
            return str(error)
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        frames = list(traceback.walk_tb(error.__traceback__))
        own = [(f, n) for f, n in frames if f.f_globals is self.names]
        if isinstance(error, SyntaxError) and error.lineno:
            return f"{text.partition(' (')[0]} (line {error.lineno}: {error.text!r})"
        if not own:
            return text
        frame, number = own[-1]
        line = linecache.getline(frame.f_code.co_filename, number).strip()
        return f"{text} (line {number} of {frame.f_code.co_name}: {line})"


def _generator(state: torch.Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator


@contextmanager
def own_state(seed: int) -> Iterator[None]:
    """Seeded random numbers, float32 and gradients inside; as before afterwards."""
    python = random.getstate()
    numpy = np.random.get_state()  # noqa: NPY002
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
