"""What every run of chapter 16 was, and what it measures, by hand."""

import random
from dataclasses import fields
from itertools import permutations

import pytest
import torch
from scripted import answering, bare, new_model, problem_of, thinking

from experiments import at_test_time
from experiments.at_test_time import Asked, Forced, Verifier, Votes
from experiments.distill import held_out
from experiments.runner import Job
from r1.model.sampling import Answer
from r1.recipe.at_test_time import counts_of, vote, vote_at_k
from r1.rl.grpo_loop import problems_of
from r1.text.problems import EitherWay
from r1.text.tokenizer import EOS_ID
from r1.train.checkpoint import save_checkpoint
from r1.train.records import DATA, read_log

FIVE = (0, 1, 2, 3, 4)
SIX = EitherWay((7, 3, 5), "*+")
BASE, STUDENT = "base/steady_seed{seed}", "distill/traces_dense4_seed{seed}"
VERIFIER = {"terms": (3, 5), "problems": 1024, "copies": 4, "epochs": 3, "lr": 1e-3}
OF_BASE = VERIFIER | {"model": BASE, "number": 0, "seeds": FIVE}
OF_STUDENT = VERIFIER | {"model": STUDENT, "seeds": (0,)}
VOTES = {"model": BASE, "verifiers": (), "samples": 64, "problems": 128, "seeds": FIVE}
THREE = tuple(f"verifier_base_{n}" for n in range(3))
OTHERS = tuple(f"verifier_student_{n}" for n in range(5))
SEVEN = VOTES | {"terms": 7, "seeds": (0, 3, 4)}
FORCED = {
    "terms": (3, 6),
    "most": (0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30),
    "least": (2, 3, 4, 5, 6, 7),
    "problems": 192,
}
RUNS = {
    **{f"verifier_base_{n}": OF_BASE | {"number": n} for n in range(3)},
    **{f"verifier_student_{n}": OF_STUDENT | {"number": n} for n in range(5)},
    "votes_base_5": VOTES | {"terms": 5, "verifiers": THREE},
    "votes_base_6": VOTES | {"terms": 6, "verifiers": THREE},
    "votes_student_5": VOTES
    | {"model": STUDENT, "terms": 5, "verifiers": OTHERS, "seeds": (0,)},
    "votes_r1_7": SEVEN | {"model": "distill/teacher_r1"},
    "votes_dense4_7": SEVEN | {"model": "distill/r1_traces_dense4_seed{seed}"},
    "votes_dense16_7": SEVEN | {"model": "distill/r1_traces_dense16_seed{seed}"},
    "votes_next_7": VOTES
    | {"model": "distill/next_traces_dense16_seed{seed}", "terms": 7}
    | {"seeds": (0,)},
    "forced_base": FORCED | {"model": BASE, "seeds": FIVE},
    "forced_zero": FORCED | {"model": "rl/zero_seed0", "seeds": (0,)},
}
TYPES = {"verifier": Verifier, "votes": Votes, "forced": Forced}


def test_the_grid_has_these_runs():
    assert set(at_test_time.RUNS) == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_every_run_is_what_it_was(name):
    row = at_test_time.RUNS[name]
    assert type(row) is TYPES[name.split("_")[0]]
    assert {f.name: getattr(row, f.name) for f in fields(row)} == RUNS[name]


def job(name, seed, tmp_path):
    return Job("at_test_time", name, seed, tmp_path)


# forced thoughts


@pytest.mark.parametrize(("name", "seed"), [("forced_base", 3), ("forced_zero", 0)])
def test_thoughts_are_forced_as_their_rows_say(name, seed, tmp_path, monkeypatch):
    made, used, want = [], [], RUNS[name]

    def budget(least, most):
        made.append((least, most))
        return f"{least}/{most}"

    def measure(model, problems, amend):
        used.append((model, problems, amend))
        return {"accuracy": 0.5}

    monkeypatch.setattr(at_test_time, "load_checkpoint", lambda path: [path])
    monkeypatch.setattr(at_test_time, "new_policy", lambda model: model)
    monkeypatch.setattr(at_test_time, "budget", budget)
    monkeypatch.setattr(at_test_time, "measure", measure)
    at_test_time.make(job(name, seed, tmp_path))
    budgets = [(0, None), (1, None), *((0, m) for m in want["most"])]
    budgets += [(least, None) for least in want["least"]]
    lengths = range(3, 7)
    assert made == budgets * len(lengths)
    path = DATA / f"{want['model'].format(seed=seed)}.safetensors"
    asked = {n: held_out((n, n), 192, seed) for n in lengths}
    assert used == [
        (path, asked[n], f"{least}/{most}") for n in lengths for least, most in budgets
    ]
    log = read_log(tmp_path / f"{name}_seed{seed}.csv")
    assert log["terms"] == [n for n in lengths for _ in budgets]
    assert log["most"] == [-1 if m is None else m for _, m in budgets] * len(lengths)
    assert log["least"] == [least for least, _ in budgets] * len(lengths)


