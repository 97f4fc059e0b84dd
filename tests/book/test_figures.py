"""The figures that move, in a browser: counts, pointer, keys and speed."""

import re
from dataclasses import replace
from functools import partial

import pytest
from visits import MODES

from r1.cost.bill import PEAK, PRICES, ServiceDay, TrainingBill
from r1.cost.counting import (
    attention_flops,
    count_gpus,
    kv_cache_bytes,
    training_flops,
)
from r1.cost.schedule import (
    METHODS,
    Times,
    bubble_formula,
    bubbles,
    dualpipev,
    interleaved,
    makespan,
    peak_activations,
    simulate,
)
from r1.model.config import ModelConfig
from r1.train import published

PAGES = {"cache": "05_latent_attention", "bill": "10_bill", "schedule": "09_pipelines"}
STATE = """(figure) => {
  const copy = figure.cloneNode(true);
  copy.querySelector(".figure-voice").remove();  // what was said last
  const fields = [...figure.querySelectorAll("input, select")];
  return [fields.map((field) => field.value), copy.innerHTML];
}"""
SET = """(figure, values) => {
  figure.querySelectorAll("input, select").forEach((e, i) => (e.value = values[i]));
  figure.querySelector("select, input").dispatchEvent(
    new Event("input", { bubbles: true }),
  );
}"""


def load(browser, address, figure, mode="light"):
    """A new page with a figure; its formulas have been set."""
    page = browser.new_page(**MODES[mode])
    page.goto(f"{address}/book/{PAGES[figure]}.html", wait_until="load")
    page.evaluate("window.MathJax.startup.promise")
    return page


