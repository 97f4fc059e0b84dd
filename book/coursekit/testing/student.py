"""What a test holds in its hands: `student.router(x, w)` asks the notebook for it.

`Student` turns calls into requests and replies into values. How a request travels,
to a sandbox or within the notebook, is the business of the function it is given.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from coursekit.walls.codec import Garbage, decode, encode

Ask = Callable[[bytes], bytes]


class StudentError(Exception):
    """The student's code gave no answer; the text is for the student.

    `kind` is "raised", "todo" (a stub), "garbage" (no reply that can be read), or from
    the sandbox "time", "memory", "processes", "died". The student's side cannot name
    another.
    """

    def __init__(self, message: str, kind: str):
        super().__init__(message)
        self.kind = kind


class Gradients(NamedTuple):
    """What `gradient` found: None stands where no gradient arrives."""

    value: Any
    inputs: list[torch.Tensor | None]
    parameters: dict[str, torch.Tensor | None]


class Remote:
    """A function or an object of the notebook: call it, read and set its attributes."""

    def __init__(self, asked: "Student", target: list):
        object.__setattr__(self, "_asked", asked)
        object.__setattr__(self, "_target", target)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _call(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _read(self._asked, [*self._target, name])

    def __setattr__(self, name: str, value: Any) -> None:
        target = [*self._target, name]
        _request(self._asked, do="set", target=target, value=value)

    def __repr__(self) -> str:
        return f"<{self._target[-1]} of the notebook>"


class _Handle(Remote):
    def __init__(self, asked: "Student", of: list):
        super().__init__(asked, [self])
        object.__setattr__(self, "_of", of)

    def __repr__(self) -> str:
        return f"<a {self._of[2]} of the notebook>"


class Student:
    """The names of a notebook: `student.f(x)` calls f, `student["x"]` is a value.

    Raises StudentError where the notebook has no answer.
    """

    def __init__(self, ask: Ask):
        self._ask = ask

    def __getattr__(self, name: str) -> Remote:
        if name.startswith("__"):
            raise AttributeError(name)
        return Remote(self, [name])

    def __getitem__(self, name: str) -> Any:
        return _read(self, [name])


def _named(value: Any) -> tuple[str, Any] | None:
    """How to speak of what cannot be sent: handles by number, generators by state."""
    if isinstance(value, _Handle):
        return "handle", value._of
    if isinstance(value, Remote):
        raise TypeError("pass a function of the notebook as student['name']")
    if isinstance(value, torch.Generator):
        return "generator", value.get_state()
    return None


def _request(student: Student, **request: Any) -> Any:
    reply = student._ask(encode(request, _named))
    try:
        answer = decode(reply, {"handle": lambda of: _Handle(student, _checked(of))})
        error = answer.get("error")
        known = "value" in answer or type(error) is str
    except (Garbage, AttributeError):
        known = False
    if not known:
        raise StudentError("the reply of your code could not be read", "garbage")
    if error is not None:
        stub = answer.get("kind") == "NotImplementedError"
        raise StudentError(error, "todo" if stub else "raised")
    return answer["value"]


def _checked(of: list) -> list:
    index, is_callable, name = of
    if not (type(index) is int and type(is_callable) is bool and type(name) is str):
        raise Garbage("no handle")
    return [index, is_callable, name[:80]]


def _read(student: Student, target: list) -> Any:
    return _request(student, do="get", target=target)


def _call(
    function: Remote,
    args: tuple,
    kwargs: dict,
    probe: str | None = None,
    cotangent: torch.Tensor | None = None,
) -> Any:
    return _request(
        function._asked,
        do="call",
        target=function._target,
        args=list(args),
        kwargs=kwargs,
        probe=probe,
        cotangent=cotangent,
    )


def largest(function: Remote, *args: Any, **kwargs: Any) -> tuple[Any, int]:
    """The value of a call, and the elements of the largest tensor that it made.

    Measured where the student's code runs, so a forger can lie about it.
    """
    value, elements = _parts(_call(function, args, kwargs, "largest"), 2)
    if type(elements) is not int:
        raise StudentError("the size of the largest tensor is no number", "garbage")
    return value, elements


def changed(function: Remote, *args: Any) -> tuple[Any, list]:
    """The value of a call, and its arguments as the call has left them."""
    value, after = _parts(_call(function, args, {}, "changed"), 2)
    if type(after) is not list or len(after) != len(args):
        raise StudentError("the arguments did not come back", "garbage")
    return value, after


def gradient(
    function: Remote, *args: Any, cotangent: torch.Tensor | None = None
) -> Gradients:
    """Gradients of a call's value, or of the first of several, by each tensor argument.

    A value that is no scalar needs a `cotangent` of its shape. For a module, or a
    method of one, the gradients of its parameters come along by name.
    """
    made = _parts(_call(function, args, {}, "gradient", cotangent), 3)
    value, inputs, parameters = made
    if type(inputs) is not list or type(parameters) is not dict:
        raise StudentError("the gradients did not come back", "garbage")
    return Gradients(value, inputs, parameters)


def run(student: Student, source: str) -> Any:
    """Run lines of a test among the notebook's names; `result` is what comes back.

    For what a call cannot say, such as passing a function:
    `run(student, "result = accept(lambda p: p.argmax(), 3)")`. The student's code can
    read these lines, so no expected value belongs there.
    """
    return _request(student, do="run", source=source)


def _parts(value: Any, count: int) -> tuple:
    if type(value) is not tuple or len(value) != count:
        raise StudentError("the reply of your code could not be read", "garbage")
    return value
