"""Lecture slides: made of the notebooks, whole on a screen and on a phone."""

import nbformat
import pytest
import slides
from test_site import html_pages, tags_of
from visits import BROKEN_MATH, MODES, OVERFLOW, barriers, heard, open_tabs

DECKS = dict(slides.parts())
MODES = MODES | {"light": MODES["light"] | {"viewport": {"width": 1280, "height": 720}}}
STUCK = "slides.filter(full).map((slide) => slide.id)"


def cell(source, output=None, **metadata):
    made = nbformat.v4.new_code_cell(source, metadata=metadata)
    if output:
        made.outputs = [nbformat.v4.new_output("stream", text=output)]
    return made


def chapter(*cells):
    """The sections of a chapter: text, or code cells that are made already."""
    whole = [
        nbformat.v4.new_markdown_cell(c) if isinstance(c, str) else c for c in cells
    ]
    return slides.sections(nbformat.v4.new_notebook(cells=whole))


def test_every_chapter_is_in_a_deck_and_every_section_on_a_slide():
    names = [name for part in DECKS.values() for name in part]
    assert names == sorted(path.stem for path in slides.BOOK.glob("[0-9]*.ipynb"))
    for name in names:
        notebook = nbformat.read(slides.BOOK / f"{name}.ipynb", as_version=4)
        made = {slide.title for slide in slides.chapter_slides(1, name, {})}
        wanted = {s.title for s in slides.sections(notebook)[1:]} - slides.LEFT_OUT
        assert wanted <= made, name


def test_a_section_gives_its_first_sentences_formulas_and_a_short_cell():
    _, section = chapter(
        "# Title\n\n## Gates\n\nOne {term}`gate <gates>`.\nTwo {cite:p}`x`.\n"
        "See {eq}`eq-a`.\n\n$$\nx < y\n$$ (eq-a)\n\nAfter it.",
        cell("import os"),
        "What it prints.",
        cell("print(1)", "1\n"),
    )
    first, second = slides.section_slides(section, "03_name", {})
    assert first.link == "../book/03_name.html#gates"
    assert first.body[0] == "<p>One gate. Two.</p>"
    assert "x &lt; y" in first.body[1]
    assert first.body[2] == "<p>After it.</p>"
    assert second.body[0] == "<p>What it prints.</p>"
    assert ">1</pre>" in second.body[1]


def test_a_cell_that_is_long_hidden_or_silent_is_on_no_slide():
    long = "\n".join(["x = 1"] * 30)
    cells = cell(long, "1"), cell("y", "1", tags=["hide-input"]), cell("z = 1")
    _, section = chapter("# Title\n\n## Quiet\n\nOnly words.", *cells)
    (slide,) = slides.section_slides(section, "03_name", {})
    assert slide.body == ["<ul><li>Only words.</li></ul>"]


def test_headings_lead_to_sections_that_are_there(site):
    anchors = {}
    for page in html_pages(site / "book"):
        anchors[page.name] = {attributes.get("id") for _, attributes in tags_of(page)}
    for page in (site / "slides").glob("*.html"):
        for tag, attributes in tags_of(page):
            target = attributes.get("href", "") if tag == "a" else ""
            if target.startswith("../book/"):
                name, _, anchor = target.removeprefix("../book/").partition("#")
                assert not anchor or anchor in anchors[name], target


def test_the_site_has_the_slides_of_these_notebooks(site, tmp_path):
    for page in slides.build(tmp_path):
        built = site / "slides" / page.name
        assert built.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tabs(browser):
    with open_tabs(browser, MODES) as tabs:
        yield tabs


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("part", DECKS)
def test_slides_are_whole_quiet_and_accessible(part, mode, tabs, address):
    page = tabs[mode]
    with heard(page, address) as (said, outside):
        page.goto(f"{address}/slides/{slides.make_id(part)}.html", wait_until="load")
        page.wait_for_function("window.MathJax?.startup?.promise")
        page.evaluate("MathJax.startup.promise.then(fit)")
    assert not said
    assert not outside
    assert page.evaluate(BROKEN_MATH) == 0
    assert page.evaluate(OVERFLOW) <= 0
    if mode != "phone":
        assert page.evaluate(STUCK) == []
    if part == next(iter(DECKS)):  # the others have the same kinds of slides
        assert not barriers(page)


def test_keys_turn_the_slides(tabs, address):
    page = tabs["light"]
    part = slides.make_id(next(iter(DECKS)))
    page.goto(f"{address}/slides/{part}.html", wait_until="load")
    page.wait_for_function("window.MathJax?.startup?.promise")
    for key, wanted in (("ArrowRight", 1), (" ", 2), ("ArrowLeft", 1), ("Home", 0)):
        page.keyboard.press(key)
        page.wait_for_function(f"current() === {wanted}")
