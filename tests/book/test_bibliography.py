"""Works have one label each, the same everywhere, and links to them."""

import html
import re
from pathlib import Path

import bibliography
import nbformat
import pytest
import slides

BOOK = Path(__file__).parents[2] / "book"
ENTRY = re.compile(r'<div class="citation" id="([^"]+)".*?</div>', re.DOTALL)
LABEL = re.compile(r'<span class="label">(.*?)</span>\s*<p>(.*)</p>', re.DOTALL)
CITED = re.compile(r'<span class="bibtex-citation"[^>]*>(.*?)</span>', re.DOTALL)
LINK = re.compile(r'<a [^>]*href="([^"]+)"[^>]*>(.*?)</a>', re.DOTALL)
LINKED = re.compile(r"\[([^\[\]]+)\]\((https?://[^()\s]+)\)")
FORMS = ("{}, {}", "{} ({})")  # in brackets, and as a part of a sentence
WITHOUT = "No address known"


def bare(text):
    """The words of a piece of HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


def listed(page):
    """The entries of the built list: the label, the words and the links by anchor."""
    found = {}
    for entry in ENTRY.finditer(page):
        label, text = LABEL.search(entry[0]).groups()
        links = [html.unescape(address) for address, _ in LINK.findall(text)]
        found[entry[1]] = bare(label).strip("[]"), bare(text), links
    return found


def citations(page):
    """What each citation of a page says of a work, and the anchor that it leads to."""
    for cited in CITED.findall(page):
        done = 0
        for link in LINK.finditer(cited):
            anchor, said = link[1].rpartition("#")[2], bare(link[2])
            if re.fullmatch(r"(\d{4}|n\.d\.)[a-z]?", said):  # the authors stand before
                before = bare(cited[done : link.start()])
                said = f"{before.strip(' ,;[]')}, {said}"
            done = link.end()
            yield said, anchor


@pytest.fixture(scope="module")
def entries(site):
    return listed((site / "book/bibliography.html").read_text(encoding="utf-8"))


def test_no_two_works_share_a_label_and_the_list_has_that_of_each(entries):
    labels = sorted(label for label, _, _ in entries.values())
    works = bibliography.works(BOOK / "references.bib")
    assert labels == sorted(work.label for work in works.values())
    assert len(set(labels)) == len(labels)


def test_each_work_of_the_list_is_a_link_or_says_why_it_has_none(entries):
    addresses = {work.label: work.address for work in bibliography.works().values()}
    for label, text, links in entries.values():
        if addresses[label] is None:
            assert WITHOUT in text, label
        else:
            assert addresses[label] in links, label
            assert re.match(r"https?://[\w.-]+/.|https://[\w-]+\.\w+\.com$", links[0])


def test_no_mark_of_latex_is_left_in_the_list(entries):
    for label, text, _ in entries.values():
        assert not re.search(r"\\|[{}]|\$[^\d]", text), (label, text)


def test_each_label_of_the_text_is_that_of_the_list(site, entries):
    count = 0
    for page in sorted(site.glob("book/**/*.html")):
        for said, anchor in citations(page.read_text(encoding="utf-8")):
            assert said == entries[anchor][0], (page.name, said)
            count += 1
    assert count > 500


def test_each_label_of_a_plain_notebook_is_that_of_the_list():
    works = bibliography.works().values()
    said = {form.format(w.authors, w.year) for w in works for form in FORMS}
    addresses = {work.address for work in works}
    for path in sorted((BOOK / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                for words, address in LINKED.findall(cell.source):
                    if address in addresses and re.search(r"\b\d{4}[a-z]?\)?$", words):
                        assert words in said, (path.name, words)


def test_slides_name_a_work_as_the_text_does():
    assert slides.cited("deepseek2024v2") == "DeepSeek-AI (2024a)"
    assert slides.cited("ye2020mastering") == "Ye et al. (2020)"


def test_a_citation_of_two_works_is_read_as_two():
    page = (
        '<span class="bibtex-citation" id="i">A <em>et al.</em> '
        '[<a href="b.html#id1" title="x">2024a</a>], B [<a href="b.html#id2">2025</a>]'
        '</span> <span class="bibtex-citation">[<a href="#id3">C, 2020</a>]</span>'
    )
    assert list(citations(page)) == [
        ("A et al., 2024a", "id1"),
        ("B, 2025", "id2"),
        ("C, 2020", "id3"),
    ]
