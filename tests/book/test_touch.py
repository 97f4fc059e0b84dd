"""The figures that readers move, on a page of their own: they compute as r1 does."""

import json
import math
import random
import re
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from visits import MODES, OVERFLOW, barriers

from experiments import hacking
from r1.model import ModelConfig
from r1.model.attention import LatentAttention
from r1.model.cache import KVCache
from r1.model.drafting import accept
from r1.model.fp8 import E4M3, E5M2, decode, quantize
from r1.model.layers import rotary_speeds, yarn_range, yarn_speeds
from r1.model.moe import (
    count_load,
    max_violation,
    route,
    sequence_balance_loss,
    update_bias,
)
from r1.recipe.at_test_time import Counts, vote_at_k
from r1.rl.losses import clipped_surrogate, silenced
from r1.rl.rewards import accuracy_reward, format_reward, group_advantages
from r1.text.answers import read
from r1.text.problems import Problem
from r1.train.evaluation import pass_at_k
from r1.train.likelihood import aggregate

BOOK = Path(__file__).parents[2] / "book"
STATIC = BOOK / "_static"
FIGURES = STATIC / "figures"
SHARED = ("address", "touch")
NAMES = sorted({path.stem for path in FIGURES.glob("*.js")} - {*SHARED})
# What the theme gives to a page, of which the figures use these.
THEMES = {
    "light": "--pst-color-text-base:#222832;--pst-color-surface:#f3f4f5;"
    "--pst-color-text-muted:#48566b;background:#fff;color:#222832",
    "dark": "--pst-color-text-base:#ced6dd;--pst-color-surface:#222832;"
    "--pst-color-text-muted:#9ca4af;background:#14181e;color:#ced6dd",
}


def html(theme="light"):
    """A page with nothing but the figures."""
    scripts = (FIGURES / f"{name}.js" for name in (*SHARED, *NAMES))
    code = "".join(f"<script>{path.read_text('utf-8')}</script>" for path in scripts)
    divs = "".join(
        f'<h2>{name}</h2><div id="{name}-figure" class="touch" role="group" '
        f'aria-label="{name}"></div>'
        for name in NAMES
    )
    return (
        f"<!doctype html><html lang=en data-theme={theme}><head><title>t</title>"
        "<meta name=viewport content='width=device-width'><style>"
        "main { max-width: 690px } .touch * { box-sizing: border-box }"
        f"{(FIGURES / 'touch.css').read_text('utf-8')}</style></head>"
        f"<body style='{THEMES[theme]}'><main><h1>t</h1>{divs}</main>{code}</body>"
    )


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(**MODES["light"])
    page.set_content(html())
    yield page
    page.close()


def renew(page):
    """The figures as they begin: none has a state in the address."""
    page.goto("about:blank")
    page.set_content(html())


def call(page, name, what, *arguments):
    """What a figure computes."""
    path = f"document.getElementById('{name}-figure').compute{what and '.' + what}"
    return page.evaluate(f"(all) => ({path})(...all)", list(arguments))


def said(page, name):
    """The numbers that a figure shows."""
    numbers = f"document.querySelector('#{name}-figure .touch-numbers').dataset"
    return page.evaluate(f"({{...{numbers}}})")


def drawing(page, name):
    """Where the first drawing of a figure stands, scrolled onto the screen."""
    place = page.locator(f"#{name}-figure svg").first
    place.scroll_into_view_if_needed()
    return place.bounding_box()


def move(page, name, **values):
    for field, value in values.items():
        control = page.locator(f"#{name}-{field}")
        if control.evaluate("e => e.tagName") == "SELECT":
            control.select_option(value)
        else:
            control.fill(str(value))


