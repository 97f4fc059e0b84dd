"""The first page of the website: what it takes from elsewhere.

`index.md` may hold these lines. The text in their places is made whenever the website
is built: from the records of R1-Zero, from the outputs of chapter 01, and from the
README, so that the page says what they say.

    <!-- R1-Zero, watched -->
    <!-- verdicts -->
    <!-- hours -->
    <!-- commands -->
    <!-- launch -->
    <!-- downloads -->
    <!-- colophon -->

The files for reading offline are made from the website after it is built. Whoever has
put them into its folder calls `link_downloads`.
"""

import csv
import re
from collections import Counter
from datetime import date
from html import escape
from pathlib import Path
from typing import NamedTuple

import nbformat
from ledger_page import read_claims
from release import citation

from r1.text.answers import is_right, read
from r1.text.problems import Problem
from r1.text.tokenizer import BOS, EOS
from r1.train.records import DATA, read_run, read_table

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
PAGE = "book/index"
RUN = "watched_seed0"  # of rl: shares in rl/steps, answers in rl/said
COLORS = {"thinks": "#0072b2", "hits": "#b34700"}  # where there is no style sheet
DOWNLOADS = "downloads"  # a folder beside the pages
OFFLINE = {
    "PDF": "inside-deepseek-r1.pdf",
    "EPUB": "inside-deepseek-r1.epub",
    "zip of this site": "inside-deepseek-r1.zip",
}
ORDER = (
    "confirmed",
    "confirmed with a correction",
    "wrong in part",
    "only the makers can say",
    "not checkable here",
)
TIME = re.compile(r"\*\*Time:\*\* about (\d+) minutes to read, (\d+) seconds to run")
SHELL = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OFFLINE_PLACE = re.compile(r'<p id="downloads".*?</p>', re.DOTALL)


# A small model learns to think


class Scene(NamedTuple):
    """After some steps: shares of all answers, and what a few of them say."""

    step: int
    thinking: float
    right: float
    texts: list[str]


def problem_of(prompt):
    """The problem that a prompt such as <bos>7*3+5= asks."""
    said = prompt.removeprefix(BOS).removesuffix("=")
    return Problem(tuple(map(int, said[::2])), said[1::2])


def scenes():
    """The problem that was asked, and a scene for each step at which it was."""
    log, said = read_run("rl/steps", RUN), read_table("rl/said")[RUN]
    answers, prompts = {}, set()
    for step, prompt, text in said.rows:
        answers.setdefault(int(step), []).append(text)
        prompts.add(prompt)
    (prompt,) = prompts
    at = {int(step): row for row, step in enumerate(log["step"])}
    found = [
        Scene(step, log["thinking"][at[step]], log["accuracy"][at[step]], texts)
        for step, texts in answers.items()
    ]
    return problem_of(prompt), found


def answer_line(problem, text):
    """An answer as an item of a list: its thought, its digit, and its mark."""
    right, parts = is_right(problem, text), read(text)
    gray = '<span class="learn-thought">{}</span>'
    if parts is None:  # without the form: as it is
        said = gray.format(escape(text.removesuffix(EOS)))
    else:
        thought = gray.format(escape(parts.thought)) + " " if parts.thought else ""
        said = f"{thought}<b>{escape(parts.answer)}</b>"
    mark, word = ("✓", "right") if right else ("✗", "wrong")
    return (
        f'<li><code>{said}</code> <span class="learn-{word}"><span aria-hidden="true">'
        f'{mark}</span><span class="learn-word"> {word}</span></span></li>'
    )


def percent(share):
    """A share as a reader sees it."""
    return f"{100 * share:.0f} %"


def steps_of(count):
    return f"after {count} steps" if count else "before training"


def scene_item(problem, scene):
    """A scene as an item of a list."""
    lines = "\n".join(answer_line(problem, text) for text in scene.texts)
    title = steps_of(scene.step)
    return (
        f"<li>\n<p><b>{title[0].upper()}{title[1:]}</b> "
        f"{percent(scene.thinking)} think, {percent(scene.right)} right</p>\n"
        f"<ul>\n{lines}\n</ul>\n</li>"
    )


def line_of(values, name):
    """A curve, drawn from left to right over steps and upwards from 0 to 1."""
    points = " ".join(f"{x},{100 - 100 * y:.1f}" for x, y in enumerate(values))
    return (
        f'<polyline class="learn-{name}" points="{points}" fill="none" '
        f'stroke="{COLORS[name]}" stroke-width="2" vector-effect="non-scaling-stroke"/>'
    )


def smooth(values, width=5):
    """Means of up to five neighbors, as many on the left as on the right."""
    reach = width // 2
    around = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in around]


def picture():
    """The moving picture as HTML; without style and script it is a list."""
    problem, found = scenes()
    log = read_run("rl/steps", RUN)
    words = "; ".join(
        f"{steps_of(scene.step)} {percent(scene.thinking)} think and "
        f"{percent(scene.right)} are right"
        for scene in found
    )
    curves = "\n".join(
        line_of(smooth(log[column]), name)
        for column, name in (("thinking", "thinks"), ("accuracy", "hits"))
    )
    ticks = " ".join(
        f'<span style="left: {scene.step}%">{scene.step}</span>' for scene in found
    )
    items = "\n".join(scene_item(problem, scene) for scene in found)
    asked = problem.prompt.removeprefix(BOS).removesuffix("=")
    return f"""<figure class="learn" id="learn">
<p class="learn-asked"><code>{asked} = ?</code>
<span>Right is {problem.answer}: from left to right, modulo 10.</span></p>
<div class="learn-chart">
<p class="learn-key"><span class="learn-thinks">answers that think</span>
<span class="learn-hits">answers that are right</span></p>
<div class="learn-plot"><span>100 %</span> <span>0 %</span>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" width="600" height="110"
preserveAspectRatio="none" role="img" aria-label="Of 512 answers: {words}.">
{curves}
</svg></div>
<p class="learn-ticks" aria-hidden="true">{ticks}</p>
<p class="learn-axis" aria-hidden="true">steps of training</p>
</div>
<ol class="learn-scenes">
{items}
</ol>
</figure>"""


