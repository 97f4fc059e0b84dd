"""The model that thinks in the page computes what the package computes."""

import base64
import random
import re
from functools import cache
from pathlib import Path

import live_page
import live_weights
import numpy as np
import pytest
import torch
from accessibility import barriers
from live_page import FORMS
from live_weights import MODELS
from test_memory_figure import THEMES
from visits import MODES, OVERFLOW

from r1.model import drafting
from r1.model.cache import KVCache
from r1.model.drafting import MTPDrafter, drafted_steps
from r1.model.moe import routers
from r1.model.sampling import sample
from r1.rl.rewards import group_advantages, rule_reward
from r1.text.problems import random_problem
from r1.text.readable import as_task
from r1.text.tokenizer import TOKENS, decode, encode

BOOK = Path(__file__).parents[2] / "book"
each_model = pytest.mark.parametrize("name", MODELS)
PARTS = "next routing cache drafts group"
FIGURE = """<div class="live" id="live-test" role="group" aria-label="A model"
data-parts="{}" data-model="base" data-problem="7*3+5-2" data-temperature="1"
data-seed="7"><p>Try it.</p><div class="live-still"></div></div>"""


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A page with a figure, its scripts and the weights, as files on a disk."""
    folder = tmp_path_factory.mktemp("live")
    live_page.put_files(folder)
    text = live_page.page(FIGURE.format(PARTS), "light", THEMES["light"])
    (folder / "page.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def opened(browser, disk):
    """A page whose figure is started by a key, and what it loads before and then."""
    page, files = browser.new_page(reduced_motion="reduce"), []
    page.on("request", lambda request: files.append(request.url.split("/")[-1]))
    page.goto((disk / "page.html").as_uri(), wait_until="networkidle")
    before = list(files)
    page.get_by_role("button", name="Start the model").press("Enter")
    page.wait_for_selector(".live[data-state=live]")
    assert page.evaluate("document.activeElement.name") == "problem"
    folder = f"{disk.as_uri()}/live/"
    page.evaluate("(folder) => { globalThis.folder = folder }", folder)
    yield page, (before, list(files))
    page.close()


@pytest.fixture(scope="module")
def page(opened):
    return opened[0]


@pytest.fixture(scope="module")
def loaded(opened):
    return opened[1]


@cache
def model(name):
    return live_weights.model(name)


def problems(name, count):
    """Held-out problems of three to five terms, and for R1 of up to eight."""
    terms = (3, 8) if name == "r1" else (3, 5)
    rng = random.Random(f"live/{name}")
    return [random_problem(rng, terms, held_out=True) for _ in range(count)]


# The engine

GREEDY = """async ([name, prompts]) => {
  const model = await R1.load(name, folder);
  const writer = new R1.Writer(model, { temperature: 0, drafts: false });
  const texts = [], logits = [];
  for (const ids of prompts) {
    writer.begin(ids);
    writer.write(96);
    texts.push(writer.ids);
    for (const frame of writer.frames) logits.push(...frame.logits);
  }
  const bytes = new Uint8Array(Float32Array.from(logits).buffer);
  return [texts, btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(""))];
}"""


@each_model
def test_logits_and_greedy_texts_are_those_of_pytorch(name, page):
    prompts = [encode(problem.prompt) for problem in problems(name, 40)]
    texts, data = page.evaluate(GREEDY, [name, prompts])
    answers = sample(model(name), prompts, 96, temperature=0.0)
    due = [[*p, *a] for p, a in zip(prompts, answers, strict=True)]
    assert [decode(text) for text in texts] == [decode(text) for text in due]
    rows = torch.full((40, max(map(len, due))), 2)
    for row, text in zip(rows, due, strict=True):
        row[: len(text)] = torch.tensor(text)
    with torch.no_grad():
        wanted = model(name)(rows)
    # The last token, the end, is not read.
    wanted = torch.cat([w[: len(t) - 1] for w, t in zip(wanted, due, strict=True)])
    found = np.frombuffer(base64.b64decode(data), np.float32).reshape(-1, len(TOKENS))
    assert found.shape == wanted.shape
    assert np.abs(found - wanted.numpy()).max() < 1e-3


WEIGHTS = """async (name) => {
  const { layers, mtp } = await R1.load(name, folder);
  const sum = (w) => w.reduce((all, x, i) => all + x * ((i % 7) + 1), 0);
  const blocks = [...layers, ...mtp.map((module) => module.block)];
  return blocks.slice(1).map(({ ffn, attn }) => [
    sum(ffn.w1), sum(ffn.w3), sum(ffn.bias), sum(attn.wkv_b), sum(attn.q_norm),
  ]);
}"""


@each_model
def test_the_page_has_each_weight_to_the_last_bit(name, page):
    """Sums in double precision, in which halves are added without any rounding."""
    blocks = [*model(name).layers, *(module.block for module in model(name).mtp)]
    due = []
    for block in blocks[1:]:
        experts, attention = block.ffn.experts, block.attn
        tensors = (experts.w1, experts.w3, block.ffn.gate.bias)
        tensors += (attention.wkv_b.weight, attention.q_norm.weight)
        flat = [tensor.detach().double().flatten() for tensor in tensors]
        due.append([(x * (torch.arange(len(x)) % 7 + 1)).sum().item() for x in flat])
    assert page.evaluate(WEIGHTS, name) == due


DRAFTED = """async ([name, prompts, draws, temperature]) => {
  const model = await R1.load(name, folder);
  const writer = new R1.Writer(model, { temperature });
  return prompts.map((ids, i) => {
    let used = 0;
    writer.uniform = () => draws[i][used++];
    writer.begin(ids);
    const passes = writer.write(40);
    const drafts = writer.frames.map((frame) => frame.draft).filter(Boolean);
    return {
      text: writer.text, passes: passes - 1, used,
      drafted: drafts.map((draft) => draft.token), kept: drafts.map((d) => d.kept),
    };
  });
}"""


def inverse(p, u):
    """The first token at which the sum of probabilities exceeds u of all of it."""
    sums = p.double().cumsum(-1)
    return (sums <= u * sums[..., -1:]).sum(-1)


class Draws:
    """Numbers that are given away one by one, in the place of random ones."""

    def __init__(self, numbers):
        self.numbers, self.used = numbers, 0

    def take(self):
        self.used += 1
        return self.numbers[self.used - 1]

    def draw(self, p, generator=None):
        return inverse(p, self.take())

    def rand(self, shape, generator=None, dtype=None):
        numbers = [self.take() for _ in range(shape.numel())]
        return torch.tensor(numbers, dtype=torch.float64).view(shape).to(dtype)


@pytest.mark.parametrize(
    ("name", "temperature"),
    [("base", 1.5), ("zero20", 0.8), ("zero50", 1.0), ("r1", 1.2), ("zero100", 0.0)],
)
def test_the_same_drafts_are_kept_with_the_same_draws(
    name, temperature, page, monkeypatch
):
    prompts = [encode(problem.prompt) for problem in problems(name, 3)]
    numbers = np.random.default_rng(0).random((3, 200)).tolist()
    found = page.evaluate(DRAFTED, [name, prompts, numbers, temperature])
    drafts = kept = 0
    for prompt, row, said in zip(prompts, numbers, found, strict=True):
        draws = Draws(row)
        monkeypatch.setattr(drafting, "draw", draws.draw)
        monkeypatch.setattr(torch, "rand", draws.rand)
        drafter = MTPDrafter(model(name))
        steps = list(drafted_steps(model(name), prompt, drafter, 40, temperature))
        monkeypatch.undo()
        text = [token for step in steps for token in step.tokens]
        assert said["text"] == decode(text)
        assert said["passes"] == sum(step.passes for step in steps)
        assert len(said["drafted"]) == sum(step.guessed for step in steps)
        assert said["kept"] == [bool(step.kept) for step in steps if step.guessed]
        assert said["used"] == draws.used
        drafts, kept = drafts + len(said["kept"]), kept + sum(said["kept"])
    assert 0 < kept < drafts


def test_rewards_and_advantages_are_those_of_the_package(page):
    texts = [
        "<answer>6</answer><eos>",
        "<answer>5</answer><eos>",
        "<think>7*3=1;1+5=6</think><answer>6</answer><eos>",
        "<think></think><answer>6</answer>",
        "<answer>6=1+5</answer><eos>",
        "<answer>6=2+5</answer><eos>",
        "<answer>7=1+5</answer><eos>",
        "<answer>6=1+6</answer><eos>",
        "<answer>g</answer><eos>",
        "<answer></answer><eos>",
        "<answer>6</answer><answer>5</answer><eos>",
        "7<answer>6</answer><eos>",
        "<think>7*3=1<answer>6</answer><eos>",
        "<answer>6</answer><eos><eos>",
        "<answer>66</answer>",
        "",
    ]
    problem = next(p for p in problems("base", 99) if len(p.terms) == 3)
    problem = type(problem)((7, 3, 5), "*+")
    ask = """([texts, summary]) => {
      const problem = R1.readProblem("7*3+5");
      const rewards = texts.map((text) => R1.judge(problem, text, summary).reward);
      return [rewards, R1.advantages(rewards), R1.answerOf(problem)];
    }"""
    for summary, kind in ((False, problem), (True, as_task(problem))):
        rewards, advantages, answer = page.evaluate(ask, [texts, summary])
        due = torch.tensor([[rule_reward(kind, text) for text in texts]]).double()
        assert rewards == pytest.approx(due[0].tolist())
        assert advantages == pytest.approx(group_advantages(due)[0].tolist())
        assert answer == problem.answer
    assert page.evaluate("R1.advantages([0.1, 0.1, 0.1])") == [0, 0, 0]


@pytest.mark.parametrize("problem", problems("r1", 12), ids=lambda p: p.prompt[5:])
def test_problems_are_read_and_computed_as_the_package_does(problem, page):
    typed = problem.prompt[5:-1]
    found = page.evaluate(
        "(t) => { const p = R1.readProblem(t); return [p.prompt, R1.results(p)] }",
        f" {typed.replace('*', ' × ').replace('-', '−')} = ",
    )
    assert found[0] == problem.prompt
    assert found[1][1:] == [result for *_, result in problem.steps()]


REFUSED = {
    "": "Type a problem, for example 7*3+5-2.",
    "  = ": "Type a problem",
    "7*a": "“a” cannot be used",
    "7/2": "“/” cannot be used",
    "<think>": "“<” cannot be used",
    "12+3": "12 has 2 digits. Put a sign between two digits",
    "7": "Write digit, sign, digit",
    "7+": "Write digit, sign, digit",
    "-7+2": "Write digit, sign, digit",
    "7++2": "Write digit, sign, digit",
    "7+2=9": "“=” cannot be used",
    "+".join("2" * 9): "This problem has 9 numbers. Use at most 8",
    "2" * 5000: "222222222222 has 5000 digits",
}


def test_what_is_no_problem_gets_a_message(page):
    before = page.locator(".live-text").inner_text()
    typed = page.get_by_label("Problem")
    for text, message in REFUSED.items():
        typed.fill(text)
        typed.press("Enter")
        assert message in page.get_by_role("alert").inner_text()
        assert typed.get_attribute("aria-invalid") == "true"
    assert page.locator(".live-text").inner_text() == before
    answer(page, "2+2*2")
    said = page.locator(".live-said")
    assert said.inner_text().endswith("tokens a second.")
    assert page.get_by_role("alert").inner_text() == ""
    assert typed.get_attribute("aria-invalid") == "false"
    answer(page, "2+2*2-2+2*2")
    assert said.inner_text().endswith("read problems of 3 to 5 numbers.")
    answer(page, "2+2*1")
    assert said.inner_text().endswith("No model here has read a 0 or a 1 in a problem.")


# The figure


def answer(page, problem):
    """Ask for a problem, and wait until the answer is there as a whole."""
    page.get_by_label("Problem").fill(problem)
    page.get_by_role("button", name="Answer", exact=True).click()
    page.wait_for_selector(".live:not([aria-busy])")


def go_to(page, place):
    """Move to a place by the slider; returns the text up to the frame's token."""
    page.locator("[name=place]").fill(str(place))
    return encode("".join(page.locator(".live-token").all_inner_texts()))