@pytest.mark.parametrize("way", ["bias", "auxiliary loss"])
def test_router_balances_as_the_package_does(way, page):
    pushes = [0, 2, 0, 0, -1.5, 0, 0, 0.5]  # how far experts are pushed
    settings = {"skew": 1.5, "way": way, "speed": -1.5, "price": 0.5}
    settings["own"] = ",".join(map(str, pushes))
    steps = call(page, "router", "run", settings, 12)
    bias = torch.zeros(8, dtype=torch.float64)
    pushed = bias.clone()
    for number, step in enumerate(steps):
        rows = call(page, "router", "logits", number, 1.5, pushes)
        own = pushed.clone().requires_grad_()
        scores = (torch.tensor(rows, dtype=torch.float64) + own).sigmoid()
        _, chosen = route(scores, bias, 2)
        load = count_load(chosen, 8)
        assert step["load"] == load.tolist()
        assert step["violation"] == pytest.approx(max_violation(load).item())
        assert_close(torch.tensor(step["bias"], dtype=torch.float64), bias)
        assert_close(torch.tensor(step["pushed"], dtype=torch.float64), pushed)
        if way == "bias":
            bias = update_bias(bias, load, 10**-1.5)
        else:
            sequence_balance_loss(scores[None], chosen[None]).backward()
            pushed = pushed - 10**0.5 * own.grad
    assert steps[-1]["violation"] < steps[0]["violation"]


@pytest.mark.parametrize(("asking", "stored"), [(1, 24), (5, 24), (24, 24)])
def test_absorb_counts_the_operations_of_the_layer(asking, stored, page):
    config = ModelConfig(
        vocab_size=8, dim=8, n_layers=1, n_heads=2, inter_dim=8,
        q_lora_rank=4, kv_lora_rank=16, qk_nope_head_dim=6, qk_rope_head_dim=4,
        v_head_dim=10, max_seq_len=64,
    )  # fmt: skip
    sizes = {"heads": 2, "latent": 16, "key": 6, "rope": 4, "value": 10}
    ours = call(page, "absorb", "compute", sizes, asking, stored)
    x = torch.randn(1, stored, 8)
    counted = {}
    for form in ("naive", "absorbed"):
        layer, cache = LatentAttention(config, form), KVCache(64)
        if stored > asking:
            layer(x[:, : stored - asking], cache)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            layer(x[:, stored - asking :], cache)
        counted[form] = counter.get_total_flops()
    # The figure compares no query with a later token, the layer each with all. What
    # both forms multiply alike is in the layer's counts, and not in their difference.
    pairs, all_pairs = asking * stored - asking * (asking - 1) // 2, asking * stored
    naive, absorbed = (
        ours[form][0] + ours[form][1] / pairs * all_pairs
        for form in ("naive", "absorbed")
    )
    assert naive - absorbed == pytest.approx(counted["naive"] - counted["absorbed"])
    # Bytes, by the chapter's table: numbers of two bytes.
    both = 2 * 16 * (6 + 10) + stored * (16 + 4) + asking * 2 * (6 + 4 + 10)
    assert ours["naive"][2] == 2 * (both + 2 * stored * 2 * (6 + 10))
    assert ours["absorbed"][2] == 2 * (both + 2 * asking * 2 * (16 + 16))


def test_the_sizes_are_those_of_v3(page):
    v3 = ModelConfig.deepseek_v3()
    path = "document.getElementById('{}-figure').compute.V3"
    assert page.evaluate(path.format("absorb")) == {
        "heads": v3.n_heads,
        "latent": v3.kv_lora_rank,
        "key": v3.qk_nope_head_dim,
        "rope": v3.qk_rope_head_dim,
        "value": v3.v_head_dim,
    }
    assert page.evaluate(path.format("yarn")) == {
        "width": v3.qk_rope_head_dim,
        "theta": v3.rope_theta,
        "trained": v3.original_seq_len,
        "fast": v3.beta_fast,
        "slow": v3.beta_slow,
    }


