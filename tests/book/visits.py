"""Visit built pages in Chromium and say what is wrong with each."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT
from axe_playwright_python.sync_playwright import Axe
from measures import unseen
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MODES = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "light",
        "is_mobile": True,
    },
}
# Modes that differ in colors alone share a load of a page, in the first of them: by
# turns the light and the dark, so that scripts begin in both.
SCREENS = [["light", "dark"], ["dark", "light"], ["phone"]]
BROKEN_MATH = "document.querySelectorAll('mjx-merror, mjx-mtext[style*=red]').length"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

MOST_STOPS = 149  # of the Tab key on one page, at a desk
STOPS = """() => [
  ...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]"),
].filter((e) => e.tabIndex >= 0 && !e.disabled && !e.closest("dialog:not([open])") &&
  e.checkVisibility({ visibilityProperty: true })).length"""

# axe keeps the parts of every color that it meets in WeakMaps, and they take a third of
# its time. Properties with names that nobody else knows do the same.
PLAIN_MAPS = """
class WeakMap {
  name = Symbol();
  get(key) { return key[this.name]; }
  has(key) { return this.name in key; }
  set(key, value) { key[this.name] = value; return this; }
  add(key) { return this.set(key, true); }
}
const WeakSet = WeakMap;
"""
OF_COLORS = ["color-contrast", "link-in-text-block"]  # axe's rules that read colors
AXE = Axe(f"{{ {PLAIN_MAPS} {AXE_SCRIPT} }}")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *arguments):
        pass


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a folder, served on this machine only."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Headless Chromium that asks nobody for anything."""
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*options, "--disable-sync"]
        )
        yield chromium
        chromium.close()


def barriers(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """What axe finds on a page, each with the first place where it is.

    With `rules`, by these rules alone.
    """
    # Without preload, or axe asks for style sheets in places where none are.
    options = {"preload": False, "resultTypes": ["violations"]}  # the others are slow
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found = AXE.run(page, options=options).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]


def turn(page: Page, colors: str) -> None:
    """Let a page look as if it had been loaded in the light, or in the dark."""
    page.add_style_tag(content="*, ::before, ::after { transition: none !important }")
    page.emulate_media(color_scheme=colors)
    theme = "document.documentElement.dataset.theme"
    page.wait_for_function(f"({theme} ?? '{colors}') == '{colors}'")
    menus = "document.querySelectorAll('.dropdown-menu')"  # turned on loading only
    toggle = "(menu) => menu.classList.toggle('dropdown-menu-dark', dark)"
    page.evaluate(f"(dark) => {menus}.forEach({toggle})", colors == "dark")


def visit(context: BrowserContext, address: str, name: str, *modes: str) -> dict:
    """Load a page in the first mode; what is wrong with it in each, by kinds.

    Kinds without a fault are left out.
    """
    said, outside, found = [], [], {}

    def record(request):
        if not request.url.startswith((address, "data:", "blob:")):
            outside.append(request.url)

    page = context.new_page()
    page.set_default_timeout(120_000)  # a busy machine is no fault of the page
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", record)
    page.on("response", lambda r: r.ok or said.append(f"{r.status} {r.url}"))
    page.goto(f"{address}/{name}.html", wait_until="load")
    page.wait_for_function("!window.MathJax || MathJax.startup?.promise")
    page.evaluate("window.MathJax?.startup?.promise")
    for mode in modes:
        if mode != modes[0]:
            turn(page, mode)
        # Who turns the colors changes nothing that the other rules look at.
        accessibility = barriers(page, () if mode == modes[0] else OF_COLORS)
        # What is asked for late comes while axe looks, so that nobody waits for it.
        page.wait_for_load_state("networkidle")
        faults = {
            "console": said[:],
            "requests to the outside": outside[:],
            "broken formulas": page.evaluate(BROKEN_MATH),
            "pixels that stick out": max(0, page.evaluate(OVERFLOW)),
            "accessibility": accessibility,
        }
        if mode != "phone" and (stops := page.evaluate(STOPS)) > MOST_STOPS:
            faults["stops of the Tab key"] = stops
        if mode == modes[0]:
            hidden = unseen(page)
        faults |= hidden
        found[mode] = {kind: fault for kind, fault in faults.items() if fault}
    page.close()
    return found
