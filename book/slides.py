"""Lecture slides, made from the notebooks: python book/slides.py DIR

Each part of the book in _toc.yml becomes one page, DIR/slides/PART.html. What is on a
slide is chosen by a rule, and nothing in the notebooks is written for it: a section
gives a slide with its first sentences and its first equations or, where it has none,
its first short cell with what that prints, then one for each figure. A slide's heading
leads to its section in the book.

As an extension of Sphinx this makes the slides whenever the website is built, from the
notebooks that the website is built from, so they cannot be older than those.
"""

import argparse
import functools
import html
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import bibliography
import nbformat
import yaml
from docutils.nodes import make_id
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

BOOK = Path(__file__).resolve().parent
STATIC = ("favicon.svg", "slides.css", "slides.js", "vendor/mathjax")
LEFT_OUT = {"Exercises", "Further reading"}
LISTED = {"Where we depart from DeepSeek", "What can go wrong", "Summary"}
HIDDEN = {"hide-input", "hide-cell", "remove-cell", "remove-input"}
SENTENCES, POINTS, EQUATIONS = 3, 6, 3
CODE_LINES, PRINTED_LINES, TABLE_ROWS = 16, 10, 8
ROLE = re.compile(r"\{(\w+(?::\w+)?)\}`([^`]*)`")
POINTS_ELSEWHERE = re.compile(r"\{(eq|numref|ref|doc)\}")
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}, slides</title>
<meta name="description" content="{title}: lecture slides of Inside DeepSeek-R1">
<link rel="icon" href="../_static/favicon.svg">
<link rel="stylesheet" href="../_static/slides.css">
<script>
window.MathJax = {{options: {{menuOptions: {{settings: {{inTabOrder: false}}}}}}}}
</script>
<script defer src="../_static/vendor/mathjax/tex-chtml.js"></script>
<script defer src="../_static/slides.js"></script>
</head>
<body>
<main>
{slides}
</main>
</body>
</html>
"""


@dataclass
class Section:
    """What stands below one heading: blocks of text, and code cells."""

    title: str
    blocks: list = field(default_factory=list)


@dataclass
class Slide:
    """A heading, the part of the page it leads to, and HTML below it."""

    title: str
    link: str
    body: list[str]
    kind: str = "section"


def parser():
    """Markdown as the book's pages have it: formulas and colon fences too."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.use(colon_fence_plugin).use(dollarmath_plugin, renderer=formula)
    return markdown


def formula(content, options):
    """A formula between the marks that MathJax looks for."""
    left, right = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
    return f"{left}{html.escape(content)}{right}"


@functools.cache
def references():
    """The works of the bibliography."""
    return bibliography.works()


def cited(key):
    """A work as it is called in a sentence."""
    work = references()[key]
    return f"{work.authors} ({work.year})"


def plain(text):
    """A sentence without roles: what they say stays, what they cite in brackets not."""

    def said(match):
        role, content = match.groups()
        if role == "cite:p":
            return ""
        if role == "cite:t":
            return ", ".join(cited(key.strip()) for key in content.split(","))
        return content.partition(" <")[0]

    text = re.sub(r"\s*\{cite:p\}`[^`]*`", "", text)
    return ROLE.sub(said, text).strip()


