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
from experiments.distill import Forced, Student, Verifier, Votes
from experiments.pretrain import Grid
from experiments.runner import Job
from r1.cost.counting import count_parameters
from r1.recipe.at_test_time import choices
from r1.rl.grpo_loop import Updates, problems_of
from r1.rl.losses import GRPOLoss
from r1.rl.rewards import rule_reward
from r1.rl.rollout import Sampling
from r1.text.problems import EitherWay, document, random_problem, worked_solution
from r1.text.tokenizer import EOS_ID, encode
from r1.train.checkpoint import save_checkpoint
from r1.train.records import DATA, read_log

THREE, ONCE = (0, 1, 2), (None,)
SIX = EitherWay((7, 3, 5), "*+")
DRAWN = cache(distill.held_out)  # many tests need the same
ZERO = {"base": "distill/base_dense4", "teacher": "rl/zero_seed0", "terms": (3, 5)}
STUDENT = {"epochs": 3, "prompts": 0, "group": 0, "tests": (192,), "first_seed": 0}
STUDENT |= {"seeds": THREE}
OF_ZERO = STUDENT | ZERO | {"budget": 300, "points": 6}
OF_R1 = STUDENT | {"teacher": "pipeline/r1_seed0", "terms": (3, 8), "points": 4}
DENSE4 = OF_R1 | {"base": "distill/base_dense4", "budget": 600}
DENSE16 = OF_R1 | {"base": "distill/base_dense16", "budget": 250}
MOE4 = OF_R1 | {"base": "distill/base_moe4", "budget": 400}
MOE16 = OF_R1 | {"base": "distill/base_moe16", "budget": 250}
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
    "r1_traces_dense4": DENSE4 | TRACES,
    "r1_traces_dense16": DENSE16 | TRACES,
    "r1_traces_moe4": MOE4 | TRACES,
    "r1_traces_moe16": MOE16 | TRACES,
    "r1_rl_dense4": DENSE4 | RL8,
    "r1_rl_dense16": DENSE16 | RL8,
    "r1_rl_moe4": MOE4 | RL16,
    "r1_rl_moe16": MOE16 | RL16,
    "r1_onpolicy_dense4": DENSE4 | OWN | {"seeds": (0,)},
    "r1_onpolicy_dense16": DENSE16 | OWN | {"seeds": (0,)},
    "r1_onpolicy_moe4": MOE4 | OWN | {"seeds": (0,)},
    "next_traces_dense16": NEXT | TRACES,
    "next_rl_dense16": NEXT | RL8,
    "next_onpolicy_dense16": NEXT | OWN | {"lr": 1e-3},
}
VERIFIER = {"terms": (3, 5), "problems": 1024, "copies": 4, "epochs": 3, "lr": 1e-3}
VOTES = {"verifier": None, "samples": 64, "problems": 128, "seeds": ONCE}
OTHERS = {
    "verifier_base": VERIFIER | {"model": "base/base_seed1", "seeds": ONCE},
    "verifier_student": VERIFIER
    | {"model": "distill/traces_dense4_seed0", "seeds": ONCE},
    "votes_base_5": VOTES
    | {"model": "base/base_seed1", "terms": 5, "verifier": "distill/verifier_base"},
    "votes_base_6": VOTES
    | {"model": "base/base_seed1", "terms": 6, "verifier": "distill/verifier_base"},
    "votes_student_5": VOTES
    | {"model": "distill/traces_dense4_seed0", "terms": 5}
    | {"verifier": "distill/verifier_student"},
    "votes_base_dense4_7": VOTES | {"model": "distill/base_dense4", "terms": 7},
    "votes_r1_7": VOTES | {"model": "pipeline/r1_seed0", "terms": 7},
    "votes_r1_traces_dense4_7": VOTES
    | {"model": "distill/r1_traces_dense4_seed0", "terms": 7},
    "votes_r1_traces_dense16_7": VOTES
    | {"model": "distill/r1_traces_dense16_seed0", "terms": 7},
    "votes_r1_rl_dense4_7": VOTES | {"model": "distill/r1_rl_dense4_seed0", "terms": 7},
    "votes_next_traces_dense16_7": VOTES
    | {"model": "distill/next_traces_dense16_seed0", "terms": 7},
    "forced_base": {
        "model": "base/base_seed1",
        "terms": (3, 6),
        "most": (0, 6, 12, 18, 24),
        "least": (2, 3, 4, 5, 6),
        "problems": 192,
        "seeds": ONCE,
    },
    "forced_zero": {
        "model": "rl/zero_seed0",
        "terms": (3, 7),
        "most": (0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30),
        "least": (2, 3, 4, 5, 6, 7, 8),
        "problems": 192,
        "seeds": ONCE,
    },
    "forced_r1": {
        "model": "pipeline/r1_seed0",
        "terms": (7, 10),
        "most": (24, 36, 48),
        "least": (6, 7, 8, 9, 10),
        "problems": 128,
        "seeds": ONCE,
    },
}
TYPES = {"verifier": Verifier, "votes": Votes, "forced": Forced}


