"""The search by section: what it knows, what it finds first, and how it is used."""

import json
import re
from pathlib import Path

import pytest
import site_search
import yaml
from visits import MODES, OVERFLOW, barriers, turn

HERE = Path(__file__).parent
QUERIES = yaml.safe_load((HERE / "search_queries.yml").read_text(encoding="utf-8"))
# Of each list, how many first hits must be right.
RIGHT = {"forty": 36, "more": 74, "held_out": 12}
LOADED = ["sections.js", "engine.js", "view.js", "minisearch.min.js", "search.css"]
FIRST = """async (queries) => {
  await bookSearch.ready;
  return queries.map((query) => bookSearch.find(query).places[0]?.address ?? "");
}"""
AGAIN = """async (words) => {
  bookSections.words = words;
  const source = document.querySelector("script[src$='engine.js']").src;
  (0, eval)(await (await fetch(source)).text());
  await bookSearch.ready;
}"""
PAGE = """<article><section id="top"><h1><span class="section-number">3. </span>Mixture
<a class="headerlink">#</a></h1><p>Tokens go to <em>experts</em>.</p>
<section id="bias"><h2>A bias</h2><p>The bias <span class="math">\\(\\gamma_i\\)</span>
or <span class="math">\\(\\sqrt{x}\\)</span>.</p><div class="math">\\[x\\]</div>
<div class="cell"><div class="cell_input"><div class="highlight"><pre><span>gate</span>
= <b>router_of</b>(x)</pre></div></div><div class="cell_output"><div class="output">
<pre>MaxVio 0.5</pre></div></div></div><section id="inner"><h3>Inside</h3><p>Deep.</p>
</section></section><section id="exercises"><h2>Exercises</h2><p>Five.</p>
<div class="exercise admonition" id="ex-a"><p class="admonition-title">
<span>Exercise 3.1 </span> (By hand: a gate)</p><section id="exercise-content"><p>Find
it.</p></section></div><div class="solution"><section id="solution-content"><p>Found.
</p></section></div></section><dl class="glossary"><dt id="term-gate">gate</dt><dd><p>A
share.</p></dd></dl></section></article>"""


def written(site):
    """What the script of the search holds."""
    text = (site / site_search.SCRIPT).read_text(encoding="utf-8")
    return json.loads(text[text.index("{") : text.index(";\nwindow.bookStemmer")])


def is_right(address, expected):
    """Whether an address is one of those expected: page#section, or a whole page."""
    place = address.removeprefix("book/").replace(".html#", "#")
    return place in expected or place.partition("#")[0] in expected


@pytest.fixture(scope="module")
def desk(browser, address):
    """A page of the book on which the search has been opened with the keyboard."""
    page = browser.new_page(**MODES["light"])
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(f"{address}/book/05_latent_attention.html", wait_until="load")
    page.before = list(page.asked)
    page.keyboard.press("Control+k")
    page.wait_for_function("window.bookSearch")
    page.evaluate("bookSearch.ready")
    yield page
    page.close()


# What it knows


def test_a_page_is_split_into_its_places():
    found = {e.anchor: e for e in site_search.read_page(PAGE, 7, 0.5)}
    kinds = {anchor: (e.kind, e.title, e.above) for anchor, e in found.items()}
    assert kinds == {
        "top": ("chapter", "Mixture", ""),
        "bias": ("section", "A bias", ""),
        "inner": ("section", "Inside", "A bias"),
        "exercises": ("aside", "Exercises", ""),
        "ex-a": ("exercise", "Exercise 3.1: By hand: a gate", "Exercises"),
        "term-gate": ("term", "gate", "Mixture"),
    }
    assert found["top"].text == "Tokens go to experts."
    assert found["bias"].text == "The bias γ_i or …."
    assert found["bias"].code == "gate router_of MaxVio"
    assert found["ex-a"].text == "Find it. Found."
    assert {e.page for e in found.values()} == {7}
    assert found["bias"].weight == 0.5


def test_every_place_of_the_search_is_on_its_page(site):
    data = written(site)
    toc = yaml.safe_load((site_search.BOOK.parent / "_toc.yml").read_text("utf-8"))
    known = [address for address, _, _ in data["pages"]]
    assert known == [f"{name}.html" for name, _ in site_search.chapters(toc)]
    ids = {
        address: set(re.findall(r'\bid="([^"]+)"', (site / address).read_text("utf-8")))
        for address in known
    }
    places = [site_search.Entry(*entry) for entry in data["entries"]]
    assert [p for p in places if p.anchor not in ids[known[p.page]]] == []
    addresses = {f"{known[p.page]}#{p.anchor}" for p in places}
    assert len(addresses) == len(places)
    expected = {
        place for one in QUERIES.values() for to in one.values() for place in to
    }
    missing = [e for e in expected if not any(is_right(a, [e]) for a in addresses)]
    assert missing == []


def test_nothing_of_sphinx_s_search_is_left(site):
    assert not (site / "searchindex.js").exists()
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for name in (*site_search.SPHINX, "searchindex.js"):
            assert name not in text, page.name


