"""What the build itself does not notice."""

import re
import tomllib
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "link": "href",
}


class Tags(HTMLParser):
    """Collects (tag, attributes) of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@cache
def tags_of(page):
    """The tags of a page of the site, which is built once and read once."""
    return Tags(page.read_text(encoding="utf-8")).found


def html_pages(site):
    return [p for p in sorted(site.rglob("*.html")) if "_static" not in p.parts]


def test_the_build_makes_a_landing_page_that_leads_to_the_book(site):
    index = (site / "index.html").read_text(encoding="utf-8")
    assert "book/index.html" in index
    assert (site / "book/index.html").exists()


def test_every_notebook_is_in_the_table_of_contents():
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for notebook in (ROOT / "book").glob("*.ipynb"):
        assert f"book/{notebook.stem}\n" in toc + "\n"


def test_every_picture_has_words(site):
    for page in html_pages(site):
        for tag, attributes in tags_of(page):
            if tag == "img":
                alt = attributes.get("alt", "")
                assert alt, f"{page.name}: {attributes.get('src')} has no alt text"
                assert not re.search(r"\.(svg|png)$", alt), f"{page.name}: {alt}"


def test_no_page_loads_anything_from_outside_and_nothing_is_missing(site):
    for page in html_pages(site):
        for tag, attributes in tags_of(page):
            target = attributes.get(LOADS.get(tag, ""), "")
            if not target or target.startswith("data:"):
                continue
            if tag == "link" and "stylesheet" not in attributes.get("rel", ""):
                continue
            assert not re.match(r"(https?:)?//", target), f"{page.name}: {target}"
            local = (page.parent / target.split("?")[0].split("#")[0]).resolve()
            assert local.exists(), f"{page.name}: {target} does not exist"


def test_the_address_of_the_repository_is_the_same_everywhere():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = config["repository"]["url"]
    for name in ("README.md", "CITATION.cff"):
        assert address in (ROOT / name).read_text(encoding="utf-8"), name
    for notebook in (ROOT / "book/text").glob("*.md"):
        assert address in notebook.read_text(encoding="utf-8"), notebook.name
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert cff["version"] == project["project"]["version"]
    assert cff["title"] == config["title"]
