"""The stages of R1 come in their order, end once, and go on where they were cut off."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from experiments import plan as pipeline
from experiments import stages
from experiments.plan import PLANS, STAGES, Plan, Run, Watched, reasoning_reward
from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.recipe.preference import Preference
from r1.rl.settings import Settings
from r1.text.readable import Task, judge, solution
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.records import read_log

SMALL = replace(ModelConfig.dense(), n_layers=1, n_dense_layers=1)
FEW = Settings(prompts=4, group=4, terms=(3, 4), max_new_tokens=12, lr=1e-3)
LITTLE = Plan(cold=8, epochs=1, reason=3, tasks=4, samples=2, others=4, align=3, late=1)
TASK = Task((7, 3, 5), "*+")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of a small model that writes everything and tests nothing."""
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "base.safetensors", Model(SMALL))
    monkeypatch.setattr(stages, "test_checkpoint", lambda model, path, problems: None)
    monkeypatch.setattr(stages, "SETTINGS", FEW)
    monkeypatch.setattr(stages, "SAVE_EVERY", 1)
    monkeypatch.setattr(stages, "PAIRED", 8)
    fake = {"weights": [1.0, 0.0, 0.0, 0.0]}
    monkeypatch.setitem(
        stages.RUN,
        "prefer",
        lambda run, n: run.path("prefer", ".json").write_text(json.dumps(fake)),
    )
    base = tmp_path / "base.safetensors"
    return Run(tmp_path / "out", "main", LITTLE, 0, base)


def weights(path):
    model = load_checkpoint(path)[0]
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def run_all(run, until="align"):
    for stage in run.plan.stages():
        stages.RUN[stage](run, 2)
        if stage == until:
            return


def test_the_order_is_the_papers():
    assert STAGES == ("cold-start", "reason", "reject", "tune", "prefer", "align")
    assert Plan().stages() == list(STAGES)
    assert Plan(skip="reason").stages() == [s for s in STAGES if s != "reason"]
    with pytest.raises(ValueError, match="cannot skip 'tune'"):
        Plan(skip="tune").stages()


def test_every_stage_leaves_its_model_and_begins_with_the_one_before(run):
    run_all(run)
    for stage, name in pipeline.LEAVES.items():
        path = run.path(stage, ".safetensors")
        assert path.name == f"{name}_seed0.safetensors"
        assert pipeline.finished(path)
        assert load_checkpoint(path)[2]["stage"] == stage
        log = read_log(path.with_suffix(".csv"))
        assert log["seconds"] == sorted(log["seconds"])
    assert run.before("reason").stem == "dev1_seed0"
    assert run.before("reject").stem == "dev2_seed0"
    assert run.before("tune").stem == "base"
    assert run.before("align").stem == "dev3_seed0"
    log = read_log(run.path("align", ".csv"))
    assert log["step"] == [0, 1, 2]
    assert {"readable", "preference", "right"} <= set(log)


def test_a_plan_that_goes_on_tunes_dev2_and_one_without_a_stage_takes_the_last(run):
    goon = Run(run.folder, "goon", replace(LITTLE, start="dev2"), 0, run.base)
    run_all(run, until="reject")
    assert goon.before("tune") == run.path("reason", ".safetensors")
    nocold = Run(run.folder, "nocold", replace(LITTLE, skip="cold-start"), 0, run.base)
    assert nocold.before("reason") == run.base
    noreason = Run(run.folder, "noreason", replace(LITTLE, skip="reason"), 0, run.base)
    assert noreason.before("reject") == run.path("cold-start", ".safetensors")


@pytest.mark.parametrize("stage", ["reason", "reject", "prefer", "align"])
def test_a_stage_without_the_one_before_it_says_which(run, stage):
    with pytest.raises(SystemExit, match=r"needs .*; run (cold-start|reason|tune|pr)"):
        stages.RUN[stage](run, 2) if stage != "prefer" else stages.run_prefer(run, 2)


def test_tune_without_data_says_so(run):
    with pytest.raises(SystemExit, match=r"reject_seed0.jsonl; run reject first"):
        stages.RUN["tune"](run, 2)


