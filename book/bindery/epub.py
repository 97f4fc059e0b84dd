"""An EPUB of all pages: formulas as MathML, hints and solutions folded."""

import base64
import unicodedata
import uuid
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from lxml import etree
from pygments.formatters import HtmlFormatter

from bindery.pages import HERE, Problem, about
from bindery.pdf import front_page, templates

XHTML, MATHML = "http://www.w3.org/1999/xhtml", "http://www.w3.org/1998/Math/MathML"
SVG = "http://www.w3.org/2000/svg"
TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}
TYPES |= {".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
OLD = ("align", "valign", "border", "cellpadding", "cellspacing", "bgcolor", "nowrap")
ALPHABETS = {
    "bold": "BOLD",
    "italic": "ITALIC",
    "bold-italic": "BOLD ITALIC",
    "double-struck": "DOUBLE-STRUCK",
    "script": "SCRIPT",
    "bold-script": "BOLD SCRIPT",
    "fraktur": "FRAKTUR",
    "bold-fraktur": "BOLD FRAKTUR",
    "sans-serif": "SANS-SERIF",
    "bold-sans-serif": "SANS-SERIF BOLD",
    "monospace": "MONOSPACE",
}
CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book/package.opf"
media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""


def styled(letter, variant):
    """A letter or digit in a mathematical alphabet, or as it is where none has it."""
    style = ALPHABETS.get(variant, "?")
    short = unicodedata.name(letter, "?").replace("LETTER ", "")
    short = short.removeprefix("LATIN ").removeprefix("GREEK ")
    for words in (f"MATHEMATICAL {style} {short}", f"{style} {short}"):
        for said in (words, words.replace("FRAKTUR", "BLACK-LETTER")):
            with suppress(KeyError):
                return unicodedata.lookup(said)
    return letter


def plain_variants(body):
    """Write styled letters of formulas as such, for readers that know no styles."""
    for token in body.iter(f"{{{MATHML}}}*"):
        variant = token.get("mathvariant")
        if variant in (None, "normal") or token.text is None:
            continue
        token.text = "".join(styled(letter, variant) for letter in token.text)
        del token.attrib["mathvariant"]


def read(leaf):
    """The body of a page, and the style that it brings along."""
    begin = f'<body xmlns="{XHTML}" id="{leaf.slug}">'
    try:
        body = etree.fromstring(f"{begin}{leaf.reader}</body>".encode())
    except etree.XMLSyntaxError as error:
        raise Problem(f"{leaf.name}: {error}") from error
    rules = []
    for style in body.findall(f".//{{{XHTML}}}style"):
        rules.append(style.text or "")
        drop(style)
    for element in body.iter(f"{{{XHTML}}}*"):
        for old in OLD:
            element.attrib.pop(old, None)
    plain_variants(body)
    return body, "\n".join(rules)


def drop(element):
    """Take an element away, and leave the text behind it."""
    before, parent = element.getprevious(), element.getparent()
    if element.tail and before is not None:
        before.tail = (before.tail or "") + element.tail
    elif element.tail:
        parent.text = (parent.text or "") + element.tail
    parent.remove(element)


def pictures(leaf, body, found):
    """Lead the images of a page to files of the book, and collect these by name."""
    taken = dict(leaf.figures)
    for number, image in enumerate(body.iter(f"{{{XHTML}}}img")):
        address = urlsplit(image.get("src"))
        if address.scheme == "figure":
            name, content = f"{address.path}.png", taken.get(address.path, b"")
        elif address.scheme == "data":
            kind, _, data = address.path.partition(",")
            end = "svg" if "svg" in kind else kind.partition(";")[0].rpartition("/")[2]
            name = f"{leaf.slug}-{number}.{end}"
            content = (
                base64.b64decode(data) if "base64" in kind else unquote(data).encode()
            )
        elif address.scheme == "file":
            path = Path(url2pathname(address.path))
            name, content = path.name, path.read_bytes()
        else:
            raise Problem(f"{leaf.name}: an image from elsewhere, {image.get('src')}")
        found[name] = content
        image.set("src", f"images/{name}")
        if image.get("alt") is None:
            image.set("alt", "")


def properties(body):
    """What the catalog must say that a page holds."""
    held = {"mathml": MATHML, "svg": SVG}
    return " ".join(
        name
        for name, space in held.items()
        if next(body.iter(f"{{{space}}}*"), None) is not None
    )


def cover_picture(browser, folder):
    """The cover as a PNG."""
    path = folder / "cover.html"
    path.write_text(front_page(), encoding="utf-8")
    page = browser.new_page(
        viewport={"width": 794, "height": 1123}, device_scale_factor=2
    )
    page.goto(path.as_uri())
    page.evaluate("document.fonts.ready.then(() => 0)")
    picture = page.locator(".cover").screenshot(type="png")
    page.close()
    return picture


def bind(leaves, browser, folder):
    """The whole book as an EPUB, written to a file in a folder; the file."""
    known, images, pages, files = about(), {}, [], {}
    write, seen = templates().get_template, set()
    for number, leaf in enumerate(leaves):
        body, style = read(leaf)
        pictures(leaf, body, images)
        if leaf.part not in seen and leaf.part:
            heading = etree.Element(f"{{{XHTML}}}p", {"class": "part"})
            heading.text = leaf.part
            body.insert(0, heading)
        seen.add(leaf.part)
        files[f"{leaf.slug}.xhtml"] = write("leaf.xhtml").render(
            about=known,
            title=escaped(leaf.title),
            style=style,
            body=etree.tostring(body, encoding="unicode"),
        )
        sections = [(key, escaped(words)) for key, words in leaf.sections if key]
        pages.append(
            SimpleNamespace(
                id=f"page-{number}",
                slug=leaf.slug,
                part=leaf.part,
                title=escaped(leaf.title),
                sections=sections,
                properties=properties(body),
            )
        )
    kinds = [
        SimpleNamespace(name=name, type=TYPES[Path(name).suffix.lower()])
        for name in images
    ]
    parts = groupby(pages, key=lambda page: page.part)
    given = {"about": safe(known), "pages": pages, "images": kinds}
    given["identifier"] = uuid.uuid5(uuid.NAMESPACE_URL, known.address)
    given["modified"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    given["parts"] = [(escaped(part), list(group)) for part, group in parts]
    given["start"] = pages[0].slug
    for name in ("package.opf", "nav.xhtml"):
        files[name] = write(name).render(given)
    files["cover.xhtml"] = write("leaf.xhtml").render(
        about=known,
        title="Cover",
        body='<body class="cover-page"><img src="images/cover.png" alt="Cover: '
        f'{escaped(known.title)}" role="doc-cover"/></body>',
    )
    colors = HtmlFormatter(style="default").get_style_defs(".highlight")
    files["style.css"] = (HERE / "epub.css").read_text(encoding="utf-8") + colors
    images["cover.png"] = cover_picture(browser, folder)
    files |= {f"images/{name}": content for name, content in images.items()}
    return packed(files, folder / "book.epub")


def escaped(text):
    """A text as XML has it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def safe(known):
    """What is said of the book, as XML has it."""
    return SimpleNamespace(**{k: escaped(v) for k, v in vars(known).items()})


def packed(files, path):
    """The files of a book as one EPUB, its type first and not compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", CONTAINER)
        for name, content in files.items():
            archive.writestr(f"book/{name}", content)
    return path
