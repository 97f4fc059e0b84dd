"""Plain notebooks: what their chapters say, in a form that any program shows."""

import base64
import html
import io
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import execute
import nbformat
import numpy as np
import pytest
import reader
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from test_site import Tags

FOLDER = reader.BOOK / reader.MADE
NAMES = sorted(path.stem for path in reader.BOOK.glob("*.ipynb"))
MYST = {
    "a role": r"\{[a-zA-Z][\w:.-]*\}`",
    "a directive": r"[`~:]{3,}\s*\{",
    "a colon fence": r"^\s*:{3,}",
    "an option of a directive": r"^\s*:[a-z-]+:",
    "a target": r"^\s*\([\w:-]+\)=",
    "a label of an equation": r"\$\$[ \t]*\([\w:-]+\)[ \t]*$",
    "attributes": r"[\])]\{[.#]|^\s*\{[.#%]",
    "a break of blocks": r"^\s*\+\+\+",
    "a comment": r"^%|<!--",
}
LINK = re.compile(r"\]\(([^()\s]+)\)")
SHOWN = re.compile(r'(?:caption-number|eqno)">([^<]+)')
NUMBER = re.compile(r"\([\d.]+\)|(Fig\.|Table|Exercise) [\d.]+")
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="36pt">'
    '<rect width="36" height="36" fill="red"/></svg>'
)


def each_name(function):
    return pytest.mark.parametrize("name", NAMES)(function)


@pytest.fixture(scope="module")
def shelf():
    return reader.open_shelf(reader.BOOK)


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def prose(notebook):
    """All texts without pictures, which are long and hold anything."""
    text = "\n\n".join(reader.markdown_of(notebook))
    return re.sub(r"\(data:[^)]*\)", "(picture)", text)


# The notebooks of the book


def test_there_is_one_for_every_chapter():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@each_name
def test_it_is_what_the_program_makes(name, shelf):
    """If not: python book/reader.py"""
    path = FOLDER / f"{name}.ipynb"
    made = reader.plain_notebook(shelf, name, reader.kept_pictures(path))
    assert path.read_text(encoding="utf-8") == nbformat.writes(made) + "\n"


@each_name
def test_no_myst_is_left(name, shelf):
    text = prose(read(name))
    found = {
        what: match[0]
        for what, pattern in MYST.items()
        if (match := re.search(pattern, text, re.MULTILINE))
    }
    assert not found
    words = set(re.findall(r"[\w:-]+", LINK.sub("", text)))
    assert not words & {label for label in shelf.places if "-" in label}


@each_name
def test_its_code_and_outputs_are_those_of_the_chapter(name, shelf):
    own = execute.code_cells(shelf.chapters[name])
    made = execute.code_cells(read(name))
    assert len(own) == len(made)
    for number, (cell, copy) in enumerate(zip(own, made, strict=True)):
        if reader.is_setup(cell):
            assert copy.source.startswith("# @title")
            continue
        assert copy.source == cell.source
        assert copy.execution_count == number + 1
        assert copy.metadata.get("tags") == cell.metadata.get("tags")
        assert len(copy.outputs) == len(cell.outputs)
        for output, there in zip(copy.outputs, cell.outputs, strict=True):
            bare = {k: v for k, v in output.items() if k not in ("data", "metadata")}
            assert bare.items() <= there.items()
            data = dict(output.get("data", {}))
            data.pop("image/png", None)
            assert data == there.get("data", {})


@each_name
def test_it_has_one_first_cell_that_is_run_before_all_others(name):
    first, *others = execute.code_cells(read(name))
    assert first.source.startswith("# @title")
    assert not first.outputs
    assert not [cell for cell in others if "# @title" in cell.source]