def test_what_is_shown_of_a_token_is_what_pytorch_computes(page):
    page.get_by_label("Model", exact=True).select_option("zero100")
    answer(page, "8+5-7-6*7")
    for place in (10, 14, 20, 37):
        ids = go_to(page, place)
        read = torch.tensor([ids[:-1]])
        assert read.shape[1] == place + 1
        net = model("zero100")
        caches = net.new_caches(64)
        with torch.no_grad():
            p = net(read, caches)[0, -1].softmax(-1)
        bars = page.locator(".live-bar")
        shown = {int(b.get_attribute("data-id")): b for b in bars.all()}
        assert ids[-1] in shown
        assert p.argmax().item() == int(bars.first.get_attribute("data-id"))
        for token, bar in shown.items():
            assert float(bar.get_attribute("data-p")) == pytest.approx(
                p[token].item(), abs=1e-4
            )
            share = f"{100 * p[token]:.1f} %" if p[token] > 6e-4 else ""
            label = bar.get_attribute("aria-label")
            assert label.startswith(f"{TOKENS[token]}, {share}")
        strips = page.locator(".live-strip").all()
        assert len(strips) == net.config.n_moe_layers == 2
        for strip, router in zip(strips, routers(net)[:2], strict=True):
            chosen = router.indices.view(-1, 2)
            said = strip.get_attribute("data-chosen").split()
            assert set(map(int, said)) == set(chosen[-1].tolist())
            load = torch.bincount(chosen.flatten(), minlength=8).tolist()
            assert strip.get_attribute("data-load") == " ".join(map(str, load))
        row = page.locator(".live-bytes[data-kind=latent]")
        assert int(row.get_attribute("data-bytes")) == sum(c.nbytes for c in caches)


