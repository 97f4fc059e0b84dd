"""A model of one's own, trained by rewards: cut off, resumed, and never mixed up."""

from dataclasses import replace

import pytest
import torch
from scripted import SMALL, new_model
from torch.testing import assert_close

from experiments import reinforce, rl
from experiments.runner import Job
from r1.model.transformer import Model
from r1.rl.losses import GRPOLoss
from r1.rl.rollout import Sampling
from r1.text.tokenizer import encode
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.records import read_log

LOOPS = pytest.mark.parametrize("name", ["grpo", "ppo"])


def even(problem, text):
    """A reward that any model gets now and then: the first token's id is even."""
    return float(encode(text)[0] % 2 == 0)


def command(name, base, out, *more):
    line = [name, "--base", str(base), "--out", str(out), "--steps", "4"]
    line += ["--prompts", "2", "--group", "2", "--max-new-tokens", "5", "--lr", "1e-3"]
    line += ["--terms", "3", "4", "--save-every", "2", "--problems", "2"]
    return [*line, *more]


def weights(path):
    return load_checkpoint(path.with_suffix(".safetensors"))[0].state_dict()


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A small base model; rewards are those that it gets now and then."""
    monkeypatch.setattr(reinforce, "evaluate", lambda *_: {"accuracy": 0.0})
    real = reinforce.Environment
    monkeypatch.setattr(reinforce, "Environment", lambda ask: real(ask, even))
    path = tmp_path / "base.safetensors"
    torch.manual_seed(0)
    save_checkpoint(path, Model(SMALL))
    return path


def cut_after_two(monkeypatch):
    """Let the next run of that name be cut off when it has saved step 2."""
    real = reinforce.save_checkpoint

    def stop(path, model, optimizer, **notes):
        real(path, model, optimizer, **notes)
        if "critic" not in path.stem and notes["step"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(reinforce, "save_checkpoint", stop)
    return real


@LOOPS
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    base, tmp_path, monkeypatch, capsys, name
):
    more = ["--epochs", "2", "--minibatches", "2"]
    more += ["--kl-weight", "0.1"] if name == "grpo" else ["--lam", "0.9"]
    straight, cut = tmp_path / "straight", tmp_path / "cut"
    reinforce.main(command(name, base, straight, *more))
    real = cut_after_two(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        reinforce.main(command(name, base, cut, *more))
    monkeypatch.setattr(reinforce, "save_checkpoint", real)
    with pytest.raises(SystemExit, match="--resume or --force"):
        reinforce.main(command(name, base, cut, *more))
    for other in (["--seed", "1"], ["--lr", "0.1"], ["--terms", "3", "5"]):
        with pytest.raises(SystemExit, match="was made with"):
            reinforce.main(command(name, base, cut, *more, "--resume", *other))
    reinforce.main(command(name, base, cut, *more, "--resume"))
    with pytest.raises(SystemExit, match="is finished: 4 of 4 steps"):
        reinforce.main(command(name, base, cut, *more, "--resume"))
    assert_close(weights(cut), weights(straight), rtol=0, atol=0)
    before, after = load_checkpoint(base)[0].state_dict(), weights(cut)
    assert not torch.equal(before["embed.weight"], after["embed.weight"])
    logs = [read_log(path.with_suffix(".csv")) for path in (straight, cut)]
    assert_close(*logs, rtol=0, atol=0, equal_nan=True)
    assert logs[0]["step"] == [0, 1, 2, 3]
    assert not list(tmp_path.glob("*critic*"))  # no use once a run has ended
    assert read_log(tmp_path / "cut_terms.csv")["terms"] == [3, 4, 5, 6, 7, 8]
    head = (tmp_path / "cut.csv").read_text().splitlines()[0]
    assert head.startswith(f"# command: python -m experiments.reinforce {name} --base")
    assert capsys.readouterr().err == ""


@LOOPS
def test_a_run_of_the_grid_goes_on_where_it_was_cut_off(
    base, tmp_path, monkeypatch, name
):
    kind = {"grpo": reinforce.GRPOSettings, "ppo": reinforce.PPOSettings}[name]
    settings = kind(prompts=2, sampling=Sampling(group=2, max_new_tokens=5))
    row = rl.Policy(settings=settings, terms=(3, 3), steps=4, seeds=(5,))
    monkeypatch.setattr(rl, "RUNS", {"run": row})
    monkeypatch.setattr(Job, "weights", lambda job, name: base)
    options = rl.options_of
    monkeypatch.setattr(
        rl, "options_of", lambda row, job: replace(options(row, job), save_every=2)
    )
    rl.main(["--out", str(tmp_path / "straight")])
    real = cut_after_two(monkeypatch)
    words = ["run", "--out", str(tmp_path / "cut")]
    with pytest.raises(KeyboardInterrupt):
        rl.main(words)
    monkeypatch.setattr(reinforce, "save_checkpoint", real)
    rl.main(words)
    paths = [tmp_path / folder / "run_seed5" for folder in ("straight", "cut")]
    assert_close(weights(paths[0]), weights(paths[1]), rtol=0, atol=0)
    logs = [path.with_suffix(".csv").read_text() for path in paths]
    assert logs[0] == logs[1]
    assert logs[0].startswith("# command: python -m experiments.rl run --seeds 5\n")
    tests = tmp_path / "cut/run_seed5_terms.csv"
    tests.unlink()  # cut off while it was tested
    rl.main(words)
    assert tests.exists()


def test_every_setting_of_a_command_line_reaches_its_place(base, monkeypatch):
    seen = []
    monkeypatch.setattr(reinforce, "run", lambda o, c: seen.append(o) or {"step": 0})
    words = ["grpo", "--base", "b", "--out", "o", "--no-scale", "--clip", "0.1", "0.3"]
    words += ["--how", "token", "--level", "sequence", "--temperature", "0.5"]
    reinforce.main([*words, "--kl-weight", "0.2", "--minibatches", "3"])
    (o,) = seen
    assert o.settings.loss == GRPOLoss((0.1, 0.3), 0.2, "token", "sequence")
    assert not o.settings.scale
    assert o.settings.sampling.temperature == 0.5
    assert o.settings.updates.minibatches == 3
    with pytest.raises(SystemExit):  # PPO has no group to compare with
        reinforce.main(["ppo", "--base", "b", "--out", "o", "--kl-weight", "1"])


def test_help_names_every_option(capsys):
    for name in ("grpo", "ppo"):
        with pytest.raises(SystemExit):
            reinforce.main([name, "--help"])
        said = capsys.readouterr().out
        for option in ("--base", "--out", "--group", "--lr", "--resume", "--force"):
            assert option in said
    assert "--critic-lr" in said
    assert new_model().config == SMALL
