"""The pages of the built website, read in Chromium as a book needs them."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from release import citation

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MOVING = '[role="group"][aria-label]:has(input, select, button, canvas)'
UNSEEN = ".live-start { display: none }"  # a button, and pictures cannot be started
MARK = """(figures, name) => figures
  .filter((figure) => !figures.some((f) => f !== figure && f.contains(figure)))
  .forEach((figure, i) => (figure.dataset.figure = name + i))"""


class Problem(Exception):
    """Why a book cannot be made, for the one who asked for it."""


@dataclass(frozen=True)
class About:
    """What a cover and a catalog say of the book."""

    title: str
    author: str
    description: str
    version: str
    date: str
    address: str
    rights: str = "Text and figures: CC BY 4.0. Code: MIT."
    language: str = "en"


@dataclass(frozen=True)
class Leaf:
    """A page for a book: see harvest.js."""

    name: str
    part: str
    title: str
    sections: list
    styles: list
    rules: list
    formulas: int
    broken: int
    paper: str
    reader: str
    figures: list = field(default_factory=list)

    @property
    def slug(self):
        """The name of the page where no slash may be."""
        return slug(self.name)


def slug(name):
    """A page's name without slashes."""
    return name.replace("/", "-")


def about(root=ROOT):
    """What _config.yml and CITATION.cff say of the book."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    cited = citation(root)
    return About(
        config["title"],
        config["author"],
        cited["abstract"],
        str(cited.get("version", "")),
        str(cited.get("date-released", "")),
        config["html"]["baseurl"],
    )


def contents(root=ROOT):
    """Pairs of a part, empty for the first page, and the name of a page, in order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    found = [("", toc["root"])]
    for part in toc["parts"]:
        found += [(part["caption"], entry["file"]) for entry in listed(part)]
    return found


def listed(part):
    """The entries of a part, each followed by those below it."""
    for entry in part.get("chapters", part.get("sections", ())):
        if "file" in entry:
            yield entry
            yield from listed(entry)


@contextmanager
def open_browser():
    """Headless Chromium that asks nobody for anything."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise Problem("no Chromium: install the package chromium")
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update"]
    # Style sheets of a folder may be read by its pages.
    options += ["--allow-file-access-from-files"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


def harvest(browser, site, forms, root=ROOT):
    """The leaves of the book: every page of the table of contents, in its order."""
    order = contents(root)
    given = {
        "root": f"{site.resolve().as_uri()}/",
        "pages": [name for _, name in order],
        "address": about(root).address,
        "forms": forms,
    }
    page = browser.new_page(
        viewport={"width": 1000, "height": 1400},
        color_scheme="light",
        reduced_motion="reduce",
        device_scale_factor=2,
    )
    page.set_default_timeout(120_000)
    code = (HERE / "harvest.js").read_text(encoding="utf-8")
    leaves = []
    for part, name in order:
        page.goto(f"{given['root']}{name}.html", wait_until="load")
        page.evaluate("window.MathJax?.startup?.promise")
        page.evaluate("document.fonts.ready.then(() => 0)")
        figures = take_pictures(page, slug(name), pictures="reader" in forms)
        found = page.evaluate(code, {**given, "name": name})
        leaves.append(Leaf(name=name, part=part, figures=figures, **found))
    page.close()
    if broken := {leaf.name: leaf.broken for leaf in leaves if leaf.broken}:
        raise Problem(f"formulas that MathJax did not set: {broken}")
    return leaves


def take_pictures(page, name, pictures):
    """Mark the figures that move, and take a picture of each where it is wanted."""
    taken = []
    page.locator(f"article {MOVING}").evaluate_all(MARK, f"{name}-moving-")
    for figure in page.locator("[data-figure]").all() if pictures else ():
        if not figure.is_visible():
            continue
        key = figure.get_attribute("data-figure")
        options = {"animations": "disabled", "style": UNSEEN}
        taken.append((key, figure.screenshot(type="png", **options)))
    return taken
