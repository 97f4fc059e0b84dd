"""Every page in a real browser: light, dark and on a phone."""

from pathlib import Path

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe

ROOT = Path(__file__).parent.parent
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


def pages():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [toc["root"]]
    for part in toc["parts"]:
        files += [chapter["file"] for chapter in part["chapters"]]
    return [*files, "genindex", "search"]


@pytest.fixture(scope="module", params=MODES)
def context(request, browser):
    context = browser.new_context(**MODES[request.param])
    yield context
    context.close()


@pytest.mark.parametrize("name", pages())
def test_a_page_is_whole_quiet_and_accessible(name, context, address):
    said, outside = [], []

    def record(request):
        if not request.url.startswith((address, "data:", "blob:")):
            outside.append(request.url)

    page = context.new_page()
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", record)
    page.on("response", lambda r: r.ok or said.append(f"{r.status} {r.url}"))
    response = page.goto(f"{address}/{name}.html", wait_until="load")
    assert response.ok, f"{name}.html answers {response.status}"
    page.wait_for_function("!window.MathJax || MathJax.startup?.promise")
    page.evaluate("window.MathJax?.startup?.promise")
    page.wait_for_load_state("networkidle")
    # Without preload, or axe asks for style sheets in places where none are.
    violations = Axe().run(page, options={"preload": False}).response["violations"]
    faults = {
        "console": said,
        "requests to the outside": outside,
        "broken formulas": page.evaluate(BROKEN_MATH),
        "pixels that stick out": max(0, page.evaluate(OVERFLOW)),
        "accessibility": [
            f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in violations
        ],
    }
    page.close()
    assert not any(faults.values()), {k: v for k, v in faults.items() if v}
