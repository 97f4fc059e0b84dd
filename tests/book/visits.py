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
# Four fifths of its time are one rule that compares the colors of each word with what
# is behind it. Thousands of words look the same, so it looks at a few of each kind.
OF_COLORS = ["color-contrast", "link-in-text-block"]  # axe's rules that read colors
FEW = """
axe.configure({ rules: [
  { id: "color-contrast", selector: "[data-of-a-kind]" },
  { id: "link-in-text-block", selector: "a[href][data-of-a-kind]" },
] });
"""
MARK = """(most) => {
  const counts = new Map(), numbers = new Map(), places = new Map();
  const numbered = (text) => {
    if (!numbers.has(text)) numbers.set(text, numbers.size);
    return numbers.get(text);
  };
  // What an element and all above it paint behind its text, or do to it.
  const behind = (element) => {
    if (!element) return -1;
    if (!places.has(element)) {
      const s = getComputedStyle(element), above = behind(element.parentElement);
      const own = [s.backgroundColor, s.backgroundImage, s.opacity, s.position, s.clip,
        s.clipPath, s.filter, s.mixBlendMode, s.overflow].join();
      const plain = "rgba(0, 0, 0, 0),none,1,static,auto,none,none,normal,visible";
      places.set(element, own === plain ? above : numbered(`${above} ${own}`));
    }
    return places.get(element);
  };
  const look = (element) => {
    const s = getComputedStyle(element);
    return [s.color, s.fontSize, s.fontWeight, s.textShadow, s.textDecoration,
      s.display];
  };
  const written = (e) => e.matches("input, select, textarea, button") ||
    [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  for (const element of document.body.querySelectorAll("*")) {
    element.removeAttribute("data-of-a-kind");
    if (!written(element) || !element.checkVisibility({ visibilityProperty: true }))
      continue;
    const parts = [element.matches("a[href]"), behind(element), look(element)];
    const kind = [...parts, look(element.parentElement)].join(";");
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    if (counts.get(kind) <= most) element.setAttribute("data-of-a-kind", "");
  }
}"""
AXE = Axe(f"{{ {PLAIN_MAPS} {AXE_SCRIPT} {FEW} }}")


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
    page.evaluate(MARK, 3)
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
