"""What pages show beside the words of their chapters."""

import platform
import re
import subprocess
from pathlib import Path

import chapter_page
import check_yourself
import nbformat
import numpy
import pytest
import reader
import torch
from bs4 import BeautifulSoup
from visits import MODES

BOOK = Path(chapter_page.__file__).parent
NAMES = sorted(path.stem for path in BOOK.glob("*.ipynb"))
CHAPTERS = [name for name in NAMES if reader.chapter_number(name)]
APPENDIX = [name for name in NAMES if re.match(r"A\d_", name)]
EXAMPLE = """\
### 1. What is `x`?

- a) A number
  with a sign.
- b) A word.
- c) A sign.

Answer: b

The text says that $x$ is a word.
Option a is wrong, since no sign stands before it.

### 2. Why?

- a) So.
- b) No.
- c) Or.

Answer: a

It is so because it is so, and it is not otherwise.
"""


def twin(name):
    return (BOOK / f"text/{name}.md").read_text(encoding="utf-8")


def notebook(name):
    return nbformat.read(BOOK / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def page(site):
    """The article of a chapter's page, and the page, each parsed once."""
    pages = {}

    def parsed(name):
        if name not in pages:
            text = (site / f"book/{name}.html").read_text(encoding="utf-8")
            pages[name] = BeautifulSoup(text, "html.parser")
        return pages[name]

    return parsed


# Questions


def faults(questions):
    """What is wrong with the questions of a chapter."""
    if not 2 <= len(questions) <= 3:
        yield f"{len(questions)} questions"
    if [q.number for q in questions] != [str(n + 1) for n in range(len(questions))]:
        yield "they are not counted from 1"
    for question in questions:
        letters = list(question.options)
        if letters != list("abcdef"[: len(letters)]) or len(letters) < 3:
            yield f"question {question.number} has the options {letters}"
        if len(question.answers) != 1 or question.answers[0] not in letters:
            yield f"question {question.number} has the answers {question.answers}"
        if len(question.why.split()) < 10:
            yield f"question {question.number} explains little"


@pytest.mark.parametrize("name", [*CHAPTERS, *APPENDIX])
def test_each_chapter_has_two_or_three_questions_with_one_answer(name):
    assert not list(faults(check_yourself.read(BOOK, name)))


def test_there_are_no_questions_without_a_chapter():
    asked = {path.stem for path in (BOOK / "questions").iterdir()}
    assert asked == {*CHAPTERS, *APPENDIX}


def test_a_question_is_read_as_it_is_written(tmp_path):
    (tmp_path / "questions").mkdir()
    (tmp_path / "questions/03_demo.md").write_text(EXAMPLE, encoding="utf-8")
    first, second = check_yourself.read(tmp_path, "03_demo")
    assert first == check_yourself.Question(
        "1",
        "What is `x`?",
        {"a": "A number\n  with a sign.", "b": "A word.", "c": "A sign."},
        ("b",),
        "The text says that $x$ is a word.\n"
        "Option a is wrong, since no sign stands before it.",
    )
    assert (second.words, second.answers) == ("Why?", ("a",))
    text = "## Before\n\n## Exercises\n\nOne."
    shown = check_yourself.with_questions(text, tmp_path, "03_demo")
    assert shown.startswith("## Before\n\n## Check yourself\n\n:::{rubric} 1. What")
    assert shown.endswith("otherwise.\n:::\n\n## Exercises\n\nOne.")
    assert check_yourself.with_questions("## A", tmp_path, "03_demo") == "## A"
    assert check_yourself.with_questions(text, tmp_path, "04_other") == text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Answer: b", "Answer: d"),
        ("Answer: b", ""),
        ("Answer: b", "Answer: b\nAnswer: a"),
        ("- b) A word.\n", ""),
        ("### 2.", "### 3."),
        ("### 2. Why?", "Why?"),
        (" and it is not otherwise.", ""),
    ],
)
def test_a_fault_in_a_question_is_found(old, new, tmp_path):
    (tmp_path / "questions").mkdir()
    path = tmp_path / "questions/03_demo.md"
    path.write_text(EXAMPLE, encoding="utf-8")
    assert not list(faults(check_yourself.read(tmp_path, "03_demo")))
    path.write_text(EXAMPLE.replace(old, new, 1), encoding="utf-8")
    assert list(faults(check_yourself.read(tmp_path, "03_demo")))


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_page_asks_before_its_exercises_and_folds_the_answers(name, page):
    section = page(name).find(id="check-yourself")
    heading = section.find_next_sibling("section").find(["h1", "h2"])
    assert "Exercises" in heading.text
    questions = check_yourself.read(BOOK, name)
    assert len(section.select(".rubric")) == len(questions)
    folded = section.find_all("details")
    assert [one.summary.text.strip() for one in folded] == [
        f"Answer to question {question.number}" for question in questions
    ]
    for question, one in zip(questions, folded, strict=True):
        assert not one.has_attr("open")
        assert f"Answer: {question.answers[0]}." in one.text
        one.extract()
    assert len(section.select("li")) == sum(len(q.options) for q in questions)
    assert "Answer" not in section.text


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_plain_notebook_asks_before_its_exercises_and_folds_the_answers(name):
    path = BOOK / reader.MADE / f"{name}.ipynb"
    text = "\n\n".join(reader.markdown_of(nbformat.read(path, as_version=4)))
    _, _, after = text.partition("\n## Check yourself\n")
    section, _, _ = after.partition("\n## Exercises")
    assert section.count("<summary>Answer to question") == len(
        check_yourself.read(BOOK, name)
    )


