"""Each page of the website as plain text, and llms.txt that lists them.

Beside book/NAME.html lies book/NAME.html.md, made from the page when the website is
built: Markdown with formulas as TeX, code and outputs in fences, and no role or
directive. llms.txt at the root of the website names all pages in the form of
llmstxt.org, each with its first paragraph.
"""

import re
from pathlib import Path

import yaml
from markdownify import ATX, MarkdownConverter

INPUT = "cell_input"
INSIDE = re.compile(r"(<pre>)(.*?)(</pre>)", re.DOTALL)
SPAN = re.compile(r"</?span[^>]*>")
# A fence as it is, or else space at the end of a line, or all but one of blank lines.
TRAILING = re.compile(
    r"^(````\w+\n.*?^````$)|[ \t]+$()|(?<=\n\n)\n+()", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
CHAPTER = re.compile(r"\d\d(?=_)")
SUMMARY = "All pages below are plain text: formulas are TeX, outputs are included."


class Plain(MarkdownConverter):
    """From the HTML of a page to Markdown."""

    class Options(MarkdownConverter.DefaultOptions):
        heading_style = ATX
        bullets = "*"
        escape_asterisks = False
        escape_underscores = False

    def convert_a(self, el, text, parent_tags):
        if "headerlink" in el.get("class", ()):
            return ""
        if el.get("href", "#").startswith("#"):
            return text
        el.attrs.pop("title", None)
        return super().convert_a(el, text, parent_tags)

    def convert_span(self, el, text, parent_tags):
        if "math" not in el.get("class", ()):
            return text
        return f"${el.get_text()[2:-2].strip()}$"

    def convert_div(self, el, text, parent_tags):
        if "math" in el.get("class", ()):
            return f"\n\n$$\n{equation(el)}\n$$\n\n"
        if "live-still" in el.get("class", ()):
            return f"\n\n(Picture: {el['aria-label']})\n\n"
        if "aria-label" in el.attrs:  # drawn by a script
            text = f"(Interactive figure: {el['aria-label']})\n\n{text}"
        return super().convert_div(el, text, parent_tags)

    def convert_p(self, el, text, parent_tags):
        if {"admonition-title", "rubric"} & set(el.get("class", ())):
            text = f"**{' '.join(text.split())}**"
        return super().convert_p(el, text, parent_tags)

    def convert_pre(self, el, text, parent_tags):
        is_input = el.find_parent(class_=INPUT) is not None
        language = "python" if is_input else "text"
        code = el.get_text().strip("\n")
        return f"\n\n````{language}\n{code}\n````\n\n" if code else ""

    def convert_summary(self, el, text, parent_tags):
        return "" if "aria-label" in el.attrs else f"\n\n**{text.strip()}**\n\n"

    def convert_svg(self, el, text, parent_tags):
        words = el.find("desc") or el.find("title")
        return f"\n\n({words.get_text()})\n\n" if words else ""

    def convert_style(self, el, text, parent_tags):
        return ""

    convert_script = convert_button = convert_style


def equation(el):
    """The TeX of a displayed formula, with its number."""
    number = el.find(class_="eqno")
    tag = ""
    if number is not None:
        tag = re.search(r"\(([\w.]+)\)", number.extract().get_text())[1]
    tex = el.get_text().strip()
    tex = tex.removeprefix(r"\[").removesuffix(r"\]")
    tex = tex.replace(r"\begin{split}", "").replace(r"\end{split}", "")
    tex = "\n".join(line for line in tex.split("\n") if line.strip())
    return f"{tex}\n\\tag{{{tag}}}" if tag else tex


def plain(body):
    """A page as plain text; `body` is its HTML."""
    bare = INSIDE.sub(lambda code: code[1] + SPAN.sub("", code[2]) + code[3], body)
    text = Plain().convert(bare)
    return TRAILING.sub(lambda found: found[1] or found[2], text).strip() + "\n"


def opening(text):
    """The first paragraph of a page, on one line."""
    parts = (part for part in text.split("\n\n") if part.strip())
    first = next((p for p in parts if p[0].isalnum() or p.startswith("**")), "")
    words = LINK.sub(r"\1", first.replace("**Claim.**", ""))
    return " ".join(words.split())


def contents(path):
    """The parts of a table of contents: the caption and the pages of each."""
    toc = yaml.safe_load(path.read_text(encoding="utf-8"))
    parts = [
        (part["caption"], [chapter["file"] for chapter in part["chapters"]])
        for part in toc["parts"]
    ]
    return [("Start", [toc["root"]]), *parts]


def listing(app):
    """The text of llms.txt."""
    base, parts = app.config.html_baseurl, contents(Path(app.confdir, "_toc.yml"))
    first = {
        name: opening(Path(app.outdir, f"{name}.html.md").read_text(encoding="utf-8"))
        for _, names in parts
        for name in names
    }
    lines = [f"# {app.config.html_title}", "", f"> {first[app.config.root_doc]}"]
    lines += ["", SUMMARY]
    for caption, names in parts:
        lines += ["", f"## {caption}", ""]
        for name in names:
            title = app.env.titles[name].astext()
            number = CHAPTER.match(name.rpartition("/")[2])
            title = f"{number[0]} {title}" if number else title
            note = f": {first[name]}" if first[name] else ""
            lines.append(f"- [{title}]({base}{name}.html.md){note}")
    return "\n".join(lines) + "\n"


def lead(app, pagename, templatename, context, doctree):
    """Lead the button that downloads a page's source to its plain text."""
    if app.builder.name != "html":
        return
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("url", "").endswith(f"_sources/{pagename}.md"):
                button["url"] = f"{pagename.rpartition('/')[2]}.html.md"


def setup(app):
    """Write each page as plain text when it is written, and then the list of them."""

    def page(app, pagename, templatename, context, doctree):
        if app.builder.name != "html" or doctree is None or "body" not in context:
            return
        path = Path(app.outdir, f"{pagename}.html.md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(plain(context["body"]), encoding="utf-8")
        link = f'<link rel="alternate" type="text/markdown" href="{path.name}" />'
        context["metatags"] = context.get("metatags", "") + link

    def finished(app, error):
        if error is None and app.builder.name == "html":
            path = Path(app.outdir, "llms.txt")
            path.write_text(listing(app), encoding="utf-8")

    app.connect("html-page-context", page, priority=300)
    app.connect("html-page-context", lead, priority=900)
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