@pytest.fixture(scope="module")
def show(browser, address):
    """Shows a figure, some of its controls moved; its page is loaded once in a mode.

    All else of it is as it was when the page had been loaded.
    """
    pages = {}

    def show(name, moved=(), mode="light"):
        place = f"#{name}-figure"
        if (name, mode) not in pages:
            page = load(browser, address, name, mode)
            pages[name, mode] = page, page.locator(place).evaluate(STATE)
        page, state = pages[name, mode]
        figure = page.locator(place)
        figure.evaluate(SET, state[0])
        assert figure.evaluate(STATE) == state
        for control, value in dict(moved).items():
            field = page.locator(f"#{name}-{control}")
            if field.evaluate("e => e.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(str(value))
        return page

    yield show
    for page, _ in pages.values():
        page.close()


# Exponents of two, but for the layers: heads, width, latent, context, users.
SIZES = [
    {},
    {"heads": 4, "width": 8, "layers": 27},
    {"latent": 11, "context": 14, "users": 12},
]


@pytest.mark.parametrize("moved", SIZES)
def test_the_cache_figure_counts_as_the_package_does(moved, show):
    page = show("cache", moved)
    powers = {"heads": 7, "width": 7, "latent": 9, "context": 17, "users": 4} | moved
    layers = powers.pop("layers", 61)
    size = {name: 2**power for name, power in powers.items()}
    v3, width = ModelConfig.deepseek_v3(), size["width"]
    plain = replace(
        v3,
        n_layers=layers,
        n_heads=size["heads"],
        n_kv_heads=size["heads"],
        q_lora_rank=0,
        kv_lora_rank=0,
        qk_nope_head_dim=0,
        qk_rope_head_dim=width,
        v_head_dim=width,
    )
    configs = {
        "MHA": plain,
        "GQA": replace(plain, n_kv_heads=min(8, size["heads"])),
        "MQA": replace(plain, n_kv_heads=1),
        "MLA": replace(plain, kv_lora_rank=size["latent"], qk_rope_head_dim=width // 2),
    }
    for kind, config in configs.items():
        cells = page.locator(f"tr[data-kind={kind}] td")
        shown = [int(cells.nth(i).get_attribute("data-value")) for i in range(3)]
        context, users = size["context"], size["users"]
        assert shown == [
            kv_cache_bytes(config),
            kv_cache_bytes(config, context * users),
            count_gpus(config, context, users, memory=80e9),
        ]


# Experts and length are exponents of two; shares are in percent, tokens in trillions.
BILLS = [
    {},
    {"experts": 8, "length": 15, "share": 25.5, "prices": "V3"},
    {"tokens": 7.5, "rent": 4.3, "watts": 1530, "billed": 31, "prices": "o1"},
    {"experts": 0, "length": 10, "billed": 0, "prices": "R1 at night"},
    {"other": 0, "research": 50, "rent": 0.5},
]


def amounts(page, what="value"):
    """Numbers of the figure by name: `value`, or where a bar goes `from` and `to`."""
    script = """what => Object.fromEntries(
      [...document.querySelectorAll("#bill-figure [data-what]")].map(
        cell => [cell.dataset.what, Number(cell.dataset[what])]))"""
    return page.evaluate(script, what)


@pytest.mark.parametrize("moved", BILLS)
def test_the_interactive_bill_adds_up_as_the_package_does(moved, show):
    page = show("bill", moved)
    start = {"experts": 3, "length": 12, "tokens": 14.8, "share": 39.06, "rent": 2.0}
    start |= {"watts": 700.0, "billed": 100, "prices": "R1", "other": 124}
    at = start | {"research": 0} | moved
    config = replace(
        ModelConfig.deepseek_v3(),
        n_activated_experts=2 ** at["experts"],
        n_expert_groups=1,
        n_limited_groups=1,
    )
    bill = TrainingBill(
        training_flops(config, 2 ** at["length"]),
        tokens=at["tokens"] * 1e12,
        utilization=at["share"] / 100,
        other_hours=at["other"] * 1e3,
        rent=float(at["rent"]),
        watts=float(at["watts"]),
    )
    day, billed = ServiceDay(rent=float(at["rent"])), at["billed"] / 100
    prices, half = PRICES[at["prices"]], replace(bill, utilization=1.0)
    matrices = training_flops(config, 0) * bill.tokens / PEAK / 3600 * bill.rent
    attention = attention_flops(config, 2 ** at["length"]) * bill.tokens
    attention *= bill.rent / PEAK / 3600
    expected = {
        "flops": bill.flops_per_token,
        "pretraining": bill.pretraining_hours,
        "hours": bill.hours,
        "days": bill.hours / 2048 / 24,
        "matrices": matrices,
        "attention": attention,
        "below": bill.pretraining_hours * bill.rent - matrices - attention,
        "other": bill.other_hours * bill.rent,
        "dollars": bill.dollars,
        "research": bill.dollars * at["research"] / 100,
        "everything": bill.dollars * (1 + at["research"] / 100),
        "energy": bill.megawatt_hours,
        "llama": published("llama-hours") * 1e6 * bill.rent,
        "hits": day.hits * prices.hit / 1e6,
        "misses": day.misses * prices.miss / 1e6,
        "written": day.written * prices.written / 1e6,
        "unpaid": day.revenue(prices, billed) - day.revenue(prices),
        "cost": -day.cost,
        "profit": day.revenue(prices, billed) - day.cost,
        "revenue": day.revenue(prices, billed),
        "margin": day.margin(prices, billed),
    }
    # Hours are rounded to thousands there, so the full peak is a little off.
    assert half.dollars == pytest.approx(
        matrices + attention + bill.other_hours * bill.rent, abs=500 * bill.rent
    )
    shown = amounts(page)
    assert shown == pytest.approx(expected, abs=1e-6)
    if not moved:
        dollars = page.locator("#bill-figure [data-what=dollars]").inner_text()
        assert dollars == "$5.576 M"


WATERFALLS = [
    "matrices attention below other dollars* research everything*",
    "hits misses written unpaid cost profit*",
]


@pytest.mark.parametrize("moved", BILLS)
def test_each_bar_of_a_waterfall_begins_where_the_one_before_ends(moved, show):
    page = show("bill", moved)
    begin, end = amounts(page, "from"), amounts(page, "to")
    for bars in WATERFALLS:
        at = 0.0
        for bar in bars.split():
            name = bar.rstrip("*")
            if bar != name:  # a total ends where the bars before it end
                assert (begin[name], end[name]) == pytest.approx((0.0, at), abs=1e-6)
            else:
                assert begin[name] == pytest.approx(at, abs=1e-6)
            at = end[name]


# Of each mark: dollars, and the pixels from the left edge of the track and to its end.
MARKS = """() => Object.fromEntries(
  [...document.querySelectorAll("#bill-figure [data-mark]")].map((mark) => {
    const track = mark.parentElement.getBoundingClientRect();
    const box = mark.getBoundingClientRect();
    const ends = [box.left - track.left, box.right - track.left];
    return [mark.dataset.mark, {
      dollars: [+mark.dataset.from, +mark.dataset.to],
      ends: ends.map((x) => x / track.width),
      beyond: mark.classList.contains("bill-beyond"),
    }];
  }))"""
OUTLINES = """() => [...document.querySelectorAll("#bill-figure .bill-ghost")].map(
  (ghost) => {
    const track = ghost.parentElement.getBoundingClientRect();
    const box = ghost.getBoundingClientRect();
    return box.width && [box.left - track.left, box.width].map((x) => x / track.width);
  })"""
# What is moved, and the end of the training waterfall's scale.
SCALES = [({}, 10e6), ({"rent": 0.5}, 10e6), ({"tokens": 30, "share": 5}, 100e6)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("moved", "scale"), SCALES)
def test_the_bill_shows_llama_s_and_how_far_v3_s_may_be_off(moved, scale, mode, show):
    page = show("bill", moved, mode)
    marks, cell = page.evaluate(MARKS), page.locator("article").inner_text()
    printed = {
        name: (1e6 * float(low), 1e6 * float(high))
        for name, low, high in re.findall(
            r"^(\w+) +([\d.]+) to +([\d.]+) million", cell, re.M
        )
    }
    # The widest of the final run's own assumptions, but for the rent's.
    widths = {name: high - low for name, (low, high) in printed.items()}
    assert max(set(widths) - {"rent", "research"}, key=widths.get) == "utilization"
    rent = float(page.locator("#bill-rent").input_value())
    llama = published("llama-hours") * 1e6 * rent
    expected = {
        "band": printed["utilization"],
        "range": printed["rent"],
        "llama": (llama, llama),
    }
    assert marks.keys() == expected.keys()
    for name, ends in expected.items():
        assert marks[name]["dollars"] == pytest.approx(ends)
        assert marks[name]["beyond"] == (ends[1] > scale)
        places = [min(1, end / scale) for end in ends]
        # The ends of the axis have no borders; a track's are a pixel each.
        assert marks[name]["ends"] == pytest.approx(places, abs=0.01)
    said = page.locator("#bill-figure [data-say]").inner_text()
    assert f" {llama / amounts(page)['dollars']:#.3g} times the final run" in said
    assert ("beyond the right edge of the scale" in said) == (llama > scale)
    key = page.locator("#bill-figure .bill-key").first.inner_text()
    shown = [*printed["utilization"], *printed["rent"]]
    assert [float(x) * 1e6 for x in re.findall(r"\$([\d.]+) M", key)] == shown
    shares = re.search(r"utilization ([\d.]+)% to ([\d.]+)%", cell)
    assert f"{shares[2]} to {shares[1]} % of the peak" in key


@pytest.mark.parametrize("mode", MODES)
def test_outlines_show_v3_s_own_bars_while_the_bill_differs(mode, show):
    page = show("bill", mode=mode)
    assert page.evaluate(OUTLINES) == [0] * 7
    assert "outlined" not in page.locator("#bill-figure [data-say]").inner_text()
    bars = WATERFALLS[0].replace("*", "").split()
    begin, end = amounts(page, "from"), amounts(page, "to")
    for moved in ({"rent": 1.2}, {"tokens": 20}, {"research": 10, "rent": 3.5}):
        show("bill", moved, mode)
        outlines = page.evaluate(OUTLINES)
        axis = page.locator("#bill-figure .bill-axis .bill-track").first
        scale = 1e6 * float(axis.locator("span").last.inner_text().strip("$M "))
        for bar, (left, width) in zip(bars, outlines, strict=True):
            low, high = sorted((begin[bar], end[bar]))
            assert left == pytest.approx(low / scale, abs=0.01)
            assert width == pytest.approx((high - low) / scale, abs=0.02)
        dollars = amounts(page)["dollars"]
        kind = "more" if dollars > end["dollars"] else "less"
        said = page.locator("#bill-figure [data-say]").inner_text()
        assert f" {kind} than V3's own $5.576 M (outlined)." in said
        size = re.search(r"costs \$([\d.,]+)( M)?", said)
        change = float(size[1].replace(",", "")) * (1e6 if size[2] else 1)
        assert change == pytest.approx(abs(dollars - end["dollars"]), rel=1e-3)
    show("bill", {"watts": 1530}, mode)  # no bar of training depends on it
    assert page.evaluate(OUTLINES) == [0] * 7


def test_the_bill_says_what_its_marks_show_when_a_factor_has_moved(show):
    page = show("bill")
    page.locator("#bill-rent").fill("1.2")
    voice = page.locator("#bill-figure .figure-voice")
    voice.filter(has_text="outlined").wait_for(state="attached")
    assert "less than V3's own $5.576 M (outlined). Llama's" in voice.text_content()


def test_amounts_of_the_bill_stay_numbers_when_all_is_dear(show):
    far = {"tokens": 30, "experts": 8, "length": 17, "share": 5, "rent": 10}
    page = show("bill", far)
    axis = page.locator("#bill-figure .bill-axis").first.locator(".bill-track span")
    assert axis.all_inner_texts() == ["$0", "$5,000 M", "$10,000 M"]
    assert "e+" not in page.locator("#bill-figure").inner_text()


GRIPS = {
    "matrices": ("tokens", -40),
    "below": ("share", -60),
    "other": ("other", 4),
    "dollars": ("rent", -80),
    "research": ("research", 20),
    "unpaid": ("billed", -90),
}


@pytest.mark.parametrize("bar", GRIPS)
@pytest.mark.parametrize("mode", ["light", "phone"])
def test_the_end_of_a_bar_follows_the_pointer(bar, mode, show):
    factor, far = GRIPS[bar]
    page = show("bill", mode=mode)
    grip = page.locator(f"#bill-figure [data-bar={bar}] .bill-grip")
    grip.scroll_into_view_if_needed()
    box, before = grip.bounding_box(), amounts(page)[bar]
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + far, y, steps=5)
    now = grip.bounding_box()
    # No farther from the pointer than one step of the slider.
    track = page.locator(f"[data-bar={bar}] .bill-track").bounding_box()["width"]
    assert now["x"] - box["x"] == pytest.approx(far, abs=2 + 0.02 * track)
    page.mouse.up()
    assert (amounts(page)[bar] > before) == (far > 0)
    moved = float(page.locator(f"#bill-{factor}").input_value())
    page.locator("#bill-figure button").first.click()
    assert float(page.locator(f"#bill-{factor}").input_value()) != moved
    assert amounts(page)[bar] == before


def test_every_factor_of_the_bill_moves_by_keys(show):
    page = show("bill")
    for name in page.locator("#bill-figure input").evaluate_all(
        "inputs => inputs.map(input => input.name)"
    ):
        field, before = page.locator(f"#bill-{name}"), amounts(page)
        value = float(field.input_value())
        field.focus()
        page.keyboard.press("ArrowLeft")
        assert float(field.input_value()) < value or name == "research"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        changed = {what for what, x in amounts(page).items() if x != before[what]}
        assert changed or name == "billed"  # all tokens are paid for already


TIMED = [("bill", "light"), ("schedule", "light"), ("schedule", "phone")]


@pytest.fixture(scope="module")
def untouched(browser, address):
    """Pages on which nothing has been done, to be timed without their loads."""
    pages = {one: load(browser, address, *one) for one in TIMED}
    yield pages
    for page in pages.values():
        page.close()


@pytest.mark.parametrize(("name", "mode"), TIMED)
def test_a_figure_that_is_timed_is_there(name, mode, untouched):
    assert untouched[name, mode].locator(f"#{name}-figure input").count() > 5


# The quickest of three tries of each event: the machine may be busy meanwhile.
SLOWEST = """() => {
  let slowest = 0;
  const timed = (input, end) => {
    input.value = end;
    const start = performance.now();
    input.dispatchEvent(new Event("input", { bubbles: true }));
    document.body.getBoundingClientRect(); // the layout, too
    return performance.now() - start;
  };
  for (const input of document.querySelectorAll("#bill-figure input"))
    for (const end of [input.min, input.max, (+input.min + +input.max) / 2]) {
      const tries = [0, 1, 2].map(() => timed(input, end));
      slowest = Math.max(slowest, Math.min(...tries));
    }
  return slowest;
}"""
WATCH = """() => {
  window.handled = [];
  new PerformanceObserver((list) => {
    for (const { name, processingStart, processingEnd } of list.getEntries())
      window.handled.push([name, processingEnd - processingStart]);
  }).observe({ type: "event", durationThreshold: 16 });
}"""


@pytest.mark.alone
def test_the_bill_answers_every_event_within_50_milliseconds(untouched):
    page = untouched["bill", "light"]
    assert page.evaluate(SLOWEST) < 50
    page.evaluate(WATCH)
    grip, longest = page.locator("#bill-figure [data-bar=below] .bill-grip"), []
    for _ in range(3):
        page.locator("#bill-figure button").first.click()
        grip.scroll_into_view_if_needed()
        box = grip.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.evaluate("window.handled = []")
        page.mouse.down()
        page.mouse.move(box["x"] - 100, box["y"], steps=20)
        page.mouse.up()
        page.wait_for_timeout(100)
        handled = page.evaluate("window.handled")
        longest.append(max([time for _, time in handled], default=0))
    assert min(longest) < 50


SCHEDULES = [
    {},
    {"devices": 16, "rounds": 4},
    {"devices": 2, "rounds": 2, "weight": 3},
    {"devices": 6, "rounds": 3, "forward": 3, "input": 4, "weight": 2, "saved": 3},
    {"devices": 10, "rounds": 2, "forward": 4, "saved": 6, "wire": 2},
]
# The schedules of the figure on D devices, and how many stages each device has.
FIGURE = {name: (build, 1) for name, build in METHODS.items()}
FIGURE |= {"DualPipeV": (dualpipev, 2)}
FIGURE |= {"interleaved 1F1B": (partial(interleaved, overlap=True), 2)}


def runs_of_the_figure(moved):
    """By schedule: its order, its times, and when each slot runs, by the package."""
    at = {"devices": 8, "rounds": 2, "forward": 1, "input": 1, "weight": 1}
    at |= {"saved": 0, "wire": 0} | moved
    f, w = at["forward"], at["weight"]
    b = at["input"] + w
    both = max(f, b, f + b - at["saved"])
    micros = at["rounds"] * at["devices"]
    runs = {}
    for method, (build, chunks) in FIGURE.items():
        parts = [time / chunks for time in (f, b, w, both)]
        times = Times(*parts, wire=at["wire"])
        schedule = build(chunks * at["devices"], micros)
        runs[method] = schedule, times, simulate(schedule, times)
    return runs, micros


@pytest.mark.parametrize("moved", SCHEDULES)
def test_the_schedule_figure_waits_as_the_package_does(moved, show):
    page = show("schedule", moved)
    runs, micros = runs_of_the_figure(moved)
    rounds = page.locator("output[for=schedule-rounds]").inner_text()
    assert rounds.endswith(f" ({micros})")
    for method, (schedule, times, spans) in runs.items():
        row = page.locator(f"tr[data-method='{method}']")
        shown = {
            what: row.locator(f"[data-what={what}]").get_attribute("data-value")
            for what in ("length", "bubble", "formula", "held", "share")
        }
        _, chunks = FIGURE[method]
        stages, idle = chunks * len(schedule), bubbles(spans)
        if method == "interleaved 1F1B":
            formula = (len(schedule) - 1) * (times.forward + times.backward)
        else:
            formula = bubble_formula(method, stages, times)
        assert float(shown["length"]) == makespan(spans)
        assert [float(x) for x in shown["bubble"].split()] == [min(idle), max(idle)]
        assert float(shown["formula"]) == formula
        assert float(shown["held"]) == max(peak_activations(schedule)) / chunks
        share = sum(idle) / len(idle) / makespan(spans)
        assert float(shown["share"]) == pytest.approx(share)
        held = {len({op.stage for slot in r for op in slot}) / chunks for r in schedule}
        copies = row.locator("[data-what=stages]").get_attribute("data-value")
        assert held == {float(copies)}


@pytest.mark.parametrize("moved", SCHEDULES[::3])
def test_at_each_moment_the_schedule_figure_says_who_works(moved, show):
    page = show("schedule", moved)
    runs, _ = runs_of_the_figure(moved)
    for method, (schedule, _, spans) in runs.items():
        page.locator("#schedule-second").select_option(method)
        canvas = page.locator("#schedule-figure canvas").nth(1)
        passes = sum(len(slot) for row in schedule for slot in row)
        assert int(canvas.get_attribute("data-passes")) == passes
        assert canvas.get_attribute("aria-label").startswith(f"Timeline of {method}:")
        for time in (0.5, makespan(spans) // 2, makespan(spans)):
            page.locator("#schedule-time").fill(str(time))
            state = page.locator(".schedule-state").nth(1)
            flat = [span for row in spans for span in row]
            busy = sum(start <= time < end for start, end, _ in flat)
            worked = sum(max(0, min(time, end) - start) for start, end, _ in flat)
            assert int(state.get_attribute("data-busy")) == busy
            waited = float(state.get_attribute("data-waited"))
            assert waited == pytest.approx(time * len(spans) - worked)


def colors(page, number=1):
    """How often each color stands in a timeline, as its canvas has been painted."""
    return page.evaluate(
        """(number) => {
          const canvas = document.querySelectorAll("#schedule-figure canvas")[number];
          const { width, height } = canvas;
          const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          const count = {};
          for (let i = 0; i < data.length; i += 4) {
            const key = [...data.slice(i, i + 4)].join(" ");
            count[key] = (count[key] ?? 0) + 1;
          }
          return count;
        }""",
        number,
    )


BLUE = "86 180 233 255"  # a forward pass that has run, and is not dimmed


def test_the_schedule_figure_works_from_the_keyboard(show):
    """Choose, move, follow and play without a mouse."""
    page = show("schedule")
    ran = colors(page)[BLUE]
    page.locator("#schedule-second").focus()
    page.keyboard.press("ArrowDown")
    assert "DualPipeV" in page.locator(".schedule-title").nth(1).inner_text()
    page.keyboard.press("ArrowUp")
    page.locator("#schedule-follow").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("output[for=schedule-follow]").inner_text() == "0"
    assert 0 < colors(page)[BLUE] < ran / 4  # the others are dimmed
    page.keyboard.press("ArrowLeft")
    assert colors(page)[BLUE] == ran
    page.locator("#schedule-time").focus()
    page.keyboard.press("Home")
    assert colors(page).get(BLUE, 0) == 0
    page.keyboard.press("ArrowRight")
    assert colors(page)[BLUE] > 0
    page.keyboard.press("Home")
    page.locator(".schedule-play").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('schedule-time').value > 2")
    page.keyboard.press("Enter")
    assert page.locator(".schedule-play").inner_text() == "Play"


def test_a_click_on_a_pass_follows_its_micro_batch(show):
    page = show("schedule")
    canvas = page.locator("#schedule-figure canvas").first
    canvas.click(position={"x": 38, "y": 8})  # device 0 begins with micro-batch 0
    assert page.locator("output[for=schedule-follow]").inner_text() == "0"
    canvas.click(position={"x": 38, "y": 8})
    assert page.locator("output[for=schedule-follow]").inner_text() == "none"


COUNT_PAINTS = """() => {
  window.paints = 0;
  const { prototype } = CanvasRenderingContext2D;
  const { clearRect } = prototype;
  prototype.clearRect = function (...box) {
    window.paints += 1;
    return clearRect.apply(this, box);
  };
}"""


def test_the_mouse_over_a_pass_follows_its_micro_batch(show):
    page = show("schedule")
    slider, output = (
        page.locator(place)
        for place in ("#schedule-follow", "output[for=schedule-follow]")
    )
    page.mouse.move(0, 0)
    canvas = page.locator("#schedule-figure canvas").first
    canvas.scroll_into_view_if_needed()
    plain, ran = colors(page, 0), colors(page)[BLUE]
    canvas.hover(position={"x": 38, "y": 8})  # device 0 begins with micro-batch 0
    assert (output.inner_text(), slider.input_value()) == ("0", "0")
    assert 0 < colors(page)[BLUE] < ran / 4  # in the other timeline, too
    seen = []
    box = canvas.bounding_box()
    page.evaluate(COUNT_PAINTS)
    for across in (39, 40, 41):  # the same pass
        page.mouse.move(box["x"] + across, box["y"] + 8)
    assert page.evaluate("window.paints") == 0
    for across in range(38, 150, 4):
        page.mouse.move(box["x"] + across, box["y"] + 8)
        seen.append(output.inner_text())
    assert {"0", "1", "2"} <= set(seen)
    assert page.evaluate("window.paints") > 0
    page.mouse.move(box["x"] + 10, box["y"] + 8)  # the number of the device
    assert output.inner_text() == "none"
    assert colors(page, 0) == plain
    slider.fill("6")
    canvas.hover(position={"x": 38, "y": 8})
    assert output.inner_text() == "0"
    assert slider.get_attribute("aria-valuetext") == "5"  # what it stands at
    page.mouse.move(0, 0)
    assert output.inner_text() == "5"
    canvas.click(position={"x": 38, "y": 8})
    page.mouse.move(0, 0)
    assert (output.inner_text(), slider.input_value()) == ("0", "1")
    slider.fill("0")
    for kind in ("touch", "pen"):
        at = {"pointerType": kind, "clientX": box["x"] + 38, "clientY": box["y"] + 8}
        canvas.dispatch_event("pointermove", at)
        assert output.inner_text() == "none"


FRAME = "() => new Promise(requestAnimationFrame)"


@pytest.mark.alone
@pytest.mark.parametrize("device", ["light", "phone"])
def test_no_event_of_the_schedule_figure_takes_50_milliseconds(device, untouched):
    """At the largest sizes: the time of the page's thread, and of the clock."""
    page = untouched["schedule", device]
    for name, value in {"devices": 16, "rounds": 4}.items():
        page.locator(f"#schedule-{name}").fill(str(value))
    chrome = page.context.new_cdp_session(page)
    chrome.send("Performance.enable", {"timeDomain": "threadTicks"})

    def work(act):
        """Milliseconds in which the page's thread computes because of an act."""

        def passed():
            found = chrome.send("Performance.getMetrics")["metrics"]
            return {one["name"]: one["value"] for one in found}["TaskDuration"]

        before = passed()
        act()
        page.evaluate(FRAME)
        return 1000 * (passed() - before)

    page.evaluate(WATCH)
    times = {}
    for name in ("devices", "rounds", "forward", "wire", "time", "follow"):
        page.locator(f"#schedule-{name}").focus()
        for key in ("ArrowLeft", "ArrowRight"):
            times[name, key] = work(lambda key=key: page.keyboard.press(key))
    for name, method in (("first", "interleaved 1F1B"), ("second", "DualPipeV")):
        choose = page.locator(f"#schedule-{name}").select_option
        times[name, method] = work(lambda c=choose, m=method: c(m))
    times["scroll"] = work(
        lambda: page.evaluate(
            "document.querySelector('.schedule-picture').scrollLeft += 50"
        )
    )
    box = page.locator("#schedule-figure canvas").first.bounding_box()
    for across in (60, 100, 140):
        times["over", across] = work(
            lambda x=across: page.mouse.move(box["x"] + x, box["y"] + 5)
        )
    page.mouse.move(0, 0)
    page.locator("#schedule-time").fill("0")
    frames = page.evaluate_handle("() => ({ count: 0 })")
    count = "(f) => { const step = () => { f.count++; requestAnimationFrame(step); };"
    page.evaluate(count + " step(); }", frames)
    page.locator(".schedule-play").focus()
    playing = work(lambda: page.keyboard.press("Enter") or page.wait_for_timeout(500))
    times["a frame of playing"] = playing / frames.evaluate("(f) => f.count")
    assert max(times.values()) < 50, times
    handled = page.evaluate("window.handled")
    assert max([time for _, time in handled], default=0) < 50, handled