def test_what_a_reader_is_told_to_try_is_true(page):
    """Each sentence of touch_page.py, done and seen."""
    text = {n: page.locator(f"#{n}-figure .touch-numbers").inner_text for n in NAMES}
    before = page.locator("#router-figure svg").nth(2).get_attribute("aria-label")
    move(page, "router", expert="8", push=3)
    after = page.locator("#router-figure svg").nth(2).get_attribute("aria-label")
    assert float(after.split()[-1][:-1]) < 0 < float(before.split()[-1][:-1])
    move(page, "router", speed=0)
    assert float(said(page, "router")["last"]) > 2
    move(page, "absorb", asking=7)
    assert said(page, "absorb")["less"] == "absorbed"
    move(page, "absorb", asking=8)
    assert said(page, "absorb")["less"] == "naive"
    # No more can ask than are stored.
    move(page, "absorb", stored=6)
    assert page.locator("output[for=absorb-asking]").inner_text() == "64"
    move(page, "yarn", way="all slowed alike", longer=40)
    assert (said(page, "yarn")["beyond"], said(page, "yarn")["kept"]) == ("0", "0")
    off = []
    for count in (4, 12):
        move(page, "draft", count=count)
        off.append(float(said(page, "draft")["off"]))
    assert off[1] < 0.02 < off[0]
    assert float(said(page, "eight")["q"]) == 4.5
    assert float(said(page, "eight")["back"]) == pytest.approx(4.5 / 448)
    move(page, "eight", outlier=4)
    assert "fallen to zero" in text["eight"]()
    move(page, "eight", tile="in another tile")
    assert float(said(page, "eight")["q"]) == 448
    move(page, "hacker", tags=1, text="<answer>" * 20)
    assert said(page, "hacker")["hacked"] == "true"
    assert "yours" in text["hacker"]()
    move(page, "hacker", tags=0, length=0.25, text="x" * 100)
    assert said(page, "hacker")["hacked"] == "true"
    assert "yours" in text["hacker"]()
    bars = page.locator("#group-figure svg").first
    bars.scroll_into_view_if_needed()
    for words in ("reward 0, advantage -3.87", "teaches nothing", "advantage 3.87"):
        bars.click(position={"x": 60, "y": 60})
        assert words in text["group"]()
    # 1,000 times an advantage of 3.87 or -0.26, divided by 16 times 30 or 12 tokens.
    pushes = page.locator("#group-figure svg").nth(1).get_attribute("aria-label")
    assert pushes.startswith("Pushes 8.1, -1.3, -1.3,")
    move(page, "group", rho=1.3)
    assert said(page, "group")["silenced"] == "true"
    move(page, "group", reward="0.1")
    assert "teaches nothing" in text["group"]()
    move(page, "push", bare=0.9)
    assert float(said(page, "push")["push"]) < 0
    move(page, "push", bare=0.84)
    assert float(said(page, "push")["push"]) == 0
    ends = [
        call(page, "push", "train", theta, CHANCES, 3.2, 40) for theta in (0.3, 0.05)
    ]
    assert ends[0][10] > 0.5 > ends[1][10]
    crossings = []
    for right in (2, 0, 7):
        move(page, "passk", hardAfter=right)
        crossings.append(said(page, "passk")["over"])
    # Where 64 of 64 answers are drawn, each curve of the first is at 1.
    assert crossings == ["8, 16, 32", "4, 8, 16, 32, 64", ""]
    # 8 answers of 12 tokens cost as much as 3 of 30.
    assert said(page, "passk")["paid"] == "3"
    bought = (pass_at_k(64, 62, 3) + pass_at_k(64, 7, 3)) / 2
    assert float(said(page, "passk")["bought"]) == pytest.approx(bought)
    move(page, "passk", axis="the tokens that they cost")
    dots = page.locator("#passk-figure svg").first.locator("circle")
    base, trained = (dots.nth(i).bounding_box()["x"] for i in (0, 7))
    assert base < trained  # one answer of 12 tokens, and one of 30
    renew(page)


