"""What editors and learning platforms make of a notebook when they save it."""

import json
import re
from collections.abc import Callable
from typing import Any

import jupytext
import nbformat
from disturbed import Book

FORMATS = ("py:percent", "py:light", "md", "md:myst", "Rmd")  # of jupytext


def _by_source(change: Callable[[str], Any]) -> Callable[[Book], bytes]:
    """Save with another form of what cells say."""

    def saved(book: Book) -> bytes:
        cells = [{**c, "source": change(c["source"])} for c in book["cells"]]
        return json.dumps({**book, "cells": cells}).encode()

    return saved


def _format_3(book: Book) -> bytes:
    """As Jupyter before 2014, on two sheets."""
    cells = []
    for cell in book["cells"]:
        head = re.fullmatch(r"(#+) (.*)", cell["source"].strip())
        if cell["cell_type"] == "code":
            kept = {"metadata": cell["metadata"], "outputs": [], "language": "python"}
            cells.append({"cell_type": "code", "input": cell["source"], **kept})
        elif head:
            kind = {"cell_type": "heading", "level": len(head[1])}
            cells.append({**kind, "metadata": {}, "source": head[2]})
        else:
            cells.append(cell)
    sheets = [{"cells": cells[:5], "metadata": {}}, {"cells": cells[5:]}]
    return json.dumps({"nbformat": 3, "metadata": {}, "worksheets": sheets}).encode()


def _through(format_: str) -> Callable[[Book], bytes]:
    """Written as text by jupytext, and read again."""

    def saved(book: Book) -> bytes:
        for cell in book["cells"]:
            cell.pop("id", None)
            cell.setdefault("outputs", [])
        notebook = nbformat.from_dict({**book, "nbformat": 4, "nbformat_minor": 4})
        written = jupytext.writes(notebook, fmt=format_)
        return json.dumps(jupytext.reads(written, fmt=format_)).encode()

    return saved


def plain(book: Book, **how: Any) -> bytes:
    """As it is."""
    return json.dumps(book, ensure_ascii=False, **how).encode()


def _with_strange_cells(book: Book) -> bytes:
    strange = [None, 1, {"cell_type": "html", "source": ""}, {"cell_type": "code"}]
    strange += [{"cell_type": "code", "source": None, "metadata": None}]
    return plain({**book, "cells": [*book["cells"], *strange]})


SAVED: dict[str, Callable[[Book], bytes]] = {
    "plain": plain,
    "in other words": lambda b: plain(b, indent=4, sort_keys=True),
    "lists": _by_source(lambda source: source.splitlines(keepends=True)),
    "lists without line ends": _by_source(lambda source: source.split("\n")),
    "CRLF": _by_source(lambda source: source.replace("\n", "\r\n")),
    "CR": _by_source(lambda source: source.replace("\n", "\r")),
    "a file with CRLF": lambda b: b"\r\n".join(plain(b, indent=1).splitlines()),
    "a byte order mark": lambda b: b"\xef\xbb\xbf" + plain(b),
    "strange cells": _with_strange_cells,
    "format 3": _format_3,
    **{f"jupytext {name}": _through(name) for name in FORMATS},
}