def test_plain_attention_would_hold_what_the_figure_says(page):
    """Keys and values of four heads, in three layers, in single precision."""
    config, cache = model("base").config, KVCache(64)
    shape = 1, len(go_to(page, 12)) - 1, config.n_heads
    cache.append(
        torch.zeros(*shape, config.qk_head_dim), torch.zeros(*shape, config.v_head_dim)
    )
    row = page.locator(".live-bytes[data-kind=heads]")
    assert int(row.get_attribute("data-bytes")) == config.n_layers * cache.nbytes


def test_one_steps_back_and_forward_and_goes_on_with_another_token(page):
    page.get_by_label("Model", exact=True).select_option("zero100")
    answer(page, "7*3+5-2")
    slider = page.locator("[name=place]")
    last = int(slider.get_attribute("max"))
    assert int(slider.input_value()) == last
    whole = page.locator(".live-text").inner_text()
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Back").click()
    assert int(slider.input_value()) == last - 2
    assert len(page.locator(".live-text").inner_text()) < len(whole)
    for _ in range(2):
        page.get_by_role("button", name="Forward").click()
    assert page.get_by_role("button", name="Forward").is_disabled()
    assert page.locator(".live-text").inner_text() == whole
    slider.focus()
    page.keyboard.press("Home")
    assert page.get_by_role("button", name="Back").is_disabled()
    # R1-Zero thinks; a reader who presses the other bar makes it answer at once.
    page.get_by_role("button", name="<answer>").click()
    page.wait_for_function(
        "document.querySelector('.live-text').textContent.includes('</answer>')"
    )
    forced = encode("".join(page.locator(".live-token").all_inner_texts()))
    assert decode(forced).startswith("<bos>7*3+5-2=<answer>")


