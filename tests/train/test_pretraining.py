"""Training learns, resumes where it stopped, and loses nothing on the way."""

import dataclasses
import json
import os
from itertools import pairwise

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from experiments import pretrain as command_line
from r1.model.config import ModelConfig
from r1.model.moe import routers
from r1.model.transformer import Model
from r1.train import checkpoint, records
from r1.train import pretraining as pretrain
from r1.train.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from r1.train.evaluation import evaluate, evaluate_kinds, validate
from r1.train.optimizer import apply_gradient, new_optimizer

SMALL = dataclasses.replace(ModelConfig.dense(), n_layers=1, n_dense_layers=1)


def new_model(config=SMALL):
    torch.manual_seed(0)
    return Model(config)


def small_batch(seed, step):
    return pretrain.packed_batch(seed, step, rows=4, length=32)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_batch_depends_on_seed_and_step_alone():
    assert_close(small_batch(0, 3), small_batch(0, 3))
    assert not torch.equal(small_batch(0, 3), small_batch(0, 4))
    assert not torch.equal(small_batch(0, 3), small_batch(1, 3))


def test_the_learning_rate_warms_up_and_falls_to_a_tenth():
    rates = [pretrain.learning_rate(step, 1000, 1.0) for step in range(1001)]
    assert rates[0] == 1 / 50
    assert max(rates) == rates[49] == 1.0
    assert_close(rates[1000], 0.1)
    assert all(a >= b for a, b in pairwise(rates[50:]))


