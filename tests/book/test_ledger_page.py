"""The page of the ledger: each number leads to its row, and each row back to it."""

import json
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from types import SimpleNamespace

import ledger_page
import nbformat
import prose
import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx import addnodes
from test_site import Tags, html_pages, tags_of

from r1.train import read_ledger

V3 = "{deepseek2024v3}"
CLAIM = {
    "claim": "Training took 2.788 million GPU hours.",
    "said_by": "DeepSeek",
    "source": ["deepseek2024v3"],
    "number": 2.788,
    "published": ["v3-gpu-hours", "v3-tokens"],
    "residual": 0.004,
    "verdict": "holds",
    "cell": "the-bill",
}
# Rows that chapters 01 to 04 will read when their second edition is in.


def inline(text):
    """Nodes of a text in which {key} cites, $x$ is mathematics and **x** is strong."""
    made = []
    for part in re.split(r"(\{\w+\}|\$[^$]+\$|\*\*[^*]+\*\*|`[^`]+`)", text):
        if part.startswith("{"):
            cite = {"refdomain": "cite", "reftype": "p", "reftarget": part[1:-1]}
            made.append(addnodes.pending_xref("", nodes.inline("", part), **cite))
        elif part.startswith("$"):
            made.append(nodes.math("", part[1:-1]))
        elif part.startswith("**"):
            made.append(nodes.strong("", part[2:-2]))
        elif part.startswith("`"):
            made.append(nodes.literal("", part[1:-1]))
        else:
            made.append(nodes.Text(part))
    return made


def page(*lines):
    document = new_document("page")
    document += nodes.paragraph("", "", *inline("\n".join(lines)))
    return document


def links(document):
    return [
        (link["row"], link["ids"][0], link.astext())
        for link in document.findall(nodes.reference)
    ]


def test_a_number_whose_source_is_cited_becomes_a_link_and_an_anchor():
    document = page(f"It read 14.8 trillion **tokens** {V3}.", "It is 14.8 trillion.")
    before = document.astext()
    uses = ledger_page.link_numbers(document)
    assert links(document) == [("v3-tokens", "use-v3-tokens-1", "14.8")]
    assert uses == [("v3-tokens", "use-v3-tokens-1", False)]
    assert document.astext() == before


def test_only_the_sentence_that_cites_is_linked():
    document = page(
        "It read 14.8 trillion tokens.",
        f"So it is, 14.8 trillion tokens {V3}, and **14.8** of tokens.",
        f"Then {V3} again, in GPU hours: 2,788K, and in numbers 2.788 million.",
    )
    ledger_page.link_numbers(document)
    assert [link[::2] for link in links(document)] == [
        ("v3-tokens", "14.8"),
        ("v3-gpu-hours", "2,788"),
    ]


def test_equal_texts_do_not_change_places():
    document = page(f"**14.8** is **14.8** tokens {V3}.")
    ledger_page.link_numbers(document)
    first, second = document.findall(nodes.strong)
    assert not list(first.findall(nodes.reference))
    assert second.astext() == second[1].astext() == "14.8"


def test_code_links_and_correct_arithmetic_stay_as_they_are():
    document = page(f"Tokens: `14.8`, $14.8 + 1 = 15.8$ {V3}.")
    assert ledger_page.link_numbers(document) == []
    document = page(f"Tokens: $T = 14{{,}}800$ and $D = 14.8$ {V3}.")
    ledger_page.link_numbers(document)
    assert [link[::2] for link in links(document)] == [("v3-tokens", "D = 14.8")]


def test_the_row_of_a_table_is_one_sentence():
    cells = ["2.788\nmillion", "GPU hours", V3]
    row = nodes.row()
    for cell in cells:
        row += nodes.entry("", nodes.paragraph("", "", *inline(cell)))
    document = new_document("page")
    document += row
    ledger_page.link_numbers(document)
    assert [link[0] for link in links(document)] == ["v3-gpu-hours"]


def test_a_cell_that_names_rows_gets_one_anchor():
    code = 'published("v3-tokens") + published(\'v3-price\') + x["no-row"]'
    source = nodes.container("", nodes.literal_block("", code))
    source["nb_element"] = "cell_code_source"
    document = new_document("page")
    document += nodes.container("", source, nb_element="cell_code")
    uses = ledger_page.mark_cells(document)
    assert uses == [
        ("v3-tokens", "use-in-code-1", True),
        ("v3-price", "use-in-code-1", True),
    ]
    assert document[0]["ids"] == ["use-in-code-1"]


