"""What editors, learning platforms, tools and students do to a right notebook.

Each disturbance changes a notebook, a dict as JSON has it, in place, at places that a
`random.Random` chooses. HARMLESS ones leave every point and no remark; after the OTHERS
a question has its points or a remark. SAVED ones turn the notebook into bytes.
"""

import copy
import json
import random
import re
import textwrap
from collections.abc import Callable
from typing import Any

import jupytext
import nbformat

Book = dict[str, Any]
Change = Callable[[Book, random.Random], None]
ANSWERS = re.compile(r"^(def route|class Balance)\b", re.MULTILINE)
BEGIN, WORDS = "The bias is there", "carries no gradient"  # of the answer in words
LINES = (
    "%matplotlib inline",
    "%load_ext autoreload\n%autoreload 2",
    "!pip install torch",
    "pip install torch",
    "files = !ls\nprint(files)",
    "route?",
    "??Balance",
    "%%html\n<b>bold</b>",
    "%%bash\nls -l\necho $HOME",
    "%%javascript\nalert(1)",
    "import asyncio\nawait asyncio.sleep(0)",
    "async def waits():\n    return 1\n\n_one = await waits()",
    "%time _sum = sum(range(10))",
    "_timed = %timeit -o -n 3 sum(range(10))\nprint(_timed.average)",
    "%%timeit\nsum(range(10))",
    "%env SEED=1",
    "%cd .",
    "%reset -f",
    "display(1)",
    "get_ipython().run_line_magic('matplotlib', 'inline')",
    "from IPython import get_ipython\nget_ipython().events.register('x', print)",
    "1 / 0",
    "input('your name? ')",
    "%unheard_of magic",
    "#@title A form { display-mode: 'form' }\nrate = 0.1 #@param {type: 'number'}",
    "",
)
ABOVE = ("%%time", "%%capture", "%%capture out", "%%prun -s cumulative")
ABOVE += ("%%time\n%%capture", "\n\n%%time", "%%unheard_of of", "%%time --quiet")
NOT_KEPT = ("%%bash", "%%html", "%%timeit", "%%writefile answer.py", "%%script false")
FORMATS = ("py:percent", "py:light", "md", "md:myst", "Rmd")
HIDDEN = ("\u00a0", "\u3000", "\u200b", "\ufeff", "\u2060")


def code(source: str, *tags: str) -> Book:
    """A code cell."""
    kind = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": 3}
    kind["metadata"] = {"tags": list(tags)} if tags else {}
    return {**kind, "source": source}


def text(source: str, kind: str = "markdown") -> Book:
    """A text cell."""
    return {"cell_type": kind, "metadata": {}, "source": source}


def answers(book: Book) -> list[int]:
    """The places of the code cells that define what is asked for."""
    cells = enumerate(book["cells"])
    return [
        n for n, c in cells if c["cell_type"] == "code" and ANSWERS.search(c["source"])
    ]


def in_words(book: Book) -> list[int]:
    """The places of the text cells with the answer in words."""
    cells = enumerate(book["cells"])
    return [n for n, c in cells if c["cell_type"] != "code" and WORDS in c["source"]]


def _each(change: Callable[[Book], None]) -> Change:
    """A disturbance of every cell."""

    def changed(book: Book, _: random.Random) -> None:
        for cell in book["cells"]:
            change(cell)

    return changed


def _metadata(**of_cell: Any) -> Change:
    def change(cell: Book) -> None:
        cell["metadata"] = {**cell["metadata"], **of_cell}

    return _each(change)


def without_tags(book: Book, _: random.Random) -> None:
    """As editors that do not know tags."""
    for cell in book["cells"]:
        cell["metadata"].pop("tags", None)


def without_ids(book: Book, _: random.Random) -> None:
    """As before format 4.5."""
    book["nbformat_minor"] = 4
    for cell in book["cells"]:
        cell.pop("id", None)


def without_metadata(book: Book, _: random.Random) -> None:
    """As a platform that keeps only what cells say."""
    book["metadata"] = {}
    for cell in book["cells"]:
        cell["metadata"] = {}


def with_outputs(book: Book, random_: random.Random) -> None:
    """Outputs, also of errors, and other counts."""
    shown = {"output_type": "display_data", "data": {"image/png": "x" * 1000}}
    failed = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = random_.sample([{**shown, "metadata": {}}, failed], 2)
            cell["execution_count"] = random_.choice([None, 1, 99])


def further_cells(book: Book, random_: random.Random) -> None:
    """Cells of the student's own, with all that Jupyter takes."""
    for source in random_.sample(LINES, 3):
        book["cells"].insert(random_.randint(1, len(book["cells"])), code(source))


def below_magics(book: Book, random_: random.Random) -> None:
    """A magic above an answer, which it runs all the same."""
    for n in answers(book):
        cell = book["cells"][n]
        if not cell["source"].lstrip().startswith(("%%", ">>>")):
            cell["source"] = f"{random_.choice(ABOVE)}\n{cell['source']}"


