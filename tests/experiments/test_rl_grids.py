"""What every run of reinforcement learning was: settings, loss, reward, seeds.

The tables are typed from the commands that stand above the recorded runs, and from what
chapters 11, 12, 13 and 17 say of them; not one row is read off its grid.
"""

import inspect
from dataclasses import fields
from functools import partial

import pytest
import torch
from scripted import bare, thinking

from experiments import after, hacking, reinforce, rl
from experiments.pretrain import Grid
from experiments.runner import Job
from r1.rl import losses_after_r1 as later
from r1.rl.grpo_loop import Environment, Settings, problems_of
from r1.rl.losses import GRPOLoss
from r1.rl.ppo_loop import PPOSettings
from r1.rl.rewards import rule_reward
from r1.rl.rollout import Rollout
from r1.text.problems import Problem
from r1.text.tokenizer import EOS
from r1.train.records import DATA, read_cells, read_log

THREE, FIVE = (0, 1, 2), (0, 1, 2, 3, 4)
SIX = Problem((7, 3, 5), "*+")
NEVER = (1e9, 1e9)


def flat(settings):
    """Settings as one dictionary, whatever they are grouped into."""
    found = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        inner = hasattr(value, "__dataclass_fields__")
        found |= flat(value) if inner else {field.name: value}
    return found


def spelled(loss):
    """A loss by its name, with all its settings, those of its signature too."""
    if isinstance(loss, GRPOLoss):
        return {"loss": "grpo"} | flat(loss)
    if isinstance(loss, later.PrintedLoss):
        return {"loss": "PrintedLoss"} | flat(loss)
    given = loss.keywords if isinstance(loss, partial) else {}
    function = loss.func if isinstance(loss, partial) else loss
    named = inspect.signature(function).parameters.values()
    default = {p.name: p.default for p in named if p.default is not p.empty}
    return {"loss": function.__name__} | default | given


# Chapter 13's R1-Zero; every other run of the grid is said by what it changes.
SAMPLING = {"group": 16, "max_new_tokens": 48, "temperature": 1.0}
UPDATES = {"lr": 1e-4, "epochs": 1, "minibatches": 1}
LOSS = {
    "clip": (0.2, 0.2),
    "kl_weight": 0.0,
    "how": "sequence",
    "level": "token",
    "constant": None,
}
RUN = {"terms": (5, 5), "steps": 100, "seeds": THREE, "base": "base/base_seed1"}
ZERO = {"prompts": 32, "scale": True} | SAMPLING | UPDATES | LOSS | RUN
PPO = {"prompts": 32, "clip": (0.2, 0.2), "how": "token", "critic_lr": 3e-4}
PPO |= {"constant": None, "critic_first": 0}
PPO |= SAMPLING | UPDATES | RUN | {"seeds": FIVE}
SHORT = ZERO | {"steps": 40}
OWN = {"base": "base/steady_seed{seed}", "seeds": FIVE}
RL = {
    "zero": ZERO | {"seeds": FIVE},
    "ppo_lam100": PPO | {"lam": 1.0},
    "ppo_lam095": PPO | {"lam": 0.95},
    "steady": ZERO | OWN,
    "watched": ZERO | OWN | {"seeds": (0,), "steps": 101},
    "steady_lam100": PPO | OWN | {"lam": 1.0},
    "steady_lam095": PPO | OWN | {"lam": 0.95},
    "steady_first": PPO | OWN | {"lam": 0.95, "critic_first": 20, "steps": 120},
    "lr3e-4": SHORT | {"lr": 3e-4},
    "lr1e-3": SHORT | {"lr": 1e-3},
    "lr1e-2": SHORT | {"lr": 1e-2},
    "kl1": SHORT | {"kl_weight": 1.0},
    "nostd": SHORT | {"scale": False},
    "group4": SHORT | {"prompts": 128, "group": 4},
    "group64": SHORT | {"prompts": 8, "group": 64},
    "epochs4": ZERO | {"epochs": 4, "minibatches": 4, "steps": 20},
    "epochs4_noclip": ZERO
    | {"epochs": 4, "minibatches": 4, "steps": 20, "clip": NEVER},
    "six": SHORT | {"terms": (6, 6)},
    "few": ZERO | {"base": "rl/base_few_seed2"},
    "wrong": ZERO | {"base": "rl/base_wrong_seed2"},
    "unable": ZERO | {"base": "rl/base_unable"},
    "shaky": ZERO | {"base": "rl/base_shaky"},
    "noticed": ZERO | {"base": "rl/base_noticed_seed0"},
}
PASS = {"samples": 256, "problems": 128, "seeds": (None,)}
OWN_PASS = {"problems": 64, "seeds": (0, 1, 2, 3, 4)}
PASSES = {
    "passk_base_5": PASS | {"model": "base/base_seed1", "terms": 5},
    "passk_base_6": PASS | {"model": "base/base_seed1", "terms": 6},
    "passk_zero_5": PASS | {"model": "rl/zero_seed0", "terms": 5},
    "passk_zero_6": PASS | {"model": "rl/zero_seed0", "terms": 6},
    "passk_before_5": PASS | OWN_PASS | {"model": OWN["base"], "terms": 5},
    "passk_before_6": PASS | OWN_PASS | {"model": OWN["base"], "terms": 6},
    "passk_after_5": PASS | OWN_PASS | {"model": "rl/steady_seed{seed}", "terms": 5},
    "passk_after_6": PASS | OWN_PASS | {"model": "rl/steady_seed{seed}", "terms": 6},
}
# Chapter 11: every update of a run has as many answers as the others.
SAME = ("zero", "group4", "group64")