def test_the_grid_has_these_runs():
    bases = {name for name, row in distill.RUNS.items() if isinstance(row, Grid)}
    assert set(distill.RUNS) == set(STUDENTS) | set(OTHERS) | bases


@pytest.mark.parametrize("name", [*STUDENTS, *OTHERS])
def test_every_run_is_what_it_was(name):
    row = distill.RUNS[name]
    assert type(row) is TYPES.get(name.split("_")[0], Student)
    ours = {field.name: getattr(row, field.name) for field in fields(row)}
    assert ours == (STUDENTS | OTHERS)[name]


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


@pytest.mark.parametrize("name", ["forced_base", "forced_r1"])
def test_thoughts_are_forced_as_their_rows_say(name, tmp_path, monkeypatch):
    made, used, want = [], [], OTHERS[name]

    def budget(least, most):
        made.append((least, most))
        return f"{least}/{most}"

    def measure(model, problems, amend):
        used.append((model, len(problems), len(problems[0].terms), amend))
        return {"accuracy": 0.5}

    monkeypatch.setattr(distill, "load_checkpoint", lambda path: [path])
    monkeypatch.setattr(distill, "new_policy", lambda model: model)
    monkeypatch.setattr(distill, "budget", budget)
    monkeypatch.setattr(distill, "measure", measure)
    distill.make(job(name, None, tmp_path))
    first, last = want["terms"]
    budgets = [(0, None), (1, None), *((0, m) for m in want["most"])]
    budgets += [(least, None) for least in want["least"]]
    lengths = range(first, last + 1)
    assert made == budgets * len(lengths)
    path = DATA / f"{want['model']}.safetensors"
    count = want["problems"]
    assert used == [
        (path, count, n, f"{least}/{most}") for n in lengths for least, most in budgets
    ]
    log = read_log(tmp_path / f"{name}.csv")
    assert log["terms"] == [n for n in lengths for _ in budgets]
    assert log["most"] == [-1 if m is None else m for _, m in budgets] * len(lengths)
    assert log["least"] == [least for least, _ in budgets] * len(lengths)


# choosing among answers

WORKED = thinking("7*3=1;1+5=6", 6)
SLIP = thinking("7*3=4;4+5=9", 9)


def test_votes_counted_by_hand():
    texts = [WORKED, SLIP, SLIP, bare(5)]
    liked = [0.9, 0.2, 0.3, 0.1]
    one, two, four = distill.votes_of([(SIX, texts, liked)], tokens=10.0)
    assert [(r["k"], r["tokens"]) for r in (one, two, four)] == [
        (1, 10),
        (2, 20),
        (4, 40),
    ]
    assert four == {
        "k": 4,
        "tokens": 40.0,
        "any": 1.0,
        "majority": 0.0,  # two say 9
        "clean": 1.0,  # and their steps are wrong
        "learned": 1.0,
        "learned_vote": 1.0,  # 0.9 for 6, 0.5 for 9
        "worked": 1.0,
    }
    assert (one["any"], two["any"]) == pytest.approx((1 / 4, 1 / 2))
    assert (one["worked"], two["worked"]) == pytest.approx((1 / 4, 1 / 2))
    for row in (one, two):
        shares = [row[n] * 16 for n in ("majority", "clean", "learned")]
        assert shares == [round(share) for share in shares]  # of 16 draws
    assert one["majority"] == one["learned"] == one["clean"]
    # with another problem that nobody answers every share is halved
    both = distill.votes_of([(SIX, texts, None), (SIX, ["7"] * 4, None)], 1.0)
    assert "learned" not in both[2]
    assert (both[2]["any"], both[2]["clean"], both[2]["worked"]) == (0.5, 0.5, 0.5)


