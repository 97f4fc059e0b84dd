"""Where the files of a run lie, and what a run that goes on must not change."""

import dataclasses
import os
from pathlib import Path

import pytest

from experiments import pretrain, reinforce
from experiments.runner import beside, checkpoint_path, parse
from r1.train.checkpoint import fingerprint


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("model", "model.safetensors"),
        ("model_v1.5", "model_v1.5.safetensors"),
        ("model_v1.6", "model_v1.6.safetensors"),
        ("lr1e-3.seed.0", "lr1e-3.seed.0.safetensors"),
        ("model.safetensors", "model.safetensors"),
    ],
)
def test_a_point_in_the_name_of_a_run_belongs_to_the_name(tmp_path, said, name):
    path = checkpoint_path(tmp_path / "new" / said)
    assert path == tmp_path / "new" / name
    assert path.parent.is_dir()
    stem = name.removesuffix(".safetensors")
    assert beside(path, ".csv").name == f"{stem}.csv"
    assert beside(path, "_valid.csv").name == f"{stem}_valid.csv"
    assert reinforce.critic_path(path, 20).name == f"{stem}_critic_20.safetensors"


def test_what_cannot_be_written_is_said_before_a_run(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="is a folder; name a file in it"):
        checkpoint_path(Path("/"))
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="file cannot be made: "):
        checkpoint_path(tmp_path / "file" / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(SystemExit, match="not to be written into; choose another"):
        checkpoint_path(tmp_path / "run")


ANYTHING = {"out", "resume", "force", "threads", "save_every", "problems", "device"}
OTHERS = {"base": "b", "text": "few", "dtype": "fp8", "balance_loss": "expert"}
OTHERS |= {"mtp_weight": 0.1, "terms": (3, 5), "parallel": "experts"}
# Of pretraining, `begin` compares the configurations; and processes share in any way.
BEGINS = {
    pretrain: (pretrain.Options(out=Path("run")), ANYTHING | {"config", "parallel"}),
    reinforce: (reinforce.Grpo(base=Path("a"), out=Path("run")), ANYTHING),
}


@pytest.mark.parametrize("program", BEGINS, ids=lambda program: program.__name__)
def test_a_run_that_goes_on_has_all_options_that_make_it_what_it_is(
    program, monkeypatch
):
    monkeypatch.setattr(program, "fingerprint", lambda path: f"bytes of {path}")
    begun, free = BEGINS[program]
    for field in dataclasses.fields(begun):
        value = getattr(begun, field.name)
        if field.name == "settings":
            other = dataclasses.replace(value, prompts=7)
        else:
            other = OTHERS.get(field.name, "x" if value is None else value)
            other = other + 1 if type(other) in (int, float) else other
        changed = dataclasses.replace(begun, **{field.name: other})
        same = program.notes_of(changed) == program.notes_of(begun)
        assert same == (field.name in free), field.name


def test_another_base_of_the_same_name_is_another_base(tmp_path):
    notes = []
    for folder in ("one", "two"):
        base = tmp_path / folder / "base.safetensors"
        base.parent.mkdir()
        base.write_text(folder)
        notes.append(reinforce.notes_of(reinforce.Grpo(base=base, out=Path("run"))))
    assert notes[0]["base"] == notes[1]["base"] == "base"
    assert notes[0] != notes[1]


def test_a_fingerprint_is_of_the_bytes_and_is_taken_again_when_they_change(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("a")
    assert fingerprint(one) == fingerprint(two) == "ca978112ca1b"
    two.write_text("bc")
    assert fingerprint(one) != fingerprint(two)


@pytest.mark.parametrize("kind", ["grpo", "ppo"])
def test_a_temperature_of_0_is_refused_without_a_traceback(kind, capsys):
    with pytest.raises(SystemExit):
        reinforce.main([kind, "--base", "a", "--out", "b", "--temperature", "0"])
    assert "temperature is 0.0; answers to" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["lr", "bias-speed", "alpha", "mtp-weight"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_rate_that_is_none_is_refused(option, value):
    options = parse(pretrain.Options, ["--out", "a", f"--{option}", value], "pretrain")
    options = dataclasses.replace(options, balance_loss="sequence")
    with pytest.raises(SystemExit, match=f"--{option} is {value}.*0 or more"):
        pretrain.check(options)


@pytest.mark.parametrize("option", ["steps", "problems"])
def test_rewards_need_a_step_and_a_problem(option):
    options = reinforce.Grpo(base=Path("a"), out=Path("b"), **{option: 0})
    with pytest.raises(SystemExit, match=f"--{option} is 0; it must be at least 1"):
        reinforce.check(options)
