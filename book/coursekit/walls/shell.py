"""What `get_ipython()` gives in the sandbox: it runs Python, and passes over the rest.

`coursekit.walls.cells` has put most magics into plain Python before, and has noted what
is not run; here is what is left.
"""

import __future__

import ast
import contextlib
import functools
import inspect
import os
import re
import time
import types
from typing import Any

FEATURES = [getattr(__future__, name) for name in __future__.all_feature_names]
FUTURES = functools.reduce(int.__or__, (one.compiler_flag for one in FEATURES))
KEPT = "__future_flags__"  # the name under which a notebook has them
OPTIONS = re.compile(r"(?:-[nrp][ \t]*\S+[ \t]*|-[tcqov]+[ \t]*)*")


@functools.cache
def loop() -> Any:
    """The event loop that all cells share, as in Jupyter."""
    import asyncio

    return asyncio.new_event_loop()


def execute(source: str, file: str, names: dict) -> None:
    """Run a cell's code, which may `await`; imports from `__future__` last, too."""
    flags = names.get(KEPT, 0) | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, file, "exec", flags, dont_inherit=True)
    names[KEPT] = flags & FUTURES | code.co_flags & FUTURES
    if code.co_flags & inspect.CO_COROUTINE:
        loop().run_until_complete(eval(code, names))
    else:
        exec(code, names)


class Quiet:
    """Takes every attribute and every call, and does nothing."""

    def __getattr__(self, name: str) -> "Quiet":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        return None


class Output(list):
    """What a command has written, of which there are none here: nothing."""

    s = n = nlstr = spstr = ""
    l = list_ = p = ()  # noqa: E741


class Captured(Quiet):
    """What a cell has written, which goes nowhere here."""

    stdout = stderr = ""
    outputs = ()


class Shell(Quiet):
    """Stands in for IPython's shell, for a notebook's names."""

    def __init__(self, names: dict):
        self.user_ns, self.config = names, {}

    def run_line_magic(self, name: str, line: str = "", _stack_depth: int = 1) -> Any:
        """Run what the name of a line magic stands for; None for the others."""
        does = {"timeit": self.timeit, "run": self.run, "cd": self.cd}
        does |= {"pwd": lambda line: os.getcwd(), "env": self.env, "set_env": self.env}
        does |= {"time": self.run_cell, "prun": self.run_cell}
        return does[name](line) if name in does else None

    def run_cell_magic(self, name: str, line: str, cell: str) -> Any:
        """Run a cell below a cell magic; None for those that run no Python."""
        if name == "timeit":
            return self.timeit(line, cell)
        if name in ("writefile", "file"):
            return self.write(line, cell)
        return self.run_cell(cell) if name in ("time", "capture", "prun") else None

    def magic(self, line: str) -> Any:
        """The old form of `run_line_magic`."""
        name, _, rest = line.removeprefix("%").partition(" ")
        return self.run_line_magic(name, rest)

    def run_cell(self, source: str, **_: Any) -> None:
        """Run code among the notebook's names."""
        execute(source, "<cell>", self.user_ns)

    def getoutput(self, command: str, **_: Any) -> Output:
        """No output, since no command is run."""
        return Output()

    def captured(self) -> Captured:
        """What `%%capture name` keeps under a name."""
        return Captured()

    def timeit(self, line: str, cell: str = "") -> Any:
        """Run code once, as in a function, so that it leaves no name behind."""
        source = line[OPTIONS.match(line).end() :] + "\n" + cell
        tree = ast.parse("def _timed():\n    pass")
        tree.body[0].body += ast.parse(source).body
        scope: dict[str, Any] = {}
        exec(compile(tree, "<timeit>", "exec"), self.user_ns, scope)
        began = time.perf_counter()
        scope["_timed"]()
        spent = time.perf_counter() - began
        kept = dict.fromkeys(("best", "worst", "average"), spent)
        lists = {"all_runs": [spent], "timings": [spent]}
        return types.SimpleNamespace(**kept, **lists, stdev=0.0, loops=1, repeat=1)

    def run(self, line: str) -> None:
        """Run a file, and take over its names."""
        path = next(word for word in line.split() if not word.startswith("-"))
        fresh: dict[str, Any] = {"__name__": "__main__", "__file__": path}
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec"), fresh)
        new = {k: v for k, v in fresh.items() if not k.startswith("__")}
        self.user_ns.update(new)

    def cd(self, line: str) -> None:
        """Go to a folder, if there is one."""
        with contextlib.suppress(OSError):
            os.chdir(line.strip().strip("'\"") or "/box")

    def env(self, line: str) -> Any:
        """Give or set a variable of the environment."""
        name, sign, value = line.partition("=" if "=" in line else " ")
        if not sign:
            return os.environ.get(name.strip()) if name.strip() else dict(os.environ)
        os.environ[name.strip()] = value.strip()
        return None

    def write(self, line: str, cell: str) -> None:
        """Write a cell into a file."""
        *options, path = line.split()
        with open(path.strip("'\""), "a" if "-a" in options else "w") as file:
            file.write(cell)


def uncompiled(model: Any = None, **options: Any) -> Any:
    """What stands for `torch.compile`, for which the sandbox has no compiler.

    It gives back what it is given, which computes the same.
    """
    if model is None:
        return uncompiled
    if hasattr(model, "parameters"):  # a module, whose own is asked for by this name
        model.__dict__.setdefault("_orig_mod", model)
    return model