def test_the_loss_falls():
    rows = list(pretrain.pretrain(new_model(), 30, peak_lr=1e-2, batch=small_batch))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    straight = new_model()
    list(pretrain.pretrain(straight, 10, batch=small_batch))
    first = new_model()
    optimizer = new_optimizer(first)
    run = pretrain.pretrain(first, 10, optimizer=optimizer, batch=small_batch)
    for _ in range(6):
        next(run)
    save_checkpoint(tmp_path / "a.safetensors", first, optimizer, step=6)
    second, optimizer, notes = load_checkpoint(
        tmp_path / "a.safetensors", new_optimizer
    )
    assert notes == {"step": 6}
    list(pretrain.pretrain(second, 10, optimizer=optimizer, start=6, batch=small_batch))
    assert_close(weights(second), weights(straight), rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_before_any_update():
    model = new_model()
    torch.nn.init.constant_(model.norm.weight, torch.nan)
    before = model.embed.weight.clone()
    with pytest.raises(FloatingPointError, match="learning rate"):
        pretrain.train_step(model, new_optimizer(model), small_batch(0, 0), 1e-3)
    assert_close(model.embed.weight, before, rtol=0, atol=0)


@pytest.mark.parametrize("tied", [False, True])
def test_a_checkpoint_brings_back_the_model(tmp_path, tied):
    model = new_model(dataclasses.replace(SMALL, tie_word_embeddings=tied))
    save_checkpoint(tmp_path / "a.safetensors", model, note="kept")
    loaded, optimizer, notes = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded.config == model.config
    assert optimizer is None
    assert notes == {"note": "kept"}
    tokens = small_batch(0, 0)
    assert_close(loaded(tokens), model(tokens), rtol=0, atol=0)


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, new_model(), step=1)

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, new_model(), step=2)
    monkeypatch.undo()
    assert load_checkpoint(path)[2] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint a"):
        load_checkpoint(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_text("text")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_checkpoint(tmp_path / "b.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "c.safetensors")
    with pytest.raises(ValueError, match="holds no configuration"):
        load_checkpoint(tmp_path / "c.safetensors")


def test_the_command_writes_resumes_and_refuses(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    command = ["--out", str(out), "--steps", "4", "--save-every", "2"]
    monkeypatch.setattr(command_line, "evaluate", lambda model, terms, problems: {})
    monkeypatch.setattr(command_line, "validate", lambda model, batches: {})
    real = command_line.save_checkpoint

    def stop_after_two(path, model, optimizer, **notes):
        real(path, model, optimizer, **notes)
        if notes["step"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "save_checkpoint", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        command_line.main(command)
    monkeypatch.setattr(command_line, "save_checkpoint", real)
    with pytest.raises(SystemExit, match="--resume or --force"):
        command_line.main(command)
    with pytest.raises(SystemExit, match="made with seed=0, not 1"):
        command_line.main([*command, "--resume", "--seed", "1"])
    with pytest.raises(SystemExit, match="another configuration than --config tiny"):
        command_line.main([*command, "--resume", "--config", "tiny"])
    with pytest.raises(SystemExit, match="made with dtype=float32, not fp8"):
        command_line.main([*command, "--resume", "--dtype", "fp8"])
    base = str(tmp_path / "run.safetensors")
    with pytest.raises(SystemExit, match="made with base=None, not run"):
        command_line.main([*command, "--resume", "--base", base])
    command_line.main([*command, "--resume"])
    with pytest.raises(SystemExit, match="is finished"):
        command_line.main([*command, "--resume"])
    log = records.read_log(out.with_suffix(".csv"))
    assert log["step"] == [0, 1, 2, 3]
    text = out.with_suffix(".csv").read_text()
    for word in ("# command:", "# commit:", "# device:", "# date:"):
        assert word in text
    assert "step" not in capsys.readouterr().err  # silent without a terminal


def test_a_run_may_begin_with_the_weights_of_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "evaluate", lambda model, terms, problems: {})
    monkeypatch.setattr(command_line, "validate", lambda model, batches: {})
    base, out = tmp_path / "base.safetensors", tmp_path / "more.safetensors"
    begun = new_model()
    save_checkpoint(base, begun)
    command = ["--base", str(base), "--out", str(out), "--rows", "2"]
    command_line.main([*command, "--steps", "2", "--lr", "0", "--text", "few"])
    ended, _, notes = load_checkpoint(out)
    assert_close(ended.state_dict(), begun.state_dict(), rtol=0, atol=0)
    assert (notes["base"], notes["base_is"]) == ("base", fingerprint(base))
    assert notes["text"] == "few"


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    said = capsys.readouterr().out
    for option in ("--out", "--seed", "--steps", "--lr", "--resume", "--force"):
        assert option in said


def test_evaluation_reports_shares():
    scores = evaluate(new_model(), terms=3, problems=16)
    assert 0 <= scores["accuracy"] <= scores["form"] <= 1
    assert scores["length"] <= 64


def test_the_configuration_travels_with_the_weights(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", new_model())
    with checkpoint.safe_open(tmp_path / "a.safetensors", "pt") as file:
        stored = json.loads(file.metadata()["config"])
    assert ModelConfig(**stored) == SMALL


# with experts

EXPERTS = dataclasses.replace(
    SMALL,
    n_layers=2,
    n_dense_layers=0,
    moe_inter_dim=8,
    n_routed_experts=6,
    n_activated_experts=2,
    n_shared_experts=1,
)


def train_with(balance, steps=6, model=None, start=0, optimizer=None):
    model = model or new_model(EXPERTS)
    run = pretrain.pretrain(
        model,
        6,
        optimizer=optimizer,
        start=start,
        batch=small_batch,
        balance=balance,
    )
    return model, [next(run) for _ in range(start, steps)]


def test_biases_move_by_their_speed_a_step_and_stand_still_at_the_end():
    model, rows = train_with(pretrain.Balance(0.01))
    assert {"max_vio", "idle", "balance_loss"} <= set(rows[0])
    for router in routers(model):
        moves = (router.bias / 0.01).round().abs()
        assert_close(router.bias.abs(), 0.01 * moves)
        assert 0 < moves.max() <= 6
    assert pretrain.bias_speed(0, 1000, 0.01) == 0.01
    assert pretrain.bias_speed(965, 1000, 0.01) == 0.01
    assert pretrain.bias_speed(967, 1000, 0.01) == 0.0


def test_without_balance_no_bias_moves():
    model, _ = train_with(pretrain.UNBALANCED)
    assert all(router.bias.abs().max() == 0 for router in routers(model))


@pytest.mark.parametrize("kind", ["expert", "sequence"])
def test_a_balance_loss_reaches_the_routers_and_no_expert(kind):
    model = new_model(EXPERTS)
    model(small_batch(0, 0)[:, :-1])
    loss = pretrain.balance_loss(model, kind)
    assert loss > 1.5  # two layers, about one each
    loss.backward()
    assert all(router.weight.grad.abs().max() > 0 for router in routers(model))
    last = model.layers[-1].ffn
    assert all(p.grad is None for p in last.experts.parameters())
    with pytest.raises(ValueError, match="kind is 'batch'; use None"):
        pretrain.balance_loss(model, "batch")


def test_resuming_with_experts_gives_what_one_run_gives(tmp_path):
    balance = pretrain.Balance(0.01, "expert", 0.01)
    straight, _ = train_with(balance)
    model, optimizer = new_model(EXPERTS), None
    optimizer = new_optimizer(model)
    train_with(balance, 3, model, optimizer=optimizer)
    save_checkpoint(tmp_path / "a.safetensors", model, optimizer)
    again, optimizer, _ = load_checkpoint(tmp_path / "a.safetensors", new_optimizer)
    train_with(balance, 6, again, start=3, optimizer=optimizer)
    assert_close(again.state_dict(), straight.state_dict(), rtol=0, atol=0)


def test_an_evaluation_between_two_steps_changes_nothing():
    models = [new_model(EXPERTS), new_model(EXPERTS)]
    for model in models:
        steps = pretrain.pretrain(model, 2, batch=small_batch)
        next(steps)
        if model is models[1]:
            validate(model, [small_batch(-1, 0)])
        next(steps)
    assert torch.equal(*map(weights, models))


def test_a_gradient_that_is_no_number_stops_before_any_update():
    """The slope of a square root is infinite at 0, where the loss is finite."""
    model = new_model()
    before, optimizer = weights(model), new_optimizer(model, 1e-3)
    loss = (model.embed.weight * 0).abs().sqrt().sum()
    with pytest.raises(FloatingPointError, match=r"step 3: .* its gradient is nan"):
        apply_gradient(model, optimizer, loss, "step 3")
    assert torch.equal(weights(model), before)


def test_validation_counts_the_load_of_all_batches_together():
    model = new_model(EXPERTS)
    batches = [small_batch(-1, step) for step in range(3)]
    scores = validate(model, iter(batches))
    whole = validate(model, [torch.cat(batches)])
    assert scores["loss"] == pytest.approx(whole["loss"])
    assert scores["max_vio_global"] == pytest.approx(whole["max_vio_global"])
    assert set(validate(new_model(), batches)) == {"loss"}


def test_kinds_are_evaluated_one_by_one():
    rows = evaluate_kinds(new_model(EXPERTS), documents=4)
    assert [row["kind"] for row in rows] == list(range(6))
    for row in rows:
        assert 3 < row["loss"] < 4  # untrained, ln 32 = 3.47
        for layer in (0, 1):
            shares = [row[f"load_{layer}_{e}"] for e in range(6)]
            assert sum(shares) == pytest.approx(1)


def test_the_command_trains_experts_from_a_file(tmp_path):
    config = tmp_path / "small.json"
    fields = {f.name: getattr(EXPERTS, f.name) for f in dataclasses.fields(EXPERTS)}
    config.write_text(json.dumps(fields))
    out = tmp_path / "run"
    command = ["--config", str(config), "--out", str(out)]
    command += ["--steps", "5", "--rows", "2", "--text", "kinds", "--log-every", "2"]
    command_line.main([*command, "--save-every", "0", "--bias-speed", "0.01"])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["run.csv", "run_kinds.csv", "run_valid.csv", "small.json"]
    assert records.read_log(out.with_suffix(".csv"))["step"] == [1, 3, 4]
    with pytest.raises(SystemExit, match="--resume or --force"):
        command_line.main(command)
    with pytest.raises(SystemExit, match="multiple of --log-every"):
        command_line.main([*command, "--save-every", "3"])
    with pytest.raises(SystemExit, match=r"nothing\.json"):
        command_line.main(["--config", "nothing.json", "--out", str(tmp_path / "x")])


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--base", "b.safetensors", "--config", "tiny"], "leave out --config"),
        (["--alpha", "0.1"], "the factor of --balance-loss"),
        (["--mtp-weight", "0.1"], "has no MTP modules"),
        (["--log-every", "0"], "at least 1"),
        (["--resume", "--force"], "give one of them"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, words, remedy):
    with pytest.raises(SystemExit, match=remedy):
        command_line.main(["--out", str(tmp_path / "run"), *words])