def test_the_grid_of_chapters_11_and_13_has_these_runs():
    others = {name for name, row in rl.RUNS.items() if isinstance(row, Grid)}
    assert set(rl.RUNS) == set(RL) | set(PASSES) | others
    answers = {RL[name]["prompts"] * RL[name]["group"] for name in SAME}
    assert answers == {512}


@pytest.mark.parametrize("name", RL)
def test_every_policy_is_trained_as_it_was(name, monkeypatch, tmp_path):
    want, row = RL[name], rl.RUNS[name]
    monkeypatch.setattr(Job, "weights", lambda job, name: name)
    seed = row.seeds[-1]
    o = rl.options_of(row, Job("rl", name, seed, tmp_path))
    ours = flat(o.settings) | {"terms": o.terms, "steps": o.steps}
    base = want["base"].format(seed=seed)
    assert ours | {"seeds": row.seeds, "base": o.base} == want | {"base": base}
    assert isinstance(o.settings, PPOSettings) == ("lam" in want)
    assert o.seed == seed
    assert (o.problems, o.save_every) == (512, 20)  # the tests at its end


@pytest.mark.parametrize("name", RL)
def test_what_a_row_says_reaches_the_loop(name, monkeypatch, tmp_path):
    seen = {}

    def grpo(model, reference, steps, settings, environment, seed, optimizer, start):
        seen.update(steps=steps, settings=settings, env=environment, seed=seed)
        return iter(())

    def ppo(model, critic, reference, steps, settings, environment, seed, both, start):
        seen.update(steps=steps, settings=settings, env=environment, seed=seed)
        return iter(())

    monkeypatch.setattr(reinforce, "grpo", grpo)
    monkeypatch.setattr(reinforce, "ppo", ppo)
    monkeypatch.setattr(Job, "weights", lambda job, name: name)
    o = rl.options_of(rl.RUNS[name], Job("rl", name, 1, tmp_path))
    monkeypatch.setattr(reinforce.distributed, "apart", lambda model: model)
    training = reinforce.Training([None, None], [None, None], 0, [])
    list(reinforce.loop(o, training, None))
    want = RL[name]
    assert seen["steps"] == want["steps"]
    assert seen["seed"] == 1
    settings = set(want) - set(RUN)
    assert flat(seen["settings"]) == {key: want[key] for key in settings}
    env = seen["env"]
    assert env.reward is rule_reward
    assert env.keep is None
    asked = env.ask(1, 7, 5)
    assert asked == problems_of(1, 7, 5, want["terms"])
    assert {len(problem.terms) for problem in asked} == {want["terms"][0]}
    assert not any(problem.held_out for problem in asked)


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_at_k_is_what_it_was(name, monkeypatch, tmp_path):
    row, asked = rl.RUNS[name], []
    assert {f.name: getattr(row, f.name) for f in fields(row)} == PASSES[name]

    def often(model, terms, samples, problems):
        asked.append((terms, samples, problems))
        return [(SIX, [bare(6), bare(5)])]

    model = PASSES[name]["model"].format(seed=3)
    monkeypatch.setattr(Job, "weights", lambda job, name: f"weights of {name}")
    monkeypatch.setattr(rl, "load_checkpoint", lambda p: asked.append(p) or [None])
    monkeypatch.setattr(rl, "new_policy", lambda model: model)
    monkeypatch.setattr(rl, "answer_often", often)
    job = Job("rl", name, 3, tmp_path)
    assert not rl.done(job)
    rl.make(job)
    want = (PASSES[name]["terms"], 256, PASSES[name]["problems"])
    assert asked == [f"weights of {model}", want]
    assert rl.done(job)
    assert (tmp_path / f"{name}_seed3.csv").exists()