@each_name
def test_a_figure_has_a_png_of_its_svg_and_a_caption(name):
    cells = read(name).cells
    compared = False
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        for output in cell.get("outputs", []):
            svg = output.get("data", {}).get("image/svg+xml")
            if svg is None:
                continue
            assert re.match(r"\*\*Fig\. [\d.]+\.\*\* \S", after.source)
            assert "<summary>The figure in words</summary>" in after.source
            image = decoded(output.data["image/png"])
            size = output.metadata["image/png"]
            assert image.width == pytest.approx(reader.SCALE * size["width"], abs=1)
            assert 200 < size["width"] < 800
            if not compared:
                again = decoded(reader.drawn(svg)[0])
                difference = np.asarray(again, float) - np.asarray(image, float)
                assert np.abs(difference).mean() < 2
                compared = True


def decoded(data):
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


@each_name
def test_every_solution_is_folded_or_has_a_heading(name, shelf):
    notebook = read(name)
    wanted = sum(
        text.count("{solution-start}")
        for text in reader.markdown_of(shelf.chapters[name])
    )
    folded = prose(notebook).count("<summary>Solution</summary>")
    headings = [c for c in notebook.cells if c.source.startswith("#### Solution of ")]
    assert folded + len(headings) == wanted
    assert all(c.metadata["jp-MarkdownHeadingCollapsed"] for c in headings)
    assert [c.id for c in headings] == notebook.metadata.colab.collapsed_sections


@each_name
def test_html_in_its_texts_is_closed_and_only_folds(name):
    tags = []
    for text in reader.markdown_of(read(name)):
        for token in reader.parser().parse(text):
            for part in (token, *(token.children or ())):
                if part.type in ("html_block", "html_inline"):
                    tags += re.findall(r"</?\w+>", part.content)
    assert set(tags) <= {"<details>", "</details>", "<summary>", "</summary>"}
    assert len({tags.count(tag) for tag in set(tags)}) <= 1


def test_every_interactive_figure_has_a_picture(shelf):
    figures = dict(reader.interactive(shelf))
    assert figures
    for name, figure in reader.interactive(shelf):
        data = base64.b64encode((FOLDER / f"pictures/{figure}.png").read_bytes())
        assert data.decode() in "\n".join(reader.markdown_of(read(name)))


def test_no_reference_is_lost():
    shelf = reader.open_shelf(reader.BOOK)
    for name in NAMES:
        path = FOLDER / f"{name}.ipynb"
        reader.plain_notebook(shelf, name, reader.kept_pictures(path))
    assert not shelf.lost


# The website


@pytest.fixture(scope="module")
def page_at(site, shelf):
    """The text of a page of the site, by its address."""
    pages = {}

    def page(address):
        path = site / address.removeprefix(shelf.site)
        if path not in pages:
            pages[path] = path.read_text(encoding="utf-8")
        return pages[path]

    return page


def test_links_lead_to_pages_and_parts_that_are_there(shelf, page_at):
    ids = {}
    for name in NAMES:
        for link in LINK.findall(prose(read(name))):
            if link == "picture":
                continue
            assert link.startswith("https://"), f"{name}: {link}"
            address, _, anchor = link.partition("#")
            if not address.startswith(shelf.site):
                continue
            if address not in ids:
                found = Tags(page_at(address)).found
                ids[address] = {attributes.get("id") for _, attributes in found}
            assert not anchor or anchor in ids[address], f"{name}: {link}"


def test_numbers_are_those_of_the_website(shelf, page_at):
    compared = 0
    for place in shelf.places.values():
        address, _, anchor = place.address.partition("#")
        if NUMBER.fullmatch(place.words):
            page = page_at(address)
            after = page[page.index(f'id="{anchor}"') :]
            assert html.unescape(SHOWN.search(after)[1]).strip() == place.words
            compared += 1
    assert compared > 200


@each_name
def test_the_buttons_of_a_page_lead_to_it(name, site):
    page = site / f"book/{name}.html"
    links = [a.get("href", "") for _, a in Tags(page.read_text(encoding="utf-8")).found]
    path = f"book/{reader.MADE}/{name}.ipynb"
    for place in ("mybinder.org", "colab.research", "kaggle.com", "hub.example"):
        (link,) = {link for link in links if f"//{place}" in link.replace("www.", "")}
        assert link.endswith(path) or f"{path}&" in link
    (download,) = {x for x in links if "_sources" in x}
    copied = (page.parent / download).resolve()
    assert copied.read_bytes() == (FOLDER / f"{name}.ipynb").read_bytes()