def lines_inside(book: Book, random_: random.Random) -> None:
    """Lines for IPython in the cell of an answer."""
    for n in answers(book):
        cell = book["cells"][n]
        if not cell["source"].lstrip().startswith((">>>", "    ")):
            more = random_.choice(("%time 1 + 1", "%precision 3", "x = %time 2", "x?"))
            cell["source"] += f"\n\n\n{more}"


def indented(book: Book, random_: random.Random) -> None:
    """A whole cell moved to the right, or pasted with prompts."""
    n = random_.choice(answers(book))
    source = book["cells"][n]["source"]
    if "%" not in source and ">>>" not in source:
        first = random_.choice(("    ", ">>> "))
        book["cells"][n]["source"] = textwrap.indent(source, first, lambda line: True)


def with_empty_lines(book: Book, _: random.Random) -> None:
    """Space that some editors leave at the ends."""
    for cell in book["cells"]:
        end = "\n\n" if cell["source"].endswith("?") else "   \n\n"
        cell["source"] = cell["source"].rstrip() + end


def merged(book: Book, random_: random.Random) -> None:
    """An answer joined with the code cell above or below it."""
    n, cells = random_.choice(answers(book)), book["cells"]
    for first in random_.sample([n - 1, n], 2):
        if 0 <= first < len(cells) - 1:
            a, b = cells[first], cells[first + 1]
            both = a["source"], b["source"]
            own = [s in LINES or s.startswith((" ", ">")) for s in both]
            kinds = {a["cell_type"], b["cell_type"]}
            if kinds == {"code"} and "%" not in both[1] and not any(own):
                cells[first : first + 2] = [{**a, "source": "\n\n".join(both)}]
                return


def split(book: Book, random_: random.Random) -> None:
    """A cell cut where lines begin at the margin."""
    n, cells = random_.choice(answers(book)), book["cells"]
    source = cells[n]["source"]
    cuts = [m.start() for m in re.finditer(r"^(?=[@\w])", source, re.MULTILINE)][1:]
    cuts = [cut for cut in cuts if "@" not in source[:cut].rstrip().split("\n")[-1]]
    if cuts and "%%" not in source:
        cut = random_.choice(cuts)
        parts = source[:cut], source[cut:]
        cells[n : n + 1] = [{**cells[n], "source": part} for part in parts]


def twice(book: Book, random_: random.Random) -> None:
    """An answer there twice, or below what the starter has, which it replaces."""
    n = random_.choice(answers(book))
    cell = book["cells"][n]
    pattern = r"(?ms)^(def route\(.*?\)|class Balance):.*"
    stub = re.sub(pattern, r"\1:\n    pass", cell["source"])
    first = cell if random_.random() < 0.5 else {**cell, "source": stub}
    book["cells"].insert(n, copy.deepcopy(first))


def compiled(book: Book, _: random.Random) -> None:
    """The function compiled, as is usual with PyTorch."""
    for n in answers(book):
        cell = book["cells"][n]
        if not cell["source"].lstrip().startswith((">>>", "    ")):
            pattern = re.compile(r"^def route", re.MULTILINE)
            cell["source"] = pattern.sub("@torch.compile\ndef route", cell["source"])


def kept_as_experiment(book: Book, random_: random.Random) -> None:
    """An answer with the tag of an experiment, as after joining cells."""
    cell = book["cells"][random_.choice(answers(book))]
    tags = cell["metadata"].get("tags", [])
    cell["metadata"] = {"tags": sorted({*tags, "experiment"})}


def words_split(book: Book, _: random.Random) -> None:
    """The answer in words in two cells."""
    for n in in_words(book):
        cell = book["cells"][n]
        head, middle, tail = cell["source"].partition(WORDS)
        if head.strip():
            more = text(middle + tail)
            book["cells"][n : n + 1] = [{**cell, "source": head}, more]


def words_merged(book: Book, _: random.Random) -> None:
    """The answer in words joined with its question."""
    for n in in_words(book):
        above, cell = book["cells"][n - 1], book["cells"][n]
        if above["cell_type"] == "markdown" and cell["cell_type"] == "markdown":
            whole = f"{above['source']}\n\n{cell['source']}"
            book["cells"][n - 1 : n + 1] = [{**above, "source": whole}]


def words_raw(book: Book, _: random.Random) -> None:
    """The answer in words in a raw cell."""
    for n in in_words(book):
        book["cells"][n]["cell_type"] = "raw"


HARMLESS: list[Change] = [
    without_tags,
    without_ids,
    without_metadata,
    _metadata(id="a1", outputId="b2", colab={"base_uri": "https://x"}),
    _metadata(vscode={"languageId": "python"}),
    _metadata(_uuid="c3", trusted=True, execution={"iopub.status.busy": "2026"}),
    _metadata(jupyter={"source_hidden": True}, collapsed=False, editable=False),
    _metadata(papermill={"duration": 1.0}, nbgrader={"grade": True}, name="a"),
    with_outputs,
    further_cells,
    below_magics,
    lines_inside,
    indented,
    with_empty_lines,
    merged,
    split,
    twice,
    compiled,
    kept_as_experiment,
    words_split,
    words_merged,
    words_raw,
]


