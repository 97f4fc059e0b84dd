"""The stages of R1 come in their order, end once, and go on where they were cut off."""

import json
import random
from dataclasses import asdict, replace

import pytest
import torch
from scripted import bare
from torch.testing import assert_close

from experiments import pipeline
from experiments.pipeline import (
    STAGE,
    STAGES,
    Plan,
    Recipe,
    Run,
    Watched,
    reasoning_reward,
)
from experiments.runner import Job
from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.recipe.curation import cold_start, other_data
from r1.recipe.preference import Preference
from r1.rl.grpo_loop import Settings, Updates
from r1.rl.losses import GRPOLoss
from r1.rl.rollout import Sampling
from r1.text.readable import Question, Task, judge, random_task, solution
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.finetuning import Example
from r1.train.records import DATA, read_log

SMALL = replace(ModelConfig.dense(), n_layers=1, n_dense_layers=1)
FEW = Settings(4, Sampling(group=4, max_new_tokens=12), Updates(lr=1e-3))
LITTLE = Plan(cold=8, epochs=1, reason=3, tasks=4, samples=2, others=4, align=3, late=1)
TASK = Task((7, 3, 5), "*+")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of a small model that writes everything and tests nothing."""
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "base.safetensors", Model(SMALL))
    monkeypatch.setattr(pipeline, "survey_checkpoint", lambda *_: None)
    monkeypatch.setattr(pipeline, "SETTINGS", FEW)
    monkeypatch.setattr(pipeline, "SAVE_EVERY", 1)
    monkeypatch.setattr(pipeline, "PAIRED", 8)
    fake = {"weights": [1.0, 0.0, 0.0, 0.0]}
    monkeypatch.setitem(
        pipeline.STAGE,
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
        STAGE[stage](run, 2)
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
    assert {"readable", "score", "taste", "right"} <= set(log)


def test_a_plan_that_goes_on_tunes_dev2_and_one_without_a_stage_takes_the_last(run):
    goon = replace(LITTLE, start="dev2")
    goon = Run(run.folder, "goon", goon, 0, run.base, STAGES[:3])
    run_all(run, until="reject")
    assert goon.before("tune") == run.path("reason", ".safetensors")
    nocold = Run(run.folder, "nocold", replace(LITTLE, skip="cold-start"), 0, run.base)
    assert nocold.before("reason") == run.base
    noreason = replace(LITTLE, skip="reason")
    noreason = Run(run.folder, "noreason", noreason, 0, run.base, STAGES[:1])
    assert noreason.before("reject") == run.path("cold-start", ".safetensors")


@pytest.mark.parametrize("stage", ["reason", "reject", "prefer", "align"])
def test_a_stage_without_the_one_before_it_says_which(run, stage):
    with pytest.raises(SystemExit, match=r"needs .*; run (cold-start|reason|tune|pr)"):
        STAGE[stage](run, 2) if stage != "prefer" else pipeline.run_prefer(run, 2)


def test_tune_without_data_says_so(run):
    with pytest.raises(SystemExit, match=r"reject_seed0.jsonl; run reject first"):
        STAGE["tune"](run, 2)


def test_a_finished_stage_is_not_run_again(run, monkeypatch):
    run_all(run)
    before = {p: p.stat().st_mtime_ns for p in run.folder.iterdir()}

    def never(*args, **kwargs):
        raise AssertionError

    for name in ("grpo", "sft", "answers_to"):
        monkeypatch.setattr(pipeline, name, never)
    for stage in (s for s in STAGES if s != "prefer"):
        STAGE[stage](run, 2)
    assert before == {p: p.stat().st_mtime_ns for p in run.folder.iterdir()}


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("stage", ["reason", "align"])
def test_a_stage_that_was_cut_off_is_the_one_that_was_not(run, monkeypatch, cut, stage):
    run_all(run)
    path = run.path(stage, ".safetensors")
    straight, log = weights(path), read_log(path.with_suffix(".csv"))
    path.unlink()
    real = pipeline.save_checkpoint

    def stop(path, model, optimizer=None, **notes):
        real(path, model, optimizer, **notes)
        if notes.get("step") == cut:
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        STAGE[stage](run, 2)
    assert not pipeline.finished(path)
    monkeypatch.setattr(pipeline, "save_checkpoint", real)
    other = Run(run.folder, "main", replace(LITTLE, language=0.0), 0, run.base)
    with pytest.raises(SystemExit, match="was made with plan"):
        STAGE[stage](other, 2)
    STAGE[stage](run, 2)
    assert_close(weights(path), straight, rtol=0, atol=0)
    again = read_log(path.with_suffix(".csv"))
    for rows in (again, log):
        rows.pop("seconds", None)
    assert_close(again, log, rtol=0, atol=0, equal_nan=True)


def test_an_imitation_that_was_cut_off_is_made_again(run, monkeypatch):
    run_all(run, until="cold-start")
    path = run.path("cold-start", ".safetensors")
    straight = weights(path)
    path.unlink()
    real = pipeline.sft

    def cut(*args, **kwargs):
        for row in real(*args, **kwargs):
            yield row
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "sft", cut)
    with pytest.raises(KeyboardInterrupt):
        STAGE["cold-start"](run, 2)
    assert not path.exists()
    monkeypatch.setattr(pipeline, "sft", real)
    STAGE["cold-start"](run, 2)
    assert_close(weights(path), straight, rtol=0, atol=0)


# the grid, spelled out and not read off it

WHOLE = {
    "cold": 2400,
    "longest": 8,
    "epochs": 4,
    "rate": 2e-3,
    "reason": 60,
    "language": 0.5,
    "tasks": 1800,
    "samples": 4,
    "others": 600,
    "start": "base",
    "align": 60,
    "late": 15,
    "taste": 0.3,
    "rules": 1.0,
    "bounded": True,
    "kl": 0.0,
    "temperature": 1.0,
    "skip": "",
}
ALL = ("cold-start", "reason", "reject", "tune", "prefer", "align")
# What each plan changes, its last stage, and the stages that it has from the main one.
ALONE = {"align": 80, "late": 80, "taste": 1.0, "rules": 0.0, "temperature": 1.3}
PLANS = {
    "main": ({}, "align", ()),
    "noeight": ({"longest": 7}, "reason", ()),
    "nolong": ({"longest": 5}, "reason", ()),
    "noreason": ({"skip": "reason"}, "tune", ALL[:1]),
    "goon": ({"start": "dev2"}, "tune", ALL[:3]),
    "raw": (ALONE | {"bounded": False}, "align", ALL[:5]),
    "anchored": (ALONE | {"bounded": False, "kl": 1.0}, "align", ALL[:5]),
    "bounded": (ALONE, "align", ALL[:5]),
}
OWN_BASE, FIVE = "base/steady_seed{seed}", (0, 1, 2, 3, 4)


def test_the_grid_has_these_runs():
    assert set(pipeline.RUNS) == {*PLANS, "zero", "base"}


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_is_what_it_was(name):
    row, (changes, until, shared) = pipeline.RUNS[name], PLANS[name]
    assert asdict(row.plan) == WHOLE | changes
    assert (row.until, row.shared) == (until, shared)
    assert (row.base, row.problems, row.seeds) == (OWN_BASE, 192, FIVE)


def test_all_stages_of_reinforcement_have_the_settings_of_the_chapter():
    s = pipeline.SETTINGS
    assert (s.prompts, s.sampling) == (32, Sampling(8, 72, 1.0))
    assert s.updates == Updates(2e-4, 1, 1)
    assert s.scale
    assert s.loss == GRPOLoss((0.2, 0.2), 0.0, "sequence", "token", None)
    assert pipeline.TERMS == (3, 8)
    assert (pipeline.PAIRED, pipeline.PAIRED_TEMPERATURE) == (800, 1.3)


def test_other_plans_leave_the_files_of_the_main_one_alone(tmp_path):
    def names(name):
        run = pipeline.run_of(Job("pipeline", name, 1, tmp_path))
        assert run.base == DATA / "base/steady_seed1.safetensors"
        return {stage: run.path(stage, ".csv").name for stage in STAGES}

    main = names("main")
    stems = ("dev1", "dev2", "reject", "dev3", "prefer", "r1")
    assert list(main.values()) == [f"{stem}_seed1.csv" for stem in stems]
    for name, (_, _, shared) in PLANS.items():
        own = names(name)
        for stage in STAGES:
            same = name == "main" or stage in shared
            assert own[stage] == ("" if same else f"{name}_") + main[stage]


def test_shared_stages_are_those_that_the_plans_have_in_common():
    """A plan may share a stage only if nothing that the stage reads differs."""
    reads = {
        "cold-start": {"cold", "longest", "epochs", "rate"},
        "reason": {"reason", "language"},
        "reject": {"tasks", "samples", "others"},
        "tune": {"start", "epochs", "rate"},
        "prefer": set(),
    }
    main = pipeline.RUNS["main"].plan
    for name in PLANS:
        row = pipeline.RUNS[name]
        for stage in row.shared:
            for field in reads[stage]:
                same = getattr(row.plan, field) == getattr(main, field)
                assert same, (name, stage, field)


@pytest.mark.parametrize("name", PLANS)
def test_a_run_makes_its_stages_in_order_and_shares_those_of_the_main_plan(
    name, tmp_path, monkeypatch
):
    made = []
    for stage in STAGES:

        def note(run, problems, stage=stage):
            made.append((stage, run.name, run.seed, problems))

        monkeypatch.setitem(pipeline.STAGE, stage, note)
    pipeline.make(Job("pipeline", name, 2, tmp_path))
    changes, until, shared = PLANS[name]
    stages = [s for s in ALL[: ALL.index(until) + 1] if s != changes.get("skip")]
    assert made == [(s, "main" if s in shared else name, 2, 192) for s in stages]


def test_zero_has_the_rules_of_the_chapter_and_none_for_a_script(tmp_path, monkeypatch):
    row, seen = pipeline.RUNS["zero"], []
    assert (row.base, row.problems, row.seeds) == (OWN_BASE, 192, FIVE)
    assert (row.terms, row.steps) == ((5, 5), 60)
    monkeypatch.setattr(pipeline, "grpo", lambda *args: seen.extend(args) or [{}])
    list(pipeline.zero_loop(Job("pipeline", "zero", 1, tmp_path), "policy", "base"))
    policy, base, steps, settings, env, seed = seen
    assert (policy, base, steps, seed) == ("policy", "base", 60, 1)
    assert settings is pipeline.SETTINGS
    assert env.ask(1, 4, 6) == pipeline.tasks_of(1, 4, 6, (5, 5))
    letters = "<think>h*d=b;b+f=g</think><answer>6</answer><eos>"
    for text in (letters, solution(TASK)):
        assert env.reward(TASK, text) == pytest.approx(1.1)


def test_a_base_model_is_asked_what_the_stages_of_its_seed_are(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(pipeline, "load_checkpoint", lambda path: [path])
    monkeypatch.setattr(pipeline, "new_policy", lambda model: model)
    monkeypatch.setattr(pipeline, "survey_checkpoint", lambda *args: asked.extend(args))
    assert pipeline.RUNS["base"].seeds == FIVE
    pipeline.make(Job("pipeline", "base", 3, tmp_path))
    assert asked[0] == DATA / "base/steady_seed3.safetensors"
    assert asked[1:4] == [tmp_path / "base_seed3", 192, 3]


def test_a_survey_has_a_row_for_each_length_and_one_of_the_rest(tmp_path, monkeypatch):
    marked = []

    def survey(model, terms, problems, seed=0, script="digits", marks=None):
        assert (problems, seed) == (7, 2)
        marked.append(set(marks or {}))
        return {"right": terms / 10 + (script == "letters")}

    def questions(model, problems, seed):
        assert (problems, seed) == (7, 2)
        return {"short_right": 0.5, "short_met": 0.25}

    monkeypatch.setattr(pipeline, "survey", survey)
    monkeypatch.setattr(pipeline, "survey_questions", questions)
    path, preference = tmp_path / "dev1_seed2.safetensors", Preference((0.0,) * 4)
    pipeline.survey_checkpoint(None, path, 7, 2, "by hand", preference)
    assert marked == [{"taste", "score"}] * 6 + [set()]
    log = read_log(tmp_path / "dev1_seed2_terms.csv")
    assert log == {"terms": [3, 4, 5, 6, 7, 8], "right": [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]}
    log = read_log(tmp_path / "dev1_seed2_other.csv")
    assert log == {"letters": [1.4], "short_right": [0.5], "short_met": [0.25]}


# what the stages do with a plan


def test_imitation_has_the_epochs_and_the_rate_of_its_plan(run, monkeypatch):
    seen = []

    def sft(model, examples, epochs, rate, seed):
        seen.append((examples, epochs, rate, seed))
        return [{"step": 0, "loss": 1.0}]

    monkeypatch.setattr(pipeline, "sft", sft)
    own = replace(run, plan=replace(run.plan, epochs=7, rate=0.5), seed=3)
    pipeline.run_cold_start(own, 2)
    assert seen == [(cold_start(8, 3), 7, 0.5, 3)]
    short = replace(own, plan=replace(own.plan, longest=4), seed=4)
    pipeline.run_cold_start(short, 2)
    kept = [x for x in cold_start(8, 4) if sum(map(x.prompt.count, "+-*")) < 4]
    assert 0 < len(kept) < 8
    assert seen[1] == (kept, 7, 0.5, 4)


def test_reasoning_is_paid_for_its_language_as_the_plan_says(run, monkeypatch):
    seen = []
    monkeypatch.setattr(pipeline, "reinforce", lambda *args: seen.append(args))
    for language, paid in ((0.5, 1.6), (0.0, 1.1)):
        own = replace(run, plan=replace(run.plan, language=language))
        pipeline.run_reason(own, 2)
        _, stage, lesson, _ = seen.pop()
        ((steps, reward),) = lesson.parts
        assert (stage, steps, lesson.ask) == ("reason", 3, pipeline.tasks_of)
        assert reward(TASK, solution(TASK)) == pytest.approx(paid)
        assert lesson.preference is None


def test_the_last_stage_has_its_preference_in_its_last_steps(run, monkeypatch):
    seen, preference = [], Preference((1.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(pipeline, "reinforce", lambda *args: seen.append(args))
    monkeypatch.setattr(pipeline, "preference_of", lambda run: preference)
    text = solution(TASK)
    score = preference.reward(TASK, text)
    assert score > 0.5
    for name, parts in {
        "main": [(45, 1.6), (15, 1.6 + 0.3 * score)],
        "bounded": [(80, score)],
        "raw": [(80, preference.score(TASK, text))],
        "anchored": [(80, preference.score(TASK, text))],
    }.items():
        own = replace(run, name=name, plan=pipeline.RUNS[name].plan)
        pipeline.run_align(own, 2)
        _, stage, lesson, _ = seen.pop()
        assert (stage, lesson.ask) == ("align", pipeline.mixture_of)
        assert lesson.preference is preference
        kl = 1.0 if name == "anchored" else 0.0
        temperature = 1.0 if name == "main" else 1.3
        sampling = replace(pipeline.SETTINGS.sampling, temperature=temperature)
        loss = GRPOLoss(kl_weight=kl)
        assert lesson.settings == replace(FEW, sampling=sampling, loss=loss)
        assert [steps for steps, _ in lesson.parts] == [steps for steps, _ in parts]
        paid = [reward(TASK, text) for _, reward in lesson.parts]
        assert paid == pytest.approx([value for _, value in parts])


def test_rewards_follow_each_other_and_the_log_goes_on(run, monkeypatch):
    """Two parts of two steps and one: each reward is paid in its own steps."""
    seen = []

    def grpo(model, reference, end, settings, env, seed, optimizer, start):
        for step in range(start, end):
            seen.append((step, env.reward(TASK, solution(TASK)), env.ask))
            yield {"step": step}

    monkeypatch.setattr(pipeline, "grpo", grpo)
    parts = [(2, lambda *_: 1.0), (1, lambda *_: 5.0)]
    lesson = pipeline.Lesson(pipeline.mixture_of, parts, Preference((0.0,) * 4))
    monkeypatch.setattr(Run, "before", lambda run, stage: run.base)
    pipeline.reinforce(run, "align", lesson, 2)
    ask = pipeline.mixture_of
    assert seen == [(0, 1.0, ask), (1, 1.0, ask), (2, 5.0, ask)]
    log = read_log(run.path("align", ".csv"))
    assert log["step"] == [0, 1, 2]
    assert log["score"] == [0.0] * 3
    assert log["taste"] == pytest.approx([1.0] * 3)
    assert log["right"] == [1.0] * 3


def test_a_lesson_may_have_settings_of_its_own(run, monkeypatch):
    seen = []

    def grpo(model, reference, end, settings, *_):
        seen.append(settings)
        yield {"step": 0}

    monkeypatch.setattr(pipeline, "grpo", grpo)
    monkeypatch.setattr(Run, "before", lambda run, stage: run.base)
    own = replace(FEW, loss=GRPOLoss(kl_weight=0.7))
    for seed, settings in enumerate((None, own)):
        parts = [(1, lambda *_: 1.0)]
        lesson = pipeline.Lesson(pipeline.mixture_of, parts, None, settings)
        pipeline.reinforce(replace(run, seed=seed), "align", lesson, 2)
    assert seen == [FEW, own]


def test_rejection_asks_each_task_often_and_writes_up_what_it_keeps(run, monkeypatch):
    asked = []

    def answers(model, tasks, seed, copies):
        asked.extend([tasks, seed, copies])
        texts = []
        for task in tasks:  # one that is right and bare, one that is kept
            texts += [bare(task.answer), solution(task, summarize=False)]
        return texts

    monkeypatch.setattr(pipeline, "answers_to", answers)
    monkeypatch.setattr(Run, "begin", lambda run, stage: None)
    run.folder.mkdir()
    pipeline.run_reject(run, 2)
    rng = random.Random("reject/0")
    tasks = [random_task(rng, (3, 8)) for _ in range(4)]
    assert asked == [tasks, 0, 2]
    lines = run.path("reject", ".jsonl").read_text().splitlines()
    kept = [Example(*json.loads(line)) for line in lines]
    assert kept[:4] == [Example(task.prompt, solution(task)) for task in tasks]
    assert kept[4:] == other_data(4, 0)
    log = read_log(run.path("reject", ".csv"))
    assert (log["sampled"], log["right"], log["clean"]) == ([8], [1.0], [0.5])
    assert (log["taken"], log["reasoning"], log["others"]) == ([0.5], [4], [4])


def test_a_preference_is_fitted_to_one_half_and_tested_on_the_other(run, monkeypatch):
    asked, fitted = [], []

    def answers(model, tasks, seed, copies, temperature):
        asked.extend([len(tasks), seed, copies, temperature])
        return [text for t in tasks for text in (bare(t.summary), bare(t.answer)) * 2]

    def fit(pairs):
        fitted.extend(pairs)
        return Preference((1.0, 0.0, 0.0, 0.0))

    monkeypatch.setattr(pipeline, "answers_to", answers)
    monkeypatch.setattr(pipeline, "fit", fit)
    monkeypatch.setattr(
        pipeline, "agreement", lambda p, pairs: float(pairs[0] is fitted[0])
    )
    monkeypatch.setattr(Run, "begin", lambda run, stage: None)
    monkeypatch.setattr(
        pipeline, "survey", lambda m, n, *_, marks: dict.fromkeys(marks, n)
    )
    run.folder.mkdir()
    pipeline.run_prefer(run, 2)
    assert asked == [8, 0, 4, 1.3]
    found = json.loads(run.path("prefer", ".json").read_text())
    assert found["weights"] == [1.0, 0.0, 0.0, 0.0]
    assert (found["agrees"], found["agrees_new"]) == (1.0, 0.0)
    assert found["pairs"] == len(fitted) == 4
    assert found["taste"] == found["score"] == [3, 4, 5, 6, 7, 8]


# rewards


def test_the_reward_for_reasoning_by_hand():
    reward = reasoning_reward(0.5)
    assert reward(TASK, solution(TASK)) == pytest.approx(1.6)
    assert reward(TASK, "<answer>6</answer><eos>") == pytest.approx(1.1)
    assert reward(TASK, "<answer>5</answer><eos>") == pytest.approx(0.1)
    assert reward(TASK, "nonsense") == 0
    mixed = "<think>7*3=1;b+f=g</think><answer>6</answer><eos>"
    assert reward(TASK, mixed) == pytest.approx(1.1 + 0.5 / 2)


def test_preference_alone_does_not_look_at_rules():
    plan = pipeline.RUNS["bounded"].plan
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
    assert (row["score"], row["taste"]) == (0, pytest.approx(1))
    assert watched.seen == []


def test_the_tasks_of_a_step_depend_on_seed_and_step_alone():
    for draw in (pipeline.tasks_of, pipeline.mixture_of):
        one = draw(0, 3, 8, (3, 5))
        assert one == draw(0, 3, 8, (3, 5))
        assert one != draw(0, 4, 8, (3, 5))
        assert one != draw(1, 3, 8, (3, 5))
        assert not any(task.held_out for task in one)
    assert judge(one[0], solution(one[0])).right


def test_the_reading_of_a_step_is_counted_by_hand():
    watched = Watched(reasoning_reward(0.5))
    assert watched(TASK, solution(TASK)) == pytest.approx(1.6)
    watched(TASK, solution(TASK))
    watched(TASK, bare("6"))
    watched(TASK, bare("5"))
    watched(Question((7, 3), "*"), bare("1"))  # not among them
    row = watched.means(Preference((0.0,) * 4))
    assert row == {
        "right": 3 / 4,
        "thinks": 2 / 4,
        "one_script": 2 / 4,
        "every_step": 2 / 4,
        "summary": 2 / 4,
        "readable": 2 / 4,
        "taste": pytest.approx((1 + 1 + 0.2 + 0.2) / 4),
        "score": 0.0,
    }


def test_every_fourth_question_of_the_mixture_wants_no_thought():
    kinds = [type(asked) for asked in pipeline.mixture_of(3, 1, 8)]
    assert kinds == [Task, Task, Task, Question] * 2
    lengths = {len(task.terms) for task in pipeline.tasks_of(0, 0, 200)}
    assert lengths == {3, 4, 5, 6, 7, 8}


def test_the_command_runs_the_stages_of_a_plan(tmp_path, monkeypatch, run, capsys):
    row = Recipe(plan=LITTLE, until="reject", seeds=(0,))
    monkeypatch.setitem(pipeline.RUNS, "main", row)
    monkeypatch.setattr(Job, "weights", lambda job, name: run.base)
    out = tmp_path / "command"
    pipeline.main(["main", "--out", str(out)])
    assert (out / "reject_seed0.csv").exists()
    assert not (out / "dev3_seed0.safetensors").exists()
    text = (out / "dev2_seed0.csv").read_text()
    assert text.startswith("# command: python -m experiments.pipeline main --seeds 0\n")
    capsys.readouterr()
    pipeline.main(["main", "--out", str(out)])
    assert "main_seed0 is finished" in capsys.readouterr().out
    before = (out / "dev1_seed0.csv").stat().st_mtime_ns
    pipeline.main(["main", "--out", str(out), "--force"])
    assert (out / "dev1_seed0.csv").stat().st_mtime_ns != before
