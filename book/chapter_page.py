"""What the page of each chapter gets beside the chapter's own words.

Under its title: how long it takes, what it needs, which versions made its outputs, when
it last changed, where it can be run, and where it stands in its part of the book. The
minutes are those of the box at its top, the packages those of its first cell, and date
and commit those of git; where the book has no git they are left out.

Before its exercises: questions to check oneself (check_yourself.py). Each takeaway gets
its class, each figure a width below which its smallest label has less than 10 pixels,
and each interactive figure a picture for readers without JavaScript.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

import check_yourself
import guide
import jinja2
import nbformat
import reader
import slides
from docutils import nodes

BOOK = Path(__file__).resolve().parent
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
TIME = re.compile(r"^- \*\*Time:\*\* about (\d+ minutes to read, .+)\.$", re.MULTILINE)
PINNED = re.compile(r"^(torch|numpy)==(\S+)$", re.MULTILINE)
TAKEAWAY = "Takeaway."
LABEL = 10  # pixels of the smallest label
SIZE = re.compile(r'<svg[^>]*? viewBox="0 0 ([\d.]+) ([\d.]+)"')
GLYPHS = re.compile(r"scale\(([\d.]+) -\1\)")  # of a label that matplotlib draws
FONT = re.compile(r'font-size(?:="|:\s*)([\d.]+)')
IMAGE = re.compile(r'<img\b[^>]*?\bsrc="[^"]*/([^"/]+\.svg)"[^>]*>')
DRAWING = re.compile(r"<svg\b[^>]*>.*?</svg>", re.DOTALL)
BUTTONS = ("Colab", "Binder", "Kaggle")
NOTEBOOK = "download-source-button"
STRIP = jinja2.Template(
    """
<div class="strip" role="group" aria-label="About this chapter">
{%- if part %}
<p class="strip-part"><span>{{ part.said }}</span>
<span class="strip-steps" aria-hidden="true">
{%- for step in range(part.length) -%}
<i{% if step < part.place %} class="done"{% endif %}></i>
{%- endfor %}</span></p>
{%- endif %}
<dl>
<div><dt>Time</dt><dd>{{ time }}</dd></div>
<div><dt>Needs</dt><dd>no GPU; {{ packages }}</dd></div>
<div><dt>Outputs</dt><dd>made with {{ versions }}</dd></div>
{%- if change %}
<div><dt>Last change</dt><dd><time>{{ change.date }}</time>,
<a href="{{ repository }}/commit/{{ change.commit }}">{{ change.commit }}</a></dd></div>
{%- endif %}
{%- if links %}
<div class="strip-open"><dt>Open in</dt><dd>
{%- for link in links %}
<a href="{{ link.url }}"{% if link.file %} download{% endif %}>{{ link.text }}</a>
{%- endfor %}</dd></div>
{%- endif %}
</dl>
</div>
""",
    autoescape=True,
)
STILL = jinja2.Template(
    """<noscript class="still"><p>This figure moves with JavaScript.
{%- if picture %} The picture shows how it begins.</p>
<p><img src="{{ picture }}" alt="{{ words }}, as a picture">{% endif %}</p></noscript>
""",
    autoescape=True,
)


# What a page says of its chapter


class Part(NamedTuple):
    """Where a chapter stands: the number and the name of its part, its place there."""

    number: str
    caption: str
    place: int
    length: int

    @property
    def said(self):
        """As a sentence would say it."""
        place = f"chapter {self.place} of {self.length}"
        return f"Part {self.number}, {self.caption}: {place}"


class Change(NamedTuple):
    """The last change of a chapter."""

    date: str
    commit: str


def part_of(name):
    """The part of the book that a chapter is in, or None."""
    for number, (caption, names) in zip(ROMAN, slides.parts(), strict=False):
        if name in names:
            return Part(number, caption, names.index(name) + 1, len(names))
    return None


def time_of(notebook):
    """How long a chapter takes: what its box says, or else the minutes of the guide."""
    if found := TIME.search("\n".join(reader.markdown_of(notebook))):
        return found[1]
    minutes = 5 * round(12 * guide.hours(notebook)[0])
    return f"{minutes} minutes to read"


def packages_of(notebook):
    """What the cells of a chapter import, without the versions."""
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    return [need.partition("==")[0] for need in reader.needs(first)]


@cache
def versions():
    """What the outputs were made with: Python, and two pinned packages."""
    python = (BOOK.parent / ".binder/runtime.txt").read_text(encoding="utf-8")
    pinned = (BOOK.parent / "requirements.txt").read_text(encoding="utf-8")
    found = dict(PINNED.findall(pinned))
    python = python.strip().replace("python-", "Python ")
    return f"{python}, torch {found['torch']}, numpy {found['numpy']}"


def git(*arguments, book=BOOK):
    """What git says about the book, or nothing."""
    try:
        command = ["git", "-C", str(book), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@cache
def has_history(book=BOOK):
    """Whether git knows the whole past of the book, and not only its last commit."""
    return git("rev-parse", "--is-shallow-repository", book=book) == "false"


def change_of(name, book=BOOK):
    """The last change of a chapter's text, outputs or questions, or None."""
    if not has_history(book):
        return None
    files = (f"{name}.ipynb", f"text/{name}.md", f"questions/{name}.md")
    said = git("log", "-1", "--format=%cs %h", "--", *files, book=book)
    return Change(*said.split()) if said else None