def test_what_is_dragged_is_what_moves(page):
    at = drawing(page, "eight")

    def place(power):  # on the axis from 1e-9 to 1e5
        return at["x"] + 12 + (at["width"] - 24) * (power + 9) / 14, at["y"] + 40

    for start, end, field in ((-2, -1, "x"), (0, 4, "outlier")):
        page.mouse.move(*place(start))
        page.mouse.down()
        page.mouse.move(*place(end), steps=4)
        page.mouse.up()
        moved = float(page.locator(f"#eight-{field}").input_value())
        assert moved == pytest.approx(end, abs=0.06)
    at = drawing(page, "router")
    page.mouse.click(at["x"] + at["width"] - 20, at["y"] + 10)
    assert page.locator("#router-expert").input_value() == "8"
    assert page.locator("#router-push").input_value() == "3"
    rest = page.locator("#draft-figure svg").nth(1).get_attribute("aria-label")
    p, q = [x / 17 for x in (5, 3, 1, 6, 2)], [x / 18 for x in (2, 5, 1, 4, 6)]
    more = ", ".join(f"{max(0, a - b):.2f}" for a, b in zip(p, q, strict=True))
    assert rest == f"p has more than q by {more}."
    slid = """() => {
      const order = document.querySelector("#absorb-figure svg");
      return order.getAnimations({ subtree: true }).length;
    }"""
    assert page.evaluate(slid) == 0
    move(page, "absorb", order="query and W (absorbed)")
    assert page.evaluate(slid) == 6  # two boxes, each with its name and its size
    renew(page)


def test_group_has_the_advantages_the_clip_and_the_means_of_the_package(page):
    rng = random.Random(0)
    for _ in range(20):
        rewards = [rng.choice([0, 0.1, 1.1]) for _ in range(16)]
        ours = call(page, "group", "advantages", rewards)
        theirs = group_advantages(torch.tensor([rewards], dtype=torch.float64))[0]
        assert_close(torch.tensor(ours, dtype=torch.float64), theirs)
    for rho in (0.3, 0.8, 1.0, 1.2, 1.7):
        for a in (-1.5, 0.0, 2.0):
            rhos, values = (torch.tensor([v], dtype=torch.float64) for v in (rho, a))
            ours = call(page, "group", "clipped", rho, a)
            assert ours == clipped_surrogate(rhos, values).item()
            ours = call(page, "group", "silenced", rho, a)
            assert ours == silenced(rhos, values).item()
    lengths = [3, 1, 2]
    mask = torch.arange(3) < torch.tensor(lengths)[:, None]
    for how in ("token", "sequence"):
        loss = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        aggregate(loss, mask, how).backward()
        ours = call(page, "group", "weights", lengths, how)
        assert ours == pytest.approx(loss.grad[:, 0].tolist())


def test_draft_writes_the_distribution_of_the_model(page):
    p, q = [0.3, 0.2, 0.1, 0.35, 0.05], [0.1, 0.3, 0.05, 0.2, 0.35]
    missing = call(page, "draft", "residual", p, q)
    kept = sum(map(min, p, q))
    for i in range(5):
        assert min(p[i], q[i]) + (1 - kept) * missing[i] == pytest.approx(p[i])
    assert call(page, "draft", "residual", p, p) == p
    # The same rule as the package's: kept where it keeps, with the same uniform draw.
    generator = torch.Generator().manual_seed(3)
    drafts = torch.arange(5).repeat(20)[:, None]
    uniform = torch.rand(drafts.shape, generator=generator.manual_seed(3))
    rows = [torch.tensor([[v]]).expand(100, 1, 5) for v in (p, q)]
    found, _ = accept(
        drafts, rows[1], rows[0].expand(100, 2, 5), generator.manual_seed(3)
    )
    ours = [
        call(page, "draft", "write", p, q, draft, u, 0.5)["kept"]
        for draft, u in zip(drafts[:, 0].tolist(), uniform[:, 0].tolist(), strict=True)
    ]
    assert ours == found.bool().tolist()
    drawn = call(page, "draft", "draw", p, q, 4096)
    for i in range(5):
        share = sum(one["token"] == i for one in drawn) / 4096
        assert abs(share - p[i]) < 4 * math.sqrt(p[i] * (1 - p[i]) / 4096)


