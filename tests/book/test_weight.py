"""What pages load: nothing that waits in the way, nothing unused, little in all."""

import gzip
import re
from pathlib import Path
from urllib.parse import urlsplit

import lean
import pytest
from test_site import Tags, html_pages, tags_of
from visits import MODES

KIB = 1024
LIMIT = 600 * KIB  # before a reader scrolls, compressed as static hosts do it
TEXT = {".html", ".css", ".js", ".svg", ".json"}
# A script or style by the beginning of its name, and a class or id of what needs it.
USES = {
    "clipboard.min.js": "highlight",
    "copybutton.css": "highlight",
    "copybutton.js": "highlight",
    "togglebutton.css": "dropdown",
    "togglebutton.js": "dropdown",
    "design-tabs.js": "sd-tab-set",
    "sphinx-design.min.css": "sd-",
    "mystnb.": "cell",
    "exercise.css": "exercise",
    "proof.css": "proof",
    "cache.js": "cache-figure",
    "schedule.js": "schedule-figure",
    "memory.js": "memory-figure",
    "bill.js": "bill-figure",
    "live.": "live",
    "touch.js": "touch",
    "router.js": "router-figure",
    "hacker.js": "hacker-figure",
}
NEVER = ("fontawesome.js", "searchtools.js", "searchindex.js", "doctools.js")
LATER = ("tippy", "popper", "minisearch", "sections.js")  # when a reader asks for them
# Of each kind of page the heaviest: landing, formulas, figures that move, code, tables.
PAGES = ["index", "05_latent_attention", "09_pipelines", "17_losses_after_r1"]
PAGES += ["11_policy_gradients", "published", "bibliography"]


def book_pages(site):
    """Pages that are made with the theme."""
    others = (site / "slides", site / "index.html")
    return [p for p in html_pages(site) if p.parent != others[0] and p != others[1]]


def loaded(page, *kinds):
    """Tags of a page that load scripts or styles."""
    for tag, attributes in tags_of(page):
        if tag == "script" and "src" in attributes and "script" in kinds:
            yield attributes["src"], attributes
        if tag == "link" and attributes.get("rel") in kinds:
            yield attributes["href"], attributes


def name_of(address):
    return Path(urlsplit(address).path).name


def test_no_script_blocks_a_page_and_nothing_is_fetched_ahead(site):
    for page in book_pages(site):
        for source, attributes in loaded(page, "script"):
            assert {"defer", "async"} & set(attributes), f"{page.name}: {source}"
        ahead = list(loaded(page, "preload", "prefetch", "modulepreload"))
        assert ahead == [], page.name


def test_a_page_loads_what_it_uses_and_nothing_else(site):
    seen = {name: set() for name in USES}
    for page in book_pages(site):
        article = page.read_text("utf-8").partition("<article")[2]
        has = {
            name
            for _, attributes in Tags(article.partition("</article>")[0]).found
            for name in [*attributes.get("class", "").split(), attributes.get("id")]
            if name
        }
        names = [name_of(s) for s, _ in loaded(page, "script", "stylesheet")]
        assert len(names) == len(set(names)), f"{page.name} loads a file twice"
        assert not set(names) & set(NEVER), page.name
        formulas = "async () =>" in page.read_text("utf-8").partition("</head>")[0]
        assert formulas == ("math" in has), page.name
        for name, need in USES.items():
            needs = any(
                one.startswith(need) if need[-1] == "-" else one == need for one in has
            )
            loads = any(one.startswith(name) for one in names)
            seen[name].add(loads)
            assert loads == needs, f"{page.name}: {name}"
    both = {name for name, found in seen.items() if found == {True, False}}
    assert both >= {"copybutton.js", "cache.js", "bill.js", "mystnb."}


def test_pictures_wait_and_keep_their_room(site):
    for page in book_pages(site):
        for tag, attributes in tags_of(page):
            if tag == "img" and "_images/" in attributes["src"]:
                assert attributes["loading"] == "lazy", page.name
                if ".svg" in attributes["src"]:
                    room = {"width", "height"} & set(attributes)
                    assert len(room) == 2, f"{page.name}: {attributes['src']}"