def turned_to_text(book: Book, random_: random.Random) -> None:
    """An answer in a text cell, some with the fence that Markdown has for code."""
    n = random_.choice(answers(book))
    source = book["cells"][n]["source"]
    fenced = f"```python\n{source}\n```"
    kind = random_.choice(("markdown", "raw"))
    book["cells"][n] = text(random_.choice((source, fenced)), kind)


def commented_out(book: Book, random_: random.Random) -> None:
    """An answer commented out."""
    cell = book["cells"][random_.choice(answers(book))]
    cell["source"] = re.sub("^", "# ", cell["source"], flags=re.MULTILINE)


def under_what_keeps_nothing(book: Book, random_: random.Random) -> None:
    """A magic above an answer by which Jupyter does not define it."""
    cell = book["cells"][random_.choice(answers(book))]
    cell["source"] = f"{random_.choice(NOT_KEPT)}\n{cell['source']}"


def below_the_answer(book: Book, random_: random.Random) -> None:
    """The starter's cell below the answer, where it replaces it."""
    n = random_.choice(answers(book))
    name = ANSWERS.search(book["cells"][n]["source"])[1]
    stub = f"{name}(*a):\n    raise NotImplementedError('q1')"
    if name.startswith("class"):
        stub = f"{name}:\n    pass"
    at = random_.randint(n + 1, len(book["cells"]))
    book["cells"].insert(at, code(stub))


def shuffled(book: Book, random_: random.Random) -> None:
    """Cells in another order."""
    random_.shuffle(book["cells"])


def imports_last(book: Book, _: random.Random) -> None:
    """What is needed first, at the end, as cells can be run in any order."""
    book["cells"] = [*book["cells"][2:], *book["cells"][:2]]


def in_one_cell(book: Book, random_: random.Random) -> None:
    """All code joined."""
    sources = [c["source"] for c in book["cells"] if c["cell_type"] == "code"]
    others = [c for c in book["cells"] if c["cell_type"] != "code"]
    book["cells"] = [*others, code("\n\n".join(sources))]


def hidden_characters(book: Book, random_: random.Random) -> None:
    """What comes along with a text that is copied from a page."""
    cell = book["cells"][random_.choice(answers(book))]
    lines = cell["source"].split("\n")
    n = random_.randrange(len(lines))
    lines[n] = lines[n].replace(" ", random_.choice(HIDDEN[:2]))
    lines[n] += random_.choice(HIDDEN)
    cell["source"] = "\n".join(lines)


def helper_not_run(book: Book, random_: random.Random) -> None:
    """What an answer needs, in a cell that grading does not run."""
    n = random_.choice(answers(book))
    cell = book["cells"][n]
    cell["source"] = cell["source"].replace("topk(", "topk(0 + no * ", 1)
    where = random_.choice(
        (code("no = 1", "experiment"), code("%%script x\nno = 1"), text("no = 1"))
    )
    book["cells"].insert(n, where)


def renamed(book: Book, random_: random.Random) -> None:
    """An answer under another name."""
    name = ANSWERS.search(book["cells"][random_.choice(answers(book))]["source"])[1]
    for n in answers(book):
        cell = book["cells"][n]
        cell["source"] = cell["source"].replace(name, name.replace(" ", " my_"))


def deleted(book: Book, random_: random.Random) -> None:
    """An answer that is gone."""
    name = ANSWERS.search(book["cells"][random_.choice(answers(book))]["source"])[1]
    for n in reversed(answers(book)):
        if ANSWERS.search(book["cells"][n]["source"])[1] == name:
            del book["cells"][n]


def cut_in_two(book: Book, random_: random.Random) -> None:
    """A cell cut anywhere."""
    n = random_.choice(answers(book))
    lines = book["cells"][n]["source"].split("\n")
    cut = random_.randint(1, max(1, len(lines) - 1))
    parts = "\n".join(lines[:cut]), "\n".join(lines[cut:])
    book["cells"][n : n + 1] = [{**book["cells"][n], "source": part} for part in parts]


def words_as_code(book: Book, _: random.Random) -> None:
    """The answer in words in a code cell."""
    for n in in_words(book):
        tags = book["cells"][n]["metadata"].get("tags", ())
        book["cells"][n] = code(book["cells"][n]["source"], *tags)


def words_elsewhere(book: Book, random_: random.Random) -> None:
    """The answer in words in a cell of its own, the line that marks it gone."""
    for n in in_words(book):
        said = re.sub("<!--.*-->", "", book["cells"][n]["source"])
        del book["cells"][n]
        book["cells"].insert(random_.randint(0, len(book["cells"])), text(said))


OTHERS: list[Change] = [
    turned_to_text,
    commented_out,
    under_what_keeps_nothing,
    below_the_answer,
    shuffled,
    imports_last,
    in_one_cell,
    hidden_characters,
    helper_not_run,
    renamed,
    deleted,
    cut_in_two,
    words_as_code,
    words_elsewhere,
]


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