@pytest.mark.parametrize("fmt", [E4M3, E5M2])
def test_eight_bits_are_those_of_the_package(fmt, page):
    codes = torch.arange(256)
    ours = [call(page, "eight", "decode", code, fmt.name) for code in codes.tolist()]
    theirs = decode(codes, fmt)
    assert_close(
        torch.tensor(ours, dtype=torch.float64), theirs, equal_nan=True, rtol=0, atol=0
    )
    rng = random.Random(1)
    for power in (False, True):
        for _ in range(25):
            x, other = 10 ** rng.uniform(-5, 2), 10 ** rng.uniform(-1, 5)
            made = call(page, "eight", "scaled", x, max(x, other), fmt.name, power)
            q, scale = quantize(torch.tensor([[x, other]]), None, fmt, power)
            assert made["scale"] == scale.item()
            assert made["q"] == q[0, 0].item()
            code = call(page, "eight", "code", made["q"], fmt.name)
            assert theirs[code].item() == made["q"]


def test_yarn_turns_as_the_package_does(page):
    v3 = {"width": 64, "theta": 10000, "trained": 4096, "fast": 32, "slow": 1}
    assert_close(
        torch.tensor(call(page, "yarn", "plain", v3), dtype=torch.float64),
        rotary_speeds(64).double(),
    )
    assert call(page, "yarn", "ends", v3) == list(yarn_range(64, 1e4, 4096))
    for factor in (1.0, 2.5, 40.0):
        ours = torch.tensor(call(page, "yarn", "yarn", v3, factor), dtype=torch.float64)
        assert_close(ours, yarn_speeds(64, 1e4, factor, 4096).double())
    move(page, "yarn", longer=40, way="YaRN")
    now = said(page, "yarn")
    # Stretched as far as it was made for, YaRN leaves no pair at an angle that is new.
    assert (now["beyond"], int(now["kept"])) == ("0", yarn_range(64, 1e4, 4096)[0] + 1)
    move(page, "yarn", way="as trained")
    slow = rotary_speeds(64) * 4096 < 2 * math.pi  # never turned once in training
    assert int(said(page, "yarn")["beyond"]) == slow.sum() == 9


CHANCES = {"right": 0.8, "bare": 0.3, "long": 29, "short": 4}


@pytest.mark.parametrize("theta", [0.05, 0.4, 0.9])
def test_push_is_the_gradient_of_the_advantages(theta, page):
    z = torch.tensor(math.log(theta / (1 - theta)), dtype=torch.float64)
    z.requires_grad_()
    # All four kinds of answers, each with its chance: exact as a group of any size is
    # on average.
    logp = torch.stack([z.sigmoid().log()] * 2 + [(1 - z.sigmoid()).log()] * 2)
    right = torch.tensor([0.8, 0.2, 0.3, 0.7], dtype=torch.float64)
    chance = logp.detach().exp() * right
    reward = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    group = reward.repeat_interleave((chance * 1000).round().long())
    advantage = group_advantages(group[None])[0]
    best, worst = advantage.max(), advantage.min()
    length = torch.tensor([29, 29, 4, 4], dtype=torch.float64)
    each = torch.where(reward > 0, best, worst) / length
    (chance * each * logp).sum().backward()
    assert call(page, "push", "push", theta, CHANCES) == pytest.approx(z.grad.item())


