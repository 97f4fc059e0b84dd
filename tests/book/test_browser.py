"""Every page in a real browser: light, dark and on a phone."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
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
    makespan,
    peak_activations,
    simulate,
)
from r1.model.config import ModelConfig

ROOT = Path(__file__).parents[2]


def pages():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [toc["root"]]
    for part in toc["parts"]:
        files += [chapter["file"] for chapter in part["chapters"]]
    return [*files, "genindex", "search"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", pages())
def test_a_page_is_whole_quiet_and_accessible(name, mode, visits):
    """Visited in the background since the beginning of the run: see the fixture."""
    assert visits[f"{mode}/{name}"] == {}


# Exponents of two, but for the layers: heads, width, latent, context, users.
SIZES = [
    {},
    {"heads": 4, "width": 8, "layers": 27},
    {"latent": 11, "context": 14, "users": 12},
]


@pytest.mark.parametrize("moved", SIZES)
def test_the_cache_figure_counts_as_the_package_does(moved, browser, address):
    page = browser.new_page()
    page.goto(f"{address}/book/05_latent_attention.html", wait_until="load")
    for name, value in moved.items():
        page.locator(f"#cache-{name}").fill(str(value))
    powers = {"heads": 7, "width": 7, "latent": 9, "context": 17, "users": 4} | moved
    layers = powers.pop("layers", 61)
    size = {name: 2**power for name, power in powers.items()}
    v3, width = ModelConfig.deepseek_v3(), size["width"]
    plain = replace(
        v3,
        n_layers=layers,
        n_heads=size["heads"],
        n_kv_heads=size["heads"],
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
    page.close()


# Experts and length are exponents of two; shares are in percent, tokens in trillions.
BILLS = [
    {},
    {"experts": 8, "length": 15, "share": 25.5, "prices": "V3"},
    {"tokens": 7.5, "rent": 4.3, "watts": 1530, "billed": 31, "prices": "o1"},
    {"experts": 0, "length": 10, "billed": 0, "prices": "R1 at night"},
    {"other": 0, "research": 50, "rent": 0.5},
]


def the_bill(browser, address, moved=(), **mode):
    """The page of chapter 10, with some factors moved."""
    page = browser.new_page(**mode)
    page.goto(f"{address}/book/10_bill.html", wait_until="load")
    for name, value in dict(moved).items():
        if name == "prices":
            page.locator("#bill-prices").select_option(value)
        else:
            page.locator(f"#bill-{name}").fill(str(value))
    return page


def amounts(page, what="value"):
    """Numbers of the figure by name: `value`, or where a bar goes `from` and `to`."""
    script = """what => Object.fromEntries(
      [...document.querySelectorAll("#bill-figure [data-what]")].map(
        cell => [cell.dataset.what, Number(cell.dataset[what])]))"""
    return page.evaluate(script, what)


@pytest.mark.parametrize("moved", BILLS)
def test_the_interactive_bill_adds_up_as_the_package_does(moved, browser, address):
    page = the_bill(browser, address, moved)
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
    page.close()


WATERFALLS = [
    "matrices attention below other dollars* research everything*",
    "hits misses written unpaid cost profit*",
]


@pytest.mark.parametrize("moved", BILLS)
def test_each_bar_of_a_waterfall_begins_where_the_one_before_ends(
    moved, browser, address
):
    page = the_bill(browser, address, moved)
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
    page.close()


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
def test_the_end_of_a_bar_follows_the_pointer(bar, mode, browser, address):
    factor, far = GRIPS[bar]
    page = the_bill(browser, address, **MODES[mode])
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
    page.locator("#bill-figure button").click()
    assert float(page.locator(f"#bill-{factor}").input_value()) != moved
    assert amounts(page)[bar] == before
    page.close()


def test_every_factor_of_the_bill_moves_by_keys(browser, address):
    page = the_bill(browser, address)
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
    page.close()


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
  window.longest = 0;
  new PerformanceObserver(list => {
    for (const { processingStart, processingEnd } of list.getEntries())
      window.longest = Math.max(window.longest, processingEnd - processingStart);
  }).observe({ type: "event", durationThreshold: 16 });
}"""


def test_the_bill_answers_every_event_within_50_milliseconds(browser, address):
    page = the_bill(browser, address)
    assert page.evaluate(SLOWEST) < 50
    page.evaluate(WATCH)
    grip, longest = page.locator("#bill-figure [data-bar=below] .bill-grip"), []
    for _ in range(3):
        page.locator("#bill-figure button").click()
        grip.scroll_into_view_if_needed()
        box = grip.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.evaluate("window.longest = 0")
        page.mouse.down()
        page.mouse.move(box["x"] - 100, box["y"], steps=20)
        page.mouse.up()
        page.wait_for_timeout(100)
        longest.append(page.evaluate("window.longest"))
    assert min(longest) < 50
    page.close()


SCHEDULES = [
    {},
    {"stages": 16, "micros": 48},
    {"stages": 4, "micros": 2, "weight": 3},
    {"stages": 6, "micros": 26, "forward": 3, "input": 4, "weight": 2, "saved": 3},
    {"stages": 10, "micros": 12, "forward": 4, "saved": 6, "wire": 2},
]


@pytest.mark.parametrize("moved", SCHEDULES)
def test_the_schedule_figure_waits_as_the_package_does(moved, browser, address):
    page = browser.new_page()
    page.goto(f"{address}/book/09_pipelines.html", wait_until="load")
    for name, value in moved.items():
        page.locator(f"#schedule-{name}").fill(str(value))
    size = {"stages": 8, "micros": 20, "forward": 1, "input": 1, "weight": 1}
    size |= {"saved": 0, "wire": 0} | moved
    f, b = size["forward"], size["input"] + size["weight"]
    both = max(f, b, f + b - size["saved"])
    times = Times(f, b, size["weight"], both, size["wire"])
    stages = size["stages"]
    least = {"1F1B": 1, "ZB1P": 1, "DualPipe": 2 * stages, "DualPipeV": stages}
    for method, build in METHODS.items():
        row = page.locator(f"tr[data-method='{method}']")
        shown = {
            what: row.locator(f"[data-what={what}]").get_attribute("data-value")
            for what in ("micros", "length", "bubble", "formula", "held", "share")
        }
        micros = max(size["micros"], least[method])
        schedule = build(stages, micros)
        spans = simulate(schedule, times)
        idle = bubbles(spans)
        assert int(shown["micros"]) == micros
        assert float(shown["length"]) == makespan(spans)
        assert [float(x) for x in shown["bubble"].split()] == [min(idle), max(idle)]
        assert float(shown["formula"]) == bubble_formula(method, stages, times)
        assert int(shown["held"]) == max(peak_activations(schedule))
        share = sum(idle) / len(idle) / makespan(spans)
        assert float(shown["share"]) == pytest.approx(share)
        page.locator(f"#schedule-figure input[value='{method}']").check()
        slots = sum(len(slot) for row in schedule for slot in row)
        drawn = page.locator("#schedule-figure rect:not(.schedule-pair)")
        assert drawn.count() == slots
    page.close()