# What it finds


def right(page, queries):
    """How many of the queries have a right first hit, and what the others have."""
    first = page.evaluate(FIRST, list(queries))
    wrong = {
        query: hit
        for (query, expected), hit in zip(queries.items(), first, strict=True)
        if not is_right(hit, expected)
    }
    return len(queries) - len(wrong), wrong


@pytest.mark.parametrize("which", RIGHT)
def test_the_first_hit_is_right(which, desk):
    count, wrong = right(desk, QUERIES[which])
    print(f"{which}: {count} of {len(QUERIES[which])}")
    assert count >= RIGHT[which], wrong


def test_the_lists_are_as_long_as_they_say():
    assert len(QUERIES["forty"]) == 40
    assert len(QUERIES["held_out"]) >= 15
    assert sum(map(len, QUERIES.values())) == len(
        {q for x in QUERIES.values() for q in x}
    )


def test_each_line_of_the_words_leads_somewhere_and_without_them_it_is_worse(desk):
    said = [phrase for _, book in site_search.read_words() for phrase in book]
    first = desk.evaluate(FIRST, said)
    assert [p for p, hit in zip(said, first, strict=True) if not hit] == []
    desk.evaluate(AGAIN, [])
    count, _ = right(desk, QUERIES["forty"])
    desk.evaluate(AGAIN, site_search.read_words())
    assert count < RIGHT["forty"]
    assert right(desk, QUERIES["forty"])[0] >= RIGHT["forty"]


# How it is used


def test_it_loads_when_it_is_opened_and_not_before(desk):
    def loaded(asked):
        return [name for name in LOADED if any(f"/{name}" in url for url in asked)]

    assert loaded(desk.before) == []
    assert loaded(desk.asked) == LOADED
    assert len([url for url in desk.asked if url.endswith("/sections.js")]) == 1


MEANING = (
    "(text) => document.querySelector('#search-meaning').innerText.startsWith(text)"
)


def test_it_is_used_with_keys_alone(browser, address):
    page = browser.new_page(**MODES["light"])
    page.goto(f"{address}/book/05_latent_attention.html", wait_until="load")
    page.keyboard.press("Control+k")
    page.keyboard.type("KL divergence")
    # A slow machine shows what it finds for the first letters before it finds this.
    page.wait_for_function(MEANING, arg="KL divergence: ")
    assert re.match(r"\d+ places", page.inner_text("#search-status"))
    assert "KL" in page.locator("#search-found mark").all_inner_texts()
    links = page.locator("#search-found li a").all_inner_texts()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.innerText") == links[1]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.querySelector('#pst-search-dialog').open")
    page.keyboard.press("Control+k")  # what is typed now replaces what was asked
    page.keyboard.type("KL divergence")
    page.keyboard.press("Enter")  # sooner than the list
    page.wait_for_url("**/11_policy_gradients.html#how-far-from-the-reference")
    assert page.evaluate("document.querySelector(':target').tagName") == "SECTION"
    # A place on the same page: the dialog goes, the place comes.
    page.keyboard.press("Control+k")
    page.keyboard.type("ppo vs grpo")
    page.wait_for_selector("#search-found li")
    page.keyboard.press("Enter")
    page.wait_for_url("**#ppo-against-grpo")
    assert not page.evaluate("document.querySelector('#pst-search-dialog').open")
    page.close()


def test_what_is_misspelt_is_found_and_what_is_nowhere_is_not(desk):
    find = "async (query) => bookSearch.find(query).places.map((p) => p.address)"
    assert "#absorption" in desk.evaluate(find, "absorbtion")[0]
    assert desk.evaluate(find, "qqqqzzzz") == []
    assert desk.evaluate(find, "<b>") is not None


@pytest.mark.parametrize("modes", [["light", "dark"], ["phone"]], ids="-".join)
def test_what_it_shows_is_accessible_and_fits(modes, browser, address):
    context = browser.new_context(**MODES[modes[0]])
    page, said = context.new_page(), []
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"{address}/genindex.html", wait_until="load")
    page.locator(".search-button__button:visible").first.click()
    page.locator("#pst-search-dialog input").fill("KL divergence")
    page.wait_for_selector("#search-found li")
    for mode in modes:
        turn(page, MODES[mode]["color_scheme"])
        found = barriers(page, colors_alone=mode != modes[0])
        assert (found, page.evaluate(OVERFLOW), said) == ([], 0, [])
    page.goto(f"{address}/search.html?q=gate%20bias", wait_until="load")
    page.wait_for_selector("#search-found li")
    assert (barriers(page), page.evaluate(OVERFLOW), said) == ([], 0, [])
    context.close()


def test_it_works_from_files(site, browser):
    page = browser.new_page()
    page.goto(f"{site.as_uri()}/search.html?q=gate+bias")
    page.wait_for_selector("#search-found li")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_url("file://**/04_load_balance.html#a-bias-that-only-chooses*")
    page.close()
