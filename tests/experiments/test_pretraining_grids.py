"""What every pretraining run of the book was, spelled out and not read off its grid.

The tables are typed from the commands that stand above the recorded runs, and from what
the chapters say of them.
"""

import random
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from scripted import SMALL, new_model

from experiments import base, distill, fp8, latent, moe, pretrain, rl, small_world
from experiments.pretrain import Grid, Options, Pretraining, read_config
from experiments.runner import Job
from r1.model.fp8 import E4M3, RECIPES
from r1.text import corpus
from r1.text.problems import count_mistakes, document
from r1.train.checkpoint import save_checkpoint
from r1.train.pretraining import Balance, packed_batch
from r1.train.records import DATA

THREE, FIVE, ONCE = (0, 1, 2), (0, 1, 2, 3, 4), (None,)
GRIDS = {
    "small_world": small_world.RUNS,
    "moe": moe.RUNS,
    "latent": latent.RUNS,
    "base": base.RUNS,
    "fp8": fp8.RUNS,
    "rl": {n: row for n, row in rl.RUNS.items() if isinstance(row, Grid)},
    "distill": {n: row for n, row in distill.RUNS.items() if isinstance(row, Grid)},
}
# What a run is that is not said to be another: chapter 02's.
PLAIN = {
    "config": "dense",
    "base": None,
    "text": "sums",
    "rows": 32,
    "steps": 2000,
    "lr": 3e-3,
    "dtype": "float32",
    "bias_speed": 0.0,
    "balance_loss": None,
    "alpha": 0.0,
    "mtp_weight": None,
    "problems": 512,
    "log_every": 1,
    "seeds": THREE,
    "only_seed": 0,
}
KINDS = PLAIN | {"text": "kinds", "rows": 16, "log_every": 25}
SIZES = KINDS | {"steps": 1500, "seeds": FIVE}
BALANCE = SIZES | {"steps": 1000, "config": "data/moe/balance.json"}
COLLAPSE = SIZES | {"steps": 600, "config": "data/moe/collapse.json"}
CACHES = KINDS | {"steps": 2000, "seeds": FIVE}
PARTS = PLAIN | {"steps": 2000, "log_every": 10}
TINY = PARTS | {"config": "tiny", "bias_speed": 0.001}
STEADY = {"lr": 0.001}
EIGHT = PLAIN | {"config": "data/base/moe.json", "steps": 400, "rows": 8}
EIGHT |= {"log_every": 5, "bias_speed": 0.001, "problems": 0, "seeds": FIVE}
READS_ON = PLAIN | {"base": "base/base_seed1", "log_every": 10, "bias_speed": 0.001}
STUDENTS = PLAIN | {"rows": 16, "log_every": 50, "seeds": ONCE}

