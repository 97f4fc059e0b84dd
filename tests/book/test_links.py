"""Every link inside the website leads somewhere, to a page and to a place on it."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LEADS = ("href", "src", "poster", "data-src")


class Links(HTMLParser):
    """Collects where a page leads, and the names of the places on it."""

    def __init__(self, text):
        super().__init__()
        self.leads, self.places = set(), {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.places.add(value)
            elif name in LEADS and value:
                self.leads.add(value)


def broken_links(site):
    """Pairs of a page and a link on it that leads nowhere."""
    pages = {
        path.resolve(): Links(path.read_text(encoding="utf-8"))
        for path in sorted(Path(site).rglob("*.html"))
        if "_static" not in path.relative_to(site).parts
    }
    for page, found in pages.items():
        for lead in sorted(found.leads):
            parts = urlsplit(lead)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve()
            target = page if not parts.path else target
            if target.is_dir():
                target /= "index.html"
            place = unquote(parts.fragment)
            known = pages[target].places if target in pages else {"", place}
            if not target.exists() or place not in known:
                yield str(page.relative_to(Path(site).resolve())), lead


def test_no_link_inside_the_site_is_broken(site):
    assert list(broken_links(site)) == []


def test_each_kind_of_broken_link_is_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/page.html").write_text('<h1 id="here">x</h1><a name="old">x</a>')
    (tmp_path / "b.png").write_bytes(b"")
    good = ["a/page.html", "a/page.html#here", "a/page.html#old", "#", "#top", "#me"]
    good += ["b.png", "https://example.org/x", "mailto:a@example.org", "data:,x"]
    bad = ["a/notation.md", "a/page.html#there", "#nobody", "c/", "b.jpg"]
    tags = [f'<a href="{lead}">x</a>' for lead in good + bad]
    (tmp_path / "index.html").write_text('<p id="me">' + "".join(tags))
    assert {lead for _, lead in broken_links(tmp_path)} == set(bad)
