"""Latent attention: three ways to the same numbers, and the numbers of Transformers."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3Attention,
    DeepseekV3RotaryEmbedding,
)

from r1.cost.counting import kv_cache_bytes
from r1.model.attention import (
    LatentAttention,
    MultiHeadAttention,
    angles_after,
    softmax_scale,
)
from r1.model.cache import KVCache
from r1.model.config import ModelConfig
from r1.model.formats import ConfigError
from r1.model.transformer import Model
from r1.model.weight_names import rename_weights

CONFIG = replace(ModelConfig.tiny(), num_nextn_predict_layers=0)
CONFIGS = {
    "whole": CONFIG,
    "queries uncompressed": replace(CONFIG, q_lora_rank=0),
    "yarn": replace(CONFIG, rope_factor=4.0, original_seq_len=64),
    "narrow values": replace(CONFIG, v_head_dim=10, n_heads=3, n_kv_heads=3),
}
EACH = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
PAIRS = ("naive", "absorbed")


def layer_and_input(config, length=7, batch=2):
    torch.manual_seed(0)
    layer = LatentAttention(config).double()
    torch.nn.init.uniform_(layer.kv_norm.weight, 0.5, 1.5)
    x = torch.randn(batch, length, config.dim, dtype=torch.float64)
    return layer, x.requires_grad_()


def run(layer, impl, *inputs):
    layer.impl = impl
    return layer(*inputs)


@EACH
def test_absorbed_equals_naive_forward_and_backward(config):
    layer, x = layer_and_input(config)
    outs = [run(layer, impl, x) for impl in PAIRS]
    assert_close(*outs)
    inputs = [x, *layer.parameters()]
    grads = [torch.autograd.grad(y.square().sum(), inputs) for y in outs]
    for naive, absorbed in zip(*grads, strict=True):
        assert_close(naive, absorbed)


@EACH
@pytest.mark.parametrize("impl", ["naive", "absorbed", "auto"])
@pytest.mark.parametrize("chunks", [[7], [4, 1, 1, 1], [1] * 7, [2, 5]])
def test_cached_equals_whole(config, impl, chunks):
    layer, x = layer_and_input(config)
    cache = KVCache(7)
    parts = [run(layer, impl, part, cache) for part in x.split(chunks, dim=1)]
    assert_close(torch.cat(parts, dim=1), run(layer, "naive", x))


@EACH
@pytest.mark.parametrize("impl", PAIRS)
def test_the_gradient_of_a_decoded_token_reaches_back_through_the_cache(config, impl):
    layer, x = layer_and_input(config)
    cache = KVCache(7)
    run(layer, impl, x[:, :6], cache)
    last = run(layer, impl, x[:, 6:], cache)
    inputs = [x, *layer.parameters()]
    cached = torch.autograd.grad(last.square().sum(), inputs)
    whole = run(layer, "naive", x)[:, 6:]
    for ours, other in zip(
        cached, torch.autograd.grad(whole.square().sum(), inputs), strict=True
    ):
        assert_close(ours, other)


@EACH
@pytest.mark.parametrize("impl", PAIRS)
def test_sequences_of_irregular_lengths_share_a_cache(config, impl):
    layer, x = layer_and_input(config, length=9, batch=3)
    pads = torch.tensor([0, 2, 5])
    cache = KVCache(9)
    parts = [run(layer, impl, y, cache, pads) for y in x.split([6, 1, 2], dim=1)]
    together = torch.cat(parts, dim=1)
    for row, pad in enumerate(pads.tolist()):
        alone = run(layer, "naive", x[row : row + 1, pad:])
        assert_close(together[row : row + 1, pad:], alone)


@EACH
@pytest.mark.parametrize("impl", PAIRS)
def test_the_future_changes_nothing(config, impl):
    layer, x = layer_and_input(config)
    changed = torch.cat([x[:, :4], x[:, 4:] + 1], dim=1)
    before, after = run(layer, impl, x), run(layer, impl, changed)
    assert_close(after[:, :4], before[:, :4])
    assert (after[:, 4:] - before[:, 4:]).abs().amin((0, 2)).min() > 0


@EACH
def test_only_differences_of_positions_matter(config):
    layer, x = layer_and_input(config, length=5, batch=1)
    padding = torch.zeros(1, 30, config.dim, dtype=torch.float64)
    shifted = layer(torch.cat([padding, x], dim=1), None, torch.tensor([30]))
    assert_close(shifted[:, 30:], layer(x))


def test_positions_matter_at_all():
    layer, x = layer_and_input(CONFIG, length=5, batch=1)
    swapped = x[:, [1, 0, 2, 3, 4]]
    assert not torch.allclose(layer(x)[:, -1], layer(swapped)[:, -1])
    layer.angles.zero_()
    assert_close(layer(x)[:, -1], layer(swapped)[:, -1])


@EACH
def test_a_rejected_token_leaves_no_trace(config):
    layer, x = layer_and_input(config)
    cache = KVCache(7)
    layer(x[:, :4], cache)
    layer(x[:, 4:] + 3, cache)
    cache.rollback(3)
    assert_close(layer(x[:, 4:], cache), layer(x)[:, 4:])


def test_the_cache_holds_576_numbers_a_token_and_layer_at_the_size_of_v3():
    v3 = replace(ModelConfig.deepseek_v3(), max_seq_len=16)
    with torch.device("meta"):
        layer = LatentAttention(v3).bfloat16()
        cache = KVCache(16)
        layer(torch.empty(1, 3, v3.dim, dtype=torch.bfloat16), cache)
    assert sum(p.numel() for p in layer.parameters()) == 187_107_328
    assert cache.nbytes == 3 * 576 * 2
    assert cache.nbytes * v3.n_layers == kv_cache_bytes(v3, tokens=3) == 3 * 70_272


def test_the_model_decodes_with_latents_as_it_reads():
    torch.manual_seed(0)
    model = Model(CONFIG).double()
    text = torch.randint(0, 32, (2, 9))
    caches = model.new_caches(9)
    parts = [model(text[:, i : i + 1], caches) for i in range(9)]
    assert_close(torch.cat(parts, dim=1), model(text))
    held = sum(cache.nbytes for cache in caches)
    assert held == 2 * kv_cache_bytes(CONFIG, tokens=9, itemsize=8)


def test_the_scale_counts_both_parts_of_a_head_and_yarn():
    assert softmax_scale(CONFIG) == pytest.approx(24**-0.5)
    v3 = ModelConfig.deepseek_v3()
    assert abs(softmax_scale(v3) - 0.1352338) < 1e-7
    short = replace(v3, max_seq_len=v3.original_seq_len)
    assert softmax_scale(short) == pytest.approx(192**-0.5)


def test_errors_name_the_value_and_the_remedy():
    layer, x = layer_and_input(CONFIG)
    with pytest.raises(ConfigError, match="kv_lora_rank is 0"):
        LatentAttention(ModelConfig.dense())
    with pytest.raises(ValueError, match="impl is 'fast'; choose one of"):
        LatentAttention(CONFIG, impl="fast")
    with pytest.raises(ValueError, match="pads has 3 numbers for 2 sequences"):
        angles_after(None, x, layer.angles, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="holds 3 tokens and 7 are needed"):
        layer(x, KVCache(3))
    with pytest.raises(ConfigError, match="qk_rope_head_dim is 7; it must be even"):
        replace(CONFIG, qk_rope_head_dim=7)
    with pytest.raises(ValueError, match="max_seq_len=6"):
        LatentAttention(replace(CONFIG, max_seq_len=6)).double()(x)
    cache = KVCache(7)
    layer(x[:, :2], cache)
    with pytest.raises(ValueError, match=r"batch and features \[\(2, 40\)\]"):
        layer(x[:1, 2:3], cache)


# the numbers of Transformers


def theirs(config, rope):
    """Their configuration of the same dense model."""
    return DeepseekV3Config(
        vocab_size=config.vocab_size,
        intermediate_size=config.inter_dim,
        num_hidden_layers=config.n_layers,
        first_k_dense_replace=config.n_layers,
        tie_word_embeddings=config.tie_word_embeddings,
        hidden_size=config.dim,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_heads,
        q_lora_rank=config.q_lora_rank or None,
        kv_lora_rank=config.kv_lora_rank,
        qk_nope_head_dim=config.qk_nope_head_dim,
        qk_rope_head_dim=config.qk_rope_head_dim,
        v_head_dim=config.v_head_dim,
        max_position_embeddings=config.max_seq_len,
        rope_parameters=rope,
        attn_implementation="eager",
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )


def yarn_of(config):
    """What YaRN is told in their words."""
    return {
        "rope_type": "yarn",
        "rope_theta": config.rope_theta,
        "factor": config.rope_factor,
        "original_max_position_embeddings": config.original_seq_len,
        "beta_fast": config.beta_fast,
        "beta_slow": config.beta_slow,
        "mscale": config.mscale,
        "mscale_all_dim": config.mscale,
    }


def ours_from(layer, config):
    """Our layer with the weights of theirs."""
    ours = LatentAttention(config)
    ours.load_state_dict(rename_weights(layer.state_dict()))
    return ours


SHAPES = {
    "tiny": {},
    "wide heads": {
        "n_heads": 2,
        "n_kv_heads": 2,
        "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 16,
    },
    "unlike widths": {"dim": 40, "kv_lora_rank": 20, "v_head_dim": 12},
}


@pytest.mark.parametrize("impl", PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("yarn", [False, True], ids=["plain", "yarn"])
@pytest.mark.parametrize("rank", [0, 48])
def test_a_layer_agrees_with_transformers(shape, yarn, rank, impl):
    config = replace(CONFIG, q_lora_rank=rank, **SHAPES[shape])
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    if yarn:
        config = replace(config, rope_factor=8.0, original_seq_len=32)
        rope = yarn_of(config)
    torch.manual_seed(1)
    settings = theirs(config, rope)
    layer = DeepseekV3Attention(settings, layer_idx=0).eval()
    for name, parameter in layer.named_parameters():
        mean = 1.0 if "norm" in name else 0.0
        torch.nn.init.normal_(parameter, mean, 0.1)
    ours = ours_from(layer, config)
    x = torch.randn(2, 50, config.dim, requires_grad=True)
    places = DeepseekV3RotaryEmbedding(settings)(x, torch.arange(50)[None])
    mask = torch.full((50, 50), -torch.inf).triu(1)[None, None]
    outs = [run(ours, impl, x), layer(x, places, mask)[0]]
    assert outs[0].std() > 0.05
    assert_close(*outs, rtol=1e-5, atol=1e-5)
    grads = [torch.autograd.grad(y.square().mean(), x)[0] for y in outs]
    assert_close(*grads, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("impl", PAIRS)
def test_a_dense_model_has_the_logits_of_transformers(impl):
    config = replace(CONFIG, n_dense_layers=CONFIG.n_layers, n_routed_experts=0)
    config = replace(config, q_lora_rank=0, tie_word_embeddings=False)
    torch.manual_seed(1)
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    reference = DeepseekV3ForCausalLM(theirs(config, rope)).eval()
    ours = Model(config)
    ours.load_state_dict(rename_weights(reference.state_dict()))
    for block in ours.layers:
        block.attn.impl = impl
    tokens = torch.randint(0, config.vocab_size, (2, 40))
    logits = reference(tokens).logits
    assert logits.std() > 0.02
    assert_close(ours(tokens), logits, rtol=1e-5, atol=1e-5)


def test_one_key_for_all_heads_is_what_multi_query_means():
    config = replace(ModelConfig.dense(), n_kv_heads=1)
    layer = MultiHeadAttention(config)
    cache = KVCache(4)
    layer(torch.randn(1, 4, config.dim), cache)
    assert cache.nbytes * config.n_layers == kv_cache_bytes(config, 4, itemsize=4)
    assert cache.nbytes == 4 * 2 * 24 * 4


@pytest.mark.parametrize("impl", ["naive", "absorbed"])
@pytest.mark.parametrize("padded", [False, True])
def test_what_a_pass_makes_is_on_the_device_of_its_input(impl, padded):
    """Tried on torch's device "meta", which refuses to meet another one."""
    attn = LatentAttention(ModelConfig.tiny(), impl).to("meta")
    cache, pads = KVCache(8), torch.tensor([0, 1]) if padded else None
    for length in (5, 2, 1):
        x = torch.empty(2, length, 96, device="meta")
        assert attn(x, cache, pads).device.type == "meta"
