"""What editors, learning platforms, tools and students do to a right notebook.

Each disturbance changes a notebook, a dict as JSON has it, in place, at places that a
`random.Random` chooses. These leave every point, and no remark.
"""

import copy
import random
import re
import textwrap
from collections.abc import Callable
from typing import Any

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


def with_tabs(book: Book, _: random.Random) -> None:
    """Cells indented by tabs, all through."""
    for n in answers(book):
        lines = book["cells"][n]["source"].split("\n")
        depths = [len(line) - len(line.lstrip(" ")) for line in lines]
        parts = zip(depths, lines, strict=True)
        tabbed = [f"{chr(9) * (depth // 4)}{line[depth:]}" for depth, line in parts]
        if not any(depth % 4 for depth in depths):
            book["cells"][n]["source"] = "\n".join(tabbed)


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
    with_tabs,
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
