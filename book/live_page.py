"""Where a model thinks in the page: the figures of _static/live.js.

A chapter or the first page has a line such as

    <!-- live: routing -->

and this puts the figure of that name in its place: what to try, and a picture in HTML
that needs no script, follows the colors of the page and can be printed. A reader who
starts the model has the figure where the picture was, and it begins with the picture.

`python book/live_page.py` makes the pictures anew, in book/stills: it starts each
figure in Chromium and keeps what it shows first.
"""

import json
import re
import shutil
import sys
import tempfile
from functools import partial
from html import escape
from pathlib import Path
from typing import NamedTuple

import live_weights
import touch_page

from r1.model.files import write_atomically

BOOK = Path(__file__).resolve().parent
STATIC, STILLS = BOOK / "_static", BOOK / "stills"
PLACE = re.compile(r"^<!-- (live|touch): (\w+) -->$", re.MULTILINE)


class Form(NamedTuple):
    """One figure: its parts, how it begins, and what is said of it.

    `at` is the token that its picture shows, counted from the start of the text; with
    `group` it begins with a group of answers.
    """

    label: str
    to_try: str
    words: str  # what the picture shows
    parts: str
    model: str = "zero100"
    problem: str = "7*3+5-2*4"
    temperature: float = 1.0
    seed: int = 2
    at: int | None = None
    group: bool = False


FORMS = {
    "landing": Form(
        label="A model that thinks in this page",
        to_try="Press Start and type a problem: the model of chapter 13 answers in "
        "your browser, after it has learned to think or before.",
        words="R1-Zero after 100 steps has written a thought of four steps about "
        "7*3+5-2*4, and the answer 6.",
        parts="next",
        at=36,
    ),
    "routing": Form(
        label="Which experts work for each token",
        to_try="Press Start, step through the answer, and see to which two of eight "
        "experts each token goes in each of two layers.",
        words="Two strips, one for each layer with experts: eight rows, a column for "
        "each token, two marks in each column. All experts have some tokens.",
        parts="routing",
        model="base",
        seed=8,
        at=36,
    ),
    "cache": Form(
        label="What the cache holds after each token",
        to_try="Press Start and step forward and back: each token adds 40 numbers in "
        "each of three layers, and a step back forgets them.",
        words="Two bars: after 25 tokens, latents and rotary keys take 12,000 bytes, "
        "and keys and values of all heads would take 57,600.",
        parts="cache",
        at=24,
    ),
    "drafts": Form(
        label="Which drafts a model keeps",
        to_try="Press Start, step through the drafts of a module that was trained "
        "with the base model and not after it, and raise the temperature.",
        words="Behind the tag that opens its thought R1-Zero writes 7. The module has "
        "drafted 0, which the model never says here, so the draft is thrown away.",
        parts="next drafts",
        at=11,
    ),
    "rewards": Form(
        label="A group of answers with rewards and advantages",
        to_try="Press Start, ask for other groups and other models, and set the "
        "temperature to 0, where all answers are equal and nothing is learned.",
        words="Sixteen answers of the base model to 7*3+5-2*4, thoughts and bare "
        "answers, with rewards of 1.1, 0.1 or 0. The five right ones have a positive "
        "advantage.",
        parts="group",
        model="base",
        group=True,
    ),
    "full": Form(
        label="R1-Zero, thinking in this page",
        to_try="Press Start, move the slider over the steps of training from 0 to 100, "
        "ask for a group of 16, and press a bar to go on with another token.",
        words="A thought of R1-Zero about 7*3+5-2*4, as far as 1+5=6. Below it the "
        "probabilities of the next token, the experts that work for each token, the "
        "bytes of the cache, and the drafts, of which one was thrown away.",
        parts="next routing cache drafts group",
        at=21,
    ),
}


def identity(name):
    """The id of a figure."""
    return f"live-{name}"


