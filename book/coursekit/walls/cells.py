"""Cells as plain Python: what Jupyter takes beyond it is turned, or named.

IPython's own transformer turns magics and lines for the shell into calls of
`get_ipython()`. Those that run Python are put in its place here, so that errors name
the student's own lines; `coursekit.walls.shell` answers the rest in the sandbox. Only
text is handled: nothing of a cell is run.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

# Cell magics that run their cell among the notebook's names.
BODY = {"time", "capture", "prun", "debug"}
# Those that `coursekit.walls.shell` answers; only the second two keep nothing.
WRITES, MEASURES = {"writefile", "file"}, {"timeit"}
# Those that show something, and those whose cell is no Python, or for another process.
SHOWS = {"html", "javascript", "js", "latex", "markdown", "svg"}
FOREIGN = {"bash", "sh", "script", "shell", "cmd", "powershell", "system", "sx", "!"}
FOREIGN |= {"python", "python2", "python3", "pypy", "perl", "ruby", "r", "julia"}
FOREIGN |= {"cython", "sql", "bigquery", "skip"}
# Line magics: those that run Python, those that the sandbox answers, those that
# concern a screen, an editor or help, and those that install.
RUNS = {"time", "prun"}
ANSWERED = {"timeit", "cd", "env", "set_env", "pwd", "run"}
IDLE = {"matplotlib", "config", "precision", "load_ext", "reload_ext", "unload_ext"}
IDLE |= {"autoreload", "aimport", "xmode", "pdb", "debug", "tb", "gui", "colors"}
IDLE |= {"autocall", "automagic", "autosave", "who", "whos", "who_ls", "lsmagic"}
IDLE |= {"quickref", "history", "hist", "reset", "reset_selective", "load", "notebook"}
IDLE |= {"save", "logstart", "logon", "logoff", "logstop", "doctest_mode", "pprint"}
IDLE |= {"pinfo", "pinfo2", "psearch", "psource", "pdoc", "pdef", "pfile", "page"}
IDLE |= {"tensorboard", "watermark", "nb_black", "magic", "alias", "rehashx", "xdel"}
INSTALLS = re.compile(r"[!%]+\s*(python\S* -m )?(pip|conda|mamba|uv|apt|apt-get)\b")
# What no plain cell has; only with it is a cell parsed at all.
SPECIAL = re.compile(
    r"^[ \t]*(?:[%!?,;/]|>>>|\.\.\.|In ?\[)|\?[ \t]*$|=[ \t]*[%!]|get_ipython"
    r"|\A\s*[ \t]",
    re.MULTILINE,
)
ALSO_PYTHON = re.compile(r"get_ipython|\A\s*In ?\[\d+\]:")
OPTIONS = re.compile(r"(?:-[lsTD][ \t]*\S+[ \t]+|-[rq][ \t]+|--[\w-]+[ \t]+)*")
# Characters that cannot be seen and that Python refuses: wide spaces, and no spaces.
SPACES = dict.fromkeys(
    [0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "
)
NOTHING = dict.fromkeys(
    [0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A),
     0xFEFF], ""
)  # fmt: skip
INVISIBLE = re.compile(f"[{''.join(map(chr, SPACES | NOTHING))}]")
MOST = 3 * 10**5  # characters times the lines to turn: a second of work or so
ALL = 10**6  # the same for all cells of a notebook
DEPTH = 8  # cell magics within each other


@dataclass(frozen=True)
class Plain:
    """A cell as plain Python, and what of it is not run, by line, in words."""

    source: str
    notes: tuple[tuple[int, str], ...] = ()

    def told(self) -> str:
        """The notes in one line; empty if there is none."""
        return "; ".join(f"line {line}: {text}" for line, text in self.notes)


def plain_python(source: str) -> str:
    """A cell as plain Python; as it is, if it is none and cannot be turned."""
    return plain(source).source


def plain_cells(sources: Mapping[int, str]) -> dict[int, Plain]:
    """The cells of a notebook as plain Python, as far as the work is bounded."""
    found, left = {}, ALL
    for number, source in sources.items():
        found[number] = plain(source) if left > 0 else _too_much(source)
        left -= _work(source) if _odd(source) else 0
    return found


def _odd(source: str) -> bool:
    """Whether a cell may be something else than plain Python."""
    return bool(SPECIAL.search(source) or INVISIBLE.search(source) or _word(source))


def _work(source: str) -> int:
    return len(source) * (1 + len(SPECIAL.findall(source)))


def _too_much(source: str) -> Plain:
    return Plain(source, ((1, "there is too much to be turned into Python"),))


def plain(source: str, depth: int = 0) -> Plain:
    """Turn a cell into plain Python, with a line for each of its lines."""
    if not _odd(source):
        return Plain(source)
    if _work(source) > MOST or depth > DEPTH:
        return _too_much(source)
    if is_python(source) and not ALSO_PYTHON.search(source):
        return Plain(source)
    found = _turned(source, depth)
    if not is_python(found.source):
        if INVISIBLE.search(source):
            return _without_invisible(source, depth)
        if _word(source):
            return plain(f"%{source.lstrip()}", depth + 1)
    return found


def is_python(source: str) -> bool:
    """Whether a text can be read as Python."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _word(source: str) -> bool:
    """Whether a cell is a single line that begins with the bare name of a magic."""
    first, *rest = source.split(maxsplit=1)[:2] or [""]
    known = first in RUNS | ANSWERED | IDLE | {"pip", "conda"}
    return known and bool(rest) and "\n" not in source.strip()