def test_a_watched_policy_answers_before_the_steps_that_are_named(
    monkeypatch, tmp_path
):
    """Always the same problem, which no step asks, with the same draws."""
    row, policy, asked, saved = rl.RUNS["watched"], [0], [], []
    assert (row.said, row.answers) == ((0, 20, 50, 100), 4)

    def grpo(model, reference, steps, settings, environment, seed):
        assert (steps, settings, seed) == (101, row.settings, 0)
        assert environment.ask(1, 7, 5) == problems_of(1, 7, 5, (5, 5))
        for step in range(steps):
            model[0] = step + 1
            yield {"step": step}

    def roll_out(model, problems, sampling, generator):
        asked.append((problems[0].prompt, generator.initial_seed(), sampling.group))
        texts = [f"{model[0]} steps"] * sampling.group
        return Rollout(problems, texts, None, None, None)

    def save_checkpoint(path, model, step, seed):
        saved.append((path.name, *model, step, seed))

    monkeypatch.setattr(rl, "load_checkpoint", lambda path: [policy])
    monkeypatch.setattr(rl, "save_checkpoint", save_checkpoint)
    monkeypatch.setattr(rl, "new_policy", list)
    monkeypatch.setattr(rl, "grpo", grpo)
    monkeypatch.setattr(rl, "roll_out", roll_out)
    job = Job("rl", "watched", 0, tmp_path)
    rl.make(job)
    assert rl.done(job)
    assert asked == [(problems_of(99, 0, 1)[0].prompt, 3, 4)] * 4
    said = read_cells(job.path("said"))
    assert said.columns == ["step", "problem", "text"]
    assert [(r[0], r[2]) for r in said.rows] == [
        (str(step), f"{step} steps") for step in row.said for _ in range(4)
    ]
    assert len(read_log(job.path())["step"]) == 101
    names = [f"watched_seed0_step{step}.safetensors" for step in (20, 50, 100)]
    assert saved == list(zip(names, *[(20, 50, 100)] * 2, [0] * 3, strict=True))


def test_passes_counted_by_hand():
    worked = thinking("7*3=1;1+5=6", 6)
    first = (SIX, [worked, bare(6), bare(5), bare(5)])
    second = (SIX, [bare(5), "nonsense", "nonsense", "nonsense"])
    one, two, four = rl.pass_rows([first, second])
    assert [row["k"] for row in (one, two, four)] == [1, 2, 4]
    assert one["pass"] == pytest.approx((2 / 4 + 0) / 2)
    assert two["pass"] == pytest.approx((1 - 1 / 6 + 0) / 2)
    assert four["pass"] == pytest.approx(1 / 2)
    assert one["worked"] == pytest.approx((1 / 4 + 0) / 2)
    assert two["worked"] == pytest.approx((1 / 2 + 0) / 2)
    # of all four, two say 6 and two say 5, and a share of it is right
    assert four["majority"] == pytest.approx((1 / 2 + 0) / 2)
    assert rl.pass_rows([(SIX, [worked] * 4)])[1]["majority"] == 1


# chapter 12