EXPECTED = {
    "small_world": {"dense": PLAIN},
    "moe": {
        "dense": SIZES | {"config": "data/moe/dense.json"},
        "large": SIZES | {"config": "data/moe/large.json", "bias_speed": 0.001},
        "fine": SIZES | {"config": "data/moe/fine.json", "bias_speed": 0.001},
        "shared": SIZES | {"config": "data/moe/shared.json", "bias_speed": 0.001},
        "balance_none": BALANCE,
        "balance_bias_1e-4": BALANCE | {"bias_speed": 0.0001},
        "balance_bias_1e-3": BALANCE | {"bias_speed": 0.001},
        "balance_bias_1e-2": BALANCE | {"bias_speed": 0.01},
        "balance_expert_1e-3": BALANCE | {"balance_loss": "expert", "alpha": 0.001},
        "balance_expert_1e-2": BALANCE | {"balance_loss": "expert", "alpha": 0.01},
        "balance_expert_1e-1": BALANCE | {"balance_loss": "expert", "alpha": 0.1},
        "balance_sequence_1e-2": BALANCE | {"balance_loss": "sequence", "alpha": 0.01},
        "balance_v3": BALANCE
        | {"bias_speed": 0.001, "balance_loss": "sequence", "alpha": 0.0001},
        "balance_groups": BALANCE
        | {"config": "data/moe/balance_groups.json", "bias_speed": 0.001},
        "collapse_none": COLLAPSE,
        "collapse_expert": COLLAPSE | {"balance_loss": "expert", "alpha": 0.01},
        "collapse_bias": COLLAPSE | {"bias_speed": 0.001},
    },
    "latent": {
        "mha": CACHES | {"config": "data/latent/mha.json"},
        "mha_split": CACHES | {"config": "data/latent/mha_split.json"},
        "gqa": CACHES | {"config": "data/latent/gqa.json"},
        "mqa": CACHES | {"config": "data/latent/mqa.json"},
        "mla96": CACHES | {"config": "data/latent/mla96.json"},
        "mla48": CACHES | {"config": "data/latent/mla48.json"},
    },
    "base": {
        "mha": PARTS | {"config": "data/base/mha.json"},
        "mla": PARTS | {"config": "data/base/mla.json"},
        "moe": TINY | {"config": "data/base/moe.json"},
        "mtp1": TINY,
        "mtp2": TINY | {"config": "data/base/mtp2.json"},
        "draft": PARTS | {"config": "data/base/draft.json", "seeds": (0,)},
        "base": TINY | {"steps": 3000},
        "steady": TINY | STEADY | {"seeds": FIVE},
        "steady_lambda": TINY | STEADY | {"mtp_weight": 0.1},
    },
    "fp8": {
        "float32": EIGHT,
        "bf16": EIGHT | {"dtype": "bf16"},
        "fp8": EIGHT | {"dtype": "fp8"},
        "block": EIGHT | {"dtype": "fp8-block"},
        "scale": EIGHT | {"dtype": "fp8-scale"},
        "format": EIGHT | {"dtype": "fp8-format"},
        "sum13": EIGHT | {"dtype": "fp8-sum13"},
        "sum4": EIGHT | {"dtype": "fp8-sum4"},
        "promoted": EIGHT | {"dtype": "fp8-sum4-promoted"},
        "sum1": EIGHT | {"dtype": "fp8-sum1"},
        "promoted1": EIGHT | {"dtype": "fp8-sum1-promoted"},
        "tensor": EIGHT | {"dtype": "fp8-tensor"},
    },
    "rl": {
        "base_few": READS_ON | {"text": "few", "steps": 500, "lr": 0.001},
        "base_wrong": READS_ON | {"text": "wrong", "steps": 500, "lr": 0.001},
        "base_shaky": TINY | {"steps": 3000, "seeds": ONCE, "only_seed": 0},
        "base_noticed": READS_ON
        | {"text": "repaired", "steps": 2000, "lr": 0.003, "seeds": (0,)},
        "base_unable": TINY | {"steps": 3000, "seeds": ONCE, "only_seed": 2},
    },
    "distill": {
        "base_dense4": STUDENTS | {"config": "data/distill/dense4.json", "steps": 2500},
        "base_later": STUDENTS | {"config": "data/distill/dense4.json", "steps": 3500},
        "base_dense16": STUDENTS
        | {"config": "data/distill/dense16.json", "steps": 3500, "lr": 0.006},
        "base_moe4": STUDENTS
        | {"config": "data/distill/moe4.json", "steps": 3000, "bias_speed": 0.001},
        "base_moe16": STUDENTS
        | {"config": "data/distill/moe16.json", "steps": 3000, "lr": 0.006}
        | {"bias_speed": 0.001},
    },
}
EACH = [(e, name) for e, runs in GRIDS.items() for name in runs]
each_run = pytest.mark.parametrize(("experiment", "name"), EACH)


def test_no_run_is_missing_and_none_is_new():
    assert {e: set(runs) for e, runs in EXPECTED.items()} == {
        e: set(runs) for e, runs in GRIDS.items()
    }


@each_run
def test_every_run_is_what_it_was(experiment, name):
    row = GRIDS[experiment][name]
    ours = {field.name: getattr(row, field.name) for field in fields(row)}
    assert ours == EXPECTED[experiment][name]


# What the chapters say of the models: experts, those at work, shared ones, their width.
MODELS = {
    "data/moe/large.json": (4, 1, 0, 128),
    "data/moe/fine.json": (16, 4, 0, 32),
    "data/moe/shared.json": (15, 3, 1, 32),
    "data/moe/balance.json": (16, 4, 1, 32),
    "data/moe/balance_groups.json": (16, 4, 1, 32),
    "data/moe/collapse.json": (16, 1, 0, 128),
    "tiny": (8, 2, 1, 96),
}


@pytest.mark.parametrize("config", MODELS)
def test_models_have_the_experts_that_the_chapters_say(config):
    c = read_config(config)
    found = (c.n_routed_experts, c.n_activated_experts, c.n_shared_experts)
    assert (*found, c.moe_inter_dim) == MODELS[config]
    groups = (4, 2) if config.endswith("groups.json") else (1, 1)
    assert (c.n_expert_groups, c.n_limited_groups) == groups


def test_bases_differ_in_the_part_that_they_are_named_after():
    names = ("mha", "mla", "moe", "mtp2")
    mha, mla, moe_, mtp2 = (read_config(f"data/base/{n}.json") for n in names)
    tiny = read_config("tiny")
    assert (mha.kv_lora_rank, mha.n_routed_experts) == (0, 0)
    assert mla.kv_lora_rank > 0 == mla.n_routed_experts
    assert moe_.n_routed_experts == 8
    ahead = [c.num_nextn_predict_layers for c in (mha, mla, moe_, tiny, mtp2)]
    assert ahead == [0, 0, 0, 1, 2]