def still(name):
    """The picture of a figure, in HTML; nothing where none has been made yet."""
    path = STILLS / f"{name}.html"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def figure(name):
    """A figure as HTML: what to try, and the picture that the model takes over.

    Raises ValueError for a figure that there is not.
    """
    if name not in FORMS:
        raise ValueError(f"no live figure {name!r}; there are {', '.join(FORMS)}")
    form = FORMS[name]
    said = {
        "parts": form.parts,
        "model": form.model,
        "problem": form.problem,
        "temperature": form.temperature,
        "seed": form.seed,
        "at": form.at,
        "group": form.group or None,
    }
    data = " ".join(
        f'data-{key}="{escape(str(value))}"'
        for key, value in said.items()
        if value is not None
    )
    return (
        f'<div class="live" id="{identity(name)}" role="group" '
        f'aria-label="{escape(form.label)}" {data}>\n'
        f'<p class="live-try">{escape(form.to_try)}</p>\n'
        f'<div class="live-still" role="img" aria-label="{escape(form.words)}">'
        f"{still(name)}</div>\n"
        "<noscript><p>The model needs JavaScript; this is a picture of it.</p>"
        "</noscript>\n</div>"
    )


def with_figures(text):
    """A text with its figures in their places, those of touch_page.py too."""

    def put(found):
        made = touch_page.figure if found[1] == "touch" else figure
        return f"```{{raw}} html\n{made(found[2])}\n```"

    return PLACE.sub(put, text)


# Pictures

# Without what only the figure in use needs: buttons, tab stops, numbers for tests.
TAKEN = """(stage) => {
  const copy = stage.cloneNode(true);
  for (const row of copy.querySelectorAll("td button")) row.remove();
  for (const node of copy.querySelectorAll("*")) {
    for (const { name } of [...node.attributes])
      if (/^(data-(?!kind)|aria-|role|title|type|focusable)/.test(name))
        node.removeAttribute(name);
  }
  for (const button of copy.querySelectorAll("button")) {
    const span = document.createElement("span");
    span.className = button.className;
    span.append(...button.childNodes);
    button.replaceWith(span);
  }
  for (const part of copy.children) if (!part.childNodes.length) part.remove();
  return `<div class="live-stage">${copy.innerHTML}</div>`;
}"""


def put_files(folder):
    """Put what a figure loads beside a page in a folder."""
    for name in ("live", "figures"):
        shutil.copytree(STATIC / name, folder / name, dirs_exist_ok=True)
    live_weights.write(folder / "live/weights")
    for name in ("live.js", "live.css"):
        shutil.copy(STATIC / name, folder / name)


def page(body, theme="light", style=""):
    """A page with nothing but figures."""
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta '
        'charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>Live</title><link rel="stylesheet" href="live.css"></head>'
        f'<body style="{style}"><main><h1>Live</h1>{body}</main>'
        '<script src="live.js"></script></body></html>'
    )


def start(browser_page, address, name):
    """Open a page, start one of its figures, and wait until it shows something."""
    browser_page.goto(address)
    browser_page.locator(f"#{identity(name)} .live-start").click()
    browser_page.wait_for_selector(f"#{identity(name)}[data-state=live]")


def take_stills(names=FORMS, stills=STILLS):
    """Start figures in Chromium, and keep what each shows first."""
    from playwright.sync_api import sync_playwright

    stills.mkdir(parents=True, exist_ok=True)  # what fails fails before the browser
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        put_files(Path(made))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        view = browser.new_page(reduced_motion="reduce")
        for name in names:
            path = Path(made, "page.html")
            path.write_text(page(figure(name)), encoding="utf-8")
            start(view, path.as_uri(), name)
            html = view.locator(".live-stage").evaluate(TAKEN)
            put = partial(Path.write_text, data=html + "\n", encoding="utf-8")
            write_atomically(stills / f"{name}.html", put)
            print(f"{name}: {len(html):,} characters")


def main(names, stills=STILLS):
    """Take pictures; SystemExit where a file cannot be read or written."""
    try:
        take_stills(names, stills)
    except OSError as error:
        raise SystemExit(f"a picture cannot be made: {error}") from None


# The website


def setup(app):
    """Put the figures into what is read, and give their pages style and script."""

    def filled(text):
        for kind, name in PLACE.findall(text):
            own = touch_page.__file__, __file__, STILLS / f"{name}.html"
            for path in own[:1] if kind == "touch" else own[1:]:
                app.env.note_dependency(str(path))
        return with_figures(text)

    def source(app, name, text):
        if "<!-- live: " not in text[0] and "<!-- touch: " not in text[0]:
            return
        if not app.env.doc2path(name).endswith(".ipynb"):
            text[0] = filled(text[0])
            return
        notebook = json.loads(text[0])
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = filled("".join(cell["source"]))
        text[0] = json.dumps(notebook)

    app.add_css_file("live.css")
    app.add_js_file("live.js", loading_method="defer")
    app.connect("source-read", source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    main(sys.argv[1:] or FORMS)