def test_fonts_of_icons_hold_what_is_shown(site):
    fonts = site / "_static/vendor/fontawesome/webfonts"
    assert sum(path.stat().st_size for path in fonts.glob("*.woff2")) < 16 * KIB
    style = (site / "_static/styles/pydata-sphinx-theme.css").read_text("utf-8")
    shown = {
        name
        for page in book_pages(site)
        for tag, attributes in tags_of(page)
        if tag in ("i", "span")
        for name in attributes.get("class", "").split()
        if re.fullmatch(r"fa-[a-z-]+", name)
    }
    rules = set(re.findall(r"\.(fa-[a-z-]+):before", style))
    assert {"fa-bars", "fa-moon", "fa-download", "fa-github"} <= shown & rules
    assert "fa-ghost" not in rules


@pytest.fixture(scope="module")
def phone(browser):
    """A phone that keeps nothing of what it has loaded."""
    page = browser.new_page(**MODES["phone"])
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.files = []
    page.on("request", lambda request: page.files.append(urlsplit(request.url).path))
    yield page
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_loads_little_before_it_scrolls(name, phone, site, address):
    phone.files.clear()
    phone.goto(f"{address}/book/{name}.html", wait_until="load")
    phone.evaluate("window.MathJax?.startup?.promise")
    phone.wait_for_load_state("networkidle")
    files = phone.files[:]
    weights = {}
    for file in set(files):
        path = site / file.lstrip("/")
        data = path.read_bytes()
        weights[file] = len(gzip.compress(data) if path.suffix in TEXT else data)
    assert sum(weights.values()) < LIMIT, sorted(weights.items(), key=lambda x: -x[1])
    assert not [file for file in files if any(word in file for word in LATER)]


def test_figures_that_nobody_has_touched_are_little_script(site):
    """At most 30 kB on a page, as it stands; 09, whose two are larger, 15 kB packed."""
    own, heaviest = {*lean.figures_of(lean.STATIC), "address", "touch", "live"}, set()
    for page in book_pages(site):
        sources = [source for source, _ in loaded(page, "script")]
        files = [(page.parent / urlsplit(source).path).resolve() for source in sources]
        data = [file.read_bytes() for file in files if file.stem in own]
        plain, packed = sum(map(len, data)), sum(len(gzip.compress(d)) for d in data)
        fits = packed < 15_000 if page.stem == "09_pipelines" else plain < 30_000
        assert fits, (page.name, plain, packed)
        heaviest.add(plain)
    assert max(heaviest) > 20_000


SCRIPTS = ["a.js", "_static/cache.js", "_static/vendor/tippy/tippy.js", "x/tips.js"]
SCRIPTS += ["_static/vendor/mathjax/tex-chtml.js"]


def names(chosen):
    return [Path(script.filename).name for script in chosen]


def test_scripts_are_chosen_by_what_a_page_has():
    script, inline = lean._JavaScript, lean._JavaScript("", body="window.MathJax = {}")
    scripts = [script(name) for name in [*SCRIPTS, "a.js"]]
    figures = {"cache"}
    plain = lean.chosen_scripts([*scripts, inline], "<p>x</p>", figures)
    assert names(plain) == ["a.js"]
    body = '<div id="cache-figure"></div><span class="x math">y</span>'
    full = lean.chosen_scripts([*scripts, inline], body, figures, tips="tippy/a.js")
    assert names(full) == ["", "a.js", "cache.js", "tips.js"]
    assert full[3].attributes["data-tips"] == "tippy/a.js"
    assert "pageReady" in full[0].attributes["body"]
    assert all(script.attributes["defer"] for script in full[1:])


def test_pictures_are_changed_once():
    body = '<p><img alt="a > b" src="x.svg" /><img loading="eager" src="y.svg"></p>'
    lazy = lean.lazy_images(body, {"x.svg": (20.4, 10)}.get)
    room = '<img loading="lazy" decoding="async" width="20" height="10" alt="a > b"'
    assert lazy == body.replace('<img alt="a > b"', room)
    assert lean.lazy_images(lazy) == lazy