def test_the_split_of_latent_attention_is_all_that_sets_the_split_arm_apart():
    mha, split = (read_config(f"data/latent/{n}.json") for n in ("mha", "mha_split"))
    assert split == replace(mha, qk_nope_head_dim=16, qk_rope_head_dim=8)


# What a row says reaches the training.


@each_run
def test_what_a_row_says_reaches_the_loop(experiment, name, monkeypatch, tmp_path):
    want, seen = EXPECTED[experiment][name], {}

    def loop(model, steps, seed, lr, optimizer, start, batch, balance, weight):
        seen.update(
            weight=weight, steps=steps, seed=seed, lr=lr, start=start, balance=balance
        )
        seen.update(batch=batch(seed, 3), model=model)
        return iter(())

    monkeypatch.setattr(pretrain, "pretrain", loop)
    monkeypatch.setattr(pretrain, "new_model", lambda o: (o.config, o.base))
    row = GRIDS[experiment][name]
    seed = want["seeds"][-1]
    job = Job(experiment, name, seed, tmp_path)
    o = pretrain.options_of(row, job)
    list(pretrain.loop(o, pretrain.new_model(o), None))
    seed = want["only_seed"] if seed is None else seed
    assert (seen["steps"], seen["lr"]) == (want["steps"], want["lr"])
    assert (seen["seed"], seen["start"]) == (seed, 0)
    balance = Balance(want["bias_speed"], want["balance_loss"], want["alpha"])
    assert seen["balance"] == balance
    assert seen["weight"] == (0.3 if want["mtp_weight"] is None else 0.1)
    text = pretrain.TEXTS[want["text"]]
    expected = packed_batch(seed, 3, rows=want["rows"], document=text)
    assert torch.equal(seen["batch"], expected)
    config, begin = seen["model"]
    assert config == want["config"]
    assert (begin and Path(begin)) == (
        want["base"] and DATA / f"{want['base']}.safetensors"
    )


def texts(kind, count=2000):
    rng = random.Random(1)
    return [pretrain.TEXTS[kind](rng) for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "thinking", "mistakes", "repaired"),
    [
        ("sums", 0.3, 0.0, None),
        ("few", 0.03, 0.0, None),
        ("wrong", 0.3, 0.4, 0.0),
        ("repaired", 0.3, 0.3, 0.25),
    ],
)
def test_texts_think_and_err_as_often_as_they_are_said_to(
    kind, thinking, mistakes, repaired
):
    thoughts = [t.partition("<think>")[2] for t in texts(kind) if "<think>" in t]
    assert len(thoughts) / 2000 == pytest.approx(thinking, abs=0.03)
    counts = [count_mistakes(t.partition("</think>")[0]) for t in thoughts]
    steps, wrong, mended = map(sum, zip(*counts, strict=True))
    if not mistakes:
        assert wrong == 0
        return
    # a repaired step is written twice
    assert wrong / (steps - mended) == pytest.approx(mistakes, abs=0.04)
    assert mended / wrong == pytest.approx(repaired, abs=0.06)


def test_the_text_of_kinds_has_all_six():
    assert pretrain.TEXTS["kinds"] is corpus.document
    assert pretrain.TEXTS["sums"] is document
    assert len(corpus.KINDS) == 6


TILES = ((1, 128), (128, 128), (1, 128), (128, 1))
BLOCK = (*TILES[:2], (128, 128), TILES[3])
# Tiles, format of gradients, bits of the register, terms until a promotion.
ARMS = {
    "bf16": (TILES, None, None, None),
    "fp8": (TILES, "E4M3", None, None),
    "fp8-block": (BLOCK, "E4M3", None, None),
    "fp8-scale": ((None,) * 4, "E4M3", None, None),
    "fp8-format": (TILES, "E5M2", None, None),
    "fp8-tensor": ((None,) * 4, "E5M2", None, None),
    "fp8-sum13": (TILES, "E4M3", 13, None),
    "fp8-sum4": (TILES, "E4M3", 4, None),
    "fp8-sum4-promoted": (TILES, "E4M3", 4, 32),
    "fp8-sum1": (TILES, "E4M3", 1, None),
    "fp8-sum1-promoted": (TILES, "E4M3", 1, 32),
}


def test_the_list_of_recipes_is_whole():
    assert set(ARMS) == set(RECIPES)


