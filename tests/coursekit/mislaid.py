"""What students do to a right notebook so that grading cannot see it as it was meant.

After each of these, changes as those of `disturbed`, a question has its points or a
remark.
"""

import random
import re

from disturbed import ANSWERS, Book, Change, answers, code, in_words, text

NOT_KEPT = ("%%bash", "%%html", "%%timeit", "%%writefile answer.py", "%%script false")
HIDDEN = ("\u00a0", "\u3000", "\u200b", "\ufeff", "\u2060")


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


def tabs_among_spaces(book: Book, random_: random.Random) -> None:
    """Some lines indented by tabs, which look the same."""
    cell = book["cells"][random_.choice(answers(book))]
    lines = cell["source"].split("\n")
    for n in random_.sample(range(len(lines)), len(lines) // 3):
        lines[n] = lines[n].replace("        ", "\t")
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
    tabs_among_spaces,
    helper_not_run,
    renamed,
    deleted,
    cut_in_two,
    words_as_code,
    words_elsewhere,
]
