"""Search by section: what the pages say, written into one script for the browser.

Sphinx's search finds pages; this one finds sections, exercises, terms and works. When
the site is built, _static/search/sections.js gets the words of all pages in the table
of contents. A browser loads it, with MiniSearch, when a reader opens the search, and on
no other page. As it is a script and no data file, the search works from file://, too.

What readers type and the book says otherwise is in search_words.yml.
"""

import json
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import yaml
from bs4 import BeautifulSoup, SoupStrainer
from sphinx.search.en import js_porter_stemmer

BOOK = Path(__file__).resolve().parent
WORDS = BOOK / "search_words.yml"
HEADINGS = ["h1", "h2", "h3", "h4"]
BLOCKS = ["dd", "div", "dt", "figcaption", "li", "p", "td", "th"]
HTML = "html.parser"  # slower than lxml, but of the standard library
SCRIPT = "_static/search/sections.js"
# Sphinx's own search, and scripts that serve it alone.
SPHINX = ("searchtools.js", "language_data.js", "doctools.js", "sphinx_highlight.js")
# Not words of a page: marks, drawings, links to places that use a number.
SILENT = (
    ".headerlink, script, style, svg, button, summary, label, .used-in, "
    ".section-number, .fn-bracket, .strip, noscript, div.math, .live-still"
)
CODE = "div.cell_input, div.highlight"
PRE = re.compile(r"(?<=<pre>).*?(?=</pre>)", re.DOTALL)
NAME = re.compile(r"[^\W\d]\w{2,}")
TEX = re.compile(r"\\(?:mathrm|mathit|text|operatorname|mathcal)\b|[{}$]")
COMMAND = re.compile(r"\\([A-Za-z]+)")
SIGNS = {"times": "×", "cdot": "·", "le": "≤", "ge": "≥", "approx": "≈", "pm": "±"}
SIGNS |= {"to": "→", "infty": "∞", "dots": "…", "ldots": "…", "mid": "|", "ell": "ℓ"}
SIGNS |= {name: name for name in ("log", "exp", "max", "min")}
# Sections of nearly every chapter; what a reader looks for is rarely there.
ASIDES = {
    "Check yourself",
    "Exercises",
    "Summary",
    "Further reading",
    "What can go wrong",
    "Where we depart from DeepSeek",
    "Where we depart",
}
# How much a kind of place counts beside a section.
WEIGHTS = {
    "chapter": 1.2,
    "section": 1,
    "aside": 0.6,
    "exercise": 0.5,
    "term": 0.25,
    "work": 0.3,
}
PAGE_WEIGHTS = {
    "book/01_claims": 0.8,  # what later chapters treat at length
    "book/A1_mistakes_in_the_model": 0.6,  # chapters treat it at length
    "book/A2_mistakes_in_training": 0.6,
    "book/mistakes": 0.4,
    "book/published": 0.1,
    "book/notation": 0.6,
    "book/bibliography": 0.5,
    "book/assignments": 0.5,
    "book/errata": 0.4,
    "book/changelog": 0.4,
}


class Entry(NamedTuple):
    """A place that a search can find: its page by number, its address there, words."""

    page: int
    anchor: str
    kind: str
    title: str
    above: str
    text: str
    code: str
    weight: float


def plain(tex):
    """A short formula as a line of text; an ellipsis for one that is none."""
    text = TEX.sub("", tex.strip().removeprefix("\\(").removesuffix("\\)"))
    try:
        text = COMMAND.sub(lambda match: sign(match[1]), text)
    except KeyError:
        return "…"
    text = re.sub(r"\s+", " ", text.replace("\\", "")).strip()
    return text if len(text) <= 30 else "…"


def sign(name):
    """The sign that TeX calls by a name; KeyError where a line of text has none."""
    return SIGNS.get(name) or unicodedata.lookup(f"GREEK SMALL LETTER {name}")


def words(node):
    """The text of a node in one line."""
    return re.sub(r"\s+", " ", node.get_text()).strip()


def take(parent, selector):
    """The text of what a selector finds in a node, and the node without it."""
    found = [node for node in parent.select(selector) if not node.decomposed]
    text = " ".join(words(node) for node in found)
    for node in found:
        node.decompose()
    return text


def entry(page, anchor, kind, title, above, node, weight=1.0):
    """What a place says: its prose, and the names of its code and its outputs."""
    code = take(node, CODE)
    output = take(node, "div.cell_output > .output pre, .cell_output table")
    names = " ".join(dict.fromkeys(NAME.findall(f"{code} {output}")))
    weight = round(weight * WEIGHTS[kind], 2)
    return Entry(page, anchor, kind, title, above, words(node), names, weight)