STEPS = {"base": "0", "zero20": "20", "zero50": "50", "zero100": "100"}


@pytest.fixture
def trained(browser, disk):
    """A page of its own: the base model answers, and with this seed does not think."""
    page = browser.new_page(reduced_motion="reduce")
    link = "?live-test=model:base,problem:7*3%2B5-2*4,seed:2"
    page.goto((disk / "page.html").as_uri() + link)
    page.get_by_role("button", name="Start the model as the link has it").click()
    page.wait_for_selector(".live[data-state=live]")
    yield page
    page.close()


def whole_answer(page):
    """What stands there when the model has answered."""
    page.wait_for_selector(".live:not([aria-busy])")
    return "".join(page.locator(".live-token").all_inner_texts())


def test_a_slider_over_the_steps_of_training_is_tied_to_the_model(trained):
    choice = trained.get_by_label("Model", exact=True)
    slider = trained.get_by_label("Steps of training", exact=True)
    shown = trained.locator(".live-ask output")
    texts = {}
    slider.focus()
    for number, (name, steps) in enumerate(STEPS.items()):
        if number:
            trained.keyboard.press("ArrowRight")
        assert choice.input_value() == name
        assert (slider.input_value(), shown.inner_text()) == (str(number), steps)
        assert f"{steps} steps" in slider.get_attribute("aria-valuetext")
        texts[name] = whole_answer(trained)
        trained.wait_for_function(f"location.search.includes('model%3A{name}%2C')")
        assert "seed%3A2" in trained.url
    trained.keyboard.press("ArrowRight")  # there is no more
    assert choice.input_value() == "zero100"
    # Thinking appears between steps 20 and 50.
    thinks = {name: "<think>" in text for name, text in texts.items()}
    assert thinks == {"base": False, "zero20": False, "zero50": True, "zero100": True}
    trained.keyboard.press("Home")
    assert whole_answer(trained) == texts["base"]  # the same seed, the same answer
    for name in reversed(STEPS):
        choice.select_option(name)
        assert whole_answer(trained) == texts[name]
        assert shown.inner_text() == STEPS[name]
    choice.select_option("r1")
    without = trained.get_by_label("Steps of training (not of R1)", exact=True)
    assert without.is_disabled()
    assert shown.inner_text() == ""
    choice.select_option("zero20")
    assert slider.input_value() == "1"
    assert slider.is_enabled()


