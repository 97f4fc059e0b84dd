"""What pages take from elsewhere, whenever the website is built.

The zips that the assignments' handouts link are made from their masters first. Then a
page of the book may hold one of these lines; the table or the text in its place is
made from the chapters and the assignments as they are, so it cannot be older:

    <!-- hours of chapters -->
    <!-- hours of assignments -->
    <!-- slides -->
    <!-- common mistakes -->
"""

import re
from pathlib import Path

import nbformat
import slides
import yaml

BOOK = Path(__file__).resolve().parent
HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)
WORDS, CELL, EXERCISE = 120, 2, 20  # words a minute; minutes for each of the others
MISTAKES = "Common mistakes"


def hours(notebook):
    """Hours to read a chapter and run its cells, and hours for its exercises."""
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    words = sum(len(part.split()) for part in text)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    exercises = sum(part.count("{exercise}") for part in text)
    return (words / WORDS + cells * CELL) / 60, exercises * EXERCISE / 60


def hours_of_chapters():
    """A table of all chapters that are notebooks."""
    lines = ["| chapter | reading | exercises | lecture |", "|---|---|---|---|"]
    for _, names in slides.parts():
        for name in names:
            notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
            reading, exercises = hours(notebook)
            count = len(slides.chapter_slides(int(name[:2]), name, {}))
            title = slides.sections(notebook)[0].title
            lines.append(
                f"| [{name[:2]} {title}]({name}) | {reading:.1f} h | "
                f"{exercises:.1f} h | {count} slides |"
            )
    return "\n".join(lines)


def front_matter(folder):
    """What an assignment says of itself, in its master."""
    text = (folder / f"{folder.name}.md").read_text(encoding="utf-8")
    return yaml.safe_load(text.split("---")[1])["assignment"]


def assignments(base=BOOK / "assignments"):
    """The folders of finished assignments, those with a handout."""
    return sorted(path.parent for path in base.glob("*/handout.md"))


def hours_of_assignments(folders=None):
    """A table of all assignments with their points."""
    lines = ["| assignment | `NAME` | from tests | by hand |", "|---|---|---|---|"]
    for folder in assignments() if folders is None else folders:
        given = front_matter(folder)
        auto = sum(given["questions"].values())
        by_hand = sum(given.get("written", {}).values())
        page = f"assignments/{folder.name}/handout"
        title = f"[{given['title']}]({page})"
        lines.append(f"| {title} | `{folder.name}` | {auto:g} | {by_hand:g} |")
    return "\n".join(lines) if len(lines) > 2 else "No assignment is finished yet."


def decks():
    """A list of links to the slides of each part."""
    items = (
        f'<li><a href="../slides/{slides.make_id(caption)}.html">{caption}</a></li>'
        for caption, _ in slides.parts()
    )
    return f"```{{raw}} html\n<ul>{''.join(items)}</ul>\n```"


def section(text, title):
    """What stands below a heading of the second level, to the next such heading."""
    bare = FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)
    found = [match for match in HEADING.finditer(bare) if len(match[1]) <= 2]
    for match, after in zip(found, [*found[1:], None], strict=False):
        if match[2].strip() == title:
            return text[match.end() : after.start() if after else None].strip()
    return ""


def common_mistakes(folders=None):
    """The sections of all rubrics, each below its assignment's title."""
    parts = []
    for folder in assignments() if folders is None else folders:
        rubric = folder / "rubric.md"
        text = rubric.read_text(encoding="utf-8") if rubric.exists() else ""
        if found := section(text, MISTAKES):
            parts.append(f"## {front_matter(folder)['title']}\n\n{found}")
    return "\n\n".join(parts) or "No rubric has such a section yet."


FILLED = {
    "<!-- hours of chapters -->": hours_of_chapters,
    "<!-- hours of assignments -->": hours_of_assignments,
    "<!-- slides -->": decks,
    "<!-- common mistakes -->": common_mistakes,
}


def filled(text):
    """A page with what belongs into its places."""
    for line, made in FILLED.items():
        if f"\n{line}\n" in text:
            text = text.replace(line, made())
    return text


def build_releases():
    """Write the zip that each handout links beside it, where it is not there already.

    Sphinx copies it into the site. Raises AssignmentError where it would give a
    solution away.
    """
    from coursekit.authoring.assignment import load
    from coursekit.authoring.build import build

    for folder in assignments():
        build(load(folder))


def setup(app):
    """Make the zips, fill pages as they are read, read them again in every build."""

    def pages(app, env, added, changed, removed):
        held = (Path(env.doc2path(name)) for name in env.found_docs)
        marked = [p for p in held if p.suffix == ".md" and p.parent == BOOK]
        return [
            env.path2doc(str(page))
            for page in marked
            if any(line in page.read_text(encoding="utf-8") for line in FILLED)
        ]

    def read(app, name, source):
        source[0] = filled(source[0])

    app.connect("builder-inited", lambda app: build_releases())
    app.connect("env-get-outdated", pages)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
