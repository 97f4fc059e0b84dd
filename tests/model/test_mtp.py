"""Modules that look ahead: what they are given, are asked for, and share."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from r1.cost.counting import count_parameters
from r1.model.config import ModelConfig
from r1.model.moe import routers
from r1.model.mtp import mtp_losses
from r1.model.transformer import Model, cross_entropy
from r1.train import pretraining as pretrain
from r1.train.evaluation import validate

TINY = ModelConfig.tiny()
SMALL = replace(TINY, dim=32, n_layers=2, n_dense_layers=1, moe_inter_dim=16)
DEPTHS = pytest.mark.parametrize("depth", [1, 2, 3])


def new_model(depth=1, config=SMALL):
    torch.manual_seed(0)
    return Model(replace(config, num_nextn_predict_layers=depth)).double().eval()


def ahead_logits(model, text):
    """Logits of every module, as training computes them, for one batch of texts."""
    seen = []
    head = model.head

    def watch(state):
        seen.append(head(state))
        return seen[-1]

    hidden = model.encode(text[:, :-1])
    mtp_losses(model.mtp, model.embed, watch, hidden, text)
    return seen


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("config", [TINY, ModelConfig.dense()])
def test_a_model_with_modules_has_the_parameters_that_are_counted(config, depth):
    config = replace(config, num_nextn_predict_layers=depth)
    model, count = Model(config), count_parameters(config)
    held = sum(p.numel() for p in model.parameters())
    biases = sum(gate.bias.numel() for gate in routers(model))
    assert held + biases == count.total + count.mtp
    assert sum(p.numel() for p in model.mtp.parameters()) <= count.mtp


@DEPTHS
def test_losses_equal_the_equations_written_as_loops(depth):
    model = new_model(depth)
    texts = torch.randint(0, 32, (2, 9))
    hidden = model.encode(texts[:, :-1])
    losses = mtp_losses(model.mtp, model.embed, model.head, hidden, texts)
    assert len(losses) == depth
    for b, text in enumerate(texts):
        state = hidden[b : b + 1]
        for k, module in enumerate(model.mtp, start=1):
            given = model.embed(text[None, k:8])
            state = module(state[:, : 8 - k], given)
            logp = model.head(state).log_softmax(-1)[0]
            surprise = [-logp[i, text[i + k + 1]] for i in range(8 - k)]
            losses[k - 1] = losses[k - 1] - sum(surprise) / 8 / 2
    assert_close(torch.stack(losses), torch.zeros(depth).double(), rtol=0, atol=1e-12)


@DEPTHS
def test_no_module_sees_the_token_that_it_is_asked_for(depth):
    model, text = new_model(depth), torch.randint(0, 32, (2, 10))
    before = ahead_logits(model, text)
    changed = text.clone()
    changed[:, 6] = (text[:, 6] + 1) % 32
    after = ahead_logits(model, changed)
    for k, (a, b) in enumerate(zip(before, after, strict=True), start=1):
        asked = 6 - (k + 1)  # the position whose target is token 6
        assert_close(a[:, : asked + 1], b[:, : asked + 1])
        assert (a[:, asked + 1] - b[:, asked + 1]).abs().max() > 1e-6  # given there


def test_a_module_that_saw_its_target_would_reach_zero_loss_and_ours_does_not():
    torch.manual_seed(0)
    text = torch.randint(0, 32, (32, 9, 17))  # noise: nothing can be foretold

    def last_loss(shift):
        model = new_model().float()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
        for batch in text:
            hidden = model.encode(batch[:, :-1])
            given = model.embed(batch[:, 1 + shift : 16 + shift])
            logits = model.head(model.mtp[0](hidden[:, :-1], given))
            loss = cross_entropy(logits, batch[:, 2:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    assert last_loss(shift=1) < 0.5  # copies
    assert last_loss(shift=0) > 3.0  # ln 32 = 3.47


@DEPTHS
def test_embedding_and_head_are_shared_and_learn_from_every_depth(depth):
    model = new_model(depth)
    names = dict(model.named_parameters())
    assert not [n for n in names if n.startswith("mtp") and "embed" in n]
    assert not [n for n in names if n.startswith("mtp") and "head" in n]
    text = torch.randint(0, 32, (2, 9))
    hidden = model.encode(text[:, :-1])
    for loss in mtp_losses(model.mtp, model.embed, model.head, hidden, text):
        shared = [model.embed.weight, model.head.weight, model.norm.weight]
        for grad in torch.autograd.grad(loss, shared, retain_graph=True):
            assert grad.abs().max() > 0


def test_later_modules_learn_through_earlier_ones_and_not_the_other_way_round():
    model, text = new_model(2), torch.randint(0, 32, (2, 9))
    hidden = model.encode(text[:, :-1])
    losses = mtp_losses(model.mtp, model.embed, model.head, hidden, text)
    first, second = (list(module.parameters()) for module in model.mtp)
    grads = torch.autograd.grad(losses[1], first, retain_graph=True, allow_unused=True)
    assert any(grad is not None and grad.abs().max() > 0 for grad in grads)
    grads = torch.autograd.grad(losses[0], second, allow_unused=True)
    assert all(grad is None for grad in grads)


def test_the_main_model_is_the_same_with_and_without_its_modules():
    model = new_model()
    bare = Model(replace(model.config, num_nextn_predict_layers=0)).double().eval()
    weights = {k: v for k, v in model.state_dict().items() if k[:3] != "mtp"}
    bare.load_state_dict(weights)
    text = torch.randint(0, 32, (2, 9))
    assert_close(bare(text), model(text), rtol=0, atol=0)


def test_the_weight_of_the_loss_falls_to_a_third_as_in_v3():
    weights = [pretrain.further_weight(step, 1480, 0.3) for step in range(1480)]
    assert weights[:1000] == [0.3] * 1000
    assert_close(weights[1000:], [0.1] * 480)


def test_a_step_adds_the_mean_over_depths_with_its_weight():
    batch = pretrain.packed_batch(0, 0, rows=2, length=16)

    def gradient(weight):
        model = new_model(2).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        metrics = pretrain.train_step(model, optimizer, batch, 0.0, mtp_weight=weight)
        return model.embed.weight.grad * max(metrics["grad_norm"], 1.0), metrics

    (at_0, metrics), (at_1, _), (at_2, _) = (gradient(w) for w in (0.0, 1.0, 2.0))
    assert_close(at_2 - at_1, at_1 - at_0, rtol=1e-4, atol=1e-7)
    model = new_model(2)
    hidden = model.encode(batch[:, :-1])
    losses = mtp_losses(model.mtp, model.embed, model.head, hidden, batch)
    assert metrics["mtp_loss"] == pytest.approx(sum(losses).item() / 2)


def test_validation_reports_every_depth():
    batches = [pretrain.packed_batch(-1, 0, rows=2, length=16)]
    scores = validate(new_model(2), batches)
    assert set(scores) == {"loss", "mtp_loss_1", "mtp_loss_2", "max_vio_global"}
