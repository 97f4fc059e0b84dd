"""Runs of what came after R1, on a model too small to be clever."""

import random
import sys
from dataclasses import replace

import pytest
import torch
from test_loop import new_model

from experiments import after
from r1.text.problems import Problem, random_problem, worked_solution
from r1.text.tokenizer import EOS
from r1.train.checkpoint import save_checkpoint
from r1.train.records import read_log

PROBLEM = Problem((7, 3, 5), "*+")
RIGHT, WRONG = f"<answer>6</answer>{EOS}", f"<answer>7</answer>{EOS}"


@pytest.fixture
def run(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "base.safetensors", new_model())
    few = {"prompts": 2, "group": 4, "max_new_tokens": 6, "minibatches": 2}
    small = {
        name: v._replace(settings=replace(v.settings, **few), warm=0.0)
        for name, v in after.VARIANTS.items()
    }
    monkeypatch.setattr(after, "VARIANTS", small)
    monkeypatch.setattr(after, "evaluate", lambda *_: {"accuracy": 0.5})

    def command(*words):
        options = ["--base", tmp_path / "base.safetensors", "--out", tmp_path]
        line = ["after", *words, "--steps", "1", *options]
        monkeypatch.setattr(sys, "argv", list(map(str, line)))
        after.main()
        return tmp_path

    return command


@pytest.mark.parametrize("name", after.VARIANTS)
def test_every_variant_runs(name, run):
    folder = run(name, "--seed", 0)
    log = read_log(folder / f"{name}_seed0.csv")
    assert log["step"] == [0]
    assert torch.isfinite(torch.tensor([column[0] for column in log.values()])).all()
    first = (folder / f"{name}_seed0.csv").read_text().splitlines()[0]
    assert first == f"# command: python -m experiments.after {name} --seed 0 --steps 1"


def test_a_finished_run_is_not_made_again(run, capsys):
    folder = run("grpo", "--seed", 0)
    before = (folder / "grpo_seed0.csv").stat().st_mtime_ns
    run("grpo", "--seed", 0, 1)
    assert "grpo_seed0 is finished" in capsys.readouterr().out
    assert (folder / "grpo_seed0.csv").stat().st_mtime_ns == before
    assert (folder / "grpo_seed1_terms.csv").exists()


def test_random_rewards_depend_on_the_seed_alone():
    first, same, other = (after.RandomReward(seed) for seed in (1, 1, 2))
    tosses = [[r(PROBLEM, text) for text in "ab" * 20] for r in (first, same, other)]
    assert tosses[0] == tosses[1] != tosses[2]
    assert set(tosses[0]) == {0.0, 1.0}


def test_the_wrong_reward_pays_for_wrong_answers_in_the_right_form():
    texts = (WRONG, RIGHT, "7", f"<think>{EOS}")
    assert [after.wrong_reward(PROBLEM, text) for text in texts] == [1, 0, 0, 0]
    assert [after.form_reward(PROBLEM, text) for text in texts] == [1, 1, 0, 0]


def test_the_shaped_reward_spares_every_worked_solution_of_five_terms():
    rng = random.Random(0)
    problem = random_problem(rng, (5, 5))
    text = f"<think>{worked_solution(problem)}</think><answer>{problem.answer}"
    text += f"</answer>{EOS}"
    assert after.shaped_reward(problem, text) == pytest.approx(1.1)
    endless = "<think>" + "7*3=1;" * 8  # 49 tokens, cut off
    assert after.shaped_reward(problem, endless) == -1


def test_a_base_that_never_thinks_cannot_be_warmed(monkeypatch):
    few = replace(after.WARM, prompts=2, group=2, max_new_tokens=4)
    monkeypatch.setattr(after, "WARM", few)
    with pytest.raises(RuntimeError, match="after 40 steps it thinks in 0"):
        after.warmed(new_model(), 1.1)