# The first cell


@each_name
def test_no_cell_exceeds_40_lines_or_80_columns(name):
    for cell in execute.code_cells(read(name)):
        lines = cell.source.splitlines()
        assert len(lines) <= 40, cell.source
        assert not [line for line in lines if len(line) > 80]


@pytest.fixture
def somewhere(tmp_path, monkeypatch):
    """An empty folder to work in; what is changed by the cell is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture
def fetched(monkeypatch):
    """What the first cell would fetch and install, instead of doing it."""
    done = []

    def retrieve(address, path):
        done.append(address)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inside-deepseek-r1-main/book/r1/model/__init__.py", "")

    monkeypatch.setattr(urllib.request, "urlretrieve", retrieve)
    monkeypatch.setattr(subprocess, "run", lambda command, check: done.append(command))
    return done


def run_first_cell():
    first = execute.code_cells(read("05_latent_attention"))[0]
    exec(first.source, {})


@pytest.mark.parametrize(
    "start",
    ["book/notebooks", "book", ".", "book/r1/model"],
    ids=["Binder and JupyterLab", "run again", "VS Code", "below"],
)
def test_where_the_book_is_at_hand_the_first_cell_only_moves(
    start, somewhere, fetched, monkeypatch
):
    (somewhere / "book/r1/model").mkdir(parents=True)
    (somewhere / "book/notebooks").mkdir()
    monkeypatch.chdir(somewhere / start)
    for _ in range(2):
        run_first_cell()
        assert Path.cwd() == somewhere / "book"
        assert sys.path.count(os.getcwd()) == 1
    assert not fetched


@pytest.mark.parametrize("kind", ["Colab and Kaggle", "a folder of downloads"])
def test_where_the_book_is_missing_it_is_fetched_once(kind, somewhere, fetched):
    if kind == "a folder of downloads":
        shutil.copy(FOLDER / "05_latent_attention.ipynb", somewhere)
    run_first_cell()
    book = somewhere / "inside-deepseek-r1-main/book"
    assert Path.cwd() == book
    address, install = fetched
    assert install[:4] == [sys.executable, "-m", "pip", "install"]
    assert {"torch", "jaxtyping", "transformers==5.23.0"} <= set(install)
    assert address.endswith("inside-deepseek-r1/archive/refs/heads/main.zip")
    assert not (somewhere / "book.zip").exists()
    run_first_cell()
    os.chdir(somewhere)
    run_first_cell()
    assert Path.cwd() == book
    assert len(fetched) == 2


def test_without_a_network_the_first_cell_says_what_to_do(
    somewhere, fetched, monkeypatch
):
    def refuse(address, path):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlretrieve", refuse)
    with pytest.raises(FileNotFoundError, match="move this file into the book"):
        run_first_cell()
    assert not fetched
    assert not list(somewhere.iterdir())


# The program


@pytest.fixture
def small():
    """The shelf of a book with one chapter of two labels, a work and a term."""
    cells = [new_markdown_cell("# Demo\n\n$$\nx\n$$ (eq-x)\n\n(part-b)=\n## Part *B*")]
    chapter = new_notebook(cells=cells)
    shelf = reader.Shelf(Path("book"), "https://site/", "", {"03_demo": chapter})
    shelf.places = reader.places("03_demo", chapter, shelf.page("03_demo"), {})
    shelf.works = {"a24": reader.Work("A et al.", "2024a", "https://a.org")}
    shelf.works |= {"b": reader.Work("B", "2025", "https://b.org")}
    shelf.terms = {"head": "https://site/book/glossary.html#term-head"}
    return shelf


PAGE = "https://site/book/03_demo.html"
CASES = {
    "{doc}`here <03_demo>`": f"[here]({PAGE})",
    "{doc}`03_demo`": f"[Demo]({PAGE})",
    "[x](03_demo.ipynb#part)": f"[x]({PAGE}#part)",
    "[x](#part)": f"[x]({PAGE}#part)",
    "see {eq}`eq-x`.": f"see [(3.1)]({PAGE}#equation-eq-x).",
    "{ref}`part-b`": f"[Part *B*]({PAGE}#part-b)",
    "{term}`Heads <head>`": "[Heads](https://site/book/glossary.html#term-head)",
    "{term}`Head`": "[Head](https://site/book/glossary.html#term-head)",
    "x {cite:p}`a24,b`": "x ([A et al., 2024a](https://a.org); [B, 2025](https://b.org))",
    "{cite:t}`b` says": "[B (2025)](https://b.org) says",
    "`` {cite:t}`b` ``": "`` {cite:t}`b` ``",
    "`{head}` and $a_{b}`c$": "`{head}` and $a_{b}`c$",
    r"\$5 {eq}`eq-x` \$6": rf"\$5 [(3.1)]({PAGE}#equation-eq-x) \$6",
    "```python\n{term}`head`\n```": "```python\n{term}`head`\n```",
    "$$\nx\n$$ (eq-x)": "$$\nx\n\\tag{3.1}\n$$",
    "$$\nx \\\\ y\n$$": "$$\n\\begin{aligned}\nx \\\\ y\n\\end{aligned}\n$$",
    "- a\n\n  $$\n  x\n  $$ (eq-x)": "- a\n\n  $$\n  x\n  \\tag{3.1}\n  $$",
    "(part-b)=\n## Part": "## Part",
    ":::{admonition} T\n:class: tip\n\n- a\n:::": "> **T**\n>\n> - a",
    "```{admonition} Hint\n:class: dropdown\n\n{eq}`eq-x`\n```": (
        "<details>\n<summary>Hint</summary>\n\n"
        f"[(3.1)]({PAGE}#equation-eq-x)\n\n</details>"
    ),
    "```{list-table} T\n:name: tab\n\n* - a\n  - b\n* - c\n  - d - e\n```\n\nx": (
        "**Table 3.1.** T\n\n| a | b |\n|---|---|\n| c | d - e |\n\nx"
    ),
}


@pytest.mark.parametrize(("text", "wanted"), CASES.items(), ids=CASES)
def test_myst_becomes_markdown(text, wanted, small):
    small.places["tab"] = reader.Place("Table 3.1", "")
    assert reader.plain(small, "03_demo", text) == wanted
    assert not small.lost


def test_a_reference_without_a_target_stays_as_words(small):
    text = "{doc}`an old one <old>`, {term}`nothing`, {eq}`eq-none`, {cite:t}`c`"
    wanted = "an old one, nothing, eq-none, c ()"
    assert reader.plain(small, "03_demo", text) == wanted
    assert len(small.lost) == 4


@pytest.mark.parametrize("text", ["{abbr}`x`", "```{mermaid}\nx\n```"])
def test_what_the_program_does_not_know_is_an_error(text, small):
    with pytest.raises(execute.Problem, match=r"abbr|mermaid"):
        reader.plain(small, "03_demo", text)


def exercise(label, *solution):
    start = f"````{{solution-start}} {label}\n:class: dropdown\n````\n\n{solution[0]}"
    text = f"`````{{exercise}} Count\n:label: {label}\n\nHow many?\n`````\n\n{start}"
    return [
        new_markdown_cell(text),
        *(new_code_cell(code) for code in solution[1:]),
        new_markdown_cell("````{solution-end}\n````\n\n## Summary"),
    ]


@pytest.mark.parametrize("code", [(), ("print(3)",)], ids=["text", "code"])
def test_a_solution_with_code_is_folded_as_a_section(code):
    cells = [new_markdown_cell("# Demo"), *exercise("ex-count", "Three.", *code)]
    chapter = new_notebook(cells=cells)
    shelf = reader.Shelf(Path("book"), "https://site/", "", {"03_demo": chapter})
    shelf.places = reader.places("03_demo", chapter, PAGE, {})
    found = reader.joined(reader.made_cells(shelf, "03_demo", {}))
    _, task, *others = [cell.source for cell in found]
    assert task.startswith("### Exercise 3.1: Count\n\nHow many?")
    if code:
        assert others == [
            "#### Solution of exercise 3.1",
            "Three.",
            "print(3)",
            "## Summary",
        ]
        assert found[2].metadata["jp-MarkdownHeadingCollapsed"]
    else:
        assert others == ["## Summary"]
        assert task.endswith("<summary>Solution</summary>\n\nThree.\n\n</details>")


def test_pages_without_a_number_count_on_in_the_order_of_the_contents(tmp_path):
    toc = "parts:\n  - chapters:\n"
    for name in ("how", "03_demo", "A1_demo"):
        toc += f"      - file: book/{name}\n"
        task = f"# Demo\n\n```{{exercise}} E\n:label: ex-{name}\n\nHow?\n```"
        page = new_notebook(cells=[new_markdown_cell(task)])
        (tmp_path / "book").mkdir(exist_ok=True)
        nbformat.write(page, tmp_path / f"book/{name}.ipynb")
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    places = reader.open_shelf(tmp_path / "book").places
    numbers = {label: place.words for label, place in places.items()}
    assert numbers == {
        "ex-how": "Exercise 1",
        "ex-03_demo": "Exercise 3.1",
        "ex-A1_demo": "Exercise 2",
    }


def test_a_picture_is_drawn_once():
    output = new_output("display_data", {"image/svg+xml": SVG})
    made = reader.with_png(output, "A red square", {})
    size = {"width": 96, "height": 48}
    assert made.metadata["image/png"] == size | {"alt": "A red square"}
    image = decoded(made.data["image/png"])
    assert image.getpixel((10, 10)) == (255, 0, 0)
    assert image.getpixel((140, 10)) == (255, 255, 255)
    kept = reader.with_png(output, "", {SVG: ("old", size)})
    assert kept.data["image/png"] == "old"
    assert "image/png" not in output.data


def test_works_of_the_same_authors_and_year_get_letters(tmp_path):
    path = tmp_path / "references.bib"
    path.write_text(
        "@misc{one, author={Ek, Bo}, title={B}, year=2024, note={arXiv:2401.00001}}\n"
        "@misc{two, author={Ek, Bo}, title={A}, year=2024,"
        " howpublished={x.org/a\\_b}}\n"
        "@misc{three, author={Ek, Bo and Li, Al}, title={C}, year=2024,"
        " howpublished={github.com/a/b, issue 7}}\n"
        "@misc{four, author={Ek, Bo and others}, title={C}, year=2024}\n",
        encoding="utf-8",
    )
    assert reader.works(path, "page") == {
        "one": reader.Work("Ek", "2024b", "https://arxiv.org/abs/2401.00001"),
        "two": reader.Work("Ek", "2024a", "https://x.org/a_b"),
        "three": reader.Work("Ek and Li", "2024", "https://github.com/a/b/issues/7"),
        "four": reader.Work("Ek et al.", "2024", "page"),
    }


def test_renewing_changes_nothing_twice_and_removes_what_has_no_chapter(tmp_path):
    chapter = new_notebook(cells=[new_markdown_cell("# Demo")])
    chapter.metadata |= {"kernelspec": {}, "language_info": {}}
    nbformat.write(chapter, tmp_path / "03_demo.ipynb")
    (tmp_path / reader.MADE).mkdir()
    (tmp_path / reader.MADE / "04_old.ipynb").write_text("{}")
    assert reader.renew(tmp_path) == (["03_demo"], [])
    assert reader.renew(tmp_path) == ([], [])
    assert [p.name for p in (tmp_path / reader.MADE).iterdir()] == ["03_demo.ipynb"]