def test_hacker_pays_as_the_rules_of_the_package_do(page):
    problem = Problem((7, 3, 5, 2), "*+-")
    table = json.loads((BOOK / "data/hostile_answers.json").read_text("utf-8"))
    texts = [entry["text"] for entry in table if "text" in entry]
    texts += ["<think>1</think><answer>4</answer>", "<answer>4</answer>\n", "x" * 30]
    own = {
        "accuracy": lambda text: accuracy_reward(problem, text),
        "form": format_reward,
        "tags": lambda text: hacking.tag_count_reward(problem, text),
    }
    paid = page.evaluate(
        """(texts) => {
          const { read, rules } = document.getElementById("hacker-figure").compute;
          return texts.map((text) => [read(text)?.answer ?? null,
            Object.fromEntries(Object.keys(rules).map((r) => [r, rules[r](text)]))]);
        }""",
        texts,
    )
    assert len(paid) > 140
    for text, (answer, rewards) in zip(texts, paid, strict=True):
        ours = read(text)
        assert answer == (ours and ours.answer), text
        for rule, pay in own.items():
            assert rewards[rule] == pay(text), (rule, text)
    worked = "<think>7*3=1;1+5=6;6-2=4</think><answer>4</answer>"
    (length,) = page.evaluate(
        "(t) => [document.getElementById('hacker-figure').compute.rules.length(t)]",
        worked,
    )
    assert length == pytest.approx(hacking.length_reward(problem, worked) - 1)
    search = "(texts) => texts.map(document.getElementById('hacker-figure')"
    texts = ["<answer> +4.0 </answer>", worked, "<answer>5</answer><answer>4</answer>"]
    texts += ["<answer>44</answer>", "</answer>4<answer>"]
    assert page.evaluate(f"{search}.compute.rules.search)", texts) == [1, 1, 0, 0, 0]
    move(page, "hacker", accuracy=0, tags=1)
    assert said(page, "hacker")["hacked"] == "true"
    move(page, "hacker", accuracy=1, tags=0)
    assert said(page, "hacker")["hacked"] == "false"


def test_passk_counts_as_the_package_does(page):
    for right in (0, 1, 7, 40, 64):
        for k in (1, 4, 16, 64):
            ours = call(page, "passk", "pass", right, k)
            assert ours == pytest.approx(pass_at_k(64, right, k), abs=1e-10)
            for wrong in (1, 4, 9):
                others = call(page, "passk", "spread", 64 - right, wrong)
                assert sum(others) == 64 - right
                theirs = vote_at_k(Counts(right, tuple(others), 0), k)
                ours = call(page, "passk", "vote", right, others, k)
                assert ours == pytest.approx(theirs, abs=1e-9)


def test_every_control_moves_what_its_figure_says(page):
    for name in NAMES:
        figure = page.locator(f"#{name}-figure")
        figure.get_by_text("Start again").click()
        drawn = figure.evaluate("e => e.innerHTML")
        for control in figure.locator("input, select").all():
            before = figure.evaluate("e => e.innerHTML")
            control.focus()
            kind = control.evaluate("e => e.type")
            keys = ["End", "x"] if kind == "text" else ["ArrowRight", "ArrowLeft"]
            for key in keys:  # what is at its end moves the other way
                page.keyboard.press(key)
                if figure.evaluate("e => e.innerHTML") != before:
                    break
            field = control.get_attribute("name")
            assert figure.evaluate("e => e.innerHTML") != before, (name, field)
            figure.get_by_text("Start again").click()
        assert figure.evaluate("e => e.innerHTML") == drawn, name


