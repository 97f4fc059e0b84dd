"""What every run of chapters 15 and 16 was, and what it measures and spends, by hand.

The students, their teachers and the verifiers of both.
"""

import random
from dataclasses import fields
from functools import cache

import pytest
import torch
from scripted import answering, bare, new_model, problem_of, thinking, wrong

from experiments import distill
from experiments.distill import Student
from experiments.pretrain import Grid
from experiments.runner import Job
from r1.cost.counting import count_parameters
from r1.rl.grpo_loop import Updates, problems_of
from r1.rl.losses import GRPOLoss
from r1.rl.rewards import rule_reward
from r1.rl.rollout import Sampling
from r1.text.problems import EitherWay, document, random_problem, worked_solution
from r1.text.tokenizer import EOS_ID, encode
from r1.train.checkpoint import save_checkpoint
from r1.train.records import read_log

THREE = (0, 1, 2)
FIVE = {"seeds": (0, 1, 2, 3, 4)}
SIX = EitherWay((7, 3, 5), "*+")
DRAWN = cache(distill.held_out)  # many tests need the same
ZERO = {"base": "distill/base_dense4", "teacher": "rl/zero_seed0", "terms": (3, 5)}
STUDENT = {"epochs": 3, "prompts": 0, "group": 0, "tests": (192,), "first_seed": 0}
STUDENT |= {"seeds": THREE}
OF_ZERO = STUDENT | ZERO | {"budget": 300, "points": 6}
OF_R1 = STUDENT | {"teacher": "distill/teacher_r1", "terms": (3, 8), "points": 4}
DENSE4 = OF_R1 | {"base": "distill/base_dense4", "budget": 600}
DENSE16 = OF_R1 | {"base": "distill/base_dense16", "budget": 250}
MOE4 = OF_R1 | {"base": "distill/base_moe4", "budget": 400}
MOE16 = OF_R1 | {"base": "distill/base_moe16", "budget": 250}
LATER = DENSE4 | {"base": "distill/base_later"}
NEXT = DENSE16 | {"base": "distill/r1_traces_dense16_seed0", "first_seed": 10}
TRACES = {"way": "traces", "lr": 3e-3}
RL8 = {"way": "rl", "lr": 3e-4, "prompts": 8, "group": 8}
RL16 = {"way": "rl", "lr": 1e-4, "prompts": 16, "group": 16}
OWN = {"way": "onpolicy", "lr": 2e-3, "prompts": 64, "group": 1}
STUDENTS = {
    # seed 0 was tested on more problems than the others
    "traces_dense4": OF_ZERO | TRACES | {"tests": (256, 192)},
    "text_dense4": OF_ZERO | {"way": "text", "lr": 3e-3, "tests": (256, 192)},
    "rl_dense4": OF_ZERO | RL8 | {"budget": 600, "points": 8},
    "onpolicy_dense4": OF_ZERO | OWN,
    "r1_traces_dense4": DENSE4 | TRACES | FIVE,
    "r1_traces_dense16": DENSE16 | TRACES | FIVE,
    "r1_traces_moe4": MOE4 | TRACES,
    "r1_traces_moe16": MOE16 | TRACES,
    "r1_rl_dense4": DENSE4 | RL8 | FIVE,
    "r1_rl_dense16": DENSE16 | RL8 | FIVE,
    "r1_rl_moe4": MOE4 | RL16,
    "r1_rl_moe16": MOE16 | RL16,
    "r1_traces_later": LATER | TRACES | FIVE,
    "r1_rl_later": LATER | RL8 | FIVE,
    "r1_onpolicy_dense4": DENSE4 | OWN | {"seeds": (0,)},
    "r1_onpolicy_dense16": DENSE16 | OWN | {"seeds": (0,)},
    "r1_onpolicy_moe4": MOE4 | OWN | {"seeds": (0,)},
    "next_traces_dense16": NEXT | TRACES,
    "next_rl_dense16": NEXT | RL8,
    "next_onpolicy_dense16": NEXT | OWN | {"lr": 1e-3},
    "next_rl_eight": NEXT | RL8 | {"terms": (8, 8)},
}


def test_the_grid_has_these_runs():
    bases = {name for name, row in distill.RUNS.items() if isinstance(row, Grid)}
    assert set(distill.RUNS) == set(STUDENTS) | bases


@pytest.mark.parametrize("name", STUDENTS)
def test_every_run_is_what_it_was(name):
    row = distill.RUNS[name]
    assert type(row) is Student
    ours = {field.name: getattr(row, field.name) for field in fields(row)}
    assert ours == STUDENTS[name]


def job(name, seed, tmp_path):
    return Job("distill", name, seed, tmp_path)


# measuring


@pytest.mark.parametrize(("terms", "count"), [((3, 5), 6), ((7, 7), 4)])
def test_held_out_problems_depend_on_their_arguments_alone(terms, count):
    problems = distill.held_out(terms, count)
    rng = random.Random(f"distill/0/{terms[0]}-{terms[1]}")
    drawn = [random_problem(rng, terms, held_out=True) for _ in range(count)]
    assert [p.prompt for p in problems] == [p.prompt for p in drawn]
    assert all(p.held_out and type(p) is EitherWay for p in problems)
    assert problems != distill.held_out(terms, count, seed=1)


