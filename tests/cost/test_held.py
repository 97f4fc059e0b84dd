"""What the calculator of memory counts is what torch holds: on two processes, and for
the activations of one layer, of which torch keeps more than is needed.
"""

import pytest
import torch
from several import printed, run_all
from torch.utils.checkpoint import checkpoint

from experiments.held import CASES, CONFIGS, saved_bytes
from r1.cost.memory import Layout, count_memory, in_flight, kept_bytes, split_stages
from r1.model.attention import attend, softmax_scale
from r1.model.block import Block
from r1.model.config import ModelConfig
from r1.model.layers import apply_rotary

ROWS, LENGTH = 5, 16
FLOAT = Layout(precision="FP32")
KEYS = [
    f"{name}/{case}"
    for name, config in CONFIGS.items()
    for case in CASES
    if config.n_moe_layers or case != "experts"
]


def more_than_needed(config, layer, rows, length):
    """Bytes that torch keeps of a layer of the book beyond kept_tensors, in float32."""
    d, heads = config.dim, config.n_heads
    nope, rope = config.qk_nope_head_dim, config.qk_rope_head_dim
    # A norm also keeps its input divided by its scale.
    numbers = 2 * d + config.q_lora_rank + config.kv_lora_rank
    if config.kv_lora_rank:
        # The rotary key lies behind the latent in one storage, before the norm and
        # after it; the values lie in one storage with the keys' part without rotation.
        numbers += 2 * rope + heads * nope
    # silu keeps its output for the product with the other half.
    if layer < config.n_dense_layers:
        numbers += config.inter_dim
    else:
        k = config.n_activated_experts
        numbers += (k + config.n_shared_experts) * config.moe_inter_dim
        # Outputs of experts, before the gate and after it. Choices are int64, as are
        # the order of slots and their tokens. The gates in that order.
        numbers += 2 * k * d + k + 2 * 2 * k + k
        numbers += config.norm_topk_prob  # the sum that gates are divided by
    # The turns of queries and keys are complex, and the same in all rows.
    turns = 2 * length * rope // 2 * 8
    return 4 * numbers * rows * length + turns


@pytest.fixture(scope="module")
def reports():
    command = ["held", "--rows", str(ROWS), "--length", str(LENGTH)]
    (reports,) = printed(run_all({2: [command]}, "float32")[2])
    return reports


@pytest.mark.parametrize("key", KEYS)
def test_two_processes_hold_what_is_counted_to_the_byte(key, reports):
    name, case = key.split("/")
    config, layout = CONFIGS[name], CASES[case]
    devices = count_memory(config, layout)
    counted = [devices[rank if case == "pipeline" else 0].kinds for rank in (0, 1)]
    held = [report[key] for report in reports]
    kinds = ["weights", "gradients"]
    if case == "zero":  # whole weights were dealt out
        both = [sum(side["moments"] for side in sides) for sides in (held, counted)]
        assert both[0] == both[1]
    else:
        kinds += ["moments"]
    for kind in kinds:
        assert [h[kind] for h in held] == [c[kind] for c in counted], kind


@pytest.mark.parametrize("name", CONFIGS)
def test_stages_on_two_processes_keep_their_micro_batches(name, reports):
    """Stage 0 holds two micro-batches, stage 1 one."""
    config, layout = CONFIGS[name], CASES["pipeline"]
    for rank, stage in enumerate(split_stages(config, 2)):
        one = sum(
            kept_bytes(config, layer, layout) * ROWS * LENGTH
            + more_than_needed(config, layer, ROWS, LENGTH)
            for layer in stage.layers
        )
        report = reports[rank][f"{name}/pipeline"]
        assert report["activations"] == in_flight(layout, rank) * one
    assert in_flight(layout, 0) == 2


def one_layer(config, layer, rows, length):
    torch.manual_seed(0)
    block = Block(config, layer)
    return block, torch.randn(rows, length, config.dim, requires_grad=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_layer_keeps_what_is_counted_and_what_is_listed_here(name):
    config, rows, length = CONFIGS[name], 2, 40
    for layer in {0, config.n_layers - 1}:
        block, x = one_layer(config, layer, rows, length)
        kept = saved_bytes(lambda block=block, x=x: block(x), block.parameters())
        counted = kept_bytes(config, layer, FLOAT) * rows * length
        assert kept == counted + more_than_needed(config, layer, rows, length)


def test_a_layer_that_is_computed_again_keeps_its_input_alone():
    block, x = one_layer(ModelConfig.tiny(), 2, 2, 40)
    kept = saved_bytes(
        lambda: checkpoint(block, x, use_reentrant=True), block.parameters()
    )
    layout = Layout(precision="FP32", recompute="layers")
    assert kept == 80 * kept_bytes(block.attn.config, 2, layout)


def test_checkpoints_where_deepseek_has_them_keep_what_is_counted():
    """A dense layer in four parts, each computed again from its inputs.

    These parts compute more again than DeepSeek does, attention itself too: its sums
    are not kept.
    """
    config = ModelConfig.tiny()
    block, x = one_layer(config, 0, 2, 40)
    attn, ffn = block.attn, block.ffn

    def down(x):
        normal = block.attn_norm(x)
        return attn.wq_a(normal), attn.wkv_a(normal)

    def mix(query, past):
        angles, heads = attn.angles[:40], config.n_heads
        q = attn.wq_b(attn.q_norm(query)).unflatten(-1, (heads, -1))
        q_nope, q_rope = q.split([16, 8], dim=-1)
        latent, key = past.split([32, 8], dim=-1)
        key = apply_rotary(key[:, :, None], angles).expand(-1, -1, heads, -1)
        kv = attn.wkv_b(attn.kv_norm(latent)).unflatten(-1, (heads, -1))
        q = torch.cat([q_nope, apply_rotary(q_rope, angles)], dim=-1)
        k = torch.cat([kv[..., :16], key], dim=-1)
        return attend(q, k, kv[..., 16:], None, softmax_scale(config)).flatten(-2)

    def up(x):
        normal = block.ffn_norm(x)
        return ffn.w1(normal), ffn.w3(normal)

    def swiglu(gate, other):
        return ffn.w2(torch.nn.functional.silu(gate) * other)

    def again(part, *inputs):
        return checkpoint(part, *inputs, use_reentrant=True)

    def layer():
        between = x + attn.wo(again(mix, *again(down, x)))
        return between + again(swiglu, *again(up, between))

    torch.testing.assert_close(layer(), block(x))
    layout = Layout(precision="FP32", recompute="deepseek")
    sums = 4 * config.n_heads
    kept = saved_bytes(layer, block.parameters())
    assert kept == 80 * (kept_bytes(config, 0, layout) - sums)
