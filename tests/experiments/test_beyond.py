"""What chapter 13's world of slips was made of, and its exact chances."""

from dataclasses import fields

import pytest
import torch
from scripted import new_model

from experiments import beyond, pretrain
from experiments.pretrain import Grid, Pretraining
from experiments.runner import Job
from r1.rl.grpo_loop import Settings
from r1.text.problems import Problem, worked_solution
from r1.text.tokenizer import EOS, encode

FIVE = (0, 1, 2, 3, 4)
LENGTHS = {
    "short": ((3, 4),),
    "long": ((8, 8),),
    "curriculum": ((3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8)),
}


def test_the_bases_read_text_in_which_three_steps_of_four_slip():
    row = beyond.RUNS["base_slips"]
    changed = {
        f.name: getattr(row, f.name)
        for f in fields(Pretraining)
        if getattr(row, f.name) != getattr(Grid(), f.name)
    }
    assert changed == {
        "base": "base/steady_seed{seed}",
        "text": "slips",
        "steps": 1000,
        "lr": 1e-3,
        "log_every": 10,
        "bias_speed": 1e-3,
    }
    assert row.seeds == FIVE
    assert pretrain.TEXTS["slips"].keywords == {
        "think_share": 1.0,
        "terms": (3, 8),
        "mistakes": 0.75,
        "slip": 1,
    }


@pytest.mark.parametrize("name", LENGTHS)
def test_every_policy_is_asked_for_its_lengths(name):
    assert set(beyond.RUNS) == {"base_slips", *LENGTHS}
    row = beyond.RUNS[name]
    assert (row.lengths, row.settings) == (LENGTHS[name], Settings())
    assert (row.base, row.seeds) == ("beyond/base_slips_seed{seed}", FIVE)
    stages = len(row.lengths)
    for step in range(row.steps):
        asked = row.ask(1, step, 4)
        low, high = row.lengths[step // (row.steps // stages)]
        assert all(low <= len(problem.terms) <= high for problem in asked)
        assert not any(problem.held_out for problem in asked)


def test_the_chance_of_a_solution_is_the_product_of_its_tokens():
    model, problem = new_model(), Problem((7, 3, 5), "*+")
    text = f"<think>{worked_solution(problem)}</think><answer>6</answer>{EOS}"
    prompt, answer = encode(problem.prompt), encode(text)
    for temperature in (1.0, 0.5):
        total = 0.0
        for place, token in enumerate(answer):
            logits = model(torch.tensor([prompt + answer[:place]]))[0, -1]
            total += (logits / temperature).log_softmax(-1)[token].item()
        found = beyond.solution_logprob(model, [problem] * 2, temperature)
        assert found.tolist() == pytest.approx([total] * 2, rel=1e-5)


def test_chances_of_one_of_k_answers(monkeypatch):
    p = torch.tensor([0.5, 1e-6], dtype=torch.float64)
    monkeypatch.setattr(beyond, "solution_logprob", lambda m, a, t: t * p.log())
    rows = beyond.chance_rows(None)
    found = {(r["terms"], r["temperature"], r["k"]): r["worked"] for r in rows}
    assert {terms for terms, _, _ in found} == {3, 4, 5, 6, 7, 8}
    assert found[3, 1.0, 1] == pytest.approx((0.5 + 1e-6) / 2)
    assert found[8, 1.0, 4] == pytest.approx((1 - 0.5**4 + 4e-6) / 2, rel=1e-5)
    assert found[8, 1.0, 65536] == pytest.approx((1 + 65536e-6) / 2, abs=2e-3)
    assert found[8, 0.5, 1] == pytest.approx((0.5**0.5 + 1e-3) / 2)


def test_a_run_is_finished_when_its_chances_are_there(tmp_path):
    job = Job("beyond", "short", 0, tmp_path)
    assert not beyond.done(job)
    job.path("chances").touch()
    assert beyond.done(job)