def exercises(section, page, above, weight):
    """The exercises of a section, taken out of it together with their solutions."""
    for solution in section.select("div.solution"):
        before = solution.find_previous_sibling("div", class_="exercise")
        (before or section).append(solution.extract())
    for exercise in section.select("div.exercise"):
        title = words(exercise.select_one(".admonition-title").extract())
        title = re.sub(r"^(\S+ \S+) \((.*)\)$", r"\1: \2", title)
        node = exercise.extract()
        yield entry(page, node.get("id", ""), "exercise", title, above, node, weight)


def terms(section, page, above, weight):
    """The terms of a glossary, taken out of it."""
    for name in section.select("dl.glossary > dt"):
        definition = name.find_next_sibling("dd").extract()
        anchor, title = name["id"], words(name.extract())
        yield entry(page, anchor, "term", title, above, definition, weight)


def works(section, page, above, weight):
    """The works of a bibliography, taken out of it."""
    for work in section.select("div.citation"):
        work.extract()
        if label := work.select_one(".label"):
            label.decompose()
        title, anchor = words(work), work.get("id", "")
        yield entry(page, anchor, "work", title, above, BeautifulSoup("", HTML), weight)


def read_page(html, page, weight):
    """All places of a page that a search can find."""
    html = PRE.sub(lambda code: re.sub("<[^>]*>", "", code[0]), html)  # to be quick
    article = BeautifulSoup(html, HTML, parse_only=SoupStrainer("article"))
    for node in article.select(SILENT):
        node.decompose()
    for node in article.select("span.math"):
        node.replace_with(plain(node.get_text()))
    for node in article.find_all(BLOCKS):
        node.append(" ")  # or its last word grows together with the next
    # Backwards, so that a section has lost those in it when its turn comes.
    for section in reversed(article.select("section")):
        heading = section.find(HEADINGS, recursive=False)
        if heading is None:
            continue  # what an exercise contains
        title = words(heading.extract())
        around = [
            words(above.find(HEADINGS)) for above in section.find_parents("section")
        ]
        for parts in (exercises, terms, works):
            yield from parts(section, page, title, weight)
        kind = "aside" if title in ASIDES else "section" if around else "chapter"
        path = " › ".join(reversed(around[:-1]))
        yield entry(page, section["id"], kind, title, path, section.extract(), weight)


def chapters(toc):
    """The pages of the table of contents in order, each with its part."""
    yield toc["root"], ""
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            yield chapter["file"], part["caption"]


def page_weight(name):
    """How much the places of a page count beside those of a chapter."""
    found = [w for place, w in PAGE_WEIGHTS.items() if name.startswith(place)]
    return found[0] if found else 1


def read_words():
    """What readers type, each with what the book says: lists of one or more."""
    split = re.compile(r"\s*,\s*").split
    said = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    return [[split(str(typed)), split(str(book))] for typed, book in said.items()]


def read_site(source, html):
    """The pages of a built site, and all places in them."""
    toc = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    pages, entries = [], []
    for name, part in chapters(toc):
        text = (html / f"{name}.html").read_text(encoding="utf-8")
        found = list(read_page(text, len(pages), page_weight(name)))[::-1]
        if not found:
            continue  # a page without a heading
        chapter = re.match(r"\d\d(?=_)", Path(name).name)
        title = f"{chapter[0]} {found[0].title}" if chapter else found[0].title
        pages.append([f"{name}.html", title, part])
        entries += found
    return pages, entries


def write_script(source, html):
    """Write the script with the words of all pages, and that alone."""
    pages, entries = read_site(source, html)
    data = {"pages": pages, "entries": entries, "words": read_words()}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    script = html / SCRIPT
    script.parent.mkdir(parents=True, exist_ok=True)
    stemmer = f"(() => {{{js_porter_stemmer}return new Stemmer();}})()"
    script.write_text(
        f"window.bookSections = {text};\nwindow.bookStemmer = {stemmer};\n",
        encoding="utf-8",
    )


def setup(app):
    """Put this search in the place of Sphinx's."""

    def configured(app, config):
        config.templates_path.append(str(BOOK / "_templates"))

    def begun(app):
        if app.builder.name == "html":
            app.builder.search = False

    def page(app, pagename, templatename, context, doctree):
        if app.builder.name == "html":
            context["script_files"][:] = [
                script
                for script in context["script_files"]
                if Path(str(script.filename)).name not in SPHINX
            ]

    def more(app):
        if app.builder.name == "html":
            yield "search", {}, "search.html"

    def finished(app, error):
        if error is None and app.builder.name == "html":
            html = Path(app.outdir)
            for name in SPHINX:  # the theme has copied them
                (html / "_static" / name).unlink(missing_ok=True)
            (html / "searchindex.js").unlink(missing_ok=True)  # of an older build
            write_script(Path(app.srcdir), html)

    app.add_js_file("search/open.js", loading_method="defer")
    app.connect("config-inited", configured)
    app.connect("builder-inited", begun)
    app.connect("html-page-context", page, priority=900)
    app.connect("html-collect-pages", more)
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
