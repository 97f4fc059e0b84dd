"""What belongs to a release: version, metadata, news, errata, plain text, paper."""

import datetime
import json
import re
import tomllib
from pathlib import Path

import nbformat
import plain_pages
import pytest
import release
import yaml
from pybtex.database import parse_file

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
# The fields of a deposit at developers.zenodo.org, of which a file in a repository may
# have these; the values are those that the documentation lists.
FIELDS = {
    "title",
    "upload_type",
    "publication_type",
    "publication_date",
    "description",
    "creators",
    "version",
    "access_right",
    "license",
    "notes",
    "language",
    "keywords",
    "related_identifiers",
    "contributors",
    "references",
    "communities",
    "subjects",
    "doi",
}
NEEDED = {"title", "upload_type", "description", "creators", "access_right", "license"}
TYPES = {
    "publication",
    "poster",
    "presentation",
    "dataset",
    "image",
    "video",
    "software",
    "lesson",
    "other",
    "physicalobject",
}
RELATIONS = {
    "isCitedBy",
    "cites",
    "isSupplementTo",
    "isSupplementedBy",
    "isContinuedBy",
    "continues",
    "isDescribedBy",
    "describes",
    "hasMetadata",
    "isMetadataFor",
    "isNewVersionOf",
    "isPreviousVersionOf",
    "isPartOf",
    "hasPart",
    "isReferencedBy",
    "references",
    "isDocumentedBy",
    "documents",
    "isCompiledBy",
    "compiles",
    "isVariantFormOf",
    "isOriginalFormof",
    "isIdenticalTo",
    "isAlternateIdentifier",
    "isReviewedBy",
    "reviews",
    "isDerivedFrom",
    "isSourceOf",
    "requires",
    "isRequiredBy",
    "isObsoletedBy",
    "obsoletes",
}
FENCE = re.compile(r"^````(?:python|text)\n.*?^````$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(`+)[^`]+\1")
ROLE = re.compile(r"(?<!`)\{[a-z]+(?::[a-z]+)?\}`")
DIRECTIVE = re.compile(r"^\s*(?:`{3,}|:{3,})\s*\{", re.MULTILINE)
MYST = {
    "a label": re.compile(r"^\([\w:-]+\)=", re.MULTILINE),
    "a comment": re.compile(r"<!--|^\+\+\+|^% ", re.MULTILINE),
    "HTML": re.compile(r"</?[a-z][a-z0-9]*(?: [a-z-]+=[^>]*)?/?>"),
    "marks of MathJax": re.compile(r"\\[()\[\]]"),
}
ITEM = re.compile(r"^- \[[^\[\]]+\]\((https://[^()\s]+)\)(: \S.*)?$")
SECTION = re.compile(r"\[([^\[\]]+)\]\((\w+)\)")


def cff():
    return release.citation(ROOT)


def zenodo():
    return json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))


def pages():
    """The pages of the table of contents."""
    parts = plain_pages.contents(ROOT / "_toc.yml")
    return [name for _, names in parts for name in names]


# The version


def test_the_version_is_the_same_everywhere(site):
    cited = cff()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    news = (BOOK / "changelog.md").read_text(encoding="utf-8")
    latest = re.search(r"^## Version (\S+), (.+)$", news, re.MULTILINE)
    day = datetime.datetime.strptime(latest[2], "%d %B %Y").date()
    assert project["project"]["version"] == cited["version"] == latest[1]
    assert cited["date-released"] == day
    assert zenodo()["version"] == cited["version"]
    assert zenodo()["publication_date"] == str(day)
    shown = f"Version {cited['version']} of {latest[2]}."
    for name in pages():
        page = (site / f"{name}.html").read_text(encoding="utf-8")
        assert page.count(shown) == 1, name


def test_the_foot_of_each_page_leads_to_its_news_and_its_errata(site):
    for name in pages():
        path = site / f"{name}.html"
        page = path.read_text(encoding="utf-8")
        foot = re.search(r'<p class="release">.*?</p>', page)[0]
        for address in re.findall(r'href="([^"]*)"', foot):
            assert (path.parent / address.rstrip("#")).exists(), (name, address)
        for title in release.LINKS.values():
            assert title in foot, name


# Zenodo


def test_zenodo_gets_what_the_citation_says():
    record, cited = zenodo(), cff()
    assert record["title"] == cited["title"]
    names = [creator["name"] for creator in record["creators"]]
    assert names == [author["name"] for author in cited["authors"]]
    assert cited["abstract"] in record["description"]
    assert record["license"] in cited["license"]
    assert all(
        said in record["notes"].replace(" ", "-") or said in record["notes"]
        for said in cited["license"]
    )
    related = {part["identifier"] for part in record["related_identifiers"]}
    assert related == {cited["repository-code"], cited["url"]}