# The strip


@pytest.mark.parametrize("name", NAMES)
def test_the_strip_says_what_a_chapter_takes_needs_and_where_it_opens(name, page):
    strip = page(name).find("h1", string=None).find_next(class_="strip")
    assert page(name).select("article h1")[0].find_next_sibling() is strip
    rows = {row.dt.text: row.dd for row in strip.select("dl > div")}
    if name in CHAPTERS:
        box = re.search(r"\*\*Time:\*\* about (.+)\.", twin(name))[1]
        assert rows["Time"].text == box
        said = strip.find(class_="strip-part").text
        assert re.search(r"Part [IV]+, .+: chapter \d of \d", said)
    first = next(c for c in notebook(name).cells if c.cell_type == "code")
    for package in rows["Needs"].text.removeprefix("no GPU; ").split(", "):
        assert package in first.source + " ".join(reader.ALWAYS)
    menu = [a["href"] for a in page(name).select(".article-header-buttons li a")]
    links = [a["href"] for a in rows["Open in"].find_all("a")]
    assert len(links) == 4
    assert set(links) <= set(menu)
    assert links[0].endswith(f"/notebooks/{name}.ipynb")
    if chapter_page.has_history():
        change = chapter_page.change_of(name)
        assert rows["Last change"].a["href"].endswith(f"/commit/{change.commit}")


def test_only_chapters_have_a_strip(page):
    for name in ("notation", "glossary"):
        assert not page(name).select(".strip")


def test_a_chapter_knows_its_part():
    found = [chapter_page.part_of(name) for name in CHAPTERS]
    assert found[8].said == "Part III, The price: chapter 2 of 3"
    assert [part.place for part in found].count(1) == len({p.number for p in found})
    assert chapter_page.part_of("how_we_decide") is None


def test_versions_are_those_of_what_makes_and_tests_the_outputs():
    python = ".".join(platform.python_version_tuple()[:2])
    torch_version = torch.__version__.partition("+")[0]
    assert chapter_page.versions() == (
        f"Python {python}, torch {torch_version}, numpy {numpy.__version__}"
    )


def test_the_readme_says_the_same_times_as_the_boxes():
    readme = (BOOK.parent / "README.md").read_text(encoding="utf-8")
    for name in CHAPTERS:
        (row,) = re.findall(rf"{name}\.ipynb\) \| .+ \| (\d+) s \|", readme)
        assert f", {row} seconds to run" in chapter_page.time_of(notebook(name))