def test_a_group_is_asked_anew_where_the_slider_moves(trained):
    trained.get_by_role("button", name="Group of 16").click()
    trained.wait_for_selector(".live-group")
    thoughts = ".live-group .live-thought"
    before = trained.locator(thoughts).count()
    trained.get_by_label("Steps of training", exact=True).fill("3")
    trained.wait_for_function(
        f"document.querySelectorAll('{thoughts}').length > {before}"
    )
    assert trained.locator(".live-group tbody tr").count() == 16


def test_a_group_has_16_rewards_and_their_advantages(page):
    page.get_by_label("Model", exact=True).select_option("base")
    page.get_by_label("Problem").fill("7*3+5-2*4")
    page.get_by_role("button", name="Group of 16").click()
    page.wait_for_selector(".live-group")
    rows = page.locator(".live-group tbody tr")
    assert rows.count() == 16
    rewards = [float(r.get_attribute("data-reward")) for r in rows.all()]
    sizes = [float(r.get_attribute("data-advantage")) for r in rows.all()]
    assert {0.1, 1.1} <= set(rewards)
    due = group_advantages(torch.tensor([rewards]).double())[0].tolist()
    assert sizes == pytest.approx(due)
    thought = page.locator(".live-group .live-thought")
    number = page.locator(".live-group tr:has(.live-thought) button").first
    wanted = thought.first.inner_text()
    number.click()
    assert wanted in page.locator(".live-text").inner_text().replace("\n", "")


def test_nothing_is_loaded_before_a_reader_asks_and_then_from_the_disk(loaded):
    before, after = loaded
    assert sorted(before) == ["live.css", "live.js", "page.html"]
    assert {"view.js", "base.js"} <= set(after)
    assert "zero20.js" not in after


def test_what_cannot_be_loaded_is_said_and_can_be_tried_again(browser, disk):
    page = browser.new_page(reduced_motion="reduce")
    weights, button = disk / "live/weights", "Start the model as the link has it"
    page.goto(f"{(disk / 'page.html').as_uri()}?live-test=model:zero20")
    for name in ("zero20.js", "base.js"):  # what it needs, one after the other
        (weights / name).rename(weights / "away")
        page.get_by_role("button", name=button).click()
        page.wait_for_selector(".live[data-state=failed]")
        said = page.get_by_role("status").inner_text()
        assert said == f"{name} could not be loaded. Try it once more."
        (weights / "away").rename(weights / name)
    page.get_by_role("button", name=button).click()
    page.wait_for_selector(".live[data-state=live]")
    (weights / "zero50.js").rename(weights / "away")
    choice = page.get_by_label("Model", exact=True)
    choice.select_option("zero50")
    page.wait_for_function("document.querySelector('[role=alert]').textContent")
    said = page.get_by_role("alert").inner_text()
    assert said == "zero50.js could not be loaded. Try it once more."
    (weights / "away").rename(weights / "zero50.js")
    page.get_by_role("button", name="Answer", exact=True).click()
    page.wait_for_function("!document.querySelector('[role=alert]').textContent")
    assert choice.input_value() == "zero50"
    page.close()


