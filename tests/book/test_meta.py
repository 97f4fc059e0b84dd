"""What search engines and messengers show of a page."""

from collections import Counter

import pytest
import yaml
from PIL import Image
from test_site import ROOT, html_pages, tags_of

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
ADDRESS = CONFIG["html"]["baseurl"]


def meta(page):
    """Names of a page's meta tags with what they say."""
    tags = [attributes for tag, attributes in tags_of(page) if tag == "meta"]
    return {a.get("property") or a.get("name"): a.get("content") for a in tags}


def title(page):
    text = page.read_text(encoding="utf-8")
    return text.partition("<title>")[2].partition("</title>")[0].strip()


@pytest.fixture(scope="module")
def written(site):
    """Pages that somebody wrote, with the page that the bare address opens."""
    made = {"search.html", "genindex.html", "index.html"}
    pages = [page for page in html_pages(site) if page.parent.name != "slides"]
    return [page for page in pages if page.name not in made or page.parent != site]


def test_each_page_says_which_book_it_belongs_to_and_shows_its_card(site, written):
    for page in [*written, site / "index.html"]:
        said = meta(page)
        assert said["og:site_name"] == CONFIG["title"], page.name
        assert said["og:image"] == f"{ADDRESS}_static/card.png", page.name
        assert said["og:image:alt"] not in ("", CONFIG["title"]), page.name
        assert said["twitter:card"] == "summary_large_image", page.name
    with Image.open(site / "_static/card.png") as card:
        assert (card.format, card.size) == ("PNG", (1200, 630))
        assert len(card.convert("RGB").getcolors(1 << 20)) > 100  # it is not empty


def test_each_page_has_a_title_and_a_description_of_its_own(written):
    for say in (title, lambda p: meta(p)["description"], lambda p: meta(p)["og:title"]):
        said = Counter(say(page) for page in written)
        assert [text for text, n in said.items() if n > 1 or len(text) < 5] == []
    for page in written:
        assert meta(page)["og:description"] == meta(page)["description"], page.name
        first, _, rest = title(page).partition(" &#8212; ")
        assert first != rest, page.name
