"""Chapter 18's sparse runs: what each arm is, and that arms of a seed read alike."""

import copy
from dataclasses import fields
from functools import partial

import pytest
import torch
from scripted import SMALL, bare, new_model, problem_of, wrong
from torch.testing import assert_close

from experiments import sparse
from experiments.runner import Job
from experiments.sparse import RUNS, Continued
from r1.model.config import ModelConfig
from r1.model.indexer import make_sparse, sparse_layers
from r1.model.moe import routers
from r1.model.transformer import Model
from r1.text.problems import worked_solution
from r1.text.tokenizer import IDS, VOCAB_SIZE, decode, encode

# Typed from what the chapter says of the runs.
FULL = {
    "base": "base/steady_seed{seed}",
    "k": None,
    "by": "indexer",
    "warmup_steps": 0,
    "warmup_lr": 3e-3,
    "rows": 16,
    "steps": 150,
    "lr": 1e-4,
    "log_every": 10,
    "seeds": (0, 1, 2, 3, 4),
}
EXPECTED = {
    "full": FULL,
    "sparse16": FULL | {"k": 16, "warmup_steps": 100},
    "sparse8": FULL | {"k": 8, "warmup_steps": 100},
    "last16": FULL | {"k": 16, "by": "last"},
    "last8": FULL | {"k": 8, "by": "last"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_run_is_what_it_was(name):
    ours = {field.name: getattr(RUNS[name], field.name) for field in fields(Continued)}
    assert set(RUNS) == set(EXPECTED)
    assert ours == EXPECTED[name]


def small(k=4, by="indexer"):
    torch.manual_seed(0)
    return make_sparse(Model(ModelConfig.tiny(VOCAB_SIZE)), k, by)


def test_the_warm_up_moves_indexers_and_nothing_else():
    model = small()
    before = copy.deepcopy(model.state_dict())
    losses = list(sparse.warm_up(model, 0, 5, 3e-3, rows=2))
    assert len(losses) == 5
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (".indexer." not in name), name
    assert [attn.k for attn in sparse_layers(model)] == [4, 4, 4]
    assert all(weight.requires_grad for weight in model.parameters())
    assert not any(router.load.any() for router in routers(model))


def test_the_warm_up_brings_the_indexer_near_the_attention():
    losses = list(sparse.warm_up(small(), 0, 30, 3e-3, rows=4))
    assert sum(losses[-5:]) < sum(losses[:5])


def test_all_arms_of_a_seed_read_the_same_text(monkeypatch, tmp_path):
    seen = {}

    def step(model, optimizer, batch, lr, mtp_weight):
        model.encode(batch[:, :-1])
        seen.setdefault(name, []).append((batch, lr, mtp_weight))
        return {"loss": 0.0}

    monkeypatch.setattr(sparse, "train_step", step)
    for name in ("full", "sparse16", "last8"):
        row = sparse.replace(RUNS[name], steps=2, rows=2)
        model = small(row.k, row.by)
        list(sparse.loop(row, Job("sparse", name, 3, tmp_path), model))
    for others in zip(*seen.values(), strict=True):
        batches, *rest = zip(*others, strict=True)
        assert all(torch.equal(batches[0], batch) for batch in batches)
        assert all(len(set(values)) == 1 for values in rest)


def test_full_begins_as_its_base_and_sparse_with_new_indexers(tmp_path):
    tokens = torch.randint(0, VOCAB_SIZE, (1, 9))
    outs = []
    for name in ("full", "sparse16"):
        model = sparse.begin(RUNS[name], Job("sparse", name, 1, tmp_path))
        outs.append(model.eval()(tokens))
    assert_close(*outs)  # nine tokens are fewer than sixteen


def test_the_loss_by_k_ends_at_that_of_the_dense_model_and_leaves_k_alone(monkeypatch):
    few = partial(sparse.packed_batch, rows=4)  # whatever the text is
    monkeypatch.setattr(sparse, "packed_batch", few)
    model = small(k=4)
    rows = sparse.losses_by_k(model, 0)
    assert [row["k"] for row in rows] == list(sparse.TRIED)
    assert [attn.k for attn in sparse_layers(model)] == [4, 4, 4]
    dense = sparse.validate(make_sparse(model), sparse.held_out(0, 4))["loss"]
    assert rows[-1]["loss"] == pytest.approx(dense, abs=1e-5)


@pytest.mark.parametrize("slip", [False, True])
def test_a_right_answer_after_the_given_tag_counts(monkeypatch, slip):
    def write(model, prompts, *rest):
        assert all(prompt[-1] == IDS["<think>"] for prompt in prompts)
        problems = [problem_of(decode(prompt[:-1])) for prompt in prompts]
        digits = [wrong(p) if slip else p.answer for p in problems]
        texts = zip(map(worked_solution, problems), digits, strict=True)
        return [encode(f"{steps}</think>{bare(digit)}") for steps, digit in texts]

    monkeypatch.setattr(sparse, "sample", write)
    assert sparse.worked(new_model(SMALL), 0, problems=8) == (not slip)