def rows_quoted(text):
    return [quote.row.id for quote in prose.quoted_in(prose.Sentence(1, text, False))]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("Read 14.8 tokens {cite:p}`deepseek2024v3`.", ["v3-tokens"]),
        ("Read 14.8 tokens {cite:p}`zhao2025insights`.", []),
        ("It weighs 14.8 tons {cite:p}`deepseek2024v3`.", []),
        ("Section 14.8 on tokens {cite:p}`deepseek2024v3`.", []),
        ("Tokens of X2.5-14.8 {cite:p}`deepseek2024v3`.", []),
        ("Tokens: `14.8` {cite:p}`deepseek2024v3`.", []),
    ],
)
def test_a_quote_needs_its_source_and_a_word_and_is_no_part_of_a_name(text, rows):
    assert rows_quoted(text) == rows


def test_of_equal_numbers_the_nearest_before_the_citation_is_the_quote():
    text = "My 14.8 tokens, their 14.8 tokens {cite:p}`deepseek2024v3`, all 14.8."
    (quote,) = prose.quoted_in(prose.Sentence(1, text, False))
    assert quote.start == text.index("14.8 tokens {")


def test_of_rows_with_equal_numbers_the_one_with_most_words_in_common_is_meant():
    vote = "R1-Zero has 86.7 by a vote of 64 {cite:t}`deepseek2025r1`."
    assert rows_quoted(vote) == ["r1-zero-aime-vote-v1"]
    text = "MMLU-Pro is 85.0 {cite:t}`deepseek2025v32exp`."
    (quote,) = prose.quoted_in(prose.Sentence(1, text, False))
    assert quote.doubtful
    text = "MMLU-Pro is 85.0 and 85.0 {cite:t}`deepseek2025v32exp`."
    assert len(rows_quoted(text)) == 2


TWINS = sorted(prose.BOOK.glob("text/*.md"))


def quotes_of(path):
    text = path.read_text(encoding="utf-8")
    return [q for s in prose.sentences(text) for q in prose.quoted_in(s)]


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_every_quote_has_one_row(path):
    """If not: say in the sentence which number it is, in words of the row."""
    assert [q.row.id for q in quotes_of(path) if q.doubtful] == []


def handlers():
    made = {}
    app = SimpleNamespace(connect=made.__setitem__, add_directive=lambda *_: None)
    assert ledger_page.setup(app)["parallel_read_safe"]
    return made


def test_uses_are_kept_for_each_page_and_forgotten_with_it():
    react, env = handlers(), SimpleNamespace(published_uses={"a": [1], "b": [2]})
    other = SimpleNamespace(published_uses={"b": [3], "c": [4], "not mine": [5]})
    react["env-purge-doc"](None, env, "a")
    react["env-purge-doc"](None, env, "never read")
    react["env-merge-info"](None, env, ["b", "c"], other)
    assert env.published_uses == {"b": [3], "c": [4]}