def mixed_answers(prompt, number, copy):
    """Right with a thought, right before its step, wrong, and no answer."""
    problem = problem_of(prompt)
    left, sign, right, result = problem.steps()[-1]
    return (
        thinking(worked_solution(problem), problem.answer),
        bare(f"{result}={left}{sign}{right}"),
        bare(wrong(problem)),
        "<think>7*3=1",
    )[number % 4]


def test_a_student_is_measured_by_hand(monkeypatch):
    calls = answering(monkeypatch, mixed_answers)
    problems = distill.held_out((3, 3), 8)
    row = distill.measure(new_model(), problems)
    lengths = [11 + 6, 5 + 3, 1 + 3, 1 + 5]
    assert row == {"accuracy": 1 / 2, "thinking": 1 / 2, "length": sum(lengths) / 4}
    assert (calls[0].limit, calls[0].temperature, calls[0].seed) == (96, 1.0, 0)
    assert calls[0].amend is None


# spending a budget


def weights_of(model):
    return count_parameters(model.config).active_without_embedding


def test_traces_cost_what_their_teacher_reads_and_writes(monkeypatch):
    row, teacher = distill.RUNS["traces_dense4"], new_model()
    calls = answering(
        monkeypatch,
        lambda p, n, c: bare(problem_of(p).answer if n % 2 else wrong(problem_of(p))),
    )
    kept, spent = distill.lessons(teacher, row, seed=3, part=2)
    asked = problems_of(3, 2, 256, (3, 5), EitherWay)
    assert calls[0].prompts == [problem.prompt for problem in asked]
    assert (calls[0].seed, calls[0].limit, calls[0].copies) == (3_000_011, 72, 1)
    assert [tuple(e) for e in kept] == [(p.prompt, bare(p.answer)) for p in asked[1::2]]
    read = sum(len(encode(problem.prompt)) for problem in asked)
    assert spent == 2 * weights_of(teacher) * (read + 256 * 4)


def test_text_is_what_base_models_read_and_costs_nothing():
    row = distill.RUNS["text_dense4"]
    examples, spent = distill.lessons(None, row, seed=1, part=4)
    rng = random.Random("text/1/4")
    texts = [document(rng, terms=(3, 5)) for _ in range(256)]
    assert [asked + told for asked, told in examples] == texts
    assert all(asked.endswith("=") and "=" not in asked[:-1] for asked, _ in examples)
    assert spent == 0


def test_imitation_stops_writing_when_the_rest_pays_for_learning(monkeypatch):
    student, written, taught = new_model(), [], []
    example = distill.Example(SIX.prompt, bare(6))  # 11 tokens
    lesson = 6 * weights_of(student) * 3 * 10 * 11  # three epochs of ten examples
    price = lesson / 2
    row = Student(**STUDENTS["traces_dense4"] | {"budget": 3.2 * 1.5 * lesson / 1e9})

    def lessons(teacher, row, seed, part):
        written.append((seed, part))
        return [example] * 10, price

    def sft(student, examples, epochs, lr, batch, seed):
        taught.append((len(examples), epochs, lr, batch, seed))
        return range(3)

    monkeypatch.setattr(distill, "lessons", lessons)
    monkeypatch.setattr(distill, "sft", sft)
    spent = list(distill.by_imitation(student, None, row, 5))
    assert written == [(5, 0), (5, 1), (5, 2), (5, 3)]  # the last is not paid for
    assert taught == [(30, 3, 3e-3, 64, 5)]
    steps = [3 * price + 3 * lesson * share for share in (0, 1 / 3, 2 / 3, 1)]
    assert spent == pytest.approx(steps)