def test_a_finger_moves_a_bar_and_the_bits(page):
    at = drawing(page, "draft")
    page.mouse.click(at["x"] + at["width"] * 0.22, at["y"] + 20)
    assert page.locator("#draft-bar").input_value() in ("q of a", "p of b")
    assert int(page.locator("#draft-height").input_value()) >= 9
    bits = page.locator(".touch-bits button")
    before = said(page, "eight")["code"]
    bits.nth(7).click()
    assert int(said(page, "eight")["code"]) == int(before) ^ 1
    pressed = "false" if int(before) & 1 else "true"
    assert bits.nth(7).get_attribute("aria-pressed") == pressed
    # A bar that is as high as the one that is looked at can be moved to its height.
    renew(page)
    at = drawing(page, "draft")
    page.mouse.click(at["x"] + 40 + 0.28 * 128, at["y"] + 82)
    page.mouse.click(at["x"] + 40 + 0.72 * 128, at["y"] + 82)
    heights = "e => e.querySelectorAll('svg')[0].querySelectorAll('rect')"
    tall = f"{heights}.values().map((r) => Math.round(r.getAttribute('height')))"
    drawn = page.locator("#draft-figure").evaluate(f"{tall}.toArray()")
    assert drawn[0] == drawn[1]
    at = drawing(page, "group")
    page.mouse.click(at["x"] + at["width"] - 15, at["y"] + 40)
    assert page.locator("#group-answer").input_value() == "16"
    assert page.locator("#group-reward").input_value() == "1.1"
    renew(page)


@pytest.mark.parametrize(("sideways", "down"), [(0, -150), (90, 0)])
def test_a_finger_that_scrolls_the_page_moves_no_figure(sideways, down, browser):
    context = browser.new_context(**MODES["phone"], has_touch=True)
    page = context.new_page()
    page.set_content(html())
    finger = context.new_cdp_session(page)
    scrolled, changed = 0, []
    for name in ("group", "draft", "push"):
        at, top = drawing(page, name), page.evaluate("scrollY")
        before = said(page, name)
        x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
        for i in range(11):
            where = [{"x": x + sideways * i / 10, "y": y + down * i / 10}]
            kind = "touchMove" if i else "touchStart"
            event = {"type": kind, "touchPoints": where}
            finger.send("Input.dispatchTouchEvent", event)
            if i < 3:  # or the browser joins what comes before it scrolls
                page.wait_for_timeout(20)
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(50)
        scrolled += page.evaluate("scrollY") - top
        changed.append(said(page, name) != before)
    assert (scrolled > 100, changed) == (down != 0, [down == 0] * 3)
    context.close()


@pytest.mark.parametrize(("mode", "theme"), [("phone", "light"), ("light", "dark")])
def test_they_are_accessible_and_fit_a_phone(mode, theme, browser):
    context = browser.new_context(**MODES[mode])
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_content(html(theme))
    assert barriers(page) == []
    assert page.evaluate(OVERFLOW) <= 0
    size = "e => e.flatMap((s) => [...s.querySelectorAll('text')].filter((t) => "
    size += "t.getBoundingClientRect().right > s.getBoundingClientRect().right + 1 || "
    size += "parseFloat(getComputedStyle(t).fontSize) * s.getBoundingClientRect().width"
    size += " / s.viewBox.baseVal.width < 10).map((t) => t.textContent))"
    assert page.locator(".touch svg").evaluate_all(size) == []
    assert wrong == []
    context.close()


SLOWEST = """() => {
  const times = {};
  for (const input of document.querySelectorAll(".touch input, .touch select")) {
    const tries = [0, 1, 2].map((i) => {
      if (input.type === "range") input.value = [input.min, input.max, input.min][i];
      const start = performance.now();
      const kind = input.tagName === "SELECT" ? "change" : "input";
      input.dispatchEvent(new Event(kind, { bubbles: true }));
      document.body.offsetHeight; // the layout, too
      return performance.now() - start;
    });
    times[input.id] = tries.sort((a, b) => a - b)[1];
  }
  return times;
}"""


@pytest.mark.alone
def test_no_event_takes_50_milliseconds(page):
    times = page.evaluate(SLOWEST)
    assert max(times.values()) < 50, times
    renew(page)


