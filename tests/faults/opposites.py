"""Plant the opposite of what a chapter says, and see whether its assertions notice.

`python tests/faults/opposites.py [CHAPTER ...]` runs the code of a chapter from its
text twin, once for each row of opposites.toml that names the chapter, with the opposite
in place: two arms exchanged, one seed's log in the place of another's, noise for an
effect, one text of the code in the place of another. Outputs are not compared, so only
an assertion can notice. An assertion that fails is noted, and the run goes on, so that
one opposite may show many; an `assert_close` that fails ends the run and counts too. At
the end it prints the assertions that no opposite reached: those must be identities and
not results. It exits with 1 if an opposite passes unnoticed, or if an assertion fails
without any.
"""

import argparse
import ast
import contextlib
import io
import linecache
import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

BOOK = Path(__file__).parents[2] / "book"
LIST = Path(__file__).with_name("opposites.toml")
NOTED = "assertion failed: line "
REACHED = "assertion reached: line "
TRACEBACK = "Traceback (most recent call last):"


class Opposite(NamedTuple):
    """One opposite of what a chapter says.

    `plant` is run before the chapter, with the functions of this file that change what
    the records say. `old` stands exactly once in the chapter's code and becomes `new`.
    """

    id: str
    chapter: str
    what: str
    plant: str = ""
    old: str = ""
    new: str = ""


def read_opposites() -> list[Opposite]:
    """The opposites of the list."""
    with LIST.open("rb") as file:
        return [Opposite(**row) for row in tomllib.load(file)["opposite"]]


# What `plant` may call. Each puts itself between a chapter and the recorded runs.


def _between(change) -> None:
    from r1.train import records

    read = records.read_run

    def changed(table, run, *rest, **named):
        return change(lambda r: read(table, r, *rest, **named), table, run)

    records.read_run = changed


def exchange(experiment: str, first: str, second: str) -> None:
    """Give two arms of an experiment each other's logs, in every seed and table."""

    def change(read, table, run):
        name, _, seed = run.rpartition("_seed")
        if table.startswith(f"{experiment}/") and name in (first, second):
            name = second if name == first else first
        return read(f"{name}_seed{seed}" if name else run)

    _between(change)


def replace_run(experiment: str, run: str, other: str) -> None:
    """Let one run have the log of another."""

    def change(read, table, asked):
        here = table.startswith(f"{experiment}/") and asked == run
        return read(other if here else asked)

    _between(change)


def change_column(table: str, arm: str, column: str, function) -> None:
    """Put function(values, seed) in the place of a column of an arm's logs."""

    def change(read, asked, run):
        log = read(run)
        name, _, seed = run.rpartition("_seed")
        if asked == table and (name or run) == arm:  # a run may have no seed
            log = {**log, column: function(log[column], int(seed) if name else None)}
        return log

    _between(change)


@cache
def code_of(chapter: str) -> str:
    """The code of a chapter, without the cell that Colab needs."""
    import jupytext

    notebook = jupytext.read(BOOK / f"text/{chapter}.md")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [c for c in cells if "remove-cell" not in c.metadata.get("tags", [])]
    return "\n\n".join(cell.source for cell in shown) + "\n"


class _Noting(ast.NodeTransformer):
    """Turn `assert test` into a note of whether it held, so that the run goes on."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        call = ast.parse(f"_note({node.lineno}, lambda: 0)").body[0]
        call.value.args[1].body = node.test
        return ast.fix_missing_locations(ast.copy_location(call, node))


def run_chapter(opposite: Opposite) -> None:
    """Run the code of a chapter under an opposite; prints a line for each assertion.

    Raises ValueError if `old` does not stand in the code exactly once.
    """
    code = code_of(opposite.chapter)
    if opposite.old:
        if code.count(opposite.old) != 1:
            times = code.count(opposite.old)
            raise ValueError(f"{opposite.id}: {times} times {opposite.old!r}")
        code = code.replace(opposite.old, opposite.new)
    out = sys.stdout

    def note(line, test):
        try:
            held = bool(test())
        except AssertionError:
            held = False
        print(REACHED if held else NOTED, line, sep="", file=out, flush=True)

    exec(opposite.plant, globals() | {})
    # As in a notebook, inspect.getsource finds the code that runs.
    lines = code.splitlines(keepends=True)
    linecache.cache[opposite.chapter] = (len(code), None, lines, opposite.chapter)
    tree = _Noting().visit(ast.parse(code))
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(tree, opposite.chapter, "exec"), {"_note": note, "__name__": "x"})


class Result(NamedTuple):
    """The lines whose assertions failed, those that held, and how the run ended."""

    failed: set[int]
    held: set[int]
    end: str


def try_opposite(opposite: Opposite) -> Result:
    """Run a chapter under an opposite, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", opposite.id, opposite.chapter],
        cwd=BOOK,
        env=os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(BOOK)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()

    def numbers(mark):
        return {int(line.removeprefix(mark)) for line in lines if line.startswith(mark)}

    end = ending(done.stderr) if done.returncode else ""
    return Result(numbers(NOTED), numbers(REACHED), end)


def ending(stderr: str) -> str:
    """The line that names the exception a run ended with, or the last line.

    The message of `assert_close` has several lines, so the name is not always in the
    last one: it stands in the first line after the last traceback that is not indented.
    """
    lines = stderr.strip().splitlines()
    if TRACEBACK in lines:
        frames = lines[len(lines) - lines[::-1].index(TRACEBACK) :]
        named = [line for line in frames if line and not line[0].isspace()]
        return (named or lines)[0]
    return (lines or [""])[-1]


def try_chapter(chapter: str, opposites: list[Opposite]) -> bool:
    """Plant all opposites of a chapter; whether each was noticed, and nothing else."""
    nothing = Opposite("nothing", chapter, "the chapter as it is")
    plain = try_opposite(nothing)
    good = not plain.failed and not plain.end
    if not good:
        print(f"{chapter}: red as it is: lines {sorted(plain.failed)} {plain.end}")
    seen = set()
    for opposite in opposites:
        result = try_opposite(opposite)
        noticed = bool(result.failed) or result.end.startswith("AssertionError")
        good &= noticed
        seen |= result.failed
        word = "noticed    " if noticed else "NOT NOTICED"
        where = f"lines {sorted(result.failed)} {result.end}"
        print(word, f"{opposite.id}: {where}", flush=True)
    code = code_of(chapter).splitlines()
    for line in sorted(plain.held - seen):
        print(f"  reached by none: {line}: {code[line - 1].strip()}")
    return good


def main(words: list[str] | None = None) -> int:
    """Plant what the command line asks for; 0 if all of it is noticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    rows = read_opposites()
    if args.one:
        rows += [Opposite("nothing", *args.chapters, "")]
        run_chapter(next(row for row in rows if row.id == args.one))
        return 0
    chapters = args.chapters or sorted({row.chapter for row in rows})
    good = [
        try_chapter(name, [row for row in rows if row.chapter == name])
        for name in chapters
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
