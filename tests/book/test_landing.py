"""The first page says what the records, chapter 01 and the README say.

What it looks like is seen in a browser: the picture plays, holds, and is whole without
motion, without scripts and on paper.
"""

import re
import tomllib
from html import unescape
from pathlib import Path

import landing
import nbformat
import publish
import pytest
import yaml
from ledger_page import CLAIMS
from visits import MODES

from r1.cost.counting import count_parameters
from r1.model.config import ModelConfig
from r1.text.answers import is_right
from r1.text.problems import Problem
from r1.train.records import read_origin, read_run, read_table

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
INDEX = (BOOK / "index.md").read_text(encoding="utf-8")
SAID = read_table("rl/said")["watched_seed0"].rows
LOG = read_run("rl/steps", "watched_seed0")
TAG = re.compile(r"<[^>]+>")
WIDTHS = {"desk": 1280, "phone": 390}


def chapter_01():
    """The claims as chapter 01's output has them, each with the chapters it links."""
    notebook = nbformat.read(BOOK / "01_claims.ipynb", as_version=4)
    (data,) = [
        output.data
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if CLAIMS in output.get("data", {})
    ]
    rows = re.findall(r"<tr>(<th scope=\"row\".*?)</tr>", "".join(data["text/html"]))
    return [
        claim | {"chapters": re.findall(r'href="(\d\d)_', row)}
        for claim, row in zip(data[CLAIMS], rows, strict=True)
    ]


@pytest.fixture(scope="module")
def page(site):
    return (site / "book/index.html").read_text(encoding="utf-8")


def words(html):
    """The words of a piece of a page."""
    return " ".join(unescape(TAG.sub(" ", html)).split())


def between(page, start, end):
    """The part of a page from one mark to the next."""
    return page.partition(start)[2].partition(end)[0]


# The picture


def test_the_picture_shows_all_recorded_answers_in_their_order(page):
    figure = between(page, '<figure class="learn"', "</figure>")
    shown = re.findall(r"<li><code>(.*?)</code>", figure)
    marks = re.findall(r'class="learn-word"> (\w+)<', figure)
    asked = Problem((8, 5, 7, 6, 7), "+--*")
    assert {prompt for _, prompt, _ in SAID} == {asked.prompt}
    texts = [text for _, _, text in SAID]
    assert len(shown) == len(texts) == 16
    tags = re.compile(r"</?think>|</?answer>|<eos>")
    for text, seen, mark in zip(texts, shown, marks, strict=True):
        assert tags.sub("", text) == tags.sub("", words(seen)).replace(" ", "")
        assert mark == ("right" if is_right(asked, text) else "wrong"), text
    assert (
        f"8+5-7-6*7 = ? Right is {asked.answer}: from left to right, modulo 10."
        in words(figure)
    )


def test_the_picture_says_the_recorded_shares(page):
    figure = between(page, '<figure class="learn"', "</figure>")
    said = re.findall(r"<p><b>(.*?)</b> (\d+) % think, (\d+) % right</p>", figure)
    steps = list(dict.fromkeys(int(step) for step, _, _ in SAID))
    assert steps == [0, 20, 50, 100]
    due = [
        (
            f"After {step} steps" if step else "Before training",
            f"{100 * LOG['thinking'][step]:.0f}",
            f"{100 * LOG['accuracy'][step]:.0f}",
        )
        for step in steps
    ]
    assert said == due
    label = re.search(r'aria-label="Of 512 answers: (.*?)\."', figure)[1]
    assert re.findall(r"(\d+) % think and (\d+) % are right", label) == [
        row[1:] for row in due
    ]
    assert [int(x) for x in re.findall(r"left: (\d+)%", figure)] == steps
    style = (BOOK / "_static/landing.css").read_text(encoding="utf-8")
    frames = between(style, "@keyframes learn-draw {", "\n}")
    hidden = [100 - int(x) for x in re.findall(r"inset\(0 (\d+)(?:%|) 0 0\)", frames)]
    assert hidden == steps  # what is drawn when a scene begins


def test_a_curve_of_the_picture_goes_through_means_of_five_recorded_steps(page):
    for name, column in (("thinks", "thinking"), ("hits", "accuracy")):
        points = re.search(rf'polyline class="learn-{name}" points="(.*?)"', page)[1]
        pairs = [tuple(map(float, point.split(","))) for point in points.split()]
        assert [x for x, _ in pairs] == LOG["step"] == list(range(101))
        for step in (2, 37, 98):
            mean = sum(LOG[column][step - 2 : step + 3]) / 5
            assert 1 - pairs[step][1] / 100 == pytest.approx(mean, abs=1e-3)