def test_a_finished_stage_is_not_run_again(run, monkeypatch):
    run_all(run)
    before = {p: p.stat().st_mtime_ns for p in run.folder.iterdir()}

    def never(*args, **kwargs):
        raise AssertionError

    for name in ("grpo", "sft", "answers_to"):
        monkeypatch.setattr(stages, name, never)
    for stage in (s for s in STAGES if s != "prefer"):
        stages.RUN[stage](run, 2)
    assert before == {p: p.stat().st_mtime_ns for p in run.folder.iterdir()}


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("stage", ["reason", "align"])
def test_a_stage_that_was_cut_off_is_the_one_that_was_not(run, monkeypatch, cut, stage):
    run_all(run)
    path = run.path(stage, ".safetensors")
    straight, log = weights(path), read_log(path.with_suffix(".csv"))
    path.unlink()
    real = stages.save_checkpoint

    def stop(path, model, optimizer=None, **notes):
        real(path, model, optimizer, **notes)
        if notes.get("step") == cut:
            raise KeyboardInterrupt

    monkeypatch.setattr(stages, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        stages.RUN[stage](run, 2)
    assert not pipeline.finished(path)
    monkeypatch.setattr(stages, "save_checkpoint", real)
    other = Run(run.folder, "main", replace(LITTLE, language=0.0), 0, run.base)
    with pytest.raises(SystemExit, match="was made with plan"):
        stages.RUN[stage](other, 2)
    stages.RUN[stage](run, 2)
    assert_close(weights(path), straight, rtol=0, atol=0)
    again = read_log(path.with_suffix(".csv"))
    for name in set(log) - {"seconds"}:
        assert again[name] == log[name], name


def test_an_imitation_that_was_cut_off_is_made_again(run, monkeypatch):
    run_all(run, until="cold-start")
    path = run.path("cold-start", ".safetensors")
    straight = weights(path)
    path.unlink()
    real = stages.sft

    def cut(*args, **kwargs):
        for row in real(*args, **kwargs):
            yield row
            raise KeyboardInterrupt

    monkeypatch.setattr(stages, "sft", cut)
    with pytest.raises(KeyboardInterrupt):
        stages.RUN["cold-start"](run, 2)
    assert not path.exists()
    monkeypatch.setattr(stages, "sft", real)
    stages.RUN["cold-start"](run, 2)
    assert_close(weights(path), straight, rtol=0, atol=0)


def test_other_plans_leave_the_files_of_the_main_one_alone(tmp_path):
    def names(name):
        run = Run(tmp_path, name, PLANS[name], 1, tmp_path / "base.safetensors")
        return {stage: run.path(stage, ".csv").name for stage in STAGES}

    main = names("main")
    for name in PLANS:
        own = names(name)
        shared = pipeline.SHARED.get(name, STAGES if name == "main" else ())
        for stage in STAGES:
            assert (own[stage] == main[stage]) == (stage in shared), (name, stage)


def test_shared_stages_are_those_that_the_plans_have_in_common():
    """A plan may share a stage only if nothing that the stage reads differs."""
    reads = {
        "cold-start": {"cold", "epochs", "rate"},
        "reason": {"reason", "language"},
        "reject": {"tasks", "samples", "others"},
        "tune": {"start", "epochs", "rate"},
        "prefer": set(),
    }
    for name, shared in pipeline.SHARED.items():
        for stage in shared:
            for field in reads[stage]:
                same = getattr(PLANS[name], field) == getattr(PLANS["main"], field)
                assert same, (name, stage, field)


# rewards


def test_the_reward_for_reasoning_by_hand():
    reward = reasoning_reward(0.5)
    assert reward(TASK, solution(TASK)) == pytest.approx(1.6)
    assert reward(TASK, "<answer>6</answer><eos>") == pytest.approx(1.1)
    assert reward(TASK, "<answer>5</answer><eos>") == pytest.approx(0.1)
    assert reward(TASK, "nonsense") == 0
    mixed = "<think>7*3=1;b+f=g</think><answer>6</answer><eos>"
    assert reward(TASK, mixed) == pytest.approx(1.1 + 0.5 / 2)
    letters = reasoning_reward(1.0, "letters")
    assert letters(TASK, mixed) == pytest.approx(1.1 + 1 / 2)


def test_preference_alone_does_not_look_at_rules():
    plan = PLANS["alone"]
    reward = pipeline.all_round_reward(plan, Preference((1.0, 0.0, 0.0, 0.0)))
    wrong = "<answer>5=1+5</answer><eos>"
    assert reward(TASK, wrong) == reward(TASK, "<answer>6=1+5</answer><eos>")
    both = pipeline.all_round_reward(Plan(), Preference((1.0, 0.0, 0.0, 0.0)))
    gap = both(TASK, solution(TASK)) - both(TASK, wrong)
    assert gap == pytest.approx(1.5)


def test_a_watched_reward_counts_tasks_since_it_was_asked_last():
    watched = Watched(reasoning_reward(0.5))
    mixture = pipeline.mixture_of(0, 0, 8, (3, 8))
    assert sum(type(asked) is Task for asked in mixture) == 6
    for asked in mixture:
        watched(asked, solution(asked))
    assert len(watched.seen) == 6
    row = watched.means(Preference((0.0,) * 4))
    assert row["right"] == row["readable"] == 1
    assert row["preference"] == 0.5
    assert watched.seen == []


def test_the_tasks_of_a_step_depend_on_seed_and_step_alone():
    for draw in (pipeline.tasks_of, pipeline.mixture_of):
        one = draw(0, 3, 8, (3, 5))
        assert one == draw(0, 3, 8, (3, 5))
        assert one != draw(0, 4, 8, (3, 5))
        assert one != draw(1, 3, 8, (3, 5))
        assert not any(task.held_out for task in one)
    assert judge(one[0], solution(one[0])).right


def test_the_command_runs_a_short_pipeline(tmp_path, monkeypatch, run):
    monkeypatch.setattr(stages, "test_checkpoint", lambda model, path, problems: None)
    out = tmp_path / "command"
    words = ["pipeline", "--short", "--base", str(run.base), "--out", str(out)]
    stages.main([*words, "--until", "reject"])
    assert (out / "reject_seed0.csv").exists()
    assert not (out / "dev3_seed0.safetensors").exists()
    text = (out / "dev2_seed0.csv").read_text()
    assert text.startswith("# command: python -m experiments.stages")
