"""Attention looks back and never ahead, with or without a cache."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from r1.cost.counting import count_attention, kv_cache_bytes
from r1.model.attention import LatentAttention, MultiHeadAttention, causal_mask
from r1.model.block import Block
from r1.model.cache import KVCache
from r1.model.config import ModelConfig
from r1.model.transformer import Model

CONFIG = ModelConfig.dense()
GROUPED = dataclasses.replace(CONFIG, n_kv_heads=2)
PARTLY_ROTARY = dataclasses.replace(CONFIG, qk_nope_head_dim=16, qk_rope_head_dim=8)
WHOLE = ModelConfig.tiny()
LATENT = [
    WHOLE,
    dataclasses.replace(WHOLE, q_lora_rank=0),
    dataclasses.replace(WHOLE, v_head_dim=10, n_heads=3, n_kv_heads=3),
]
CONFIGS = pytest.mark.parametrize("config", [CONFIG, GROUPED, PARTLY_ROTARY])


def layer_and_input(config, length=7):
    torch.manual_seed(0)
    x = torch.randn(2, length, config.dim, dtype=torch.float64)
    return MultiHeadAttention(config).double(), x


@pytest.mark.parametrize("config", [CONFIG, GROUPED, PARTLY_ROTARY, *LATENT])
def test_a_layer_has_the_parameters_that_are_counted(config):
    layer = Block(config).attn
    kind = LatentAttention if config.kv_lora_rank else MultiHeadAttention
    assert type(layer) is kind
    assert sum(p.numel() for p in layer.parameters()) == count_attention(config)


@CONFIGS
def test_the_future_changes_nothing(config):
    layer, x = layer_and_input(config)
    before = layer(x)
    x[:, 4:] += 1.0
    after = layer(x)
    assert_close(after[:, :4], before[:, :4], rtol=0, atol=0)
    assert not torch.allclose(after[:, 4:], before[:, 4:])


@CONFIGS
@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_cached_in_chunks_equals_whole(config, chunk):
    layer, x = layer_and_input(config)
    cache = KVCache(7)
    parts = [layer(part, cache) for part in x.split(chunk, dim=1)]
    assert_close(torch.cat(parts, dim=1), layer(x))


def test_gradients_through_the_mask_equal_those_of_the_fused_kernel():
    layer, x = layer_and_input(CONFIG)
    pads = torch.zeros(2, dtype=torch.int64)
    grads = [
        torch.autograd.grad(out.square().sum(), layer.wk.weight)[0]
        for out in (layer(x), layer(x, pads=pads))
    ]
    assert_close(*grads)


@CONFIGS
def test_the_cache_holds_the_bytes_that_are_predicted(config):
    layer, x = layer_and_input(config, length=5)
    cache = KVCache(64)
    assert cache.nbytes == 0
    layer(x[:1], cache)
    one_layer = dataclasses.replace(config, n_layers=1, n_dense_layers=1)
    assert cache.nbytes == kv_cache_bytes(one_layer, tokens=5, itemsize=8)


def test_padding_on_the_left_changes_nothing():
    layer, x = layer_and_input(CONFIG, length=6)
    short = x[:1, 2:]
    padded = layer(x[:1], pads=torch.tensor([2]))
    assert_close(padded[:, 2:], layer(short))
    assert padded.isfinite().all()


def test_no_row_of_the_mask_is_empty():
    mask = causal_mask(4, 0, torch.tensor([0, 2, 4]))
    assert mask.any(-1).all()


def test_an_overfull_cache_names_its_capacity():
    layer, x = layer_and_input(CONFIG)
    with pytest.raises(ValueError, match="holds 3 tokens and 7 are needed"):
        layer(x, KVCache(3))


def test_a_sequence_beyond_max_seq_len_names_the_field():
    layer, x = layer_and_input(dataclasses.replace(CONFIG, max_seq_len=6))
    with pytest.raises(ValueError, match="max_seq_len=6"):
        layer(x)


@pytest.mark.parametrize("config", [ModelConfig.dense(), ModelConfig.tiny()])
def test_angles_stay_exact_whatever_the_type_of_the_weights(config):
    model = Model(config)
    exact = model.layers[0].attn.angles.clone()
    for changed in (model.bfloat16(), model.float(), model.double()):
        assert_close(changed.layers[0].attn.angles, exact, rtol=0, atol=0)