def test_date_and_commit_are_left_out_where_git_does_not_know_them(tmp_path):
    def run(*command, folder=tmp_path / "full"):
        who = ["-c", "user.name=A", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", folder, *who, *command], check=True)

    assert chapter_page.change_of("01_demo", tmp_path) is None
    (tmp_path / "full").mkdir()
    run("init", "-q")
    assert chapter_page.change_of("01_demo", tmp_path / "full") is None
    chapter_page.has_history.cache_clear()
    for name in ("01_demo", "02_other"):
        (tmp_path / f"full/{name}.ipynb").write_text("{}", encoding="utf-8")
        run("add", ".")
        run("commit", "-q", "-m", name, "--date", "2025-01-20T12:00:00Z")
    first, second = (
        chapter_page.change_of(name, tmp_path / "full")
        for name in ("01_demo", "02_other")
    )
    assert first.commit != second.commit
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", first.date)
    origin = (tmp_path / "full").as_uri()
    run("clone", "-q", "--depth", "1", origin, "../shallow")
    assert chapter_page.change_of("01_demo", tmp_path / "shallow") is None


# Takeaways, figures, folded imports


@pytest.mark.parametrize("name", CHAPTERS)
def test_takeaways_are_boxes_and_the_first_code_is_folded(name, page):
    article = page(name).article
    assert len(article.select("p.takeaway")) == twin(name).count("**Takeaway.**")
    assert article.find(class_="cell_input").find_parent("details") is not None


SVG = """<svg width="400pt" viewBox="0 0 400 100" version="1.1"><g>
<g transform="translate(1 2) scale(0.09 -0.09)"/>
<g transform="translate(1 2) rotate(-90) scale(0.08 -0.08)">
<use transform="translate(1 2) scale(0.7)"/></g></g></svg>"""


def test_a_figure_is_as_wide_as_its_smallest_label_needs():
    assert chapter_page.readable(SVG) == (400, 100, 500)
    assert chapter_page.readable("<svg viewBox='0 0 4 1'></svg>") is None
    drawing = '<svg viewBox="0 0 700 10" role="img"><text font-size="14">x</text></svg>'
    images = f'<p><img alt="A" src="../_images/a.svg" /></p>{drawing}'
    body = chapter_page.with_boxes(images, {"a.svg": SVG}.get)
    image, drawn = BeautifulSoup(body, "html.parser").select(".figure-box > *")
    assert (image.name, image["style"]) == (
        "img",
        "--readable: 500px; aspect-ratio: 400 / 100",
    )
    assert drawn.name == "svg"
    assert drawn["style"].startswith("--readable: 500px")
    assert chapter_page.with_boxes(images, {}.get).count("figure-box") == 1


def test_all_figures_of_the_book_have_labels_that_are_measured():
    for name in NAMES:
        for cell in notebook(name).cells:
            for output in cell.get("outputs", []):
                if svg := output.get("data", {}).get("image/svg+xml"):
                    assert chapter_page.readable(svg), name


def test_without_javascript_a_picture_stands_for_a_figure_that_moves(
    browser, address, page, site
):
    all_of_them = reader.interactive(reader.open_shelf(BOOK))
    # Those of live.js hold theirs themselves (test_live.py).
    figures = [(n, figure) for n, figure in all_of_them if "live-" not in figure]
    assert len(figures) > 10
    for name, figure in figures:
        still = page(name).find(id=figure).find_previous_sibling()
        assert still.name == "noscript"
        source = re.search(r'src="\.\./([^"]+)"', str(still))[1]
        assert (site / source).exists()
    name, figure = figures[0]
    context = browser.new_context(**MODES["light"], java_script_enabled=False)
    shown = context.new_page()
    shown.goto(f"{address}/book/{name}.html", wait_until="load")
    assert shown.locator(".still img").first.bounding_box()["width"] > 500
    assert not shown.locator(f"#{figure}").is_visible()
    context.close()


@pytest.mark.parametrize("mode", ["light", "phone"])
def test_a_figure_fills_the_screen_and_lets_the_reader_go_back(mode, browser, address):
    context = browser.new_context(**MODES[mode])
    shown = context.new_page()
    shown.goto(f"{address}/book/09_pipelines.html", wait_until="load")
    button, picture = shown.locator(".enlarge"), shown.locator("figure .figure-box img")
    dialog = shown.locator("dialog.enlarged")
    assert button.count() == picture.count() > 2
    small = picture.nth(1).bounding_box()["width"]
    button.nth(1).focus()
    shown.keyboard.press("Enter")
    assert dialog.get_attribute("aria-label") == "Fig. 9.2"
    assert dialog.locator("img").bounding_box()["width"] > 1.2 * small
    assert shown.evaluate("document.activeElement.textContent") == "Close"
    shown.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert shown.evaluate("document.activeElement.ariaLabel") == "Enlarge Fig. 9.2"
    picture.first.click(position={"x": 50, "y": 50})
    assert dialog.get_attribute("aria-label") == "Fig. 9.1"
    dialog.get_by_role("button").click()
    assert not dialog.is_visible()
    assert shown.evaluate("document.activeElement.ariaLabel") == "Enlarge Fig. 9.1"
    context.close()


# How far a box has been moved, and whether its left and its right edge fade there.
STEPS = ((0, False, True), (5, True, True), (1e6, True, False))


def test_an_edge_fades_as_long_as_there_is_more(browser, address):
    context = browser.new_context(**MODES["phone"])
    shown = context.new_page()
    shown.goto(f"{address}/book/09_pipelines.html", wait_until="load")
    for selector in (".cell_input pre", ".figure-box", "mjx-container", "table"):
        shown.wait_for_selector(f".bd-article {selector}.more-right")
        box = shown.locator(f".bd-article {selector}.more-right").first.element_handle()
        for where, left, right in STEPS:
            box.evaluate("(e, x) => { e.scrollLeft = x; }", where)
            shown.wait_for_function(
                "([e, l, r]) => e.matches('.more-left') == l"
                " && e.matches('.more-right') == r",
                arg=[box, left, right],
            )
    context.close()
