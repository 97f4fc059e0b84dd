"""Every number of the prose is printed, set or published, or plain (book/prose.py)."""

import nbformat
import prose
import pytest

from r1.train import read_ledger

# Chapters whose second edition is not yet written, and how many numbers still lack a
# reason there. They may only become fewer.
OPEN = {}
CHAPTERS = sorted(path.stem for path in prose.BOOK.glob("text/*.md"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_number_of_the_prose_has_something_behind_it(name):
    found = prose.without_support(name)
    lines = [f"{s.line}: {number}: {s.text[:90]}" for s, number in found]
    assert len(found) <= OPEN.get(name, 0), "\n".join(lines)


@pytest.mark.parametrize("name", sorted(OPEN))
def test_the_list_of_open_numbers_shrinks_with_the_chapters(name):
    assert len(prose.without_support(name)) == OPEN[name], f"OPEN[{name!r}]"


def sentence(text, task=False):
    return prose.Sentence(1, text, task)


def reason_lacks(text, known=(), task=False):
    """The numbers of one sentence that nothing stands behind."""
    return [n for _, n in prose.unsupported([sentence(text, task)], set(known))]


def test_a_typed_number_that_no_cell_prints_is_found():
    assert reason_lacks("The loss falls to 0.85.", {"0.86"}) == ["0.85"]
    assert reason_lacks("The loss falls to 0.85.", {"0.851"}) == ["0.85"]
    assert reason_lacks("The loss falls to 0.86.", {"0.86"}) == []


def test_what_a_cell_measures_stands_behind_no_number():
    cell = nbformat.v4.new_code_cell("f()")
    cell.outputs = [nbformat.v4.new_output("stream", text="45 % of the peak")]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert "45" in prose.printed(notebook)
    cell.metadata["tags"] = [prose.MEASURED]
    assert "45" not in prose.printed(notebook)


@pytest.mark.parametrize(
    "text",
    [
        "In January 2025 the news came.",
        "Chapter 13 and section 4.2 say so, and table 12 too.",
        "The H800 and the FP8 format, R1-Zero, `x = 17` and {eq}`eq-12`.",
        "Then $(10 - 5)/5 = 1$ and $\\sqrt{8}/8 = 0.354$ and $2^{-7} = 0.0078$.",
        "Take an expert of 18 parameters.",
        "It has 3 experts.",
        "Qwen2.5 72B is dense, and so are Llama 3.1 405B and Qwen2.5-32B.",
    ],
)
def test_these_numbers_are_plain(text):
    assert reason_lacks(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "It has 2,025 experts.",
        "It has 2048 experts.",
        "Then $(10 - 5)/5 = 1.1$.",
        "In 27 of 30 cases.",
        "The loss is $0.85$.",
        "So 85 % of them.",
    ],
)
def test_these_numbers_are_not_plain(text):
    assert reason_lacks(text)


def test_a_published_number_counts_only_where_its_source_is_cited():
    row = read_ledger()["v3-gpu-hours"]
    assert reason_lacks("It took 2,788K hours {cite:p}`deepseek2024v3`.") == []
    assert reason_lacks("It took 2.788 million hours {cite:p}`deepseek2024v3`.") == []
    assert reason_lacks("It took 2,788K hours.") == [row.number]
    assert reason_lacks("It took 2,788K hours {cite:p}`wang2024lossfree`.")
    assert reason_lacks("It weighs 2,788 tons {cite:p}`deepseek2024v3`.")


def test_prose_is_what_a_reader_reads():
    page = (
        "---\na: 11\n---\n# Title 12\n\n```{code-cell}\nx = 13\n```\n\nRead 14.\n\n"
        "$$\ny = 15\n$$ (eq-x)\n\n`````{exercise} E\n:label: ex-16\n\nFind 17.\n\n"
        "````{admonition} Hint\n:class: dropdown\n\nTry 18.\n````\n`````\n\nRead 19.\n"
    )
    assert [(s.text, s.task) for s in prose.sentences(page)] == [
        ("Read 14.", False),
        ("Find 17.", True),
        ("Try 18.", True),
        ("Read 19.", False),
    ]
