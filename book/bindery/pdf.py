"""One PDF of all pages: printed by Chromium, with an outline and numbers of pages."""

import io
from itertools import groupby
from pathlib import Path

import matplotlib
import pikepdf
from jinja2 import Environment, FileSystemLoader

from bindery.pages import HERE, Problem, about

FONTS = {
    "Book Text": {
        ("normal", 400): "STIXGeneral",
        ("italic", 400): "STIXGeneralItalic",
        ("normal", 700): "STIXGeneralBol",
        ("italic", 700): "STIXGeneralBolIta",
    },
    "Book Sans": {("normal", 400): "DejaVuSans", ("normal", 700): "DejaVuSans-Bold"},
    "Book Code": {
        ("normal", 400): "DejaVuSansMono",
        ("italic", 400): "DejaVuSansMono-Oblique",
        ("normal", 700): "DejaVuSansMono-Bold",
    },
}
LOADED = """() => Promise.all(
  [...document.fonts].map((font) => font.load().catch(() => 0))).then(() => 0)"""
HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
  .filter((h) => h.checkVisibility() && h.childNodes.length)
  .map((h) => [Number(h.tagName[1]), h.dataset.title ?? h.textContent.trim(),
               h.closest(".leaf").id])"""
LOST = """() => [...document.querySelectorAll('a[href^="#"]')]
  .map((link) => link.getAttribute("href").slice(1))
  .filter((id) => !document.getElementById(id))"""
LEVELS = 3  # of headings in the outline


def templates():
    """The templates of a book beside this file."""
    return Environment(loader=FileSystemLoader(HERE), autoescape=False)


def font_faces():
    """The fonts that come with Matplotlib, so that every machine prints the same."""
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return "\n".join(
        f'@font-face {{ font-family: "{family}"; font-style: {style}; '
        f'font-weight: {weight}; src: url("{(folder / name).as_uri()}.ttf"); }}'
        for family, faces in FONTS.items()
        for (style, weight), name in faces.items()
    )


def bound(leaves):
    """All leaves as one page of HTML."""
    known, seen = about(), set()
    listed = []
    for leaf in leaves:
        begins = "" if leaf.part in seen else leaf.part
        seen.add(leaf.part)
        fields = {"slug": leaf.slug, "title": leaf.title, "paper": leaf.paper}
        listed.append({**fields, "begins": begins})
    return (
        templates()
        .get_template("paper.html")
        .render(
            about=known,
            leaves=listed,
            styles=dict.fromkeys(href for leaf in leaves for href, _ in leaf.styles),
            rules="\n".join(
                dict.fromkeys(rule for leaf in leaves for rule in leaf.rules)
            ),
            fonts=font_faces(),
            paper=(HERE / "paper.css").read_text(encoding="utf-8"),
        )
    )


def printed(browser, html, folder, **options):
    """A page of HTML as PDF, and its headings."""
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 1400})
    page.set_default_timeout(300_000)
    page.goto(path.as_uri(), wait_until="load")
    page.emulate_media(media="print", color_scheme="light")
    page.evaluate(LOADED)
    if found := sorted(set(page.evaluate(LOST))):
        raise Problem(f"links that lead nowhere: {', '.join(found[:20])}")
    headings = page.evaluate(HEADINGS) if options.get("outline") else []
    file = page.pdf(prefer_css_page_size=True, print_background=True, **options)
    page.close()
    return pikepdf.open(io.BytesIO(file)), headings


def flat(items):
    """The entries of an outline, each before those below it."""
    for item in items:
        yield item
        yield from flat(item.children)


def places(pdf, headings):
    """Where each heading is, by Chromium's own outline: pages and the rest of each."""
    with pdf.open_outline(max_depth=20) as outline:
        found = [resolved(pdf, item) for item in flat(outline.root)]
    if len(found) != len(headings):
        raise Problem(f"{len(headings)} headings, {len(found)} in Chromium's outline")
    return found


def resolved(pdf, item):
    """The destination of an entry of the outline, as an array."""
    place = item.destination if item.destination is not None else item.action.D
    return place if isinstance(place, pikepdf.Array) else named(pdf)[str(place)]