def links_of(groups):
    """Where a chapter can be opened: the addresses of the page's own buttons."""
    found = {}
    for group in groups:
        for button in group.get("buttons", []):
            if button.get("label") == NOTEBOOK:
                text = "JupyterLab (download)"
                found[text] = {"text": text, "url": button["url"], "file": True}
            elif button.get("text") in BUTTONS:
                found[button["text"]] = {"text": button["text"], "url": button["url"]}
    order = ("JupyterLab (download)", *BUTTONS)
    return [found[text] for text in order if text in found]


def strip(name, repository, groups):
    """The strip under the title of a chapter's page."""
    notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
    return STRIP.render(
        part=part_of(name),
        time=time_of(notebook),
        packages=", ".join(packages_of(notebook)),
        versions=versions(),
        change=change_of(name),
        repository=repository,
        links=links_of(groups),
    )


# Figures


def readable(svg):
    """A drawing's width and height, and the width at which its labels can be read."""
    size = SIZE.search(svg)
    labels = [100 * float(scale) for scale in GLYPHS.findall(svg)]
    labels += [float(label) for label in FONT.findall(svg)]
    if size is None or not labels:
        return None
    width, height = float(size[1]), float(size[2])
    return width, height, -(-width * LABEL // min(labels))


def boxed(tag, size, start):
    """A picture or a drawing in a box that scrolls where labels would be too small."""
    width, height, least = size
    style = f"--readable: {least:.0f}px; aspect-ratio: {width:g} / {height:g}"
    tag = tag.replace(start, f'{start} style="{style}"', 1)
    return f'<div class="figure-box">{tag}</div>'


def with_boxes(body, drawing):
    """A page whose figures know their least widths; `drawing` reads an SVG by name."""

    def image(found):
        size = readable(drawing(found[1]) or "")
        return boxed(found[0], size, "<img") if size else found[0]

    def inline(found):
        size = readable(found[0])
        return boxed(found[0], size, "<svg") if size else found[0]

    return IMAGE.sub(image, DRAWING.sub(inline, body))


def with_stills(body, pictures):
    """A page with a picture before each interactive figure, shown without scripts."""

    def still(found):
        path = BOOK / reader.MADE / "pictures" / f"{found[1]}.png"
        picture = f"{pictures}/{path.name}" if path.exists() else None
        return STILL.render(picture=picture, words=found[2]) + found[0]

    return re.sub(rf"<div {reader.FIGURE.pattern}", still, body)


# The website


def chapter(pagename):
    """The name of the chapter that a page shows, or None."""
    folder, _, name = pagename.rpartition("/")
    return name if folder == "book" and (BOOK / f"{name}.ipynb").exists() else None


def ask(app, pagename, source):
    """Put the questions of a chapter into what is read of it."""
    name = chapter(pagename)
    if name is None:
        return
    app.env.note_dependency(str(check_yourself.path_of(BOOK, name)))
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            cell["source"] = check_yourself.with_questions(text, BOOK, name)
    source[0] = json.dumps(notebook)


def mark(app, doctree):
    """Give each takeaway its class."""
    for paragraph in doctree.findall(nodes.paragraph):
        first = next((part for part in paragraph.children if part.astext()), None)
        if isinstance(first, nodes.strong) and first.astext() == TAKEAWAY:
            paragraph["classes"].append("takeaway")


def dress(app, pagename, templatename, context, doctree):
    """Put into a page what is not in its source."""
    if "body" not in context or app.builder.name not in ("html", "dirhtml"):
        return
    sources = {name: uri for uri, name in app.builder.images.items()}

    def drawing(image):
        path = Path(app.srcdir, sources[image]) if image in sources else None
        return path.read_text(encoding="utf-8") if path and path.exists() else None

    body = with_boxes(context["body"], drawing)
    body = with_stills(body, context["pathto"]("_images", 1))
    if name := chapter(pagename):
        repository = app.config.html_theme_options["repository_url"]
        made = strip(name, repository, context.get("header_buttons", []))
        body = body.replace("</h1>", f"</h1>{made}", 1)
    context["body"] = body
    app.add_js_file("scroll.js", loading_method="defer")
    if "figure-box" in body:
        app.add_js_file("enlarge.js", loading_method="defer")


def setup(app):
    """Read the questions, mark the takeaways, dress the pages, copy the pictures."""

    def finished(app, error):
        if error is None and app.builder.format == "html":
            target = Path(app.outdir, "_images")
            target.mkdir(parents=True, exist_ok=True)
            for path in (BOOK / reader.MADE / "pictures").glob("*.png"):
                shutil.copy(path, target)

    app.add_css_file("chapter.css")
    app.connect("source-read", ask)
    app.connect("doctree-read", mark)
    # After reader.lead, whose addresses it shows.
    app.connect("html-page-context", dress, priority=950)
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
