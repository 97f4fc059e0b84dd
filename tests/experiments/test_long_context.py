"""Facts far back: the rows, the counting of answers, and what each arm is."""

import math
import random
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import torch

from experiments import long_context
from experiments.long_context import RANGES, RUNS, Reader, fact_batch, fact_row, recall
from experiments.runner import Job
from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.text.tokenizer import BOS_ID, IDS, VOCAB_SIZE, decode
from r1.train.records import DATA

# Typed from what the chapter says of the runs.
SHORT = {
    "config": "data/latent/mla48.json",
    "base": None,
    "factor": 1.0,
    "mscale": 1.0,
    "length": 128,
    "rows": 16,
    "steps": 700,
    "lr": 3e-3,
    "log_every": 10,
    "seeds": (0, 1, 2, 3, 4),
}
LONGER = SHORT | {"base": "short", "length": 512, "rows": 4, "steps": 60, "lr": 3e-4}
EXPECTED = {
    "short": SHORT,
    "plain": LONGER,
    "speeds": LONGER | {"factor": 4.0, "mscale": 0.0},
    "yarn": LONGER | {"factor": 4.0},
}
SMALL = replace(ModelConfig.dense(), n_layers=1, n_dense_layers=1)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_run_is_what_it_was(name):
    ours = {field.name: getattr(RUNS[name], field.name) for field in fields(Reader)}
    assert set(RUNS) == set(EXPECTED)
    assert ours == EXPECTED[name]


def test_a_document_asks_for_its_fact_as_far_back_as_it_says():
    for distance in (4, 5, 100):
        ids = long_context.document(random.Random(distance), distance)
        text = decode(ids)
        assert text.startswith("<bos>")
        assert text[5] == text[-1]
        assert text[-2] == "="
        assert set(text[6:-2]) <= set(long_context.NOISE)
        assert len(ids) - 1 - ids.index(IDS[text[5]]) == distance


@pytest.mark.parametrize("length", [48, 129, 513])
def test_a_row_is_documents_and_distances_lead_to_the_newest_fact(length):
    letters = {IDS[letter] for letter in "abcdefghij"}
    for seed in range(20):
        ids, back = fact_row(random.Random(seed), length)
        assert len(ids) == len(back) == length
        starts = [i for i, token in enumerate(ids) if token == BOS_ID]
        questions = [i for i, token in enumerate(ids) if token == IDS["="]]
        assert starts[0] == 0
        assert len(starts) == len(questions)
        for start, question in zip(starts, questions, strict=True):
            fact, answer = start + 1, question + 1
            assert ids[answer] == ids[fact]
            assert not letters & set(ids[fact + 1 : answer])
            assert back[answer] == (answer - fact if start else 0)
        assert sum(distance > 0 for distance in back) == len(starts) - 1


def test_distances_reach_from_near_to_the_whole_row_and_fall_into_the_ranges():
    _, back = fact_batch(0, 0, 256, 512)
    distances = back[back > 0]
    assert distances.min() == long_context.NEAREST == RANGES[0][0]
    assert distances.max() > 400
    for low, high in RANGES:
        assert ((distances >= low) & (distances <= high)).sum() > 50
    assert RANGES[-1][1] == 512 - 1
    assert all(b[0] == a[1] + 1 for a, b in pairwise(RANGES))


def test_a_batch_depends_on_its_seed_step_and_length_alone():
    ids, back = fact_batch(3, 7, 2, 40)
    again, _ = fact_batch(3, 7, 2, 40)
    assert torch.equal(ids, again)
    assert ids.shape == back.shape == (2, 41)
    for other in ((4, 7, 2, 40), (3, 8, 2, 40)):
        assert not torch.equal(ids, fact_batch(*other)[0])


class LooksBack(torch.nn.Module):
    """Knows the newest letter if it stands at most so many tokens back, or nothing."""

    def __init__(self, window):
        super().__init__()
        self.window = window

    def forward(self, ids):
        letters = {IDS[letter] for letter in "abcdefghij"}
        logits = torch.zeros(*ids.shape, VOCAB_SIZE)
        for row, text in enumerate(ids.tolist()):
            newest = None
            for i, token in enumerate(text):
                newest = i if token in letters else newest
                # The answer stands at i + 1.
                if newest is not None and i + 1 - newest <= self.window:
                    logits[row, i, text[newest]] = 50.0
        return logits


@pytest.mark.parametrize("window", [32, 128, 256, 511])
def test_who_looks_back_so_far_is_right_so_far(window):
    rows = recall(LooksBack(window), 512, rows=16)
    assert [(row["low"], row["high"]) for row in rows] == list(RANGES)
    for row in rows:
        known = row["high"] <= window
        assert row["right"] == known
        nothing = math.log(VOCAB_SIZE)
        assert math.isclose(row["loss"], 0 if known else nothing, abs_tol=1e-4)
    asked = [fact_batch(long_context.HELD_OUT_SEED, s, 4, 512)[1] > 0 for s in range(4)]
    assert sum(row["facts"] for row in rows) == torch.stack(asked).sum()


