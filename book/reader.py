"""Plain notebooks for readers: python book/reader.py

The chapters in book/*.ipynb are the source of the website, and what they say in MyST is
shown as raw text by JupyterLab, VS Code, Colab and GitHub. This command makes from each
of them book/notebooks/NAME.ipynb, which such programs show as it is meant: references
are words with links, equations and figures have the numbers of the website, each SVG
has a PNG beside it, hints and solutions are folded. Code cells are those of the chapter
but for the first, which finds the book, or fetches it where it is missing.

A PNG is drawn again only if its SVG has changed, so that other versions of the
libraries that draw it change nothing; `--refresh` draws all. `--pictures SITE` takes
new pictures of the interactive figures from a built website.

As an extension of Sphinx this leads the buttons of a page to its plain notebook.
execute.py makes the plain notebooks anew whenever it has written a chapter.
"""

import argparse
import base64
import io
import re
import shutil
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import check_yourself
import live_page
import nbformat
import resvg_py
import yaml
from bibliography import Work, works
from execute import Problem, stable_ids, write
from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin
from PIL import Image

BOOK = Path(__file__).resolve().parent
MADE = "notebooks"
KAGGLE = "https://www.kaggle.com/kernels/welcome"
SCALE, COLORS = 1.5, 64  # of the PNGs: dots for each pixel, and colors in the palette
HIDDEN = {"hide-input", "hide-cell", "remove-input"}
DIRECTIVE = re.compile(r"\{([\w:-]+)\}\s*(.*)")
OPTION = re.compile(r":([\w-]+):\s*(.*)")
LABEL = re.compile(r"\(([\w:-]+)\)=")
TITLED = re.compile(r"(.+?)\s*<([^<>]+)>", re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
MARKER = re.compile(
    r"^(`{3,}|:{3,})\{solution-(start|end)\} *(\S*)\n(?:[^\n]*\n)*?\1[ \t]*$",
    re.MULTILINE,
)
INLINE = re.compile(
    r"\\.|\{(?P<role>[a-z]+(?::[a-z]+)?)\}(?P<mark>`+)(?P<said>.+?)(?P=mark)(?!`)"
    r"|(?P<code>`+)(?!`).+?(?<!`)(?P=code)(?!`)"
    r"|\$(?![\s$])[^$\n]+?(?<!\s)\$(?!\d)"
    r"|\]\((?P<link>[^()\s]+)\)",
    re.DOTALL,
)
FIGURE = re.compile(r'id="([\w-]+)"[^>]*aria-label="([^"]*)"')
ALONE = (
    "header, #pst-skip-link, .live-start {{display: none !important}} "
    "#{} {{padding: 12px}}"
)
PICTURE = re.compile(r"^(!\[[^\n]*\]\(data:[^\n]*)$", re.MULTILINE)
INSTALLED = re.compile(r"^\s*%pip install -q (.+)$", re.MULTILINE)
ALWAYS = ("matplotlib", "numpy", "torch")
FIRST_CELL = '''\
# @title Find the book, or fetch it and the packages of this chapter
def open_book(address, packages):
    """Move to the folder of the book; fetch it where it is missing."""
    import os
    import shutil
    import subprocess
    import sys
    import urllib.request
    from pathlib import Path

    def found():
        here = Path.cwd()
        for folder in (here, *here.parents, here / "{folder}-main"):
            for book in (folder, folder / "book"):
                if (book / "r1" / "model").is_dir():
                    return book
        return None

    if found() is None:  # Colab, Kaggle, or a notebook without its book
        archive = f"{{address}}/archive/refs/heads/main.zip"
        try:
            urllib.request.urlretrieve(archive, "book.zip")
        except OSError as error:
            no = f"No folder above has the book, {{archive}} fails: {{error}}."
            to_do = "Connect to the network, or move this file into the book."
            raise FileNotFoundError(f"{{no}} {{to_do}}") from None
        pip = [sys.executable, "-m", "pip", "install", "-q"]
        subprocess.run([*pip, *packages.split()], check=True)
        shutil.unpack_archive("book.zip")
        os.remove("book.zip")
    os.chdir(found())
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


open_book(
    "{address}",
{packages}
)'''


@dataclass(frozen=True)
class Place:
    """What a label stands for: the words of a reference to it, and its address."""

    words: str
    address: str


@dataclass
class Shelf:
    """What all chapters together define, and which references lead nowhere."""

    book: Path
    site: str
    repository: str
    chapters: dict
    places: dict = field(default_factory=dict)
    works: dict = field(default_factory=dict)
    terms: dict = field(default_factory=dict)
    lost: list = field(default_factory=list)

    def page(self, name):
        """The address of a page on the website."""
        return f"{self.site}book/{name}.html"


# What stands in the book


@cache
def parser():
    """Markdown as the book's pages have it, of which only the blocks are used."""
    markdown = MarkdownIt("commonmark").enable("table")
    markdown.use(colon_fence_plugin).use(dollarmath_plugin)
    return markdown.use(amsmath_plugin).use(myst_block_plugin)


BLOCKS = {
    "fence",
    "colon_fence",
    "code_block",
    "html_block",
    "math_block",
    "math_block_label",
    "amsmath",
    "myst_target",
    "myst_line_comment",
}


def blocks(text):
    """The blocks of a text that are more than Markdown, in order."""
    return [token for token in parser().parse(text) if token.type in BLOCKS]


def directive(block):
    """The name, the argument, the options and the body of a directive, or None."""
    if block.type not in ("fence", "colon_fence"):
        return None
    said = DIRECTIVE.fullmatch(block.info.strip())
    if said is None:
        return None
    options, lines = {}, block.content.rstrip("\n").split("\n")
    while lines and (option := OPTION.fullmatch(lines[0].strip())):
        options[option[1]] = option[2]
        lines.pop(0)
    return said[1], said[2], options, "\n".join(lines).strip("\n")


def markdown_of(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def figure_of(cell):
    """The figure that a code cell draws, as its metadata describe it."""
    return cell.metadata.get("mystnb", {}).get("figure", {})


def words_for(cell):
    """What the figure of a code cell shows, for those who do not see it."""
    return cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")


def chapter_number(name):
    """The number of a chapter, which is that in the name of its file."""
    return int(name[:2]) if name[:2].isdigit() else None


def places(name, notebook, address, counts):
    """What the labels of a chapter stand for, with numbers as on the website.

    `counts` has how many of each kind there were before, and is counted on.
    """
    number, found = chapter_number(name), {}

    def place(kind, label, words, anchor):
        counts[kind] = counts.get(kind, 0) + 1
        full = f"{number}.{counts[kind]}" if number else str(counts[kind])
        if label:
            found[label] = Place(words.format(full), f"{address}#{anchor}")

    for cell in notebook.cells:
        if cell.cell_type == "code":
            if label := figure_of(cell).get("name"):
                place("figure", label, "Fig. {}", label)
            continue
        target = None
        for token in parser().parse(cell.source):
            if token.type == "inline" and target:
                found[target] = Place(token.content, f"{address}#{target}")
                target = None
            elif token.type == "myst_target":
                target = token.content
            elif token.type == "math_block_label":
                place("equation", token.info, "({})", f"equation-{token.info}")
            elif said := directive(token):
                kind, _, options, _ = said
                if kind == "exercise":
                    label = options.get("label")
                    place("exercise", label, "Exercise {}", label)
                elif kind == "list-table":
                    label = options.get("name")
                    place("table", label, "Table {}", label)
    return found


def terms(path, address):
    """The terms of the glossary in lower case, and where each is explained."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = {}
    for block in blocks(text):
        if (said := directive(block)) and said[0] == "glossary":
            for line in said[3].split("\n"):
                if line.strip() and not line[0].isspace():
                    anchor = re.sub(r"[^a-zA-Z0-9._]+", "-", f"term-{line}").strip("-")
                    found[line.lower()] = f"{address}#{anchor}"
    return found


def in_order(names, book):
    """The names of pages as the table of contents has them, and others behind."""
    path = book.parent / "_toc.yml"
    toc = path.read_text(encoding="utf-8") if path.exists() else ""
    known = re.findall(r"^ *- file: book/(\w+)$", toc, re.MULTILINE)
    return sorted(names, key=lambda n: known.index(n) if n in known else len(known))


def open_shelf(book):
    """Read all chapters of a book, and what their references lead to."""
    path = book.parent / "_config.yml"
    path = path if path.exists() else BOOK.parent / "_config.yml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    chapters = {
        path.stem: nbformat.read(path, as_version=4)
        for path in sorted(book.glob("*.ipynb"))
    }
    site, repository = config["html"]["baseurl"], config["repository"]["url"]
    shelf = Shelf(book, site, repository, chapters)
    unnumbered = {}  # the website counts on from one page without a number to the next
    for name in in_order(chapters, book):
        counts = {} if chapter_number(name) else unnumbered
        shelf.places |= places(name, chapters[name], shelf.page(name), counts)
    shelf.works = works(book / "references.bib", shelf.page("bibliography"))
    shelf.terms = terms(book / "glossary.md", shelf.page("glossary"))
    return shelf


def title_of(shelf, name):
    """The first heading of a page, or None if there is no such page."""
    if name in shelf.chapters:
        text = "\n".join(markdown_of(shelf.chapters[name]))
    elif (path := shelf.book / f"{name}.md").exists():
        text = path.read_text(encoding="utf-8")
    else:
        return None
    return HEADING.search(text)[1].strip()


# From MyST to Markdown


def linked(words, address):
    return f"[{words}]({address})" if address else words


def reference(shelf, role, said):
    """The words and the link that stand for a role."""
    titled = TITLED.fullmatch(said)
    words, target = titled.groups() if titled else (None, said)
    if role == "doc":
        title = title_of(shelf, target)
        address = shelf.page(target) if title else None
        words = words or title or target
    elif role == "term":
        address, words = shelf.terms.get(target.lower()), words or target
    elif role in ("ref", "numref", "eq"):
        place = shelf.places.get(target, Place(target, None))
        address, words = place.address, words or place.words
    else:
        raise Problem(f"reader.py has no words for the role {role}")
    if address is None:
        shelf.lost.append(f"{{{role}}}`{said}`")
    return linked(words, address)


def citation(shelf, role, said):
    """Authors and years with links: in brackets, or as part of the sentence."""
    shown = []
    for key in map(str.strip, said.split(",")):
        work = shelf.works.get(key)
        if work is None:
            shelf.lost.append(f"{{{role}}}`{key}`")
            work = Work(key, "", None)
        form = "{}, {}" if role == "cite:p" else "{} ({})"
        shown.append(linked(form.format(work.authors, work.year), work.address))
    return f"({'; '.join(shown)})" if role == "cite:p" else ", ".join(shown)


def page_link(shelf, name, target):
    """A link to a page of the book, or to a part of this page, as an address."""
    file, mark, anchor = target.partition("#")
    page = re.sub(r"\.(md|ipynb)$", "", file) or name
    if "/" in page or title_of(shelf, page) is None:
        return target
    return shelf.page(page) + mark + anchor


def inline(shelf, name, text):
    """Lines of Markdown without roles; code and formulas stay as they are."""

    def said(match):
        role, link = match["role"], match["link"]
        if link and ":" not in link:
            return f"]({page_link(shelf, name, link)})"
        if not role:
            return match[0]
        words = " ".join(match["said"].split())
        if role in ("cite:p", "cite:t"):
            return citation(shelf, role, words)
        return reference(shelf, role, words)

    return INLINE.sub(said, text)


def equation(shelf, block):
    """A formula on lines of its own, with the number that the website gives it."""
    tex = block.content.strip()
    bare = re.sub(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", "", tex, flags=re.DOTALL)
    if r"\\" in bare:
        tex = f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}"
    if block.type == "math_block_label":
        tex += f"\n\\tag{{{shelf.places[block.info].words.strip('()')}}}"
    return f"$$\n{tex}\n$$"


def folded(summary, body):
    """Text that a click on its summary opens."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def escaped(text):
    """Plain text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>$|~])", r"\\\1", text)


def quoted(title, body):
    lines = f"**{title}**\n\n{body}".split("\n")
    return "\n".join(f"> {line}".rstrip() for line in lines)


def table(shelf, title, options, body):
    """A list of rows as a table of Markdown, with its number and title above it."""
    _, *rows = re.split(r"^\* - ", body, flags=re.MULTILINE)
    rows = [re.split(r"^ +- ", row, flags=re.MULTILINE) for row in rows]
    rows = [[" ".join(cell.split()) for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    if label := options.get("name"):
        lines = [f"**{shelf.places[label].words}.** {title}", "", *lines]
    return "\n".join(lines)


def picture(shelf, name, body):
    """A picture of an interactive figure, with a link to where it can be moved."""
    figure = FIGURE.search(body)
    if figure is None:
        raise Problem(f"{name}: raw HTML needs an element with id and aria-label")
    path = shelf.book / MADE / "pictures" / f"{figure[1]}.png"
    address = f"{shelf.page(name)}#{figure[1]}"
    shown = linked(f"{figure[2]}: move this figure on the page", address)
    if not path.exists():
        return shown
    data = base64.b64encode(path.read_bytes()).decode()
    return f"![{figure[2]}](data:image/png;base64,{data})\n\n{shown}"


def directed(shelf, name, said):
    """What stands for a directive."""
    kind, argument, options, body = said
    argument = inline(shelf, name, argument)
    if kind == "exercise":
        place = shelf.places.get(options.get("label"), Place("Exercise", ""))
        return f"### {place.words}: {argument}\n\n{plain(shelf, name, body)}"
    if kind == "rubric":
        return f"### {argument}"
    if kind in ("admonition", "dropdown"):
        fold = kind == "dropdown" or "dropdown" in options.get("class", "")
        return (folded if fold else quoted)(argument, plain(shelf, name, body))
    if kind == "list-table":
        return table(shelf, argument, options, inline(shelf, name, body))
    if kind == "raw":
        return picture(shelf, name, body)
    raise Problem(f"{name}: reader.py has no words for the directive {kind}")


def replaced(shelf, name, block, source):
    """What stands for a block that is more than Markdown."""
    if block.type in ("myst_target", "myst_line_comment"):
        return None
    if block.type in ("math_block", "math_block_label"):
        return equation(shelf, block)
    said = directive(block)
    return source if said is None else directed(shelf, name, said)


def plain(shelf, name, text):
    """A text of the book as Markdown that any program shows."""
    lines, made, done = text.split("\n"), [], 0
    for block in blocks(text):
        start, end = block.map
        if start < done:
            continue
        while end > start + 1 and not lines[end - 1].strip():
            end -= 1
        made.append(inline(shelf, name, "\n".join(lines[done:start])))
        source = "\n".join(lines[start:end])
        shown = replaced(shelf, name, block, source)
        if shown is not None and shown != source:
            indent = source[: len(source) - len(source.lstrip())]
            shown = "\n".join((indent + line).rstrip() for line in shown.split("\n"))
        made.append(shown)
        done = end
    made.append(inline(shelf, name, "\n".join(lines[done:])))
    return "\n".join(part for part in made if part is not None).strip("\n")


# Cells


def pieces(notebook):
    """Texts, code cells, and where solutions begin and end, in order."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield "code", cell
            continue
        done = 0
        for marker in MARKER.finditer(cell.source):
            if text := cell.source[done : marker.start()].strip():
                yield "text", text
            yield marker[2], marker[3]
            done = marker.end()
        if text := cell.source[done:].strip():
            yield "text", text


def markdown_cell(text, **metadata):
    return nbformat.v4.new_markdown_cell(text, metadata=metadata)


def drawn(svg):
    """The PNG of an SVG, in base64, and its width and height on the page."""
    sharp = resvg_py.svg_to_bytes(
        svg_string=svg, dpi=96 * SCALE, background="#ffffff", skip_system_fonts=True
    )
    image = Image.open(io.BytesIO(bytes(sharp)))
    size = {
        "width": round(image.width / SCALE),
        "height": round(image.height / SCALE),
    }
    return base64.b64encode(small_png(image)).decode(), size


def small_png(image):
    """A picture as a PNG with a palette."""
    stream = io.BytesIO()
    palette = image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    palette.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def kept_pictures(path):
    """The PNGs of a plain notebook that is already there, by their SVGs."""
    found = {}
    if path.exists():
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if {"image/svg+xml", "image/png"} <= data.keys():
                    size = dict(output.metadata["image/png"])
                    size.pop("alt", None)
                    found[data["image/svg+xml"]] = data["image/png"], size
    return found


def with_png(output, alt, kept):
    """An output, with a PNG beside its SVG, and words for it."""
    if svg := output.get("data", {}).get("image/svg+xml"):
        output = deepcopy(output)
        data, size = kept.get(svg) or drawn(svg)
        output.data["image/png"] = data
        output.metadata["image/png"] = {"alt": alt, **size}
    return output


def code_cell(shelf, name, cell, kept):
    """A code cell for readers; drawing code is folded."""
    made = deepcopy(cell)
    if HIDDEN & set(cell.metadata.get("tags", [])):
        made.metadata["jupyter"] = {"source_hidden": True}
    made.outputs = [with_png(output, words_for(cell), kept) for output in cell.outputs]
    yield made
    figure = figure_of(cell)
    if figure.get("caption"):
        number = shelf.places[figure["name"]].words
        caption = plain(shelf, name, figure["caption"])
        in_words = folded("The figure in words", escaped(words_for(cell)))
        yield markdown_cell(f"**{number}.** {caption}\n\n{in_words}")


def needs(cell):
    """What a chapter needs, as the cell that makes it run in Colab installs it."""
    found = {word for line in INSTALLED.findall(cell.source) for word in line.split()}
    return sorted(found | set(ALWAYS))


def setup_cell(shelf, cell):
    """The first cell of a plain notebook, made from the one that only Colab runs."""
    lines, width = [[]], 60
    for need in needs(cell):
        if sum(len(word) + 1 for word in lines[-1]) + len(need) > width:
            lines.append([])
        lines[-1].append(need)
    last = len(lines) - 1
    packages = "\n".join(
        f'    "{" ".join(line)}{" " if i < last else ""}"' + "," * (i == last)
        for i, line in enumerate(lines)
    )
    made = deepcopy(cell)
    made.source = FIRST_CELL.format(
        address=shelf.repository,
        folder=shelf.repository.rpartition("/")[2],
        packages=packages,
    )
    made.metadata = {"cellView": "form", "jupyter": {"source_hidden": True}}
    return made


def is_setup(cell):
    """Whether a cell of a chapter is the one that makes it run in Colab."""
    return "google.colab" in cell.source


def opening(shelf, name, text):
    """The title of a chapter, and below it what this notebook is."""
    title, _, rest = text.partition("\n")
    number = chapter_number(name)
    what = f"Chapter {number}" if number else "A page"
    line = (
        f"{what} of the book [Inside DeepSeek-R1]({shelf.page('index')}), as a plain "
        f"notebook.\nOn the website [the same page]({shelf.page(name)}) explains terms "
        "and citations where you point at them.\nThe first cell finds the book, or "
        "fetches it where it is missing, as in Colab."
    )
    return f"{title}\n\n{line}\n{rest}".strip()


def begins_section(text):
    """Whether a text begins with a heading, and so ends what is folded before it."""
    return text.startswith("#")


def solution(shelf, label, parts):
    """The cells of a solution; only text can be folded in every program."""
    number = shelf.places.get(label, Place(label, None)).words.lower()
    if all(isinstance(part, str) for part in parts):
        return [folded("Solution", "\n\n".join(parts))]
    heading = markdown_cell(f"#### Solution of {number}")
    heading.metadata["jp-MarkdownHeadingCollapsed"] = True
    return [heading, *parts]


def made_cells(shelf, name, kept):
    """The cells of a plain notebook, texts that belong to one cell as a list."""
    parts, held, label = [], None, None
    for kind, what in pieces(shelf.chapters[name]):
        here = parts if held is None else held
        if kind == "start":
            held, label = [], what
        elif kind == "end":
            parts.append((label, held))
            held = None
        elif kind == "text":
            text = check_yourself.with_questions(what, shelf.book, name)
            here.append(plain(shelf, name, live_page.with_figures(text)))
        elif is_setup(what):
            here.append(setup_cell(shelf, what))
        else:
            here += code_cell(shelf, name, what, kept)
    hides = False
    for part in parts:
        if hides and not (isinstance(part, str) and begins_section(part)):
            yield "#### After the solution"
        found = [part]
        if isinstance(part, tuple):
            found = solution(shelf, *part)
        yield from found
        hides = isinstance(part, tuple) and len(found) > 1


def joined(cells):
    """Texts that follow one another as one cell; headings and pictures begin one."""
    made, closed = [], True
    for cell in cells:
        if not isinstance(cell, str):
            made.append(cell)
            closed = True
            continue
        for part in filter(None, map(str.strip, PICTURE.split(cell))):
            alone = PICTURE.fullmatch(part) is not None
            if closed or alone or begins_section(part):
                made.append(markdown_cell(part))
            else:
                made[-1].source += f"\n\n{part}"
            closed = alone
    return made


def plain_notebook(shelf, name, kept=None):
    """The plain notebook of a chapter; PNGs that are known are not drawn again."""
    source = shelf.chapters[name]
    cells = joined(made_cells(shelf, name, kept or {}))
    cells[0].source = opening(shelf, name, cells[0].source)
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = dict(source.metadata["kernelspec"])
    notebook.metadata["language_info"] = dict(source.metadata["language_info"])
    notebook.metadata["jupytext"] = {"formats": "ipynb"}  # it has no twin
    stable_ids(notebook)
    folds = [c for c in cells if "jp-MarkdownHeadingCollapsed" in c.metadata]
    for cell in folds:
        cell.metadata["id"] = cell["id"]
    notebook.metadata["colab"] = {"collapsed_sections": [c["id"] for c in folds]}
    return notebook


def renew(book=BOOK, refresh=False):
    """Make all plain notebooks: which changed, and the references without a target."""
    shelf, changed = open_shelf(book), []
    (book / MADE).mkdir(exist_ok=True)
    for name in shelf.chapters:
        path = book / MADE / f"{name}.ipynb"
        kept = {} if refresh else kept_pictures(path)
        text = nbformat.writes(plain_notebook(shelf, name, kept)) + "\n"
        if write(path, text):
            changed.append(name)
    for path in (book / MADE).glob("*.ipynb"):
        if path.stem not in shelf.chapters:
            path.unlink()
    return changed, shelf.lost


# The website


def take_pictures(site, folder):
    """Take a picture of each interactive figure of a built website."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    shelf = open_shelf(BOOK)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(
            viewport={"width": 800, "height": 2400}, device_scale_factor=SCALE
        )
        for name, figure in interactive(shelf):
            page.goto((site / f"book/{name}.html").resolve().as_uri())
            page.add_style_tag(content=ALONE.format(figure))
            sharp = Image.open(io.BytesIO(page.locator(f"#{figure}").screenshot()))
            path = folder / f"{figure}.png"
            path.write_bytes(small_png(sharp))
            print(f"{path.name}: {path.stat().st_size:,} bytes")


def interactive(shelf):
    """The interactive figures of the book: names of the page and of the figure."""
    for name, notebook in shelf.chapters.items():
        for text in markdown_of(notebook):
            for block in blocks(live_page.with_figures(text)):
                said = directive(block)
                if said and said[0] == "raw" and (found := FIGURE.search(said[3])):
                    yield name, found[1]


def lead(app, pagename, templatename, context, doctree):
    """Lead the buttons of a chapter to its plain notebook, and add one for Kaggle."""
    folder, _, name = pagename.rpartition("/")
    if folder != "book" or not (BOOK / f"{name}.ipynb").exists():
        return
    old, new = f"book/{name}.ipynb", f"book/{MADE}/{name}.ipynb"
    repository = app.config.html_theme_options["repository_url"]
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if "url" in button:
                button["url"] = button["url"].replace(old, new)
        if group.get("label") == "launch-buttons":
            group["buttons"].append(
                {
                    "type": "link",
                    "text": "Kaggle",
                    "tooltip": "Launch on Kaggle",
                    "icon": "fab fa-kaggle",
                    "url": f"{KAGGLE}?src={repository}/blob/main/{new}",
                }
            )


def setup(app):
    """Copy the plain notebooks into the website, and lead its buttons to them."""

    def finished(app, error):
        if error is None and app.builder.format == "html":
            target = Path(app.outdir, "_sources", "book", MADE)
            target.mkdir(parents=True, exist_ok=True)
            for path in (BOOK / MADE).glob("*.ipynb"):
                shutil.copy(path, target)

    app.connect("html-page-context", lead, priority=900)
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python book/reader.py",
        description=__doc__.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--refresh", action="store_true", help="draw all PNGs again")
    parser.add_argument("--pictures", type=Path, metavar="SITE")
    options = parser.parse_args(arguments)
    try:
        if options.pictures:
            take_pictures(options.pictures, BOOK / MADE / "pictures")
        changed, lost = renew(refresh=options.refresh)
        for name in changed:
            print(f"{name}: plain notebook written")
        for name in lost:
            print(f"{name} leads nowhere", file=sys.stderr)
    except (Problem, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
