"""Visit built pages in Chromium and say what is wrong with each, one JSON a line.

`python tests/book/visits.py HTML MODE/PAGE ...` serves the folder HTML to itself and
visits the pages in this order. The tests start it as a process of its own, so that the
browser works on one core while the unit tests run on the other.
"""

import functools
import http.server
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
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
BROKEN_MATH = "document.querySelectorAll('mjx-merror, mjx-mtext[style*=red]').length"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


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


def barriers(page: Page) -> list[str]:
    """What axe finds on a page, each with the first place where it is."""
    # Without preload, or axe asks for style sheets in places where none are.
    options = {"preload": False, "resultTypes": ["violations"]}  # the others are slow
    found = Axe().run(page, options=options).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]


def faults(context: BrowserContext, address: str, name: str) -> dict:
    """All that is wrong with a page, by kinds; kinds without a fault are left out."""
    said, outside = [], []

    def record(request):
        if not request.url.startswith((address, "data:", "blob:")):
            outside.append(request.url)

    page = context.new_page()
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", record)
    page.on("response", lambda r: r.ok or said.append(f"{r.status} {r.url}"))
    page.goto(f"{address}/{name}.html", wait_until="load")
    page.wait_for_function("!window.MathJax || MathJax.startup?.promise")
    page.evaluate("window.MathJax?.startup?.promise")
    page.wait_for_load_state("networkidle")
    found = {
        "console": said,
        "requests to the outside": outside,
        "broken formulas": page.evaluate(BROKEN_MATH),
        "pixels that stick out": max(0, page.evaluate(OVERFLOW)),
        "accessibility": barriers(page),
    }
    page.close()
    return {kind: fault for kind, fault in found.items() if fault}


def main(folder: str, *visits: str) -> None:
    """Visit pages; each line of the output is [MODE/PAGE, faults]."""
    with serve(Path(folder)) as address, open_browser() as browser:
        contexts = {mode: browser.new_context(**MODES[mode]) for mode in MODES}
        for visit in visits:
            mode, _, name = visit.partition("/")
            found = faults(contexts[mode], address, name)
            print(json.dumps([visit, found]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
