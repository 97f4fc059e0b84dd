"""Sparse attention: two ways to the same numbers, and who learns from what."""

import copy

import pytest
import torch
from torch.testing import assert_close

from r1.model.attention import LatentAttention, causal_mask
from r1.model.cache import KVCache
from r1.model.config import ModelConfig
from r1.model.indexer import (
    SparseAttention,
    choose,
    index_loss,
    index_scores,
    make_sparse,
    sparse_layers,
)
from r1.model.sampling import sample
from r1.model.transformer import Model, cross_entropy

CONFIG = ModelConfig.tiny()
BY = pytest.mark.parametrize("by", ["indexer", "last"])


def layer_and_input(k=3, by="indexer", length=9, batch=2):
    torch.manual_seed(0)
    layer = SparseAttention(CONFIG, k, by).double().eval()
    return layer, torch.randn(batch, length, CONFIG.dim, dtype=torch.float64)


def test_index_scores_are_the_sum_over_heads_written_as_loops():
    torch.manual_seed(0)
    q, k, w = torch.randn(1, 4, 2, 5), torch.randn(1, 4, 5), torch.randn(1, 4, 2)
    for t in range(4):
        for s in range(4):
            terms = (w[0, t, j] * max(q[0, t, j] @ k[0, s], 0) for j in range(2))
            assert_close(index_scores(q, k, w)[0, t, s], sum(terms))


def test_the_best_of_the_allowed_are_chosen_and_missing_ones_are_marked():
    scores = torch.tensor([[[9.0, 1.0, 5.0], [2.0, 9.0, 5.0], [7.0, 1.0, 5.0]]])
    indices, is_allowed = choose(scores, causal_mask(3, 0)[:, 0], 2)
    chosen = [
        {int(i) for i, ok in zip(*row, strict=True) if ok}
        for row in zip(indices[0], is_allowed[0], strict=True)
    ]
    assert chosen == [{0}, {0, 1}, {0, 2}]


@BY
@pytest.mark.parametrize("k", [1, 3, 20])
def test_fetched_equals_masked_forward_and_backward(by, k):
    layer, x = layer_and_input(k, by)
    x.requires_grad_()
    results = []
    for layer.impl in ("masked", "fetched"):
        out = layer(x)
        results.append((out, *torch.autograd.grad(out.square().sum(), [x])))
    for masked, fetched in zip(*results, strict=True):
        assert_close(masked, fetched)


@BY
@pytest.mark.parametrize("impl", ["masked", "fetched"])
@pytest.mark.parametrize("chunks", [[4, 1, 1, 3], [1] * 9])
def test_cached_equals_whole(by, impl, chunks):
    layer, x = layer_and_input(by=by)
    layer.impl, cache = impl, KVCache(9)
    parts = [layer(part, cache) for part in x.split(chunks, dim=1)]
    assert_close(torch.cat(parts, dim=1), layer(x))


@pytest.mark.parametrize("impl", ["masked", "fetched"])
def test_padding_on_the_left_changes_nothing(impl):
    layer, x = layer_and_input()
    layer.impl = impl
    padded = torch.cat([torch.randn(2, 2, CONFIG.dim).double(), x], dim=1)
    assert_close(layer(padded, pads=torch.tensor([2, 2]))[:, 2:], layer(x))


@BY
def test_a_change_of_the_future_changes_nothing(by):
    layer, x = layer_and_input(by=by)
    other = torch.cat([x[:, :5], torch.randn_like(x[:, 5:])], dim=1)
    assert_close(layer(other)[:, :5], layer(x)[:, :5])


@pytest.mark.parametrize("k", [None, 9])
def test_where_everything_is_chosen_it_is_latent_attention(k):
    layer, x = layer_and_input(k)
    dense = LatentAttention(CONFIG).double()
    dense.load_state_dict(
        {n: v for n, v in layer.state_dict().items() if not n.startswith("indexer")}
    )
    assert_close(layer(x), dense(x))


def test_the_index_loss_is_a_divergence_among_the_chosen():
    torch.manual_seed(0)
    scores, among = torch.randn(1, 3, 3), causal_mask(3, 0)[:, 0]
    p = torch.randn(1, 3, 3).masked_fill(~among, -torch.inf).softmax(-1)
    by_hand = 0.0
    for t in range(3):
        q = scores[0, t, : t + 1].softmax(-1)
        mine = p[0, t, : t + 1]
        by_hand += (mine * (mine / q).log()).sum() / 3
    assert_close(index_loss(p, scores, among), by_hand)
    exact = p.log().masked_fill(~among, 0.0)
    assert index_loss(p, exact, among).abs() < 1e-6


def new_model(k=4):
    torch.manual_seed(0)
    return make_sparse(Model(CONFIG).double(), k).train()


def test_the_text_teaches_the_model_and_the_index_loss_the_indexer_alone():
    model, tokens = new_model(), torch.randint(0, 32, (2, 13))
    loss = cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])
    divergence = sum(attn.index_loss for attn in sparse_layers(model))
    for value, learns in ((loss, False), (divergence, True)):
        model.zero_grad()
        value.backward()
        for name, weight in model.named_parameters():
            if name.startswith("mtp"):
                continue
            moved = weight.grad is not None and bool(weight.grad.abs().sum())
            is_indexer = ".indexer." in name
            if learns or is_indexer:
                assert moved == (is_indexer == learns), name


def test_a_new_indexer_leaves_a_dense_model_as_it_is():
    torch.manual_seed(0)
    model, tokens = Model(CONFIG).double(), torch.randint(0, 32, (2, 12))
    before = model(tokens)
    assert_close(make_sparse(model)(tokens), before)
    assert len(sparse_layers(model)) == CONFIG.n_layers


def test_a_sparse_model_writes_with_its_cache_what_it_writes_without():
    model = new_model().eval()
    (new,) = sample(model, [[1, 5, 6, 7, 8, 9]], 8, temperature=0.0)
    ids = [1, 5, 6, 7, 8, 9]
    for token in new:
        assert model(torch.tensor([ids]))[0, -1].argmax() == token
        ids.append(token)


def test_a_sparse_model_that_has_learned_can_be_copied():
    model = make_sparse(Model(CONFIG), k=3).train()
    model(torch.tensor([[0, 3, 4, 5]]))
    assert all(attn.index_loss.requires_grad for attn in sparse_layers(model))
    other = copy.deepcopy(model)
    assert {attn.index_loss for attn in sparse_layers(other)} == {None}