CONF = """
import sys
sys.path.insert(0, {book!r})
import ledger_page
ledger_page.CHAPTER = ledger_page.Path({chapter!r})
extensions = ["myst_nb", "sphinxcontrib.bibtex", "ledger_page"]
bibtex_bibfiles = [{bib!r}]
nb_execution_mode = "off"
root_doc = "book/published"
exclude_patterns = ["build"]
"""
BODY = "# Ledger\n\n```{published}\n```\n\n```{bibliography}\n:all:\n```\n"
TOC = "\n```{toctree}\n:glob:\n*\n```\n"


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """The text of a small site's pages, and its claims, after each of two builds."""
    tmp_path = tmp_path_factory.mktemp("small")
    book = tmp_path / "book"
    book.mkdir()
    (book / "published.md").write_text(BODY + TOC)
    chapter = book / "01_claims.ipynb"
    given = {"book": str(prose.BOOK), "chapter": str(chapter)}
    given["bib"] = str(prose.BOOK / "references.bib")
    (tmp_path / "conf.py").write_text(CONF.format(**given))

    def build(claims=None, **pages):
        cell = nbformat.v4.new_code_cell("show()")
        data = {"text/html": "<table><tr><td>1</td></tr></table>"}
        if claims is not None:
            data[ledger_page.CLAIMS] = claims
        cell.outputs = [nbformat.v4.new_output("display_data", data)]
        cells = [nbformat.v4.new_markdown_cell("# Claims\n\n## The bill"), cell]
        language = {"language_info": {"name": "python", "pygments_lexer": "python"}}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=language)
        nbformat.write(notebook, chapter)
        for name, text in pages.items():
            (book / f"{name}.md").write_text(f"# Page\n\n{text}\n")
        out = tmp_path / "build/html"
        command = [sys.executable, "-m", "sphinx", "-W", "-q", str(tmp_path), str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        made = {p.stem: p.read_text() for p in out.glob("book/*.html")}
        told = out / "claims.json"
        return made, json.loads(told.read_text()) if told.exists() else None

    quote = "14.8 trillion tokens {cite:p}`deepseek2024v3`."
    return build([CLAIM], a=quote, b=quote), build(a="No number.")


def test_a_later_build_forgets_no_use_and_keeps_none_that_is_gone(builds):
    (pages, _), (later, _) = builds
    assert 'href="published.html#v3-tokens"' in pages["a"]
    assert 'href="a.html#use-v3-tokens-1"' in pages["published"]
    assert 'href="b.html#use-v3-tokens-1"' in pages["published"]
    assert 'href="a.html#use-v3-tokens-1"' not in later["published"]
    assert 'href="b.html#use-v3-tokens-1"' in later["published"]


def test_claims_that_a_cell_shows_as_data_lie_beside_the_pages(builds):
    (pages, claims), (later, none) = builds
    check_claims(claims, pages["01_claims"])
    assert 'href="../claims.json"' in pages["published"]
    assert none is None
    assert "claims.json" not in later["published"]


def check_claims(claims, html):
    """The claims have the form that a reader of claims.json may rely on."""
    anchors = {a["id"] for _, a in Tags(html).found if "id" in a}
    for claim in claims:
        assert set(claim) == set(CLAIM)
        for name in ("claim", "said_by", "verdict", "cell"):
            assert isinstance(claim[name], str)
            assert claim[name]
        assert isinstance(claim["number"], int | float | str)
        assert isinstance(claim["residual"], int | float | None)
        assert set(claim["published"]) <= set(read_ledger())
        assert claim["source"]
        assert set(claim["source"]) <= set(ledger_page.titles())
        assert claim["cell"] in anchors, f"01_claims.html has no #{claim['cell']}"


def test_the_thirteen_claims_are_in_the_site(site):
    claims, path = ledger_page.read_claims(), site / "claims.json"
    assert path.exists() == (claims is not None)
    if claims is not None:
        assert len(claims) == 13
        assert json.loads(path.read_text(encoding="utf-8")) == claims
        html = (site / "book/01_claims.html").read_text(encoding="utf-8")
        check_claims(claims, html)


@cache
def anchors_of(site):
    """The links from numbers to rows: of each page and anchor the row."""
    found, ledger = {}, site / "book/published.html"
    for path in html_pages(site / "book"):
        name = path.relative_to(site / "book").as_posix()
        for tag, given in tags_of(path):
            if tag == "a" and "published" in given.get("class", "").split():
                page, row = given["href"].split("#")
                assert (path.parent / page).resolve() == ledger
                assert (name, given["id"]) not in found
                found[name, given["id"]] = row
    return found


@cache
def rows_of(site):
    """The links of each row of the page of the ledger."""
    rows, row = {}, None
    for tag, given in tags_of(site / "book/published.html"):
        if tag == "dt" and "id" in given:
            row = rows.setdefault(given["id"], [])
        elif tag in ("section", "footer"):
            row = None
        elif tag == "a" and row is not None:
            row.append(given["href"])
    return rows


def test_every_number_leads_to_its_row_and_every_row_back(site):
    rows, anchors = rows_of(site), anchors_of(site)
    assert list(rows.keys() ^ read_ledger().keys()) == []
    back = {
        tuple(href.split("#")): row
        for row, links in rows.items()
        for href in links
        if "#use-in-code-" not in href
    }
    assert len(anchors) > 50
    assert back == anchors


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_a_page_links_what_the_rules_for_numbers_find(path, site):
    anchors = anchors_of(site).items()
    of_page = [row for (page, _), row in anchors if page == f"{path.stem}.html"]
    assert Counter(of_page) == Counter(q.row.id for q in quotes_of(path))


def test_a_cell_that_a_row_leads_to_is_there(site):
    for links in rows_of(site).values():
        for page, anchor in (href.split("#") for href in links):
            html = (site / "book" / page).read_text(encoding="utf-8")
            assert f'id="{anchor}"' in html


def test_the_ledger_holds_nothing_unused(site):
    """If not: no sentence cites the row's source, has its number and a word of it."""
    unused = {row for row, links in rows_of(site).items() if not links}
    assert unused == set()
