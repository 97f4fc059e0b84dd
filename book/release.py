"""Which version of the book this is, in the foot of each page, and links to its news.

CITATION.cff says the version and the date; the tests hold the others to it. On the page
of errata, a link that has the title of a section leads to that section.
"""

from pathlib import Path, PurePosixPath

import yaml
from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent
ERRATA = "book/errata"
LINKS = {"book/changelog": "What is new", ERRATA: "Errata"}


def citation(root=ROOT):
    """How the book is cited."""
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def footer(cited, address_of):
    """A line for the foot of a page; `address_of` gives the address of another page."""
    day = cited["date-released"]
    links = [f'<a href="{address_of(page)}">{says}</a>' for page, says in LINKS.items()]
    said = f"Version {cited['version']} of {day.day} {day:%B %Y}."
    return f'<p class="release">{said} {", ".join(links)}.</p>'


def sections(env, page):
    """The anchors of the sections of a page by their titles."""
    found = env.tocs[page].findall(nodes.reference) if page in env.tocs else ()
    return {link.astext(): link["anchorname"] for link in found}


def lead_to_sections(app, doctree, docname):
    """Let links of the errata that name a section lead to it."""
    if docname == ERRATA and app.builder.format == "html":
        for link in doctree.findall(nodes.reference):
            if link.get("internal") and "#" not in link.get("refuri", "#"):
                page = f"book/{PurePosixPath(link['refuri']).stem}"
                link["refuri"] += sections(app.env, page).get(link.astext(), "")


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
    app.connect("doctree-resolved", lead_to_sections)
    app.connect("html-page-context", page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