def test_zenodo_knows_each_field_and_value():
    record = zenodo()
    assert record.keys() <= FIELDS
    assert record.keys() >= NEEDED
    assert record["upload_type"] in TYPES
    assert record["access_right"] == "open"
    assert datetime.date.fromisoformat(record["publication_date"])
    assert re.fullmatch(r"[a-z]{3}", record["language"])
    assert all(isinstance(word, str) for word in record["keywords"])
    for part in record["related_identifiers"]:
        assert part["relation"] in RELATIONS, part
        assert part["identifier"].startswith("https://"), part
    for creator in record["creators"]:
        assert creator.keys() <= {"name", "affiliation", "orcid", "gnd"}


# Plain text


def foreign(text):
    """What of MyST, HTML or MathJax a plain text holds outside of its code."""
    prose = FENCE.sub("", text)
    bare = CODE.sub("", prose)
    found = {"a role": ROLE.search(prose), "a directive": DIRECTIVE.search(prose)}
    found |= {kind: form.search(bare) for kind, form in MYST.items()}
    return {kind: match[0] for kind, match in found.items() if match}


def test_what_is_not_plain_text_is_seen():
    fenced = "````python\nf'{x}`' < 3\n````\n`{ref}` and $a < b$\n"
    assert foreign(fenced) == {}
    for text in (
        "see {ref}`here`",
        "```{admonition} T\n```",
        "(a-label)=\n# T",
        "<!-- slides -->",
        "a <b>word</b>",
        r"\(x\)",
    ):
        assert foreign(text), text


def test_llms_txt_lists_every_page_in_its_form(site):
    text = (site / "llms.txt").read_text(encoding="utf-8")
    title, _, summary, *rest = text.split("\n")
    assert title == f"# {cff()['title']}"
    assert re.fullmatch(r"> \S.{40,}", summary)
    items = [line for line in rest if line.startswith("-")]
    base = cff()["url"]
    assert [ITEM.fullmatch(line)[1] for line in items] == [
        f"{base}{name}.html.md" for name in pages()
    ]
    captions = [line[3:] for line in rest if line.startswith("## ")]
    assert captions == [
        caption for caption, _ in plain_pages.contents(ROOT / "_toc.yml")
    ]
    allowed = re.compile(r"(## .+|- .+)?")
    assert all(allowed.fullmatch(line) for line in rest[2:])


def test_every_page_has_a_plain_text_that_it_names(site):
    for name in pages():
        text = (site / f"{name}.html.md").read_text(encoding="utf-8")
        assert foreign(text) == {}, name
        assert text.startswith("# "), name
        assert len(text.split()) > 80, name
        page = (site / f"{name}.html").read_text(encoding="utf-8")
        link = f'type="text/markdown" href="{name.rpartition("/")[2]}.html.md"'
        assert page.count(link) == 1, name
        assert f"_sources/{name}.md" not in page, name  # the button leads to it


def ends(text):
    """A text without space at the ends of its lines, which pages do not keep."""
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).strip("\n")


def test_a_plain_text_has_the_formulas_the_code_and_the_outputs_of_its_chapter(site):
    for path in sorted(BOOK.glob("[0-9]*.ipynb")):
        text = ends((site / f"book/{path.stem}.html.md").read_text(encoding="utf-8"))
        cells = nbformat.read(path, as_version=4).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        labels = re.findall(r"^\$\$ \(eq-", prose, re.MULTILINE)
        tags = re.findall(r"^\\tag\{\d+\.\d+\}$", text, re.MULTILINE)
        assert len(tags) == len(labels) > 0, path.stem
        shown = [c for c in cells if "remove-cell" not in c.metadata.get("tags", [])]
        for cell in shown:
            if cell.cell_type == "code":
                streams = [o.text for o in cell.outputs if o.output_type == "stream"]
                for part in (cell.source, *streams):
                    assert ends(part) in text, (path.stem, part[:80])