def test_the_watched_run_is_one_of_chapter_13_and_the_words_below_it_are_true():
    """Not to the last digit: processors round in ways of their own."""
    steady = read_run("rl/steps", "steady_seed0")
    for column in ("thinking", "accuracy"):
        assert LOG[column][:10] == pytest.approx(steady[column][:10], abs=0.01)
        ends = [sum(log[column][90:100]) / 10 for log in (LOG, steady)]
        assert ends[0] == pytest.approx(ends[1], abs=0.03)
    assert read_origin("rl/said", "watched_seed0")["command"] == (
        "python -m experiments.rl watched --seeds 0"
    )
    size = count_parameters(ModelConfig.tiny()).total
    assert f"of {size / 1e6:.1f} million parameters" in INDEX


# The verdicts


def test_the_verdicts_are_those_of_chapter_01_and_lead_there(page):
    rows = re.findall(
        r"<li><p>(.*?): <span class=\"verdict ([\w-]+)\">(.*?)</span>"
        r" <span class=\"verdict-chapter\">(.*?)</span></p></li>",
        page,
        re.DOTALL,
    )
    due = chapter_01()
    assert len(rows) == len(due) == 13
    for (claim, kind, verdict, checked), want in zip(rows, due, strict=True):
        assert words(claim).replace("’", "'") == want["claim"]
        assert words(verdict) == want["verdict"] == kind.replace("-", " ")
        assert f'href="01_claims.html#{want["cell"]}"' in verdict
        numbers = re.findall(r'href="(\d\d)_\w+\.html"', checked)
        assert numbers == re.findall(r"\d\d", words(checked))
        assert numbers == want["chapters"] != []


def test_the_count_of_verdicts_is_that_of_chapter_01(page):
    said = {
        verdict: int(count)
        for count, verdict in re.findall(
            r"(\d+) ([a-z ]+)", between(page, "Of 13 claims about R1: ", ".</p>")
        )
    }
    due = [claim["verdict"] for claim in chapter_01()]
    assert said == {verdict: due.count(verdict) for verdict in due}


# What a reader is told before running


def test_the_two_lines_are_those_of_the_readme(page):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = between(page, 'class="highlight-sh', "</pre>").partition("<pre>")[2]
    shown = [line for line in map(words, lines.splitlines()) if line]
    assert shown == [
        "git clone https://github.com/inside-deepseek-r1/inside-deepseek-r1",
        "cd inside-deepseek-r1",
        "python -m pip install -r requirements.txt && jupyter-book build .",
        "python -m pip install -r requirements.txt && pytest",
    ]
    assert all(f"\n{line}\n" in readme for line in shown)


def test_buttons_lead_to_ways_of_running_and_the_first_page_knows_them(page):
    buttons = {
        words(text): unescape(address)
        for address, text in re.findall(
            r'<a class="[^"]*sd-btn[^"]*" href="(.*?)">(.*?)</a>', page, re.DOTALL
        )
    }
    assert buttons["Run it"] == "#run-it"
    assert 'id="run-it"' in page
    assert buttons["Read chapter 01"] == "01_claims.html"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("Binder", "Colab"):
        address = buttons[f"Run chapter 01 in {name}"]
        assert f"]({address})" in readme
        assert (BOOK / "notebooks/01_claims.ipynb").exists()
        assert address.endswith("book/notebooks/01_claims.ipynb")


def test_hours_and_minutes_are_the_sums_of_the_chapters(page):
    times = [
        (int(said[1]), int(said[2]))
        for path in sorted((BOOK / "text").glob("[0-9]*.md"))
        if (said := landing.TIME.search(path.read_text(encoding="utf-8")))
    ]
    assert len(times) == 19
    hours, minutes = (sum(column) / 60 for column in zip(*times, strict=True))
    line = f"take about {hours:.0f} hours to read and {minutes:.0f} minutes to run"
    assert f"The 19 chapters {line}." in words(page)


def test_authors_version_and_date_are_those_of_the_release(page):
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    when = cff["date-released"]
    line = f"{cff['authors'][0]['name']}. Version {project['project']['version']}, "
    assert line + f"{when.day} {when:%B %Y}." in words(page)


def test_files_for_reading_offline_are_linked_where_they_are(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "downloads").mkdir()
    index = tmp_path / "book/index.html"
    index.write_text(f"<main>{landing.downloads()}</main>", encoding="utf-8")
    landing.link_downloads(tmp_path)
    assert "href" not in index.read_text(encoding="utf-8")
    for name in publish.KINDS:
        path = tmp_path / f"{landing.DOWNLOADS}/{publish.NAME}.{name}"
        path.write_bytes(bytes(1_250_000))
        landing.link_downloads(tmp_path)
    text = index.read_text(encoding="utf-8")
    links = re.findall(r'href="(.*?)"', text)
    assert [link.rpartition(".")[2] for link in links] == ["pdf", "epub", "zip"]
    assert all((index.parent / link).exists() for link in links)
    assert text.count("1.2 MB") == 3
    assert "hidden" not in text
    (tmp_path / "downloads/inside-deepseek-r1.pdf").unlink()
    landing.link_downloads(tmp_path)
    assert ".pdf" not in index.read_text(encoding="utf-8")
    landing.link_downloads(tmp_path, shown=False)  # as before they are made
    assert "href" not in index.read_text(encoding="utf-8")
    landing.link_downloads(tmp_path / "no site")


