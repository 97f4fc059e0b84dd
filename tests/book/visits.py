"""Visit built pages in Chromium and say what is wrong with each."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from accessibility import barriers
from measures import unseen
from playwright.sync_api import Browser, Page, sync_playwright

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


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that says nothing, and whose scripts and styles stay as they are."""

    def end_headers(self):
        # Else a browser asks again for each, and the sooner the newer the site is.
        if self.path.startswith("/_static/"):
            self.send_header("Cache-Control", "max-age=86400")
        super().end_headers()

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


def turn(page: Page, colors: str) -> None:
    """Let a page look as if it had been loaded in the light, or in the dark."""
    page.add_style_tag(content="*, ::before, ::after { transition: none !important }")
    page.emulate_media(color_scheme=colors)
    theme = "document.documentElement.dataset.theme"
    page.wait_for_function(f"({theme} ?? '{colors}') == '{colors}'")
    menus = "document.querySelectorAll('.dropdown-menu')"  # turned on loading only
    toggle = "(menu) => menu.classList.toggle('dropdown-menu-dark', dark)"
    page.evaluate(f"(dark) => {menus}.forEach({toggle})", colors == "dark")


@contextmanager
def open_tabs(browser: Browser, modes: Mapping[str, dict]) -> Iterator[dict[str, Page]]:
    """A page for each way of looking: it takes less than half the time of new ones."""
    tabs = {mode: browser.new_page(**how) for mode, how in modes.items()}
    yield tabs
    for page in tabs.values():
        page.close()


@contextmanager
def heard(page: Page, address: str) -> Iterator[tuple[list[str], list[str]]]:
    """What a page complains of meanwhile, and what it asks of anybody else."""
    said, outside = [], []

    def record(request):
        if not request.url.startswith((address, "data:", "blob:")):
            outside.append(request.url)

    ears = {
        "console": lambda m: said.append(m.text) if m.type == "error" else None,
        "pageerror": lambda error: said.append(str(error)),
        "request": record,
        "response": lambda r: (
            r.ok or r.status == 304 or said.append(f"{r.status} {r.url}")
        ),
    }
    for event, hear in ears.items():
        page.on(event, hear)
    try:
        yield said, outside
    finally:
        for event, hear in ears.items():
            page.remove_listener(event, hear)


def load(page: Page, address: str, name: str, colors: str) -> None:
    """Show another page in a tab, in the light or in the dark, its formulas set."""
    page.set_default_timeout(120_000)  # a busy machine is no fault of the page
    page.emulate_media(color_scheme=colors)
    page.goto(f"{address}/{name}.html", wait_until="load")
    page.wait_for_function("!window.MathJax || MathJax.startup?.promise")
    page.evaluate("window.MathJax?.startup?.promise")


def look(page: Page, said: list[str], outside: list[str], modes: Sequence[str]) -> dict:
    """What is wrong with a page that is loaded, in each mode and by kinds.

    Kinds without a fault are left out.
    """
    found = {}
    for mode in modes:
        if mode != modes[0]:
            turn(page, mode)
        # Who turns the colors changes nothing that the other rules look at.
        accessibility = barriers(page, colors_alone=mode != modes[0])
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
    return found


def visit(
    tabs: Mapping[str, Page], address: str, name: str, screens: Iterable[Sequence[str]]
) -> list[dict]:
    """Load a page in the first mode of each screen; what is wrong with it on each.

    One screen is looked at while the others wait for what may be asked for late.
    """
    with ExitStack() as stack:
        visited = []
        for modes in screens:
            page = tabs[modes[0]]
            visited.append((page, *stack.enter_context(heard(page, address)), modes))
            load(page, address, name, MODES[modes[0]]["color_scheme"])
        return [look(*each) for each in visited]