def named(pdf):
    """The destinations of a PDF that have names."""
    if "/Dests" in pdf.Root:
        return dict(pdf.Root.Dests.items())
    return dict(pikepdf.NameTree(pdf.Root.Names.Dests))


def outlined(pdf, leaves, headings, dests):
    """Write the outline: parts, chapters, sections."""
    with pdf.open_outline(max_depth=20) as outline:
        outline.root.clear()
        at = {leaf.slug: leaf for leaf in leaves}
        part, path = "", []
        for (level, title, where), dest in zip(headings, dests, strict=True):
            if level > LEVELS:
                continue
            leaf = at[where]
            if level == 1:
                path = []
                if leaf.part != part:
                    part, group = leaf.part, pikepdf.OutlineItem(leaf.part, dest)
                    group.is_closed = False
                    outline.root.append(group)
                siblings = group.children if part else outline.root
            else:
                path = path[: level - 1]
                siblings = path[-1].children if path else outline.root
            item = pikepdf.OutlineItem(title, dest)
            item.is_closed = True
            siblings.append(item)
            path.append(item)


def in_order(pdf):
    """The number of each page of a PDF, by what identifies it."""
    return {page.objgen: number for number, page in enumerate(pdf.pages, 1)}


def bind(leaves, browser, folder):
    """The whole book as a PDF, written to a file in a folder; the file."""
    html = bound(leaves)
    pdf, headings = printed(browser, html, folder, outline=True, tagged=True)
    dests = places(pdf, headings)
    numbers = in_order(pdf)
    firsts = {}
    for (_, _, where), dest in zip(headings, dests, strict=True):
        firsts.setdefault(where, dest)
    outlined(pdf, leaves, headings, dests)
    entries, chapters = [], []
    for part, group in groupby(leaves, key=lambda leaf: leaf.part):
        rows = []
        for leaf in group:
            number = numbers[firsts[leaf.slug][0].objgen]
            rows.append((leaf.title, len(chapters), number))
            chapters.append(firsts[leaf.slug])
        entries.append((part, rows))
    front, _ = printed(browser, front_page(entries), folder)
    prepend(pdf, front, chapters)
    describe(pdf, about())
    out = folder / "book.pdf"
    modes = pikepdf.ObjectStreamMode
    pdf.save(out, object_stream_mode=modes.generate, compress_streams=True)
    return out


def front_page(entries=()):
    """Cover and contents as HTML."""
    return (
        templates()
        .get_template("front.html")
        .render(
            about=about(),
            entries=entries,
            fonts=font_faces(),
            paper=(HERE / "paper.css").read_text(encoding="utf-8"),
        )
    )


def prepend(pdf, front, chapters):
    """Put cover and contents before the book, and lead the contents to its chapters."""
    count = len(front.pages)
    for number, page in enumerate(front.pages):
        pdf.pages.insert(number, page)
    for page in pdf.pages[:count]:
        for key in ("/StructParents", "/Tabs"):
            if key in page.obj:
                del page.obj[key]
        for note in page.obj.get("/Annots", ()):
            if "/StructParent" in note:
                del note["/StructParent"]
            uri = str(note.get("/A", {}).get("/URI", ""))
            _, found, entry = uri.partition("#entry-")
            if found:
                del note["/A"]
                note["/Dest"] = chapters[int(entry)]
    labels = [0, pikepdf.Dictionary(S=pikepdf.Name.r)]
    labels += [count, pikepdf.Dictionary(S=pikepdf.Name.D)]
    pdf.Root.PageLabels = pikepdf.Dictionary(Nums=pikepdf.Array(labels))


def describe(pdf, known):
    """Write who made the book, what it is called and how it is to be opened."""
    pdf.Root.PageMode = pikepdf.Name.UseOutlines
    pdf.Root.Lang = known.language
    pdf.Root.ViewerPreferences = pikepdf.Dictionary(DisplayDocTitle=True)
    with pdf.open_metadata(set_pikepdf_as_editor=False) as meta:
        meta["dc:title"] = known.title
        meta["dc:creator"] = [known.author]
        meta["dc:description"] = known.description
        meta["dc:language"] = {known.language}
        meta["dc:rights"] = known.rights
        meta["pdf:Producer"] = "Chromium, pikepdf"
        meta["xmp:CreatorTool"] = known.title
