"""The pages without a mouse, and as a screen reader meets them."""

import pytest
from visits import MODES, load, open_tabs, serve

LONGEST = "05_latent_attention"  # code, formulas, figures and citations
STOPS = 150
# What has the focus: where it is, its name, and the line around it.
FOCUSED = """() => {
  const e = document.activeElement;
  if (e === document.body) return null;
  const style = getComputedStyle(e);
  const parts = (color) => (color.match(/[\\d.]+/g) ?? []).slice(0, 3).map(Number);
  const light = (color) => parts(color)
    .map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const line = light(style.outlineColor);
  return {
    tag: e.tagName,
    said: `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`,
    where: e.closest(".bd-sidebar-primary, main, #pst-skip-link")?.id ?? "",
    width: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    contrast: (Math.max(ground, line) + 0.05) / (Math.min(ground, line) + 0.05),
  };
}"""
# Chromium computes the names as screen readers get them.
NAMED = "button, summary, input, select, [role=button]"


def opened(page, address, name, colors="light"):
    load(page, address, f"book/{name}", colors)
    page.wait_for_timeout(100)  # what scrolls is measured after that
    return page


@pytest.fixture(scope="module")
def tab(browser):
    """A page at a desk, for tests that begin with a load."""
    with open_tabs(browser, {"desk": MODES["light"]}) as tabs:
        yield tabs["desk"]


def walk(page, most=400):
    """What has the focus after each press of Tab, from the top of a page to its end."""
    found = []
    while len(found) < most:
        page.keyboard.press("Tab")
        now = page.evaluate(FOCUSED)
        if now is None:
            break
        found.append(now)
    return found


def unseen(stops):
    """Stops whose line is thin or pale."""
    return [s["said"] for s in stops if s["width"] < 2 or s["contrast"] < 3]


@pytest.fixture(scope="module")
def chapter(browser, address):
    """The longest chapter, on a desk."""
    with open_tabs(browser, {"desk": MODES["light"]}) as tabs:
        yield opened(tabs["desk"], address, LONGEST)


@pytest.mark.parametrize(("name", "colors"), [(LONGEST, "light"), ("index", "dark")])
def test_a_page_has_few_stops_and_each_is_seen(name, colors, tab, address):
    page = opened(tab, address, name, colors)
    stops = walk(page)
    assert 60 < len(stops) < STOPS
    assert unseen(stops) == []
    first = stops[0]
    assert first["where"] == "pst-skip-link"
    assert {"pst-primary-sidebar", "main-content"} <= {s["where"] for s in stops}
    assert not [s for s in stops if s["tag"].startswith("MJX")]  # all of them fit


def test_a_pale_a_thin_and_no_line_are_found(tab, tmp_path):
    page = """<body style="background: #fff"><style>a:focus { outline: 2px solid #06c }
    .pale:focus { outline-color: #ccc } .thin:focus { outline-width: 1px }
    .none:focus { outline: none }</style><a href="#">good</a>"""
    for name in ("pale", "thin", "none"):
        page += f'<a href="#" class="{name}">{name}</a>'
    (tmp_path / "book").mkdir()
    (tmp_path / "book/page.html").write_text(page)
    with serve(tmp_path) as address:
        stops = walk(opened(tab, address, "page"))
    assert len(stops) == 4
    assert [said.split()[-1] for said in unseen(stops)] == ["pale", "thin", "none"]


CONTROLS = [
    ".bd-links li a",
    ".bd-links summary",
    ".dropdown-launch-buttons button",
    ".dropdown-source-buttons button",
    ".dropdown-download-buttons button",
    ".theme-switch-button",
    "button.copybtn[tabindex='0']",
    ".toggle-button",
    "article summary",
]


def test_a_focus_changes_pixels_on_every_kind_of_control(chapter):
    same = []
    for control in CONTROLS:
        places = chapter.locator(control)
        if control.endswith("summary") and "bd-links" in control and not places.count():
            continue  # no part of the book has pages below its chapters
        place = places.first
        place.scroll_into_view_if_needed()
        chapter.evaluate("document.activeElement.blur()")
        chapter.mouse.move(0, 0)
        box = place.bounding_box()
        clip = {"x": box["x"] - 6, "y": box["y"] - 6}
        clip |= {"width": box["width"] + 12, "height": box["height"] + 12}
        before = chapter.screenshot(clip=clip)
        place.evaluate("e => e.focus({ focusVisible: true, preventScroll: true })")
        if chapter.screenshot(clip=clip) == before:
            same.append(control)
    assert same == []


def names_of(page, kind):
    """The names of a kind of control, as the accessibility tree has them."""
    chrome = page.context.new_cdp_session(page)
    chrome.send("Accessibility.enable")
    nodes = chrome.send("Accessibility.getFullAXTree")["nodes"]
    return [
        node["name"]["value"].strip()
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in kind
    ]


def test_every_button_has_a_name_of_its_own(chapter):
    names = names_of(chapter, ("button", "DisclosureTriangle"))
    assert len(names) > 40
    assert [name for name in names if not name or names.count(name) > 1] == []
    assert {
        "Show the hint of exercise 5.2",
        "Show the solution of exercise 5.2",
    } <= set(names)
    assert any(name.startswith("Show the source of Fig. 5.1") for name in names)
    assert not [name for name in names if "hidden content" in name]


