"""Every page in a real browser: light, dark and on a phone."""

from pathlib import Path

import pytest
import yaml
from visits import MODES, SCREENS, open_tabs, serve, visit

ROOT = Path(__file__).parents[2]


def pages():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [toc["root"]]
    for part in toc["parts"]:
        files += [chapter["file"] for chapter in part["chapters"]]
    return [*files, "genindex", "search"]


@pytest.fixture(scope="module")
def tabs(browser):
    """One for each way of looking, so that what pages share is loaded once."""
    with open_tabs(browser, MODES) as tabs:
        yield tabs


@pytest.mark.parametrize("name", pages())
def test_a_page_is_whole_quiet_and_accessible(name, tabs, address):
    by_turns = pages().index(name) % 2
    desk, phone = visit(tabs, address, name, [SCREENS[by_turns], SCREENS[-1]])
    assert desk | phone == {mode: {} for mode in MODES}


PAGE = """<!doctype html><html lang="en"><head><title>Page</title>
<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">
<style>{}</style></head><body><main><h1>Page</h1><p>Words.</p>{}</main></body></html>"""
WORDS = "<p>Words <i>and</i> words.</p>" * 30 + "<p>One <b>word</b>.</p>"
WORDS += "<p>Words <i>and</i> words.</p>" * 30
LINKS = "<p>Words with a <a href='#'>link</a>.</p>" * 30
ALL, OTHER = "light dark phone", "http://127.0.0.2:9/x.png"
GRAY = "@media (prefers-color-scheme: {}) {{ p {{ color: #aaa }} }}"
OUT = "requests to the outside"
ARTICLE = "<div class='bd-article'>{}</div>"
CUE = "pre { mask-image: linear-gradient(#000, #000) }"
WIDE = f"<pre tabindex='0' style='overflow-x: auto'>{'x' * 300}</pre>"
TABLE = "<div tabindex='0' style='overflow: auto'><p style='width: 3000px'>x</p></div>"
FOLDED = f"<details><summary>x</summary>{TABLE}</details>"
SMALL = "<div class='figure-box'><p style='--readable: 400px; width: 350px'>x</p></div>"
EMPTY = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E#.svg"
BARE = f'<figure><img alt="None" src="{EMPTY}"></figure>'
# Style, content, the modes in which they are a fault, and its kinds.
PLANTED = {
    "nothing": ("", "", "", ""),
    "gray": ("p { color: #aaa }", "", ALL, "accessibility"),
    "gray_in_the_dark": (GRAY.format("dark"), "", "dark", "accessibility"),
    "gray_in_the_light": (GRAY.format("light"), "", "light phone", "accessibility"),
    "one_gray_word": ("b { color: #aaa }", WORDS, ALL, "accessibility"),
    "one_link_like_words": (
        "a + a { color: #111; text-decoration: none }",
        f"{LINKS}<p>Words, <a href='#'>one</a> <a href='#'>two</a>.</p>{LINKS}",
        ALL,
        "accessibility",
    ),
    "dark_from_elsewhere": (
        "aside div { position: absolute; inset: 0; z-index: -1; background: #555 }",
        "<aside><div></div></aside>",
        ALL,
        "accessibility",
    ),
    "wide": ("p { width: 2000px }", "", ALL, "pixels that stick out"),
    "wide_on_a_phone": ("p { width: 800px }", "", "phone", "pixels that stick out"),
    "error": ("", "<script>x()</script>", ALL, "console"),
    "error_on_a_phone": (
        "",
        "<script>if (innerWidth < 500) console.error('x')</script>",
        "phone",
        "console",
    ),
    "missing": ("", "<img src='x.png' alt='None'>", ALL, "console"),
    "outside": ("", f"<img src='{OTHER}' alt='None'>", ALL, f"console, {OUT}"),
    "outside_in_the_dark": (
        f"@media (prefers-color-scheme: dark) {{ p {{ background: url({OTHER}) }} }}",
        "",
        "dark",
        f"console, {OUT}",
    ),
    "outside_and_late": (
        "",
        f"<script>setTimeout(() => fetch('{OTHER}'), 300)</script>",
        ALL,
        f"console, {OUT}",
    ),
    "links": ("", "<a href='#'>x</a> " * 150, "light dark", "stops of the Tab key"),
    "formula": ("", "<mjx-merror>x</mjx-merror>", ALL, "broken formulas"),
    "clipped": (CUE, ARTICLE.format(WIDE), "light dark", "clipped"),
    "small_labels": ("", ARTICLE.format(SMALL), "phone", "small labels"),
    "no_cue_no_box": (
        "",
        ARTICLE.format(FOLDED + BARE),
        ALL,
        "figures out of their box, scrolls without a cue",
    ),
}


ALONE = ("width", "background", "bd-article")


def shelves():
    """Planted faults in few pages, those of a page of different kinds.

    What changes how the others are seen stays alone.
    """
    pages = []
    for name, (style, content, faulty, kinds) in PLANTED.items():
        kinds = set(kinds.split(", ")) - {""}
        alone = not kinds or any(word in style + content for word in ALONE)
        shared = () if alone else (p for p in pages if not p["alone"])
        page = next((p for p in shared if not kinds & set(p["due"])), None)
        if page is None:
            page = {"name": name, "alone": alone, "style": "", "content": "", "due": {}}
            pages.append(page)
        page["style"] += style
        page["content"] += content
        page["due"] |= dict.fromkeys(kinds, faulty)
    return pages


def test_a_fault_of_each_kind_is_found_in_its_modes_and_in_no_other(tabs, tmp_path):
    due, found = {}, {}
    with serve(tmp_path) as address:
        for shelf in shelves():
            page, name = PAGE.format(shelf["style"], shelf["content"]), shelf["name"]
            (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
            on_screens = visit(tabs, address, name, SCREENS)
            for modes, seen in zip(SCREENS, on_screens, strict=True):
                kinds = {
                    mode: {k for k, faulty in shelf["due"].items() if mode in faulty}
                    for mode in modes
                }
                if modes[0] == "dark":  # what is said before the turn is heard after it
                    kinds["light"] |= {"console", OUT} & kinds["dark"]
                due[name, modes[0]] = kinds
                found[name, modes[0]] = {mode: set(seen[mode]) for mode in modes}
    assert found == due
