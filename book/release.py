"""Which version of the book this is, in the foot of each page, and links to its news.

CITATION.cff says the version and the date; the tests hold the others to it.
"""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
LINKS = {"book/changelog": "What is new", "book/errata": "Errata"}


def citation(root=ROOT):
    """How the book is cited."""
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def footer(cited, address_of):
    """A line for the foot of a page; `address_of` gives the address of another page."""
    day = cited["date-released"]
    links = [f'<a href="{address_of(page)}">{says}</a>' for page, says in LINKS.items()]
    said = f"Version {cited['version']} of {day.day} {day:%B %Y}."
    return f'<p class="release">{said} {", ".join(links)}.</p>'


def setup(app):
    """Tell Sphinx the version, and put it into the foot of each page."""
    cited = citation()

    def told(app, config):
        config.version = config.release = str(cited["version"])

    def page(app, pagename, templatename, context, doctree):
        if app.builder.name == "html" and all(p in app.env.found_docs for p in LINKS):
            address = context["pathto"]
            context["theme_extra_footer"] = footer(cited, address)

    app.connect("config-inited", told)
    app.connect("html-page-context", page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
