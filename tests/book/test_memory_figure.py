"""The memory figure of chapter 09 on a page of its own: counts, keys, colors, speed."""

from dataclasses import replace
from pathlib import Path

import pytest
from visits import MODES, OVERFLOW, barriers

from r1.cost.memory import Layout, count_memory
from r1.model.config import ModelConfig

STATIC = Path(__file__).parents[2] / "book/_static"
V3, REAL = ModelConfig.deepseek_v3(), replace(Layout.deepseek_v3(), micro_batches=None)
# What the theme gives to a page, of which the figure uses these.
THEMES = {
    "light": "--pst-color-text-base:#222832;--pst-color-surface:#f3f4f5;"
    "--pst-color-border:#c9c9c9;background:#fff;color:#222832",
    "dark": "--pst-color-text-base:#ced6dd;--pst-color-surface:#222832;"
    "--pst-color-border:#48566b;background:#14181e;color:#ced6dd",
}
POWERS = ("pipeline", "data", "expert", "micro_batch", "sequence")
KINDS = ("weights", "gradients", "master weights", "moments", "activations", "buffers")


def show(page, theme="light"):
    """A page with nothing but the figure."""
    script = (STATIC / "memory.js").read_text(encoding="utf-8")
    style = (STATIC / "book.css").read_text(encoding="utf-8")
    page.set_content(
        f"<!doctype html><html lang=en data-theme={theme}><head><title>m</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<style>{style}</style></head><body style='{THEMES[theme]}'><main>"
        "<h1>m</h1><div id=memory-figure role=group aria-label=Memory></div></main>"
        f"<script>{script}</script></body></html>"
    )


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    show(page)
    yield page
    page.close()


def move(page, layout):
    """Bring the controls to a layout."""
    page.locator("#memory-figure button").click()
    for name in ("schedule", "precision", "recompute", "zero"):
        page.locator(f"#memory-{name}").select_option(str(getattr(layout, name)))
    for name in POWERS:
        power = getattr(layout, name).bit_length() - 1
        page.locator(f"#memory-{name}").fill(str(power))


LAYOUTS = [
    REAL,
    replace(REAL, recompute="nothing"),
    replace(REAL, precision="BF16", recompute="nothing"),
    replace(REAL, zero=0, recompute="layers"),
    replace(REAL, zero=2, expert=8),
    replace(REAL, zero=3, schedule="DualPipeV", pipeline=8, data=256),
    replace(REAL, schedule="DualPipeV", precision="BF16", sequence=2**15),
    replace(REAL, schedule="1F1B", micro_batch=4, recompute="nothing"),
    replace(REAL, schedule="ZB1P", zero=3, pipeline=8, data=2, expert=2),
    replace(REAL, schedule="1F1B", pipeline=1, data=1, expert=1, zero=0),
    replace(REAL, schedule="1F1B", pipeline=2, data=1024, expert=256, zero=3),
    replace(REAL, schedule="ZB1P", pipeline=4, recompute="layers", precision="BF16"),
    replace(REAL, pipeline=2, data=32, expert=32, zero=2, recompute="nothing"),
    replace(REAL, schedule="DualPipeV", pipeline=1, data=8, expert=8, sequence=2**10),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_memory_figure_counts_as_the_package_does(layout, page):
    move(page, layout)
    devices = count_memory(V3, layout)
    rows = page.locator("#memory-figure [data-device]")
    assert rows.count() == len(devices)
    for number, device in enumerate(devices):
        row = rows.nth(number)
        stages = [int(s) for s in row.get_attribute("data-stages").split()]
        assert stages == list(device.stages)
        shown = [int(b) for b in row.get_attribute("data-bytes").split()]
        assert shown == [device.kinds[kind] for kind in KINDS]
    fullest = max(devices, key=lambda device: device.total)
    cell = page.locator("#memory-figure tr[data-kind=all] td").first
    assert int(cell.get_attribute("data-value")) == fullest.total
    verdict = page.locator("#memory-figure .memory-verdict").inner_text()
    assert f"{layout.devices:,} devices" in verdict
    assert ("does not fit" in verdict) == (fullest.total > 80e9)


def test_what_cannot_be_is_changed_and_said(page):
    move(page, replace(REAL, pipeline=2, data=4, expert=4))
    page.locator("#memory-pipeline").fill("0")
    page.locator("#memory-expert").fill("5")
    verdict = page.locator("#memory-figure .memory-verdict").inner_text()
    assert verdict.startswith("DualPipe needs two devices, so the pipeline has two.")
    assert "Only 4 side by side can share experts." in verdict
    rows = page.locator("#memory-figure [data-device]")
    devices = count_memory(V3, replace(REAL, pipeline=2, data=4, expert=4))
    shown = [int(b) for b in rows.nth(1).get_attribute("data-bytes").split()]
    assert sum(shown) == devices[1].total


def test_it_is_moved_by_keys_alone(page):
    move(page, REAL)
    page.locator("#memory-schedule").focus()
    names = []
    for _ in range(9):
        names.append(page.evaluate("document.activeElement.name"))
        page.keyboard.press("Tab")
    assert sorted(names) == sorted(
        (*POWERS, "schedule", "zero", "precision", "recompute")
    )
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.locator("#memory-expert").focus()
    page.keyboard.press("ArrowLeft")
    cell = page.locator("#memory-figure tr[data-kind=weights] td").first
    device = count_memory(V3, replace(REAL, expert=32))[1]
    assert int(cell.get_attribute("data-value")) == device.weights
    assert page.locator("#memory-expert").get_attribute("aria-valuetext") == "32"


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("mode", ["light", "phone"])
def test_it_is_accessible_and_fits_a_phone(theme, mode, browser):
    context = browser.new_context(**MODES[mode])
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    show(page, theme)
    assert barriers(page) == []
    assert page.evaluate(OVERFLOW) <= 0
    assert said == []
    context.close()


@pytest.mark.alone
def test_an_event_takes_less_than_50_milliseconds(page):
    move(page, REAL)
    times = page.evaluate(
        """() => {
          const input = document.querySelector("#memory-sequence");
          return Array.from({ length: 21 }, (_, i) => {
            input.value = 10 + (i % 8);
            const start = performance.now();
            input.dispatchEvent(new Event("input", { bubbles: true }));
            document.body.offsetHeight; // layout counts, too
            return performance.now() - start;
          });
        }"""
    )
    assert sorted(times)[10] < 50