def test_a_link_leads_to_what_is_shown(browser, page, disk):
    page.get_by_label("Model", exact=True).select_option("zero20")
    answer(page, "9-4*3+2")
    page.get_by_role("button", name="Draw again").click()
    page.wait_for_selector(".live:not([aria-busy])")
    page.evaluate("history.replaceState(null, '', '?yarn=way:YaRN')")
    go_to(page, 12)
    page.wait_for_function("location.search.startsWith('?yarn=way%3AYaRN&live-test=')")
    page.evaluate("navigator.clipboard.writeText = async (t) => { window.copied = t }")
    page.get_by_role("button", name="Copy a link").click()
    link = page.evaluate("copied")
    assert link.startswith((disk / "page.html").as_uri() + "?live-test=")
    assert link.endswith("#live-test")
    other = browser.new_page(reduced_motion="reduce")
    other.goto(link)
    other.get_by_role("button", name="Start the model as the link has it").click()
    other.wait_for_selector(".live[data-state=live]")
    same = [p.locator(".live-stage").inner_html() for p in (page, other)]
    assert same[0] == same[1]
    assert other.get_by_label("Model", exact=True).input_value() == "zero20"
    other.close()


def test_of_a_link_what_cannot_be_is_left_out(page):
    ask = """(sent) => {
      const page = { model: "base", problem: "7*3", seed: "7", temperature: "1",
        at: "12", parts: "next" };
      const parts = sent.split(",").map((part) => part.split(":"));
      const models = { base: "", zero50: "" };
      return R1.beginning(page, Object.fromEntries(parts), models);
    }"""
    plain = {"model": "base", "problem": "7*3", "seed": "7", "temperature": "1"}
    broken = "model:r7,problem:a,temperature:-1,seed:x,at:1e5,group:2,model:constructor"
    for sent in ("", "x", ":,:", broken, "toString:1"):
        found = page.evaluate(ask, sent)
        assert found == plain | {"at": "12", "parts": "next"}
    found = page.evaluate(ask, f"{broken},problem:2+2-9,model:zero50,group:1")
    assert found == plain | {"problem": "2+2-9", "model": "zero50", "group": "1"}


NUMBERS = re.compile(r"\d+\.\d+")


def test_a_figure_begins_as_its_picture_shows(browser, disk):
    """Digits behind a point may differ: browsers have functions of their own."""
    page, figures = browser.new_page(reduced_motion="reduce"), disk / "figures.html"
    text = live_page.page("".join(map(live_page.figure, FORMS)))
    figures.write_text(text, encoding="utf-8")
    for name in FORMS:
        if name == "landing":
            live_page.start(page, figures.as_uri(), name)
        else:
            page.locator(f"#live-{name} .live-start").click()
            page.wait_for_selector(f"#live-{name}[data-state=live]")
        stage = page.locator(f"#live-{name} .live-stage")
        shown = stage.evaluate(live_page.TAKEN)
        assert NUMBERS.sub("0", shown) == NUMBERS.sub("0", live_page.still(name))
    page.close()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"^a picture cannot be made: .*file[^\n]*$"):
        live_page.main(["cache"], tmp_path / "file/stills")


def test_what_is_said_of_a_picture_is_seen_there():
    rows = {name: live_page.still(name) for name in FORMS}
    text = {name: re.sub(r"<[^>]+>", "", row) for name, row in rows.items()}
    assert "7*3=1;1+5=6;6-2=4;4*4=6&lt;/think&gt;&lt;answer&gt;6" in text["landing"]
    assert rows["routing"].count("<rect") == 2 * (1 + 2 * 37)
    loads = re.findall(r'live-names">(.*?)</div>', rows["routing"])
    assert len(loads) == 4
    assert not any(">0<" in load for load in loads)
    assert "25 tokens × 3 layers × 40 numbers" in text["cache"]
    for bytes_ in ("12,000 bytes", "57,600 bytes"):
        assert bytes_ in text["cache"]
        assert bytes_.split()[0] in FORMS["cache"].words
    assert "The module drafted 0 with" in text["drafts"]
    assert "the model gives it p = 0.000" in text["drafts"]
    assert "thrown away, and 7 is drawn" in text["drafts"]
    group = rows["rewards"]
    assert group.count("<tr>") == 17
    assert group.count("✓ right") == 5 == group.count("live-above")
    assert set(re.findall(r"<td>(\d\.\d)</td>", group)) == {"1.1", "0.1", "0.0"}
    assert "7*3=1;1+5=6Next" in text["full"]
    assert rows["full"].count("live-thrown") == 1