def test_no_place_of_the_page_stays_empty(page):
    assert all(line in INDEX for line in landing.FILLED)
    assert not any(line in page for line in landing.FILLED)


# What it looks like


def opened(browser, address, name="index", **options):
    context = browser.new_context(**options)
    found = context.new_page()
    found.goto(f"{address}/book/{name}.html", wait_until="load")
    return found


CLIPPED = """() => [...document.querySelectorAll("#learn p, #learn li, #learn svg")]
  .filter((part) => !["none", "inset(0px)"].includes(getComputedStyle(part).clipPath))
  .length"""
STATES = """() => {
  const moving = document.querySelector("#learn").getAnimations({ subtree: true });
  const states = moving.map((animation) => animation.playState);
  return [...new Set(states)].filter((state) => state !== "finished");
}"""
SMALL = """() => [...document.querySelectorAll("#learn *")]
  .filter((part) => [...part.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .map((part) => parseFloat(getComputedStyle(part).fontSize))"""


def test_the_picture_plays_holds_and_plays_again_by_the_keyboard(browser, address):
    page = opened(browser, address, **MODES["phone"])
    button = page.locator("#learn button")
    before = page.locator("#learn").bounding_box()
    page.locator("#learn").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('#learn').dataset.state=='playing'")
    assert page.evaluate(CLIPPED) > 10
    button.focus()
    page.keyboard.press("Enter")
    assert button.inner_text() == "Go on"
    assert page.evaluate(STATES) == ["paused"]
    assert page.evaluate(CLIPPED) > 0
    page.keyboard.press("Enter")
    assert button.inner_text() == "Pause"
    assert page.evaluate(STATES) == ["running"]
    finish = "document.querySelector('#learn').getAnimations({subtree: true})"
    page.evaluate(f"{finish}.forEach((animation) => animation.finish())")
    page.wait_for_function("document.querySelector('#learn').dataset.state == 'done'")
    assert page.evaluate(CLIPPED) == 0
    page.keyboard.press("Space")
    assert button.inner_text() == "Pause"
    now = page.locator("#learn").bounding_box()
    assert (now["width"], now["height"]) == (before["width"], before["height"])
    page.context.close()


STILL = {
    "no motion": {"reduced_motion": "reduce"},
    "no scripts": {"java_script_enabled": False},
}


@pytest.mark.parametrize("why", STILL)
def test_the_picture_is_whole_and_has_no_button_where_nothing_moves(
    why, browser, address
):
    page = opened(browser, address, **MODES["phone"], **STILL[why])
    page.locator("#learn").scroll_into_view_if_needed()
    assert not page.locator("#learn button").is_visible()
    assert page.locator("#learn .learn-scenes li li").count() == 16
    moving = opened(browser, address, **MODES["phone"])
    sizes = [p.locator("#learn").bounding_box()["height"] for p in (page, moving)]
    assert sizes[0] == sizes[1]  # nothing is pushed away when the button comes
    moving.context.close()
    if why == "no motion":  # a page without scripts cannot be asked
        assert page.evaluate(CLIPPED) == 0
    page.context.close()


def test_the_picture_is_whole_on_paper(browser, address):
    page = opened(browser, address, **MODES["light"])
    page.locator("#learn").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('#learn').dataset.state=='playing'")
    page.emulate_media(media="print")
    assert page.evaluate(CLIPPED) == 0
    assert not page.locator("#learn button").is_visible()
    page.context.close()


def test_words_of_the_picture_can_be_read_on_a_phone(browser, address):
    page = opened(browser, address, **MODES["phone"])
    assert min(page.evaluate(SMALL)) >= 10
    inside = "part => part.scrollWidth <= part.clientWidth"
    assert page.locator("#learn").evaluate(inside)
    page.context.close()


TABLE = """() => {
  const table = document.querySelector("table.claims");
  const top = (part) => part.getBoundingClientRect().top + scrollY;
  const code = [...document.querySelectorAll("div.cell_input pre")];
  const shown = code.filter((pre) => !pre.closest("details:not([open])"));
  const verdicts = [...table.querySelectorAll("td.v")];
  return {
    table: top(table),
    code: Math.min(...shown.map(top)),
    seen: verdicts.filter((cell) => {
      const { left, right, width } = cell.getBoundingClientRect();
      return width > 0 && left >= 0 && right <= innerWidth;
    }).length,
    links: table.querySelectorAll("a[href$='.html']").length,
  };
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_chapter_01_stands_before_code_with_its_verdicts_in_sight(
    width, browser, address
):
    size = {"width": WIDTHS[width], "height": 844}
    page = opened(browser, address, "01_claims", viewport=size)
    found = page.evaluate(TABLE)
    assert found["table"] < min(found["code"], 2500)
    assert found["seen"] == 13
    assert found["links"] == sum(len(claim["chapters"]) for claim in chapter_01())
    page.context.close()