@pytest.mark.parametrize("dtype", ARMS)
def test_a_dtype_is_the_recipe_of_its_name(dtype, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(pretrain, "lower_precision", lambda m, r: seen.append(r))
    monkeypatch.setattr(pretrain, "report", lambda *_: {"loss": 0.0})
    monkeypatch.setattr(pretrain, "new_model", lambda o: new_model())
    o = Options(out=tmp_path / "run", dtype=dtype, steps=1, rows=1, save_every=0)
    pretrain.run(o, "by hand")
    (r,) = seen
    tiles = (r.activation, r.weight, r.gradient, r.tokens)
    name = r.gradient_fmt and r.gradient_fmt.name
    assert (tiles, name, r.fraction_bits, r.promote) == ARMS[dtype]
    assert (r.fmt, r.stored_fmt) == ((None,) * 2 if dtype == "bf16" else (E4M3,) * 2)
    assert (r.round_input_scales, r.round_gradient_scales) == (False, False)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *(("fp8", f"fp8-{arm}") for arm in ("block", "scale", "format", "sum13")),
        *(("fp8", "fp8-sum4"), ("fp8-sum4", "fp8-sum4-promoted")),
        *(("fp8-scale", "fp8-tensor"), ("fp8-format", "fp8-tensor")),
        *(("fp8", "fp8-sum1"), ("fp8-sum1", "fp8-sum1-promoted")),
    ],
)
def test_arms_that_chapter_08_compares_differ_in_one_thing(first, second):
    pairs = zip(ARMS[first], ARMS[second], strict=True)
    assert sum(a != b for a, b in pairs) == 1


# skipping, resuming


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A run of four steps of chapter 04, that tests nothing."""
    monkeypatch.setattr(pretrain, "evaluate_kinds", lambda model: [{"kind": 0}])
    monkeypatch.setattr(pretrain, "validate", lambda m, b: {"loss": 1.0})
    monkeypatch.setattr(pretrain, "new_model", lambda o: new_model(SMALL, o.seed))
    row = Grid(text="kinds", rows=1, steps=4, log_every=2, seeds=(0, 1))
    monkeypatch.setattr(moe, "RUNS", {"fine": row})
    return tmp_path


def test_a_grid_makes_what_is_asked_for_and_skips_what_is_there(grid, capsys):
    moe.main(["fine", "--seeds", "1", "--out", str(grid)])
    names = sorted(path.name for path in grid.iterdir())
    assert names == [
        "fine_seed1.csv",
        "fine_seed1.safetensors",
        "fine_seed1_kinds.csv",
        "fine_seed1_valid.csv",
    ]
    log = (grid / "fine_seed1.csv").read_text()
    assert log.startswith("# command: python -m experiments.moe fine --seeds 1\n")
    assert [line.split(",")[0] for line in log.splitlines()[5:]] == ["1", "3"]
    before = (grid / "fine_seed1.csv").stat().st_mtime_ns
    capsys.readouterr()
    moe.main(["--out", str(grid)])
    assert "fine_seed1 is finished" in capsys.readouterr().out
    assert (grid / "fine_seed1.csv").stat().st_mtime_ns == before
    assert (grid / "fine_seed0_valid.csv").exists()
    moe.main(["fine", "--seeds", "1", "--out", str(grid), "--force"])
    assert (grid / "fine_seed1.csv").stat().st_mtime_ns != before
    with pytest.raises(SystemExit, match="no run 'coarse'; there are fine"):
        moe.main(["coarse", "--out", str(grid)])


def test_a_run_of_a_grid_goes_on_where_it_was_cut_off(grid, monkeypatch):
    real, options = pretrain.save_checkpoint, pretrain.options_of
    monkeypatch.setattr(pretrain, "options_of", lambda r, j: options(r, j, 2))
    moe.main(["fine", "--seeds", "0", "--out", str(grid / "straight")])

    def stop(path, model, optimizer, **notes):
        real(path, model, optimizer, **notes)
        if notes["step"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, "save_checkpoint", stop)
    cut = ["fine", "--seeds", "0", "--out", str(grid / "cut")]
    with pytest.raises(KeyboardInterrupt):
        moe.main(cut)
    monkeypatch.setattr(pretrain, "save_checkpoint", real)
    moe.main(cut)
    logs = [
        (grid / folder / "fine_seed0.csv").read_text() for folder in ("straight", "cut")
    ]
    assert logs[0] == logs[1]
    (grid / "cut/fine_seed0_valid.csv").unlink()  # cut off while it was tested
    moe.main(cut)
    assert (grid / "cut/fine_seed0_valid.csv").exists()


def test_weights_are_looked_for_where_they_were_made(tmp_path):
    job = Job("rl", "few", 1, tmp_path)
    with pytest.raises(SystemExit, match=r"experiments.rl base_few first"):
        job.weights("rl/base_few_seed1")
    save_checkpoint(tmp_path / "base_few_seed1.safetensors", new_model())
    assert job.weights("rl/base_few_seed1") == tmp_path / "base_few_seed1.safetensors"
    recorded = DATA / "base/base_seed1.safetensors"
    assert job.weights("base/base_seed1") == recorded


def test_options_of_a_command_line_are_those_of_a_grid():
    assert {f.name for f in fields(Pretraining)} < {f.name for f in fields(Options)}