def sections(notebook):
    """The sections of a chapter, the first being all that stands before them."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if found:
                found[-1].blocks.append(cell)
            continue
        for node in SyntaxTreeNode(parser().parse(cell.source)).children:
            if node.type == "heading" and node.tag in ("h1", "h2"):
                found.append(Section(plain(node.children[0].content)))
            elif found:
                found[-1].blocks.append(node)
    return found


def sentences(blocks):
    """The sentences of paragraphs, which have one in each line."""
    lines = []
    for block in blocks:
        if kind(block) == "paragraph":
            lines += block.children[0].content.splitlines()
    return [x for x in lines if not POINTS_ELSEWHERE.search(x) and x[:1] != "("]


def kind(block):
    """What a block is; a code cell is "code"."""
    return "code" if isinstance(block, nbformat.NotebookNode) else block.type


def of_kind(blocks, *kinds):
    return [block for block in blocks if kind(block) in kinds]


def inline(text):
    """One line of Markdown as HTML."""
    return parser().renderInline(plain(text))


def paragraph(lines):
    return f"<p>{' '.join(inline(line) for line in lines)}</p>" if lines else ""


def points(lines):
    """Sentences as a list."""
    items = "".join(f"<li>{inline(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def equations(section):
    """The first equations of a section."""
    nodes = of_kind(section.blocks, "math_block", "math_block_label")[:EQUATIONS]
    shown = (formula(node.content.strip(), {"display_mode": True}) for node in nodes)
    return [f'<div class="math">{tex}</div>' for tex in shown]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def printed(cell):
    """What a cell prints, as text."""
    parts = [o.get("text") or o.get("data", {}).get("text/plain") for o in cell.outputs]
    return "\n".join(part.rstrip() for part in parts if part)


def example(section):
    """The first short cell that prints something, with the sentence before it."""
    before = []
    for block in section.blocks:
        if kind(block) != "code":
            before = sentences([block]) or before
            continue
        lines, text = block.source.splitlines(), printed(block)
        drawn = any("image/svg+xml" in o.get("data", {}) for o in block.outputs)
        short = len(lines) <= CODE_LINES and text.count("\n") < PRINTED_LINES
        if short and text and not drawn and not tags(block) & HIDDEN:
            code = highlight(block.source, PythonLexer(), HtmlFormatter(nowrap=True))
            output = f'<pre class="printed" tabindex="0">{html.escape(text)}</pre>'
            shown = f'<pre class="source" tabindex="0">{code}</pre>{output}'
            return before[-1:], f'<div class="example">{shown}</div>'
    return [], ""


def table(section):
    """The first table that is small enough to be read from the last row."""
    for node in of_kind(section.blocks, "table"):
        rows = [row for part in node.children for row in part.children]
        if len(rows) <= TABLE_ROWS + 1:
            made = "".join(
                f"<tr>{''.join(cell_of(cell) for cell in row.children)}</tr>"
                for row in rows
            )
            return f'<div class="table" tabindex="0"><table>{made}</table></div>'
    return ""


def cell_of(cell):
    text = cell.children[0].content if cell.children else ""
    return f"<{cell.tag}>{inline(text)}</{cell.tag}>"


def figures(section):
    """The figures of a section: cell, picture, words for it, caption."""
    for cell in of_kind(section.blocks, "code"):
        for output in cell.outputs:
            picture = output.get("data", {}).get("image/svg+xml")
            if picture:
                shown = cell.metadata.get("mystnb", {})
                alt = shown.get("image", {}).get("alt", "")
                caption = shown.get("figure", {}).get("caption", "")
                yield cell.id, picture, alt, caption


def listed(section):
    """What a section's points say, each in one line.

    Points are the items of lists, or else its smaller headings, or else paragraphs that
    begin in bold type with a sentence more, or else the first sentence of each.
    """
    items, bold, first = [], [], []
    for block in section.blocks:
        if kind(block) in ("bullet_list", "ordered_list"):
            items += [sentences(item.children)[:1] for item in block.children]
        elif kind(block) == "paragraph":
            lines = sentences([block])
            first.append(lines[:1])
            bold += [lines[:2]] if lines and lines[0].startswith("**") else []
    heads = [[b.children[0].content] for b in section.blocks if kind(b) == "heading"]
    found = next((x for x in (items, heads, bold) if len(x) > 1), first)
    return [" ".join(lines).rstrip(":") for lines in found if lines]


def opening(section):
    """The sentences before the first code or formula, and those after the formulas."""
    kinds = [kind(block) for block in section.blocks]
    shown = ("code", "math_block", "math_block_label")
    start = next((i for i, x in enumerate(kinds) if x in shown), len(kinds))
    formulas = [i for i, x in enumerate(kinds) if x in shown[1:]][:EQUATIONS]
    before = sentences(section.blocks[:start])[:SENTENCES]
    after = sentences(section.blocks[formulas[-1] + 1 :])[:1] if formulas else []
    return before, [line for line in after if line[-1:] not in (":", ",")]


def section_slides(section, page, pictures):
    """The slides of one section; pictures are put into a dictionary."""
    link = f"../book/{page}.html#{make_id(section.title)}"
    if section.title in LISTED:
        return [Slide(section.title, link, [points(listed(section)[:POINTS])])]
    formulas, (before, code) = equations(section), example(section)
    lead, after = opening(section)
    lead = [line for line in lead if formulas or line[-1:] != ":"]
    shown = formulas or [code or table(section)]
    if any(shown):
        body = [paragraph(lead), *shown, paragraph(after)]
    else:
        body = [points(listed(section)[:POINTS])]
    found = [Slide(section.title, link, body)]
    if formulas and code:
        found.append(Slide(section.title, link, [paragraph(before), code]))
    for name, picture, alt, caption in figures(section):
        pictures[f"{name}.svg"] = picture
        image = f'<img loading="lazy" src="{name}.svg" alt="{html.escape(alt)}">'
        words = f"<figcaption>{inline(caption)}</figcaption>" if caption else ""
        body = [f"<figure>{image}{words}</figure>"]
        found.append(Slide(section.title, link, body, "figure"))
    return found


def chapter_slides(number, name, pictures):
    """The slides of a chapter: its claim, then section by section."""
    notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
    first, *others = sections(notebook)
    claim = [line.replace("**Claim.**", "").strip() for line in sentences(first.blocks)]
    title = Slide(
        f"{number:02d} {first.title}",
        f"../book/{name}.html",
        [paragraph(claim[:1])],
        "chapter",
    )
    found = [title]
    for section in others:
        if section.title not in LEFT_OUT:
            found += section_slides(section, name, pictures)
    return [slide for slide in found if any(slide.body)]


def parts():
    """The parts of the book that have numbered chapters: caption, and chapters."""
    toc = yaml.safe_load((BOOK.parent / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc["parts"]:
        names = [Path(chapter["file"]).name for chapter in part["chapters"]]
        names = [name for name in names if name[:2].isdigit()]
        if names:
            yield part["caption"], names


def deck(caption, names, pictures):
    """The page of a part."""
    chapters = [chapter_slides(int(name[:2]), name, pictures) for name in names]
    items = "".join(
        f'<li><a href="#{name}-1">{html.escape(slides[0].title)}</a></li>'
        for name, slides in zip(names, chapters, strict=True)
    )
    hint = "<p class='hint'>Arrow keys, space and a swipe turn the slides; printing "
    hint += "gives one a page. A heading leads to its section in the book.</p>"
    opening = Slide(caption, "../index.html", [f"<ol>{items}</ol>", hint], "part")
    shown = [one("start", opening, "Inside DeepSeek-R1")]
    for name, slides in zip(names, chapters, strict=True):
        for number, slide in enumerate(slides, 1):
            foot = f"{slides[0].title} · {number}/{len(slides)}"
            shown.append(one(f"{name}-{number}", slide, foot))
    return PAGE.format(title=html.escape(caption), slides="\n".join(shown))


def one(name, slide, foot):
    """A slide as HTML."""
    tag = "h1" if slide.kind == "part" else "h2"
    heading = f'<a href="{slide.link}">{inline(slide.title)}</a>'
    return (
        f'<section id="{name}" class="slide {slide.kind}">\n'
        f"<{tag}>{heading}</{tag}>\n"
        f'<div class="body">{"".join(slide.body)}</div>\n'
        f'<p class="foot">{html.escape(foot)}</p>\n</section>'
    )


def build(folder):
    """Write the pages of all parts and their figures; returns the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for caption, names in parts():
        pictures = {}
        page = folder / f"{make_id(caption)}.html"
        page.write_text(deck(caption, names, pictures), encoding="utf-8")
        for name, picture in pictures.items():
            (folder / name).write_text(picture, encoding="utf-8")
        pages.append(page)
    return pages


def setup(app):
    """Make the slides at the end of every build of the website."""

    def finished(app, error):
        if error is None and app.builder.format == "html":
            build(Path(app.outdir) / "slides")

    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main():
    described = __doc__.partition("\n")[2]
    options = argparse.ArgumentParser(description=described)
    options.add_argument("folder", type=Path, metavar="DIR")
    folder = options.parse_args().folder
    for name in STATIC:
        source, target = BOOK / "_static" / name, folder / "_static" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
    for page in build(folder / "slides"):
        print(page)


if __name__ == "__main__":
    main()