# choosing among answers

WORKED = thinking("7*3=1;1+5=6", 6)
SLIP = thinking("7*3=4;4+5=9", 9)


def asked_of(problem, texts):
    return Asked.of(problem, [Answer(text, [0]) for text in texts])


def test_votes_counted_by_hand():
    texts = [WORKED, SLIP, SLIP, bare(5)]
    one, two, four = at_test_time.votes_of([asked_of(SIX, texts)], tokens=10.0)
    assert [(r["k"], r["tokens"]) for r in (one, two, four)] == [
        (1, 10),
        (2, 20),
        (4, 40),
    ]
    assert four == {
        "k": 4,
        "tokens": 40.0,
        "any": 1.0,
        "worked": 1.0,
        "majority": 0.0,  # two say 9
        "clean": 1.0,  # and their steps are wrong
    }
    for row, share in ((one, 1 / 4), (two, 1 / 2)):
        assert (row["any"], row["worked"]) == pytest.approx((share, share))
        assert row["clean"] == pytest.approx(share)
    # Of two answers the worked one is there in three pairs of six, each time a tie.
    assert (one["majority"], two["majority"]) == pytest.approx((1 / 4, 1 / 4))
    # With another problem that nobody answers every share is halved.
    both = at_test_time.votes_of([asked_of(SIX, texts), asked_of(SIX, ["7"] * 4)], 1.0)
    assert (both[2]["any"], both[2]["clean"], both[2]["worked"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_clean_vote_is_the_mean_over_all_draws(k):
    texts = [WORKED, SLIP, thinking("2+2=4", 4), bare(6)]
    rows = at_test_time.votes_of([asked_of(SIX, texts)], 1.0)
    hits = []
    for drawn in permutations(texts, k):
        clean = [at_test_time.clean_steps(text) for text in drawn]
        hits.append(vote(SIX, drawn, clean if any(clean) else None) == "6")
    row = next(r for r in rows if r["k"] == k)
    assert row["clean"] == pytest.approx(sum(hits) / len(hits))


def test_what_a_verifier_likes_counted_by_hand():
    texts, liked = [WORKED, SLIP, SLIP, bare(5)], [0.901, 0.2, 0.3, 0.904]
    one, two, four = at_test_time.judged([asked_of(SIX, texts)], [liked])
    assert (four["k"], four["learned"], four["thinks"]) == (4, 0.0, 0.0)
    assert four["rounded"] == 0.5  # both are 0.90
    assert four["weighed"] == 0.0  # 0.901 for 6, 0.904 for 5
    assert (one["learned"], one["thinks"]) == pytest.approx((1 / 4, 3 / 4))
    assert two["learned"] == pytest.approx(2 / 6)
    assert four["auc"] == pytest.approx(2 / 3)  # higher than two wrong ones of three
    assert four["auc_thoughts"] == 1.0
    shares = [row["weighed"] * at_test_time.DRAWS for row in (one, two)]
    assert shares == [round(share) for share in shares]


def test_a_weighed_vote_of_all_is_one_draw():
    texts, liked = [WORKED, SLIP, SLIP, bare(5)], [0.9, 0.2, 0.3, 0.1]
    rng = random.Random(0)
    assert at_test_time.weighed(asked_of(SIX, texts), liked, 4, rng) == 1.0


def test_votes_are_of_held_out_problems_and_verifiers(tmp_path, monkeypatch):
    calls = answering(monkeypatch, lambda p, n, c: bare(problem_of(p).answer))
    monkeypatch.setattr(at_test_time, "DRAWS", 2)  # how many is tried above
    loaded = []
    monkeypatch.setattr(at_test_time, "load_checkpoint", lambda p: [p])
    monkeypatch.setattr(
        at_test_time, "new_policy", lambda p: loaded.append(p) or new_model()
    )
    monkeypatch.setattr(
        at_test_time, "verifier_scores", lambda v, prompt, texts: [0.5] * len(texts)
    )
    monkeypatch.setattr(Job, "weights", lambda job, name: name)
    at_test_time.make(job("votes_base_6", 2, tmp_path))
    assert loaded == [
        "base/steady_seed2",
        *(f"at_test_time/{name}_seed2" for name in THREE),
    ]
    prompts = [prompt for call in calls for prompt in call.prompts]
    assert prompts == [p.prompt for p in held_out((6, 6), 128, 2)]
    assert {(call.copies, call.limit) for call in calls} == {(64, 96)}
    log = read_log(tmp_path / "votes_base_6_seed2.csv")
    assert log["k"] == [1, 2, 4, 8, 16, 32, 64]
    assert log["tokens"] == [4 * k for k in log["k"]]
    assert log["majority"] == [1] * 7
    judges = read_log(tmp_path / "votes_base_6_seed2_judges.csv")
    assert judges["judge"] == [n for n in range(3) for _ in range(7)]


@pytest.mark.parametrize(
    ("name", "seed"), [("verifier_base_2", 4), ("verifier_student_0", 0)]
)
def test_a_verifier_learns_from_answers_to_problems_for_training(
    name, seed, tmp_path, monkeypatch
):
    calls = answering(monkeypatch, lambda p, n, c: bare(c))
    taught, want = [], RUNS[name]
    row, number = {"step": 0, "loss": 0.5, "hits": 0.5}, want["number"]

    def train(verifier, marked, epochs, lr, seed):
        taught.append((marked, epochs, lr, seed))
        return [row] * 17

    monkeypatch.setattr(Job, "weights", lambda job, name: name)
    monkeypatch.setattr(at_test_time, "load_checkpoint", lambda path: [new_model()])
    monkeypatch.setattr(at_test_time, "train_verifier", train)
    at_test_time.make(job(name, seed, tmp_path))
    asked = problems_of(number, 0, 1024, (3, 5), EitherWay)
    assert [p for call in calls for p in call.prompts] == [p.prompt for p in asked]
    assert {call.seed for call in calls} == {number}
    ((marked, *others),) = taught
    assert marked == [(p, bare(copy)) for p in asked for copy in range(4)]
    assert others == [3, 1e-3, number]
    assert len(read_log(tmp_path / f"{name}_seed{seed}.csv")["step"]) == 2
    assert at_test_time.done(job(name, seed, tmp_path))


def test_a_part_of_a_log_is_a_mean():
    rows = [{"step": s, "loss": float(s), "hits": s / 10} for s in range(5)]
    parts = at_test_time.in_parts(rows, 2)
    assert [r["step"] for r in parts] == [0, 2, 4]
    assert [r["loss"] for r in parts] == [0.5, 2.5, 4.0]


# on a model too small to be clever


def test_verifiers_votes_and_forced_thoughts_write_their_tables(tmp_path, monkeypatch):
    model = new_model()
    with torch.no_grad():
        model.head.weight[EOS_ID] *= 20  # its answers may end
    save_checkpoint(tmp_path / "base.safetensors", model)
    one, weights = {"seeds": (0,)}, Job.weights
    runs = {
        "forced": Forced(
            model="base", terms=(3, 4), most=(0, 3), least=(2,), problems=2, **one
        ),
        "judge": Verifier(model="base", problems=4, epochs=1, **one),
        "votes": Votes(
            model="base", terms=3, verifiers=("judge",), samples=4, problems=3, **one
        ),
    }

    def paths(job, name):
        return tmp_path / "base.safetensors" if name == "base" else weights(job, name)

    monkeypatch.setattr(Job, "weights", paths)
    monkeypatch.setattr(at_test_time, "RUNS", runs)
    at_test_time.main(["--out", str(tmp_path)])
    log = read_log(tmp_path / "forced_seed0.csv")
    assert log["least"] == [0, 1, 0, 0, 2] * 2
    assert log["most"] == [-1, -1, 0, 3, -1] * 2
    log = read_log(tmp_path / "votes_seed0.csv")
    assert log["k"] == [1, 2, 4]
    assert log["tokens"][2] == pytest.approx(4 * log["tokens"][0], rel=1e-3)
    assert all(a >= m for a, m in zip(log["any"], log["majority"], strict=True))
    assert "learned" in read_log(tmp_path / "votes_seed0_judges.csv")


def test_answers_are_counted_as_a_vote_counts_them():
    texts = [WORKED, SLIP, SLIP, bare(5), "nothing"]
    counts = counts_of(SIX, texts)
    assert counts == (1, (1, 2), 1)
    assert vote_at_k(counts, 5) == (vote(SIX, texts) == "6")