HACKS = {
    "tags": hacking.tag_count_reward,
    "tags_capped": hacking.capped_tag_reward,
    "tags_repaired": hacking.repaired_tag_reward,
    "length": hacking.length_reward,
    "length_repaired": hacking.repaired_length_reward,
}
# Of a right answer, a wrong one, tags without a form, and one that is cut off.
RIGHT = thinking("7*3=1;1+5=6", 6)  # 17 tokens
TEXTS = (RIGHT, bare(5), "<think></think><answer></answer>", "<think>7*3=1;")
PAID = {
    "tags": (1.0, 0.5, 1.0, 0.25),
    "tags_capped": (1.0, 0.5, 1.0, 0.25),
    "tags_repaired": (2.0, 1.0, 0.0, 0.0),
    "length": (1 + 1.7, 0.4, 0.4, 0.7),
    "length_repaired": (1 + 1.7, 0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", HACKS)
def test_every_hack_was_trained_with_its_reward(name, monkeypatch, tmp_path):
    assert set(hacking.RUNS) == set(HACKS)
    row, seen = hacking.RUNS[name], []
    assert {"base": row.base, "seeds": row.seeds} == OWN
    assert (row.steps, row.settings) == (100, Settings())
    monkeypatch.setattr(hacking, "load_checkpoint", lambda path: [path])
    monkeypatch.setattr(hacking, "new_policy", lambda model: model)
    monkeypatch.setattr(hacking, "grpo", lambda *args: seen.extend(args) or [{}])
    trained, rows = hacking.loop(Job("hacking", name, 2, tmp_path))
    assert list(rows) == [{}]
    policy, base, steps, settings, environment, seed = seen
    assert policy == base == trained == DATA / "base/steady_seed2.safetensors"
    assert (steps, settings, seed) == (100, row.settings, 2)
    assert environment == Environment(problems_of, HACKS[name], None)
    paid = [environment.reward(SIX, text) for text in TEXTS]
    assert paid == pytest.approx(PAID[name])


# chapter 17

AFTER = {"prompts": 16, "scale": True} | SAMPLING
AFTER |= {"lr": 5e-5, "epochs": 1, "minibatches": 16}
AFTER |= {"reward": "rules", "keep": None, "renewed": 25, "seeds": FIVE}
GRPO = AFTER | {"loss": "grpo"} | LOSS
TWO = {"seeds": (100, 101)}
VARIANTS = {
    "rate_5e-5": GRPO | TWO,
    "rate_1e-4": GRPO | {"lr": 1e-4} | TWO,
    "rate_2e-4": GRPO | {"lr": 2e-4} | TWO,
    "grpo": GRPO,
    # a constant, and no division by the deviation: 16 answers of 48 tokens
    "dr_grpo": GRPO | {"how": "constant", "constant": 768.0, "scale": False},
    "clip_higher": GRPO | {"clip": (0.2, 0.28)},
    "token": GRPO | {"how": "token"},
    "dapo": GRPO
    | {"how": "token", "clip": (0.2, 0.28), "reward": "shaped", "keep": "mixed"},
    "r1_clip": GRPO | {"clip": (10.0, 10.0)},
    "product": GRPO | {"level": "sequence"},
    "r1_printed": AFTER
    | {"loss": "PrintedLoss", "clip": (10.0, 10.0), "kl_weight": 0.001, "renewed": 10},
    "product_mean": AFTER | {"loss": "product_loss", "clip": (0.2, 0.2)},
    "sum": GRPO | {"how": "constant", "constant": 16.0},
    "gspo_published": AFTER | {"loss": "gspo_loss", "clip": (3e-4, 4e-4)},
    "gspo": AFTER | {"loss": "gspo_loss", "clip": (0.03, 0.04)},
    "cispo": AFTER | {"loss": "cispo_loss", "highest": 5.0, "lowest": 0.0},
    "v32": AFTER
    | {"loss": "masked_loss", "clip": (0.2, 0.2), "furthest": 0.05, "scale": False},
    "wrong": GRPO | {"reward": "wrong"},
    "random": GRPO | {"reward": "tosses"},
}
REWARDS = {
    "rules": rule_reward,
    "shaped": after.shaped_reward,
    "wrong": after.wrong_reward,
    "tosses": after.RandomReward,
}
KEEPS = {None: None, "mixed": later.mixed}


def test_the_grid_of_chapter_17_has_these_runs():
    assert set(after.RUNS) == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_what_it_was(name):
    row, want = after.RUNS[name], dict(VARIANTS[name])
    assert row.reward is REWARDS[want.pop("reward")]
    assert row.keep is KEEPS[want.pop("keep")]
    ours = {"renewed": row.renewed, "seeds": row.seeds}
    settings = flat(row.settings)
    settings.pop("loss", None)
    ours |= settings | spelled(row.settings.loss)
    assert ours == want
    assert row.base == "base/steady_seed{seed}"


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_variant_says_reaches_the_loop(name, monkeypatch, tmp_path):
    want, seen, tested = VARIANTS[name], [], []

    def grpo(policy, reference, steps, settings, environment, seed, optimizer, start):
        seen.append((policy, reference, steps, start))
        assert (settings, seed) == (after.RUNS[name].settings, 103)
        assert optimizer == ("optimizer", policy, want["lr"])
        assert environment.keep is KEEPS[want["keep"]]
        assert environment.ask is problems_of  # of five terms
        if want["reward"] == "tosses":
            tosses = [environment.reward(SIX, "") for _ in range(50)]
            again = after.RandomReward(103)
            assert start or tosses == [again(SIX, RIGHT) for _ in range(50)]
        else:
            assert environment.reward is REWARDS[want["reward"]]
        yield from ({"step": step} for step in range(start, steps))

    monkeypatch.setattr(after, "load_checkpoint", lambda path: [path.name])
    monkeypatch.setattr(after, "new_policy", lambda model: f"copy of {model}")
    monkeypatch.setattr(after, "rl_optimizer", lambda *a: ("optimizer", *a))
    monkeypatch.setattr(after, "grpo", grpo)
    monkeypatch.setattr(
        after, "evaluate", lambda *a, **k: tested.append((a, k)) or {"accuracy": 0.5}
    )
    job = Job("after", name, 103, tmp_path)
    after.make(job)
    begin = "copy of steady_seed3.safetensors"  # the base of seed 3, for 103
    parts = {25: [(25, 0)], 10: [(10, 0), (20, 10), (25, 20)]}[want["renewed"]]
    assert seen == [(begin, f"copy of {begin}", *part) for part in parts]
    assert tested == [((begin, 5, 512), {"seed": 103})] * 2
    assert read_log(job.path("terms"))["done"] == [20, 25]
    assert (tmp_path / f"{name}_seed103.csv").exists()
    assert after.done(job)


def test_the_rewards_of_chapter_17_by_hand():
    texts = (RIGHT, bare(5), bare(6), "nonsense")
    assert [after.wrong_reward(SIX, text) for text in texts] == [0, 1, 0, 0]
    assert [after.shaped_reward(SIX, text) for text in texts[:3]] == pytest.approx(
        [1.1, 0.1, 1.1]
    )
    for tokens, penalty in ((32, 0.0), (40, -0.5), (48, -1.0)):
        text = "<think>" + "7" * (tokens - 1)
        assert after.shaped_reward(SIX, text) == pytest.approx(penalty)


def test_random_rewards_depend_on_the_seed_alone():
    first, same, other = (after.RandomReward(seed) for seed in (1, 1, 2))
    tosses = [[r(SIX, text) for text in "ab" * 200] for r in (first, same, other)]
    assert tosses[0] == tosses[1] != tosses[2]
    assert set(tosses[0]) == {0.0, 1.0}
    assert sum(tosses[0]) / 400 == pytest.approx(0.5, abs=0.1)


def test_a_loss_of_the_table_is_the_loss_of_its_paper():
    """One token, likelier than before by e: what the weight of it is."""
    logp = torch.tensor([[0.0]], dtype=torch.double)
    old, mask = logp - 1, torch.ones(1, 1, dtype=torch.bool)
    weights = {
        "grpo": 0.0,  # clipped
        "r1_clip": torch.e,
        "cispo": torch.e,
        "gspo": 0.0,
        "v32": 0.0,
    }
    good = torch.ones(1, dtype=torch.double)
    for name, weight in weights.items():
        loss = after.RUNS[name].settings.loss
        ours = later.token_weights(loss, logp, old, good, mask).item()
        assert ours == pytest.approx(weight), name
    assert EOS in RIGHT