def test_each_figure_stands_in_one_page_which_has_its_weights(site):
    texts = [BOOK / "index.md", *sorted(BOOK.glob("text/*.md"))]
    found = {
        name: path.stem
        for path in texts
        for kind, name in live_page.PLACE.findall(path.read_text(encoding="utf-8"))
        if kind == "live"
    }
    assert sorted(found) == sorted(FORMS)
    for name, stem in found.items():
        page = (site / f"book/{stem}.html").read_text(encoding="utf-8")
        assert page.count(live_page.figure(name)) == 1
        assert page.count('class="live"') == 1
        assert "_static/live.js" in page
        assert "_static/live/" not in page  # the scripts that are loaded later
    sizes = {name: site / f"_static/live/weights/{name}.js" for name in MODELS}
    assert sum(path.stat().st_size for path in sizes.values()) < 7.5e6


def test_only_lines_that_name_a_figure_are_replaced():
    text = "A\n\n<!-- live: cache -->\n\nB <!-- live: cache -->"
    filled = live_page.with_figures(text)
    assert filled.startswith('A\n\n```{raw} html\n<div class="live" id="live-cache"')
    assert filled.endswith("</div>\n```\n\nB <!-- live: cache -->")
    with pytest.raises(ValueError, match=r"no live figure 'caches'; there are landing"):
        live_page.with_figures("<!-- live: caches -->")


def test_a_run_of_changed_code_is_not_recorded(tmp_path):
    table = tmp_path / "run.csv"
    table.write_text("# command: x\n# commit: abc+changes\na\n1\n", encoding="utf-8")
    source = live_weights.checkpoint("r1")
    with pytest.raises(ValueError, match="made by code that is in no commit"):
        live_weights.record("r1", source, table, tmp_path)
    table.write_text("# command: x\n# commit: abc\na\n1\n", encoding="utf-8")
    (tmp_path / "live").mkdir()
    live_weights.record("r1", source, table, tmp_path)
    again, due = (
        live_weights.read(live_weights.checkpoint("r1", d))
        for d in (tmp_path, live_weights.DATA)
    )
    assert again[0] == due[0]
    assert all(torch.equal(again[1][name], due[1][name]) for name in due[1])


STICKS_OUT = """() => {
  const { right } = document.querySelector(".live").getBoundingClientRect();
  const out = [...document.querySelectorAll(".live *")].filter(
    (e) => e.getBoundingClientRect().right > right);
  return out.map((e) => e.outerHTML.slice(0, 100));
}"""


def test_it_is_accessible_and_fits_a_phone(browser, disk):
    context = browser.new_context(**MODES["phone"], reduced_motion="reduce")
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((disk / "page.html").as_uri())
    page.get_by_role("button", name="Start the model").click()
    page.wait_for_selector(".live[data-state=live]")
    page.get_by_label("Model", exact=True).select_option("zero100")
    page.wait_for_selector(".live-thrown")
    typed = page.get_by_label("Problem")
    typed.fill("x")
    typed.press("Enter")
    assert page.get_by_role("alert").inner_text() != ""
    assert page.locator(".live-drafts .live-kept").count() > 0
    assert barriers(page) == []
    typed.fill("7*3+5-2")
    page.get_by_role("button", name="Group of 16").click()
    page.wait_for_selector(".live-group")
    assert barriers(page) == []
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) <= 0
        assert page.evaluate(STICKS_OUT) == []
    dark = "document.documentElement.dataset.theme = 'dark'; document.body.style = "
    page.evaluate(dark + repr(THEMES["dark"]))
    assert barriers(page, colors_alone=True) == []
    assert said == []
    context.close()


@pytest.mark.alone
def test_it_writes_at_least_200_tokens_in_a_second_and_moves_at_once(page):
    page.get_by_label("Model", exact=True).select_option("zero100")
    for _ in range(3):
        answer(page, "9*8-7+6*5")
    said = page.locator(".live-said").inner_text()
    speed = float(page.locator(".live").get_attribute("data-speed"))
    assert f"{round(speed):,} tokens a second" in said
    assert speed > 200
    times = page.evaluate(
        """() => {
          const place = document.querySelector("[name=place]");
          return Array.from({ length: 15 }, (_, i) => {
            place.value = Number(place.max) - (i % 5);
            const start = performance.now();
            place.dispatchEvent(new Event("input", { bubbles: true }));
            document.body.offsetHeight; // layout counts, too
            return performance.now() - start;
          });
        }"""
    )
    assert sorted(times)[7] < 50