def test_votes_are_of_held_out_problems_and_a_verifier(tmp_path, monkeypatch):
    calls = answering(monkeypatch, lambda p, n, c: bare(problem_of(p).answer))
    liked, given = [], []
    monkeypatch.setattr(distill, "load_checkpoint", lambda p: [p])
    monkeypatch.setattr(distill, "new_policy", lambda p: liked.append(p) or new_model())
    monkeypatch.setattr(
        distill, "verifier_scores", lambda v, prompt, texts: [0.5] * len(texts)
    )
    monkeypatch.setattr(
        distill, "votes_of", lambda *a: given.extend(a) or [{"k": 1, "majority": 0.0}]
    )
    monkeypatch.setattr(Job, "weights", lambda job, name: name)
    distill.make(job("votes_base_6", None, tmp_path))
    assert liked == ["base/base_seed1", "distill/verifier_base"]
    asked = [problem for call in calls for problem in call.prompts]
    assert asked == [p.prompt for p in distill.held_out((6, 6), 128)]
    assert {call.copies for call in calls} == {64}
    answered, tokens = given
    assert tokens == 4
    assert all(scores == [0.5] * 64 for _, _, scores in answered)
    assert all(len(texts) == 64 for _, texts, _ in answered)


def test_choices_by_hand():
    marks = choices(SIX, [SLIP, WORKED, bare(9)], [0.3, 0.1, 0.2])
    assert marks == {
        "any": 1.0,
        "majority": 0.0,
        "clean": 1.0,
        "learned": 0.0,
        "learned_vote": 0.0,
    }


@pytest.mark.parametrize("name", ["verifier_base", "verifier_student"])
def test_a_verifier_learns_from_answers_to_problems_for_training(
    name, tmp_path, monkeypatch
):
    calls = answering(monkeypatch, lambda p, n, c: bare(c))
    taught = []

    def train(verifier, marked, epochs, lr):
        taught.append((marked, epochs, lr))
        return [{"step": 0, "loss": 0.5}]

    monkeypatch.setattr(Job, "weights", lambda job, name: name)
    monkeypatch.setattr(distill, "load_checkpoint", lambda path: [new_model()])
    monkeypatch.setattr(distill, "train_verifier", train)
    distill.make(job(name, None, tmp_path))
    asked = problems_of(0, 0, 1024, (3, 5), EitherWay)
    assert [p for call in calls for p in call.prompts] == [p.prompt for p in asked]
    ((marked, epochs, lr),) = taught
    assert marked == [(p, bare(copy)) for p in asked for copy in range(4)]
    assert (epochs, lr) == (3, 1e-3)
    assert distill.done(job(name, None, tmp_path))


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


def test_verifiers_votes_and_forced_thoughts_write_their_tables(small, monkeypatch):
    runs = {
        "forced": Forced(
            model="base", terms=(3, 4), most=(0, 3), least=(2,), problems=2
        ),
        "judge": Verifier(model="base", problems=4, epochs=1),
        "votes": Votes(model="base", terms=3, verifier="judge", samples=4, problems=3),
    }
    monkeypatch.setattr(distill, "RUNS", runs)
    distill.main(["--out", str(small)])
    log = read_log(small / "forced.csv")
    assert log["least"] == [0, 1, 0, 0, 2] * 2
    assert log["most"] == [-1, -1, 0, 3, -1] * 2
    log = read_log(small / "votes.csv")
    assert log["k"] == [1, 2, 4]
    assert log["tokens"][2] == pytest.approx(4 * log["tokens"][0], rel=1e-3)
    assert all(a >= m for a, m in zip(log["any"], log["majority"], strict=True))
    assert "learned" in log
