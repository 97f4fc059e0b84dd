"""Every page in a real browser: light, dark and on a phone."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from visits import MODES

from r1.cost.bill import PRICES, ServiceDay, TrainingBill
from r1.cost.counting import count_gpus, kv_cache_bytes, training_flops
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


# The first two are exponents of two; shares are in percent, tokens in trillions.
BILLS = [
    {},
    {"experts": 8, "length": 15, "share": 25.5, "prices": "V3"},
    {"tokens": 7.5, "rent": 4.3, "watts": 1530, "billed": 31, "prices": "o1"},
    {"experts": 0, "length": 10, "billed": 0, "prices": "R1 at night"},
]


@pytest.mark.parametrize("moved", BILLS)
def test_the_interactive_bill_adds_up_as_the_package_does(moved, browser, address):
    page = browser.new_page()
    page.goto(f"{address}/book/10_bill.html", wait_until="load")
    for name, value in moved.items():
        if name == "prices":
            page.locator("#bill-prices").select_option(value)
        else:
            page.locator(f"#bill-{name}").fill(str(value))
    start = {"experts": 3, "length": 12, "tokens": 14.8, "share": 39.06, "rent": 2.0}
    at = start | {"watts": 700.0, "billed": 100, "prices": "R1"} | moved
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
        rent=float(at["rent"]),
        watts=float(at["watts"]),
    )
    day, billed = ServiceDay(rent=float(at["rent"])), at["billed"] / 100
    expected = {
        "flops": bill.flops_per_token,
        "pretraining": bill.pretraining_hours,
        "hours": bill.hours,
        "days": bill.hours / 2048 / 24,
        "dollars": bill.dollars,
        "energy": bill.megawatt_hours,
        "cost": day.cost,
        "revenue": day.revenue(PRICES[at["prices"]], billed),
        "margin": day.margin(PRICES[at["prices"]], billed),
    }
    for what, value in expected.items():
        cell = page.locator(f"#bill-figure [data-what={what}]")
        assert float(cell.get_attribute("data-value")) == pytest.approx(value), what
    if not moved:
        dollars = page.locator("#bill-figure [data-what=dollars]").inner_text()
        assert dollars == "5,576,000"
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