def test_a_short_row_has_no_far_facts():
    rows = recall(LooksBack(128), 128, rows=4)
    assert [row["low"] for row in rows] == [4, 33]
    assert all(row["right"] == 1 for row in rows)


def test_only_answers_are_learned():
    ids, back = fact_batch(0, 0, 3, 60)
    logits, letters = long_context.answers(LooksBack(60), ids, back)
    assert len(logits) == len(letters) == (back > 0).sum()
    assert torch.equal(letters, ids[back > 0])
    assert torch.equal(logits.argmax(-1), letters)


def test_all_arms_read_the_same_rows_from_the_same_weights(tmp_path, monkeypatch):
    small = replace(SMALL, max_seq_len=128, original_seq_len=128)
    seen = {}

    def loop(row, job, model):
        seen[job.name] = model
        return iter([{"step": 0, "loss": 1.0}])

    monkeypatch.setattr(long_context, "loop", loop)
    monkeypatch.setattr(long_context, "read_config", lambda name: small)
    monkeypatch.setattr(long_context, "recall", lambda model, length: [{"low": 1}])
    monkeypatch.setattr(Job, "write", lambda *words: None)
    for name, row in RUNS.items():
        long_context.make(row, Job("long_context", name, 3, tmp_path))
    short, plain, speeds, yarn = seen.values()
    for other in (plain, speeds, yarn):
        for ours, theirs in zip(short.parameters(), other.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert [m.config.max_seq_len for m in seen.values()] == [128, 512, 512, 512]
    assert [m.config.yarn for m in seen.values()] == [False, False, True, True]
    scales = [m.config.mscale for m in (plain, speeds, yarn)]
    assert scales == [1.0, 0.0, 1.0]
    same = {"rope_factor": 1.0, "mscale": 1.0}
    assert replace(speeds.config, **same) == replace(yarn.config, **same)
    assert replace(yarn.config, **same) == plain.config


@pytest.mark.parametrize("name", ["short", "plain", "yarn"])
def test_what_a_row_says_reaches_its_steps(name, tmp_path, monkeypatch):
    rows, rates = [], []

    def answers(model, ids, back):
        rows.append(ids)
        return model(ids[:, :1])[:, 0], ids[:, 1]

    def step(model, optimizer, loss, where):
        rates.append(optimizer.param_groups[0]["lr"])
        return 0.0

    monkeypatch.setattr(long_context, "answers", answers)
    monkeypatch.setattr(long_context, "apply_gradient", step)
    row, want = replace(RUNS[name], steps=40), EXPECTED[name]
    steps = list(long_context.loop(row, Job("x", name, 3, tmp_path), Model(SMALL)))
    assert [one["step"] for one in steps] == list(range(40))
    assert max(rates) == pytest.approx(want["lr"])
    assert rates[-1] == pytest.approx(want["lr"] / 10, rel=0.2)
    expected = fact_batch(3, 7, want["rows"], want["length"])[0]
    assert torch.equal(rows[7], expected)


def test_longer_rows_begin_with_the_last_rate_of_short_ones():
    assert RUNS["plain"].lr == pytest.approx(RUNS["short"].lr / 10)


def test_a_model_is_the_same_with_positions_that_are_left_as_they_are():
    row = RUNS["plain"]
    config = ModelConfig.from_json(DATA.parent / row.config)
    torch.manual_seed(0)
    model = Model(config)
    longer = Model(long_context.stretched(config, row))
    longer.load_state_dict(model.state_dict())
    ids = fact_batch(0, 0, 1, 127)[0]
    torch.testing.assert_close(longer(ids), model(ids))


def test_a_run_is_tested_before_and_after(tmp_path, monkeypatch):
    small = replace(SMALL, max_seq_len=128, original_seq_len=128)
    monkeypatch.setattr(long_context, "read_config", lambda name: small)
    monkeypatch.setattr(long_context, "recall", lambda m, length: recall(m, length, 4))
    row = Reader(config="dense", rows=2, steps=30, log_every=20, seeds=(0,))
    monkeypatch.setitem(RUNS, "short", row)
    longer = replace(RUNS["plain"], rows=1, steps=20)
    monkeypatch.setitem(RUNS, "plain", longer)
    long_context.main(["short", "plain", "--seeds", "0", "--out", str(tmp_path)])
    log = (tmp_path / "short_seed0.csv").read_text().splitlines()
    assert log[4].startswith("step,loss,grad_norm")
    assert [line.split(",")[0] for line in log[5:]] == ["19", "29"]
    table = (tmp_path / "plain_seed0_distances.csv").read_text().splitlines()
    trained = [line.split(",")[0] for line in table[5:]]
    assert list(dict.fromkeys(trained)) == ["0", "20"]
    assert (tmp_path / "short_seed0.safetensors").exists()
    assert not (tmp_path / "plain_seed0.safetensors").exists()
