"""The family of DeepSeek-V3 is counted to the unit, each file of it."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
import transformers

from r1.cost.bill import writing_flops
from r1.cost.counting import attention_flops, count_parameters, kv_cache_bytes
from r1.cost.family import family_table, read_family
from r1.cost.memory import kept_tensors, layer_matrices
from r1.model.config import ModelConfig
from r1.model.formats import ConfigError
from r1.model.transformer import Model

CONFIGS = Path(__file__).parents[2] / "book/data/configs"
FAMILY = {member.model: member for member in read_family(CONFIGS)}
V3, V32 = FAMILY["DeepSeek-V3, R1, V3.1"], FAMILY["DeepSeek-V3.2"]


def test_every_file_of_the_folder_has_its_source_and_every_source_its_file():
    with open(CONFIGS / "sources.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {r["name"] for r in rows} == {p.stem for p in CONFIGS.glob("*.json")}
    assert all(row["fields_from"] for row in rows)
    assert all(bool(row["total"]) == bool(row["stated_in"]) for row in rows)


@pytest.mark.parametrize("member", FAMILY.values(), ids=FAMILY)
def test_the_count_rounds_to_what_the_makers_say(member):
    if member.said_total:
        # Kimi-K2's makers say a trillion, and count 1.03.
        assert member.parameters.total / 1e9 == pytest.approx(
            member.said_total, rel=0.03
        )
    if member.said_active:
        both = (
            member.parameters.active / 1e9,
            member.parameters.active_without_embedding / 1e9,
        )
        assert min(abs(n - member.said_active) for n in both) < 0.7


@pytest.mark.parametrize("member", FAMILY.values(), ids=FAMILY)
def test_the_matrices_of_memory_are_those_that_are_counted(member):
    config, parts = member.config, member.parameters.parts
    ends = ("embedding", "output head")
    layers = sum(
        matrix.parameters
        for layer in range(config.n_layers)
        for matrix in layer_matrices(config, layer)
    )
    assert layers + config.dim == member.parameters.total - sum(
        parts[end] for end in ends
    )


def test_v32_is_v3_with_an_indexer_in_every_layer():
    assert V32.parameters.total - V3.parameters.total == 61 * 13_959_424 == 851_524_864
    assert V32.parameters.mtp - V3.parameters.mtp == 13_959_424
    assert FAMILY["DeepSeek-V3.2 (inference)"].parameters.total == V32.parameters.total
    ours = kv_cache_bytes(V32.config) - kv_cache_bytes(V3.config)
    assert ours == 61 * 128 * 2
    refused = "index_topk is 2048"
    with pytest.raises(ValueError, match=refused):
        attention_flops(V32.config, 4096)
    with pytest.raises(ValueError, match=refused):
        writing_flops(V32.config, 4096.0)
    with pytest.raises(ValueError, match=refused):
        kept_tensors(V32.config, 9, "deepseek")
    with pytest.raises(ConfigError, match="index_n_heads is 64"):
        Model(V32.config)


def test_the_files_of_kimi_k2_hold_these_numbers_and_their_scales():
    """A public report on the 61 files counts 1,026,470,731,056 elements."""
    c = FAMILY["Kimi-K2"].config
    d, f, heads = c.dim, c.moe_inter_dim, c.n_heads
    attention = [(c.q_lora_rank, d), (heads * c.qk_head_dim, c.q_lora_rank)]
    attention += [(c.kv_lora_rank + c.qk_rope_head_dim, d), (d, heads * c.v_head_dim)]
    attention += [(heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank)]
    experts = c.n_moe_layers * (c.n_routed_experts + c.n_shared_experts)
    dense = [(c.inter_dim, d)] * 3
    scales = c.n_layers * sum(map(blocks, attention))
    scales += experts * 3 * blocks((f, d)) + sum(map(blocks, dense))
    frequencies = 61 * 56  # a tensor that the files hold and nobody needs
    total = FAMILY["Kimi-K2"].parameters.total + scales + frequencies
    assert total == 1_026_470_731_056


def blocks(shape):
    return math.prod(math.ceil(width / 128) for width in shape)


TINY = {
    "vocab_size": 30,
    "hidden_size": 16,
    "intermediate_size": 20,
    "moe_intermediate_size": 8,
    "num_hidden_layers": 3,
    "first_k_dense_replace": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "q_lora_rank": 12,
    "kv_lora_rank": 10,
    "qk_nope_head_dim": 4,
    "qk_rope_head_dim": 2,
    "v_head_dim": 6,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("DeepseekV2", {"topk_method": "greedy"}),
        ("DeepseekV3", {"topk_method": "noaux_tc"}),
        ("DeepseekV32", {"index_n_heads": 3, "index_head_dim": 4, "index_topk": 5}),
        ("Glm4MoeLite", {}),
    ],
)
def test_transformers_builds_models_of_as_many_parameters(name, more):
    theirs = getattr(transformers, f"{name}Config")(**TINY | more)
    config = ModelConfig.from_dict(json.loads(theirs.to_json_string()))
    with torch.device("meta"):
        model = getattr(transformers, f"{name}ForCausalLM")(theirs)
    held = dict(model.named_parameters()) | dict(model.named_buffers())
    numbers = sum(x.numel() for n, x in held.items() if not n.endswith("inv_freq"))
    assert count_parameters(config).total == numbers


def test_the_table_has_a_row_for_each_and_says_nothing_where_the_makers_do_not():
    rows = family_table(list(FAMILY.values())).splitlines()
    assert len(rows) == 2 + len(FAMILY)
    assert "| DeepSeekMoE-16B | 16.4 | 16.4 | 2.8 | 2.6 | 2.8 |  |" in rows
    assert "| DeepSeek-V2-Lite | 15.7 | 16 | 2.7 | 2.5 | 2.4 |  |" in rows
