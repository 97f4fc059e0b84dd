"""The counts agree with published numbers to the unit, and with small sums by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from r1.cost.counting import (
    attention_flops,
    count_attention,
    count_expert,
    count_parameters,
    dollars,
    gpu_hours,
    kv_cache_bytes,
    training_flops,
)
from r1.model.config import ModelConfig
from r1.model.transformer import Model

DATA = Path(__file__).parents[2] / "book" / "data"
V3 = ModelConfig.deepseek_v3()
V2 = ModelConfig.from_json(DATA / "config_236B.json")
LITE = ModelConfig.from_json(DATA / "config_16B.json")
GROUPED = {
    "n_kv_heads": 8,
    "qk_nope_head_dim": 0,
    "qk_rope_head_dim": 128,
    "v_head_dim": 128,
}
QWEN = ModelConfig(152064, 8192, 29568, 80, 64, **GROUPED)
LLAMA = ModelConfig(128256, 16384, 53248, 126, 128, **GROUPED)


def test_v3_has_671_026_419_200_parameters():
    count = count_parameters(V3)
    assert count.total == 671_026_419_200
    assert count.active == 37_552_297_472
    assert count.active_without_embedding == 36_625_618_432


def test_the_files_on_hugging_face_hold_the_mtp_module_and_two_copies():
    count = count_parameters(V3)
    copies = 2 * V3.vocab_size * V3.dim
    assert count.mtp == 11_610_068_224
    assert count.mtp + copies == 13_463_426_304
    assert count.total + count.mtp + copies == 684_489_845_504


def test_one_layer_of_v3_to_the_unit():
    assert count_attention(V3) == 187_107_328
    assert count_expert(V3) == 44_040_192
    count = count_parameters(V3)
    assert count.parts["embedding"] == count.parts["output head"] == 926_679_040
    assert count.parts["dense feed-forward"] == 3 * 396_361_728
    assert count.parts["router"] == 58 * 1_835_264
    assert count_layer(V3) == 11_507_286_272
    assert count_layer(V3, active=True) == 585_318_656


def count_layer(config, active=False):
    """The last layer, as what one more of its kind adds."""
    longer = count_parameters(replace(config, n_layers=config.n_layers + 1))
    count = count_parameters(config)
    if active:
        return longer.active - count.active
    return longer.total - count.total


def test_routing_biases_are_58_times_256():
    biased = count_parameters(V3)
    plain = count_parameters(replace(V3, topk_method="group_limited_greedy"))
    assert biased.total - plain.total == 58 * 256
    assert plain.total == 671_026_404_352


def test_an_mtp_module_is_a_layer_a_projection_and_three_norms():
    d = V3.dim
    assert count_parameters(V3).mtp == count_layer(V3) + 2 * d * d + 3 * d
    assert count_parameters(replace(V3, num_nextn_predict_layers=0)).mtp == 0
    two = replace(V3, num_nextn_predict_layers=2)
    assert count_parameters(two).mtp == 2 * count_parameters(V3).mtp


@pytest.mark.parametrize(
    ("config", "total", "active"),
    [(V2, 236e9, 21e9), (LITE, 15.7e9, 2.4e9)],
    ids=["V2", "V2-Lite"],
)
def test_the_second_generation_rounds_to_what_its_report_says(config, total, active):
    count = count_parameters(config)
    assert count.total == pytest.approx(total, rel=0.002)
    assert count.active_without_embedding == pytest.approx(active, rel=0.03)


def test_parts_add_up_and_only_routed_experts_rest():
    count = count_parameters(V3)
    assert sum(count.parts.values()) == count.total
    assert sum(count.active_parts.values()) == count.active
    for part, number in count.parts.items():
        assert (count.active_parts[part] == number) == (part != "routed experts")


def test_choosing_every_expert_leaves_none_idle():
    every = replace(V3, n_activated_experts=256, n_expert_groups=1, n_limited_groups=1)
    count = count_parameters(every)
    assert count.active == count.total


def test_a_tied_head_counts_once():
    free = count_parameters(ModelConfig.dense())
    tied = count_parameters(replace(ModelConfig.dense(), tie_word_embeddings=True))
    matrix = free.parts["embedding"]
    assert free.total - tied.total == free.active - tied.active == matrix
    assert tied.active_without_embedding == free.active_without_embedding


def test_a_toy_matches_a_count_by_hand():
    toy = ModelConfig(
        vocab_size=5,
        dim=4,
        inter_dim=6,
        n_layers=2,
        n_heads=2,
        qk_nope_head_dim=3,
        qk_rope_head_dim=2,
        v_head_dim=3,
        kv_lora_rank=7,
        n_dense_layers=1,
        moe_inter_dim=3,
        n_routed_experts=4,
        n_activated_experts=1,
    )
    attention = 4 * 10 + 4 * (7 + 2) + 7 + 7 * 2 * 6 + 6 * 4
    experts = 4 * 36 + 4 * 4 + 4  # matrices, router, biases
    assert count_attention(toy) == attention == 191
    total = 2 * 20 + 2 * (attention + 8) + 72 + experts + 4
    assert count_parameters(toy).total == total == 678
    assert count_parameters(toy).active == total - 3 * 36


def test_the_plain_model_has_as_many_parameters_as_are_counted():
    config = ModelConfig.dense()
    built = sum(weight.numel() for weight in Model(config).parameters())
    assert built == count_parameters(config).total


def test_fewer_key_value_heads_make_a_smaller_model():
    dense = ModelConfig.dense()
    less = count_attention(dense) - count_attention(replace(dense, n_kv_heads=1))
    assert less == 96 * 3 * (24 + 24)


@pytest.mark.parametrize(
    ("config", "size"),
    [(V3, 70_272), (V2, 69_120), (LITE, 31_104), (QWEN, 327_680), (LLAMA, 516_096)],
    ids=["V3", "V2", "V2-Lite", "Qwen", "LLaMA"],
)
def test_a_token_takes_this_many_bytes_of_cache(config, size):
    assert kv_cache_bytes(config) == size


def test_the_cache_grows_with_tokens_and_bytes_and_not_with_heads():
    assert kv_cache_bytes(V3, tokens=1000) == 1000 * kv_cache_bytes(V3)
    assert 2 * kv_cache_bytes(V3, itemsize=1) == kv_cache_bytes(V3)
    assert kv_cache_bytes(replace(V3, n_heads=64, n_kv_heads=64)) == kv_cache_bytes(V3)
    assert kv_cache_bytes(V3, tokens=0) == 0


@pytest.mark.parametrize(
    ("config", "expected"),
    [(V3, 250.5), (V2, 155.3), (QWEN, 444.9), (LLAMA, 2473.2)],
    ids=["V3", "V2", "Qwen", "LLaMA"],
)
def test_training_operations_a_token_in_billions(config, expected):
    assert round(training_flops(config) / 1e9, 1) == expected


def test_attention_takes_these_billions_at_4096_tokens():
    assert round(attention_flops(V3, 4096) / 1e9, 2) == 30.70
    assert round(attention_flops(V2, 4096) / 1e9, 2) == 30.20
    assert round(attention_flops(V3, 4096, causal=False) / 1e9, 2) == 61.40
    assert round(attention_flops(V2, 4096, causal=False) / 1e9, 2) == 60.40


def test_operations_are_six_a_parameter_where_there_is_nothing_to_attend_to():
    count = count_parameters(V3)
    assert training_flops(V3, seq_len=0) == 6 * count.active_without_embedding


def test_hours_are_operations_over_speed():
    assert gpu_hours(3600.0, 2.0, 0.5) == 1.0
    hours = gpu_hours(training_flops(V3) * 14.8e12, 989.4e12, 0.3894)
    assert abs(hours / 2664e3 - 1) < 0.004


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, 38.94])
def test_a_utilization_that_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match=r"utilization is .* in \(0, 1\]"):
        gpu_hours(1e20, 989.4e12, share)


def test_the_two_bills_add_up():
    assert dollars(2664e3 + 119e3 + 5e3) == 5_576_000
    assert dollars(101e3 + 5e3 + 41e3) == 294_000
    assert dollars(10.0, dollars_per_hour=3.0) == 30.0