def test_a_state_is_sent_in_the_address(browser, tmp_path):
    """What differs from the start stands in the address, and a page begins with it."""
    context = browser.new_context(**MODES["light"])
    page = context.new_page()
    (tmp_path / "page.html").write_text(html(), encoding="utf-8")
    broken = "?yarn=way:YaRN,longer:99&push=theta:x,nothing:1,%E0%A4%A&router=skew:2"
    broken += "&group=rewards:12&draft=p:0,q:8"
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri() + broken + "#yarn-figure")
    assert page.locator("#router-skew").input_value() == "2"
    assert page.locator("#yarn-way").input_value() == "YaRN"
    assert page.locator("#yarn-longer").input_value() == "40"  # no farther than its end
    assert said(page, "group")["advantage"].startswith("3.87")
    assert said(page, "draft")["kept"].startswith("0.68")
    # Two figures that are moved within one moment both stand in the address; a copied
    # link holds its own alone, and leads to the same state.
    for name in ("yarn", "push", "router"):
        page.locator(f"#{name}-figure").get_by_text("Start again").click()
    move(page, "push", theta=0.4)
    move(page, "hacker", text="a:b,c&<d>")
    page.wait_for_function("location.search.includes('hacker')")
    assert "push=theta%3A0.4&hacker=" in page.evaluate("location.search")
    page.evaluate("navigator.clipboard.writeText = (text) => { window.sent = text; }")
    page.locator("#hacker-figure").get_by_text("Copy a link").click()
    sent = page.evaluate("window.sent")
    assert "push" not in sent
    assert sent.endswith("#hacker-figure")
    page.goto(sent)
    assert page.locator("#hacker-text").input_value() == "a:b,c&<d>"
    assert wrong == []
    context.close()


def test_figures_that_know_nothing_of_it_have_an_address_too(browser, tmp_path):
    twin = (BOOK / "text/05_latent_attention.md").read_text("utf-8")
    cache = re.search(r'<div id="cache-figure".*?\n</div>\n(?=```)', twin, re.DOTALL)[0]
    static = (
        FIGURES / "address.js",
        *(STATIC / f"{n}.js" for n in ("cache", "memory")),
    )
    code = "".join(f"<script>{path.read_text('utf-8')}</script>" for path in static)
    body = f'{cache}<div id="memory-figure"></div>{code}'
    (tmp_path / "page.html").write_text(f"<!doctype html>{body}", encoding="utf-8")
    address = (tmp_path / "page.html").as_uri()
    page = browser.new_page()
    asked = "?cache=heads:3,users:99,nothing:1&memory=schedule:DualPipeV,zero:9"
    page.goto(f"{address}{asked}#cache-figure")
    page.wait_for_selector(".touch-buttons")
    bytes_of = "#cache-figure tr[data-kind=MHA] [data-what=token]"
    assert page.locator("#cache-heads").input_value() == "3"
    assert page.locator("#cache-users").input_value() == "12"  # no farther than its end
    assert page.locator(bytes_of).get_attribute("data-value") == str(
        2 * 8 * 128 * 61 * 2
    )
    assert page.locator("#memory-schedule").input_value() == "DualPipeV"
    assert page.locator("#memory-zero").input_value() == "1"  # there is no ninth stage
    page.locator("#cache-latent").fill("8")
    page.wait_for_function("location.search.includes('latent')")
    assert "DualPipeV" in page.evaluate("location.search")
    page.evaluate("navigator.clipboard.writeText = (text) => { window.sent = text; }")
    page.locator("#cache-figure .touch-buttons button").click()
    sent = page.evaluate("window.sent")
    assert sent.endswith("#cache-figure")
    assert "memory" not in sent
    page.goto(sent)
    page.wait_for_selector(".touch-buttons")
    assert page.locator("#cache-latent").input_value() == "8"
    assert page.locator("#memory-schedule").input_value() == "DualPipe"
    page.close()