# Thirteen verdicts


def chapters_of_claims():
    """The numbers of the chapters that treat a claim, by the claim's section."""
    text = (DATA / "claims.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["cell"]: row["chapters"].split("|") for row in rows}


def chapter_names():
    """The names of the chapters by their numbers."""
    return {path.stem[:2]: path.stem for path in BOOK.glob("[0-9][0-9]_*.ipynb")}


def slug(verdict):
    return verdict.replace(" ", "-")


def verdicts():
    """How often each verdict was given, and each claim with its verdict, in links."""
    claims, names, chapters = read_claims(), chapter_names(), chapters_of_claims()
    tally = Counter(claim["verdict"] for claim in claims)
    said = sorted(tally, key=ORDER.index)
    counts = ", ".join(f"{tally[verdict]} {verdict}" for verdict in said)
    lines = [
        f"Of {len(claims)} claims about R1: {counts}.",
        "",
        ":::{container} verdicts",
    ]
    for number, claim in enumerate(claims, 1):
        cell, verdict = claim["cell"], claim["verdict"]
        checked = ", ".join(
            f"{{doc}}`{chapter} <{names[chapter]}>`" for chapter in chapters[cell]
        )
        lines.append(
            f"{number}. {claim['claim']}: [{{ref}}`{verdict} <{cell}>`]"
            f"{{.verdict .{slug(verdict)}}} [chapter {checked}]{{.verdict-chapter}}"
        )
    return "\n".join([*lines, ":::"])


# How long, how to run, what to take along, and who


def hours():
    """The sums of the times that the chapters say."""
    times = []
    for name in sorted(chapter_names().values()):
        notebook = nbformat.read(BOOK / f"{name}.ipynb", as_version=4)
        (said,) = TIME.findall("\n".join(cell.source for cell in notebook.cells))
        times.append(tuple(map(int, said)))
    read, run = map(sum, zip(*times, strict=True))
    return (
        f"The {len(times)} chapters take about {read / 60:.0f} hours to read "
        f"and {run / 60:.0f} minutes to run."
    )


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def commands():
    """The README's commands: to get the book, and the two that one needs."""
    build, check, fetch, *_ = SHELL.findall(readme())
    return f"```sh\n{fetch}{build}{check}```"


def launch():
    """Buttons that lead to the first chapter as a notebook that runs elsewhere."""
    text = readme()
    places = {"Binder": "https://mybinder.org/", "Colab": "https://colab.research"}
    buttons = []
    for name, start in places.items():
        (address,) = set(re.findall(rf"\(({re.escape(start)}[^)]*)\)", text))
        buttons.append(
            f"```{{button-link}} {address}\n:color: primary\n:outline:\n\n"
            f"Run chapter 01 in {name}\n```"
        )
    return "\n".join([":::::{container} landing-buttons", *buttons, ":::::"])


def colophon():
    """Who wrote the book, which version this is, and its date."""
    cited = citation()
    who = ", ".join(author["name"] for author in cited["authors"])
    when = date.fromisoformat(str(cited["date-released"]))
    return f"{who}. Version {cited['version']}, {when.day} {when:%B %Y}."


def size(path):
    """The size of a file in words."""
    return f"{max(0.1, path.stat().st_size / 1e6):.1f} MB"


def downloads(site=None):
    """A sentence that links the files for reading offline that a website has."""
    links = [
        f'<a href="../{DOWNLOADS}/{name}">{what}</a> ({size(path)})'
        for what, name in OFFLINE.items()
        if site and (path := Path(site, DOWNLOADS, name)).exists()
    ]
    if not links:
        return '<p id="downloads" hidden="hidden"></p>'
    return f'<p id="downloads">To read offline: {", ".join(links)}.</p>'


def link_downloads(site, shown=True):
    """Let the first page of a built website link the files that lie there, or none."""
    path = Path(site, f"{PAGE}.html")
    if path.exists():
        page, made = path.read_text(encoding="utf-8"), site if shown else None
        page = OFFLINE_PLACE.sub(lambda _: downloads(made), page)
        path.write_text(page, encoding="utf-8")


def raw(html):
    return f"```{{raw}} html\n{html}\n```"


FILLED = {
    "<!-- R1-Zero, watched -->": lambda: raw(picture()),
    "<!-- verdicts -->": verdicts,
    "<!-- hours -->": hours,
    "<!-- commands -->": commands,
    "<!-- launch -->": launch,
    "<!-- downloads -->": lambda: raw(downloads()),
    "<!-- colophon -->": colophon,
}


def filled(text):
    """The first page with what belongs into its places."""
    for line, made in FILLED.items():
        text = text.replace(line, made())
    return text


def setup(app):
    """Fill the first page in every build, and give it its style and its script."""

    def outdated(app, env, added, changed, removed):
        return [PAGE] if PAGE in env.found_docs else []

    def source(app, name, text):
        if name == PAGE:
            text[0] = filled(text[0])

    def style(app, pagename, templatename, context, doctree):
        if pagename == PAGE:
            app.add_css_file("landing.css")
            app.add_js_file("landing.js", loading_method="defer")

    def finished(app, error):
        if error is None and app.builder.name == "html":
            link_downloads(app.outdir)

    app.connect("env-get-outdated", outdated)
    app.connect("source-read", source)
    app.connect("html-page-context", style)
    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