def test_the_skip_link_is_seen_and_leads_past_the_sidebar(tab, address):
    page = opened(tab, address, "index")
    page.keyboard.press("Tab")
    # It slides into the page.
    seen = "document.querySelector('#pst-skip-link a').getBoundingClientRect().top >= 0"
    page.wait_for_function(seen)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["where"] == "main-content"


@pytest.mark.parametrize("kind", ["button.copybtn", "article p a", ".page-toc a"])
def test_arrow_keys_lead_through_what_is_one_stop(kind, chapter):
    stop = f"{kind}[data-group][tabindex='0']"
    begin = chapter.locator(stop).first.element_handle()
    begin.focus()
    chapter.keyboard.press("ArrowDown")
    here = f"document.activeElement.matches({stop!r})"
    assert chapter.evaluate(here)
    assert begin.evaluate("e => e.tabIndex") == -1
    chapter.keyboard.press("ArrowUp")
    assert begin.evaluate("e => e === document.activeElement && e.tabIndex === 0")


def test_a_toggle_opens_by_keys_and_says_so(chapter):
    toggle = chapter.get_by_role("button", name="Show the hint of exercise 5.2")
    toggle.focus()
    states = [toggle.get_attribute("aria-expanded")]
    for _ in range(2):
        chapter.keyboard.press("Enter")
        states.append(toggle.get_attribute("aria-expanded"))
    assert states == ["false", "true", "false"]


def test_a_button_that_is_pressed_keeps_the_focus(browser, address):
    page = opened(browser.new_page(), address, "index")
    themes = []
    for _ in range(2):
        page.locator(".theme-switch-button").focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(50)
        themes.append(page.evaluate("document.documentElement.dataset.mode"))
        held = "document.activeElement.matches('.theme-switch-button')"
        assert page.evaluate(held)
    assert len(set(themes)) == 2
    page.close()


@pytest.mark.parametrize("kind", ["bibliography.html#", "glossary.html#"])
def test_a_hint_opens_on_focus_describes_its_link_and_closes(kind, tab, address):
    page, asked = tab, []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/book/{LONGEST}.html", wait_until="load")
    assert asked
    assert not [url for url in asked if "tippy" in url]
    link = page.locator(f"article a[href*='{kind}']").first
    link.focus()
    hint = page.locator(".tippy-box[data-state='visible']")
    hint.wait_for()
    described = link.get_attribute("aria-describedby")
    assert page.locator(f"#{described} .tippy-content").inner_text().strip()
    assert link.get_attribute("title") is None
    assert link.get_attribute("aria-expanded") is None
    page.keyboard.press("Escape")
    hint.wait_for(state="detached")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    hint.wait_for()  # it comes again
    link.hover()
    box = hint.bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] / 2, steps=5)
    page.wait_for_timeout(400)
    assert hint.is_visible()  # and stays while the pointer is on it
    page.mouse.move(0, 0)


HINT = r"""selector_to_html = { "article a": "<span class='math'>\\(x^2\\)</span>" };
skip_classes = [];"""


def test_a_page_without_formulas_sets_those_of_its_hints(browser, address):
    page = browser.new_page()
    page.route("**/tippy/book/index.js", lambda route: route.fulfill(body=HINT))
    page.goto(f"{address}/book/index.html", wait_until="load")
    assert page.evaluate("window.MathJax") is None
    page.locator("article a.reference").first.focus()
    page.locator(".tippy-box mjx-container mjx-msup").wait_for()
    page.close()


def test_a_figure_says_once_what_changed_when_it_has_stopped(chapter):
    live = "[...document.querySelectorAll('#cache-figure [aria-live=polite]')].length"
    assert chapter.evaluate(live) == 0
    off = "e => e.every((o) => o.getAttribute('aria-live') === 'off')"
    assert chapter.locator("#cache-figure output").evaluate_all(off)
    chapter.evaluate(
        """() => {
          window.spoken = [];
          const voice = document.querySelector("#cache-figure .figure-voice");
          new MutationObserver(() => window.spoken.push(voice.textContent))
            .observe(voice, { childList: true });
        }"""
    )
    chapter.locator("#cache-users").focus()
    for _ in range(4):
        chapter.keyboard.press("ArrowRight")
        chapter.wait_for_timeout(100)
    assert chapter.evaluate("window.spoken") == []
    chapter.wait_for_function("window.spoken.length > 0")
    chapter.wait_for_timeout(1000)
    (said,) = chapter.evaluate("window.spoken")
    assert said.startswith("MHA: ")
    assert " GPUs. MLA: " in said
    chapter.locator("#cache-latent").focus()
    chapter.keyboard.press("ArrowRight")
    chapter.wait_for_function("window.spoken.length > 1")
    assert chapter.evaluate("window.spoken[1]").startswith("MLA: ")  # it alone changed


def test_formulas_are_stops_only_where_they_scroll(chapter):
    page = chapter
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(600)
    fits = """boxes => boxes.filter((box) =>
      (box.scrollWidth > box.clientWidth + 1) !== (box.tabIndex === 0)).length"""
    boxes = page.locator("mjx-container[display]")
    assert boxes.evaluate_all(fits) == 0
    assert boxes.evaluate_all("boxes => boxes.some((box) => box.tabIndex === 0)")
    inline = page.locator("mjx-container:not([display])")
    assert inline.evaluate_all("all => all.every((e) => e.tabIndex < 0)")
    page.set_viewport_size(MODES["light"]["viewport"])