@pytest.mark.parametrize("name", ["r1_rl_moe4", "r1_onpolicy_dense4"])
def test_steps_cost_the_student_and_on_its_own_answers_the_teacher_too(
    name, monkeypatch
):
    row, seen = distill.RUNS[name], []
    student, teacher = new_model(), new_model(seed=1)

    def loop(model, other, steps, settings, env, seed, *kind):
        seen.extend([model, other, settings, env, seed, kind])
        return [{"step": 0, "length": 10.0}, {"step": 1, "length": 20.5}]

    def never(*args):
        raise AssertionError

    onpolicy = "onpolicy" in name
    monkeypatch.setattr(distill, "on_policy", loop if onpolicy else never)
    monkeypatch.setattr(distill, "grpo", never if onpolicy else loop)
    spent = list(distill.by_steps(student, teacher, row, 7))
    model, other, settings, env, seed, kind = seen
    want = STUDENTS[name]
    assert model is student
    assert (other is teacher) == onpolicy
    assert kind == (("reverse",) if onpolicy else ())
    assert settings.prompts == want["prompts"]
    assert settings.sampling == Sampling(want["group"], 72, 1.0)
    assert settings.updates == Updates(want["lr"], 1, 1)
    assert (settings.scale, settings.loss) == (True, GRPOLoss())
    assert (env.reward, env.keep, seed) == (rule_reward, None, 7)
    total, expected = 0.0, []
    for step, length in ((0, 10.0), (1, 20.5)):
        asked = problems_of(7, step, want["prompts"], (3, 8), EitherWay)
        assert env.ask(7, step, want["prompts"]) == asked
        prompts = sum(len(encode(problem.prompt)) for problem in asked)
        answers = length * want["prompts"] * want["group"]
        learned = want["group"] * prompts + answers
        total += weights_of(student) * (2 * (prompts + answers) + 6 * learned)
        total += onpolicy * weights_of(teacher) * 2 * learned
        expected.append(total)
    assert spent == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spent", "tested"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [0, 5, 10]),  # half, and all
        ([4, 9.9], [0, 9.9]),  # both points at once, and it ends short of the limit
        ([2, 6, 7], [0, 6, 7]),
        ([12, 13], [0, 12]),
    ],
)
def test_a_student_is_tested_on_the_way_and_at_the_end(spent, tested, monkeypatch):
    row = Student(**STUDENTS["rl_dense4"] | {"budget": 10, "points": 2})
    monkeypatch.setattr(distill, "measure", lambda model, problems: {"accuracy": 0.5})
    rows = distill.spend(iter([s * 1e9 for s in spent]), None, row, [])
    assert [r["gflop"] for r in rows] == pytest.approx(tested)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_learns_with_its_seed_and_is_tested_where_it_was(
    name, tmp_path, monkeypatch
):
    want, seen, tested = STUDENTS[name], [], []

    def way(kind):
        def learn(student, teacher, row, seed):
            seen.append((kind, student, teacher, row, seed))
            return iter([1e15])

        return learn

    def measure(model, problems):
        lengths = {len(problem.terms) for problem in problems}
        tested.append((min(lengths), max(lengths), len(problems)))
        return {"accuracy": 0.5}

    monkeypatch.setattr(Job, "weights", lambda job, name: name)
    monkeypatch.setattr(distill, "held_out", DRAWN)
    monkeypatch.setattr(distill, "load_checkpoint", lambda path: [path])
    monkeypatch.setattr(distill, "new_policy", lambda model: model)
    monkeypatch.setattr(distill, "by_imitation", way("imitation"))
    monkeypatch.setattr(distill, "by_steps", way("steps"))
    monkeypatch.setattr(distill, "measure", measure)
    monkeypatch.setattr(distill, "save_checkpoint", lambda *a, **k: None)
    for seed in want["seeds"]:
        seen.clear()
        tested.clear()
        distill.make(job(name, seed, tmp_path))
        kind = "imitation" if want["way"] in ("traces", "text") else "steps"
        begin = want["first_seed"] + seed
        row = distill.RUNS[name]
        assert seen == [(kind, want["base"], want["teacher"], row, begin)]
        count = want["tests"][0] if seed == 0 else want["tests"][-1]
        at_end = [(n, n, count) for n in (3, 4, 5, 6, 7, 8)]
        assert tested == [(*want["terms"], count)] * 2 + at_end
        assert distill.done(job(name, seed, tmp_path))


# on models too small to be clever


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two small models, a student and its teacher, whose answers may end."""
    for place, name in enumerate(("base", "teacher")):
        model = new_model(seed=place)
        with torch.no_grad():
            model.head.weight[EOS_ID] *= 20
        save_checkpoint(tmp_path / f"{name}.safetensors", model)
    paths = {"base": "base", "teacher": "teacher", "model": "base"}
    monkeypatch.setattr(
        Job,
        "weights",
        lambda job, name: tmp_path / f"{paths.get(name, name)}.safetensors",
    )
    return tmp_path


@pytest.mark.parametrize("way", ["rl", "onpolicy", "text", "traces"])
def test_a_student_spends_its_budget_once(way, small, monkeypatch, capsys):
    row = STUDENT | {"base": "base", "teacher": "teacher", "terms": (3, 5), "lr": 1e-3}
    row |= {"way": way, "budget": 3, "points": 2, "prompts": 2, "group": 2}
    row |= {"tests": (4,), "seeds": (0,)}
    monkeypatch.setattr(distill, "RUNS", {"run": Student(**row)})
    words = ["run", "--out", str(small / "runs")]
    if way == "traces":  # nothing that a random teacher writes is right
        with pytest.raises(SystemExit, match="teacher wrote no right answer"):
            distill.main(words)
        return
    distill.main(words)
    log = read_log(small / "runs/run_seed0.csv")
    assert log["gflop"][0] == 0
    assert log["gflop"][-1] >= 3
    assert read_log(small / "runs/run_seed0_terms.csv")["terms"] == [3, 4, 5, 6, 7, 8]
    assert (small / "runs/run_seed0.safetensors").exists()
    capsys.readouterr()
    distill.main(words)
    assert "run_seed0 is finished" in capsys.readouterr().out