def _without_invisible(source: str, depth: int) -> Plain:
    """The cell without characters that cannot be seen, if it can be run like that."""
    cleaned = plain(source.translate(SPACES | NOTHING), depth + 1)
    if not is_python(cleaned.source):
        return Plain(source)
    lines = source.split("\n")
    found = [(n, INVISIBLE.search(line)) for n, line in enumerate(lines, 1)]
    notes = [(n, _hidden(match[0])) for n, match in found if match]
    return Plain(cleaned.source, (*notes[:3], *cleaned.notes))


def _hidden(character: str) -> str:
    done = "read as a space" if ord(character) in SPACES else "left out"
    return f"a character that cannot be seen (U+{ord(character):04X}) was {done}"


@cache
def _transformer():
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager()


def _turned(source: str, depth: int) -> Plain:
    try:
        text = _transformer().transform_cell(source)
    except (SyntaxError, RuntimeError):  # RecursionError is one of the latter
        return Plain(source)
    if not is_python(text):
        return Plain(text)
    tree = ast.parse(text)
    asked = [found for node in ast.walk(tree) if (found := _asked(node))]
    whole = tree.body[0] if len(tree.body) == 1 else None
    call = _asked(whole.value) if isinstance(whole, ast.Expr) else None
    if call and call.method == "run_cell_magic" and len(call.arguments) == 3:
        return _cell_magic(source, text, *call.arguments, depth)
    above = source.count("\n") + (not source.endswith("\n")) - text.count("\n")
    lines, notes = text.split("\n"), []
    for call in sorted(asked, key=lambda call: call.node.lineno, reverse=True):
        code, note = _line(call)
        if code is not None:
            _put(lines, call.node, code)
        if note:
            notes.append((call.node.lineno + above, note))
    return Plain("\n" * above + "\n".join(lines), tuple(reversed(notes)))


@dataclass(frozen=True)
class _Call:
    """A call of a method of `get_ipython()` with texts."""

    node: ast.Call
    method: str
    arguments: list[str]


def _asked(node: ast.AST) -> _Call | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    of = node.func.value
    if not isinstance(of, ast.Call) or not isinstance(of.func, ast.Name):
        return None
    texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
    if of.func.id != "get_ipython" or not all(isinstance(t, str) for t in texts):
        return None
    return _Call(node, node.func.attr, texts)


def _line(call: _Call) -> tuple[str | None, str]:
    """The Python to put in the place of a line's call, if any, and what is to be said.

    `%time f()` is f(); what the sandbox or nobody has to answer stays as it is.
    """
    said = " ".join(call.arguments).strip()[:80]
    if call.method in ("system", "getoutput"):
        return None, f"`!{said}` was not run: grading has no shell"
    if call.method != "run_line_magic" or len(call.arguments) != 2:
        return None, ""
    name, line = call.arguments
    code = line[OPTIONS.match(line).end() :] if name in RUNS else ""
    if code and is_python(code):
        return code, ""
    if name in RUNS | ANSWERED | IDLE:
        return None, ""
    return None, f"`%{said}` was not run"


def _put(lines: list[str], node: ast.Call, code: str) -> None:
    """Put code in the place of a call that stands on one line."""
    if node.lineno != node.end_lineno:
        return
    line = lines[node.lineno - 1].encode()
    before, after = line[: node.col_offset], line[node.end_col_offset :]
    lines[node.lineno - 1] = (before + code.encode() + after).decode()


def _cell_magic(
    source: str, text: str, name: str, line: str, body: str, depth: int
) -> Plain:
    """A cell below a cell magic: its own lines, or the call that the sandbox answers.

    A magic that is not known is taken for one that runs Python, if it stands on some.
    """
    low = name.lower()
    if low in SHOWS:
        return Plain("")
    if low in FOREIGN:
        return Plain("", ((1, f"the cell below `%%{name}` was not run"),))
    if name in WRITES | MEASURES:
        return Plain(text)
    inner = plain(body, depth + 1)
    if name not in BODY and not is_python(inner.source):
        return Plain("", ((1, f"the cell below `%%{name}` was not run"),))
    above = source.count("\n") + (not source.endswith("\n")) - body.count("\n")
    words = line.split() if name == "capture" else ()
    kept = next(filter(str.isidentifier, words), "")
    first = f"{kept} = get_ipython().captured()" if kept else ""
    notes = [(number + above, said) for number, said in inner.notes]
    if name not in BODY:
        notes[:0] = [(above, f"`%%{name}` is not known: its cell was run without it")]
    return Plain(first + "\n" * above + inner.source, tuple(notes))