HEAD = "<h1>T<a class='headerlink' href='#t'>#</a></h1>"
INLINE = "<p>a <span class='math'>\\(x_1\\)</span> b</p>"
NUMBER = "<span class='eqno'>(1.2)<a class='headerlink'>#</a></span>"
DISPLAY = f"<div class='math'>{NUMBER}\\[a &lt; b\\]</div>"
LINKS = "<p>see <a href='#x'>Fig. 1</a>, <a href='b.html' title='t'>b</a></p>"
CELL = "<pre><span></span>f<span>(</span>)\n\n\n# \n</pre>"
INPUT = f"<div class='cell_input'><div>{CELL}</div></div>"
FOLDED = "<details><summary aria-label='Toggle'>Show</summary><pre>1</pre></details>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (HEAD, "# T\n"),
        (INLINE, "a $x_1$ b\n"),
        (DISPLAY, "$$\na < b\n\\tag{1.2}\n$$\n"),
        (LINKS, "see Fig. 1, [b](b.html)\n"),
        (INPUT, "````python\nf()\n\n\n# \n````\n"),
        (FOLDED, "````text\n1\n````\n"),
        ("<p>a </p><p></p><p>b</p>", "a\n\nb\n"),
        ("<div aria-label='Bars' id='x'></div>", "(Interactive figure: Bars)\n"),
        ("<svg><title>T</title><desc>D</desc><text>t</text></svg>", "(D)\n"),
    ],
)
def test_from_html_to_plain_text(body, text):
    assert plain_pages.plain(body) == text


# News, errata, the paper


def headings(page):
    """The titles of the sections of a page, as its source has them."""
    path = BOOK / f"text/{page}.md"
    path = path if path.exists() else BOOK / f"{page}.md"
    return re.findall(r"^#+ (.+?)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_each_item_of_the_errata_has_its_three_parts_and_leads_to_a_section():
    text = (BOOK / "errata.md").read_text(encoding="utf-8")
    parts = ("- *First edition:* ", "  *Right:* ", "  *Now:* ")
    lines = [line for line in text.split("\n") if line.startswith(("- *", "  "))]
    assert len(lines) % 3 == 0
    for place, line in enumerate(lines):
        assert line.startswith(parts[place % 3]), line
        assert line.endswith("."), line
        if place % 3 == 2 and "does not say it" not in line:
            found = SECTION.findall(line)
            assert found, line
            for title, page in found:
                assert title in headings(page), (title, page)
    chapters = set(re.findall(r"\((\d\d)_\w+\)", text))
    new = {"19"}  # which the first edition did not have
    assert chapters == {path.name[:2] for path in BOOK.glob("[0-9]*.ipynb")} - new


def test_links_of_the_errata_lead_to_sections(site):
    page = (site / "book/errata.html").read_text(encoding="utf-8")
    items = re.findall(r"<em>Now:</em>(.*?)</li>", page, re.DOTALL)
    links = [link for item in items for link in re.findall(r'href="([^"]+)"', item)]
    assert len(links) > 100
    for link in links:
        name, mark, anchor = link.partition("#")
        text = (site / "book" / name).read_text(encoding="utf-8")
        assert mark == "#" or name in ("notation.html", "bibliography.html"), link
        assert f'id="{anchor}"' in text or not mark, link


def test_the_paper_is_a_draft_in_the_form_of_its_journal():
    _, front, body = (BOOK / "paper/paper.md").read_text("utf-8").split("---\n", 2)
    front = yaml.safe_load(front)
    kinds = {"title", "tags", "authors", "affiliations", "date", "bibliography"}
    assert front.keys() == kinds
    assert [a["name"] for a in front["authors"]] == [
        a["name"] for a in cff()["authors"]
    ]
    assert [p["index"] for p in front["affiliations"]] == [1]
    assert (
        datetime.datetime.strptime(front["date"], "%d %B %Y").date()
        == cff()["date-released"]
    )
    sections = re.findall(r"^# (.+)$", body, re.MULTILINE)
    assert sections == [
        "Summary",
        "Statement of need",
        "Learning objectives",
        "Content",
        "Instructional design",
        "Story of the project",
        "Availability",
        "References",
    ]
    assert len(body.split()) <= 1000
    assert "draft" in body[:100]
    path = (BOOK / "paper" / front["bibliography"]).resolve()
    cited = set(re.findall(r"@([a-z0-9]+)", body))
    assert cited
    assert cited <= parse_file(str(path)).entries.keys()


def test_the_paper_counts_verdicts_as_chapter_01_does():
    paper = (BOOK / "paper/paper.md").read_text(encoding="utf-8")
    chapter = (BOOK / "text/01_claims.md").read_text(encoding="utf-8")
    counted = (
        "one {} confirmed, six are confirmed with a correction, two are wrong in part"
    )
    assert counted.format("is") in paper
    assert f"Of thirteen claims, {counted.format('is')}" in chapter
    assert "nineteen chapters" in paper
    assert len(list(BOOK.glob("[0-9]*.ipynb"))) == 19
