"""Configurations are read from both formats, and bad ones are refused by name."""

import contextlib
import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import transformers

from r1.model.block import Block
from r1.model.config import ModelConfig
from r1.model.formats import ConfigError

DATA = Path(__file__).parents[2] / "book" / "data"
YARN = {
    "type": "yarn",
    "factor": 40,
    "beta_fast": 32,
    "beta_slow": 1,
    "original_max_position_embeddings": 4096,
}
COMMON = {
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "moe_layer_freq": 1,
    "rope_theta": 10000,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "max_position_embeddings": 163840,
    "hidden_act": "silu",
    "torch_dtype": "bfloat16",
}
# What the config.json of each model on Hugging Face says of its architecture.
V3 = COMMON | {
    "model_type": "deepseek_v3",
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "first_k_dense_replace": 3,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "norm_topk_prob": True,
    "q_lora_rank": 1536,
    "num_nextn_predict_layers": 1,
    "rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0},
    "quantization_config": {"fmt": "e4m3", "weight_block_size": [128, 128]},
}
# Copies of V2's file differ in mscale, and the inference file of V2 has none; the
# field is left out here, and each format then takes DeepSeek's default.
V2 = COMMON | {
    "model_type": "deepseek_v2",
    "vocab_size": 102400,
    "hidden_size": 5120,
    "intermediate_size": 12288,
    "moe_intermediate_size": 1536,
    "num_hidden_layers": 60,
    "first_k_dense_replace": 1,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_routed_experts": 160,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "n_group": 8,
    "topk_group": 3,
    "routed_scaling_factor": 16.0,
    "scoring_func": "softmax",
    "topk_method": "group_limited_greedy",
    "norm_topk_prob": False,
    "q_lora_rank": 1536,
    "rope_scaling": YARN,
}
V2_LITE = COMMON | {
    "model_type": "deepseek_v2",
    "vocab_size": 102400,
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 27,
    "first_k_dense_replace": 1,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "n_group": 1,
    "topk_group": 1,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "topk_method": "greedy",
    "norm_topk_prob": False,
    "q_lora_rank": None,
    "rope_scaling": YARN | {"mscale": 0.707, "mscale_all_dim": 0.707},
}
INFERENCE = json.loads((DATA / "config_671B.json").read_text(encoding="utf-8"))
DENSE = ModelConfig.dense()


def without(data, name):
    return {key: value for key, value in data.items() if key != name}


@pytest.mark.parametrize(
    ("hugging_face", "inference"),
    [(V3, "671B"), (V2, "236B"), (V2_LITE, "16B")],
    ids=["V3", "V2", "V2-Lite"],
)
def test_both_formats_describe_the_same_model(hugging_face, inference, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(hugging_face), encoding="utf-8")
    theirs = ModelConfig.from_json(path)
    assert theirs == ModelConfig.from_json(DATA / f"config_{inference}.json")


def test_v3_chooses_by_biased_sigmoids_and_v2_by_softmax():
    v3, v2, lite = map(ModelConfig.from_dict, (V3, V2, V2_LITE))
    assert (v3.score_func, v3.routing_bias, v3.norm_topk_prob) == (
        "sigmoid",
        True,
        True,
    )
    for config in (v2, lite):
        assert config.score_func == "softmax"
        assert not config.routing_bias
        assert not config.norm_topk_prob
    assert (v2.topk_method, lite.topk_method) == ("group_limited_greedy", "greedy")


def test_no_query_compression_may_be_written_null_or_zero():
    null = ModelConfig.from_dict(V2_LITE)
    zero = ModelConfig.from_dict(V2_LITE | {"q_lora_rank": 0})
    assert null == zero
    assert null.q_lora_rank == 0


def test_what_transformers_leaves_out_for_v3_is_filled_in():
    short = without(without(V3, "scoring_func"), "topk_method")
    assert ModelConfig.from_dict(short) == ModelConfig.from_dict(V3)


def test_context_is_forty_times_the_original_one():
    config = ModelConfig.deepseek_v3()
    assert config.max_seq_len == 40 * config.original_seq_len == 163_840


def test_one_key_value_head_for_each_head_is_the_default():
    assert DENSE.n_kv_heads == DENSE.n_heads == 4
    assert replace(DENSE, n_kv_heads=2).n_kv_heads == 2


def test_presets_are_consistent():
    tiny = ModelConfig.tiny()
    assert tiny.n_moe_layers == 2
    assert tiny.qk_head_dim == 24
    assert DENSE.n_moe_layers == 0


def test_whole_numbers_serve_where_a_fraction_is_meant():
    config = ModelConfig.from_dict(INFERENCE | {"route_scale": 2})
    assert config.route_scale == 2.0
    assert type(config.route_scale) is float


@pytest.mark.parametrize("text", ["{", "", "dim: 7168"])
def test_a_file_that_is_not_json_is_refused_by_its_name(text, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.json is not valid JSON"):
        ModelConfig.from_json(path)


def test_a_file_of_random_bytes_is_refused_by_its_name(tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match=r"mine\.json is not valid JSON"):
        ModelConfig.from_json(path)


@pytest.mark.parametrize("text", ["[1, 2]", "null", "7168", '"dim"'])
def test_a_file_that_holds_no_object_is_refused(text, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="object with named fields"):
        ModelConfig.from_json(path)


@pytest.mark.parametrize(
    "field", ["vocab_size", "dim", "n_heads", "v_head_dim", "n_dense_layers"]
)
def test_a_missing_field_is_named(field):
    with pytest.raises(ConfigError, match=f"no field '{field}'"):
        ModelConfig.from_dict(without(INFERENCE, field))


@pytest.mark.parametrize(
    "field", ["vocab_size", "num_hidden_layers", "num_experts_per_tok"]
)
def test_a_missing_field_is_named_as_the_file_would_name_it(field):
    with pytest.raises(ConfigError, match=f"no field '{field}'"):
        ModelConfig.from_dict(without(V3, field))


def test_an_empty_object_lacks_a_field():
    with pytest.raises(ConfigError, match="has no field"):
        ModelConfig.from_dict({})


def test_a_misspelled_field_is_named():
    with pytest.raises(ConfigError, match="'n_shared_expert'"):
        ModelConfig.from_dict(INFERENCE | {"n_shared_expert": 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dim", "7168"),
        ("dim", 7168.0),
        ("dim", True),
        ("dim", None),
        ("dim", [7168]),
        ("route_scale", "2.5"),
        ("route_scale", True),
        ("score_func", 1),
        ("n_layers", {}),
    ],
)
def test_a_field_of_the_wrong_type_is_named(field, value):
    with pytest.raises(ConfigError, match=f"^{field} is .* must be of type"):
        ModelConfig.from_dict(INFERENCE | {field: value})


@pytest.mark.parametrize("value", [1, "yes", None])
def test_a_switch_is_true_or_false(value):
    with pytest.raises(ConfigError, match="tie_word_embeddings"):
        ModelConfig.from_dict(V3 | {"tie_word_embeddings": value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("qk_rope_head_dim", 63),
        ("vocab_size", 0),
        ("dim", -7168),
        ("n_layers", 0),
        ("kv_lora_rank", -1),
        ("n_shared_experts", -1),
        ("n_routed_experts", -256),
        ("n_dense_layers", 62),
        ("n_dense_layers", -1),
        ("score_func", "tanh"),
        ("n_routed_experts", 0),
        ("moe_inter_dim", 0),
        ("n_activated_experts", 0),
        ("n_activated_experts", 257),
        ("n_expert_groups", 7),
        ("n_expert_groups", 0),
        ("n_limited_groups", 9),
        ("n_limited_groups", 0),
    ],
)
def test_a_value_that_makes_no_model_is_named(field, value):
    with pytest.raises(ConfigError, match=f"^{field} is {value!r}; it must"):
        replace(ModelConfig.deepseek_v3(), **{field: value})


def test_experts_chosen_must_fit_into_the_groups_kept():
    with pytest.raises(ConfigError, match=r"n_activated_experts is 8.*groups kept"):
        replace(ModelConfig.deepseek_v3(), n_expert_groups=256, n_limited_groups=4)


@pytest.mark.parametrize("heads", [0, -1])
def test_there_is_at_least_one_key_value_head(heads):
    with pytest.raises(ConfigError, match=f"n_kv_heads is {heads}; it must be at"):
        replace(DENSE, n_kv_heads=heads)


def test_key_value_heads_must_divide_the_heads():
    with pytest.raises(ConfigError, match="n_kv_heads is 3; it must divide"):
        replace(DENSE, n_kv_heads=3)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"moe_layer_freq": 2}, "moe_layer_freq"),
        ({"attention_bias": True}, "attention_bias"),
        ({"attention_bias": 0}, "attention_bias=0"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"qk_layernorm": True}, "qk_layernorm"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"mlp_layer_types": ["sparse", "dense"]}, "mlp_layer_types"),
        ({"rope_scaling": {"type": "yarn"}}, "yarn without a factor"),
        ({"kv_lora_rank": None}, "no kv_lora_rank"),
        ({"first_k_dense_replace": None}, "no field 'first_k_dense_replace'"),
        ({"model_type": "deepseek_v32"}, "no field 'index_n_heads'"),
        ({"index_n_heads": 64}, "index_n_heads is 64; it must come with"),
        ({"rope_scaling": "yarn"}, "rope_scaling='yarn'"),
        ({"rope_scaling": []}, "rope_scaling="),
        ({"rope_scaling": False}, "rope_scaling=False"),
        ({"rope_scaling": {"factor": 4.0}}, "rope_type=None"),
        ({"rope_scaling": YARN | {"factor": 10**400}}, "factor=1000"),
        ({"rope_scaling": YARN | {"factor": 1e308}}, "must be a number"),
        ({"rope_scaling": YARN | {"mscale": 0.7}}, "mscale_all_dim=None"),
        ({"q_lora_rank": False}, "q_lora_rank is False"),
        ({"q_lora_rank": ""}, "q_lora_rank is ''"),
        ({"kv_lora_rank": 0}, "no kv_lora_rank, the width"),
        ({"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 0.7}}, "mscale"),
        ({"topk_method": "random"}, "topk_method"),
        ({"sliding_window": 128}, "sliding_window=128"),
        ({"compress_ratios": [4, 128]}, "compress_ratios="),
        ({"layer_types": ["indexed_attention", "full_attention"]}, "layer_types="),
        ({"layer_types": "full_attention"}, "layer_types='full_attention'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_supported_is_refused_by_name(change, field):
    with pytest.raises(ConfigError, match=field):
        ModelConfig.from_dict(V3 | change)


def test_a_field_that_is_not_known_is_named_and_changes_nothing():
    for field in ("bogus_field", "dim", "rope_factor", "n_kv_heads"):
        with pytest.warns(UserWarning, match=f"{field}=3, which is not read"):
            config = ModelConfig.from_dict(V3 | {field: 3})
        assert config == ModelConfig.from_dict(V3)
    nothing = {"bogus_field": None, "sliding_window": None, "use_qk_norm": False}
    assert ModelConfig.from_dict(V3 | nothing) == ModelConfig.from_dict(V3)


@pytest.mark.parametrize("name", ["DeepseekV2", "DeepseekV3", "Glm4MoeLite"])
def test_what_transformers_writes_into_every_file_is_no_news(name):
    data = getattr(transformers, f"{name}Config")().to_dict() | {"use_cache": True}
    older = {"top_k": 50, "num_beams": 1, "torch_dtype": "bfloat16", "seq_aux": True}
    ModelConfig.from_dict(data | older | {"num_experts_per_tok": 8})


def test_the_configuration_in_the_data_folder_names_only_known_fields():
    known = {field.name for field in fields(ModelConfig)} | {"dtype"}
    assert set(INFERENCE) <= known


@pytest.mark.parametrize(
    "kind", ["qwen2", "llama", "deepseek_v4", "glm_moe_dsa", 3, []]
)
def test_another_family_is_refused_by_its_name(kind):
    match = re.escape(f"model_type={kind!r}")
    with pytest.raises(ConfigError, match=match) as caught:
        ModelConfig.from_dict(V3 | {"model_type": kind})
    assert ("R1's distilled models" in str(caught.value)) == (
        kind in ("qwen2", "llama")
    )
    with pytest.raises(ConfigError, match=match):
        ModelConfig.from_dict(
            {"model_type": "kimi_k25", "text_config": {"model_type": kind}}
        )


def test_a_file_of_another_family_with_other_fields_is_refused_by_its_name():
    with pytest.raises(ConfigError, match="model_type='gpt2'"):
        ModelConfig.from_dict({"model_type": "gpt2", "n_embd": 768})
    with pytest.raises(ConfigError, match="model_type='whisper'"):
        ModelConfig.from_dict({"model_type": "whisper", "text_config": V3})


def test_the_text_of_a_model_that_sees_stands_in_text_config():
    nested = {"model_type": "kimi_k25", "text_config": V3 | {"model_type": "kimi_k2"}}
    assert ModelConfig.from_dict(nested) == ModelConfig.from_dict(V3)
    nested = {"model_type": "kimi_k25", "text_config": without(V3, "vocab_size")}
    with pytest.raises(ConfigError, match="no field 'vocab_size'"):
        ModelConfig.from_dict(nested, "c.json")


def test_v3_needs_no_file():
    assert ModelConfig.deepseek_v3() == ModelConfig.from_json(DATA / "config_671B.json")


def test_a_byte_order_mark_changes_nothing(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(V3), encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert ModelConfig.from_json(path) == ModelConfig.from_dict(V3)


def test_no_scaling_may_be_written_null_or_left_out():
    plain = ModelConfig.from_dict(without(V3, "rope_scaling"))
    assert ModelConfig.from_dict(V3 | {"rope_scaling": None}) == plain
    assert not plain.yarn


def test_latent_norms_keep_their_epsilon_where_the_others_have_another():
    """As in the code of DeepSeek's models on Hugging Face, and in Moonlight."""
    config = replace(
        ModelConfig.from_dict(V2_LITE | {"rms_norm_eps": 1e-5}), n_layers=1
    )
    assert (config.rms_norm_eps, config.latent_norm_eps) == (1e-5, 1e-6)
    with torch.device("meta"):
        block = Block(config)
    assert block.attn.kv_norm.eps == 1e-6
    assert block.attn_norm.eps == block.ffn_norm.eps == 1e-5


def test_experts_without_a_latent_are_read():
    moe = ModelConfig.from_json(DATA / "configs/deepseek_moe_16b.json")
    assert (moe.kv_lora_rank, moe.qk_nope_head_dim) == (0, 0)
    assert moe.qk_rope_head_dim == moe.v_head_dim == 128
    assert moe.n_kv_heads == 16
    assert (moe.score_func, moe.topk_method) == ("softmax", "greedy")
    for nothing in (0, None):
        lite = ModelConfig.from_dict(V2_LITE | {"kv_lora_rank": nothing})
        assert (lite.kv_lora_rank, lite.qk_rope_head_dim) == (0, 128)
    for unclear in (
        without(V2_LITE, "kv_lora_rank"),
        V2_LITE | {"kv_lora_rank": False},
    ):
        with pytest.raises(ConfigError, match="kv_lora_rank"):
            ModelConfig.from_dict(unclear)
    path = DATA / "configs/deepseek_moe_16b.json"
    uneven = json.loads(path.read_text(encoding="utf-8")) | {"hidden_size": 30}
    with pytest.raises(ConfigError, match="hidden_size=30 and num_attention_heads=16"):
        ModelConfig.from_dict(uneven)


NO_NUMBERS = [math.nan, math.inf, -math.inf, -1, "1", True, None, [], {}, 10**400]
OF_THE_FILE = {
    "vocab_size": 0,
    "hidden_size": 0,
    "num_hidden_layers": 0,
    "num_attention_heads": 0,
    "max_position_embeddings": 0,
    "rms_norm_eps": 0,
    "rope_theta": 1,
    "routed_scaling_factor": 0,
    "n_routed_experts": 0,
    "num_experts_per_tok": 0,
    "v_head_dim": 0,
}


@pytest.mark.parametrize("field", OF_THE_FILE)
def test_what_is_no_number_of_its_kind_is_refused(field):
    """A whole number of 400 digits is one, and too large only for a float."""
    real = type(V3[field]) is float or field == "rope_theta"
    for value in [*NO_NUMBERS[: None if real else -1], OF_THE_FILE[field]]:
        with pytest.raises(ConfigError):
            ModelConfig.from_dict(V3 | {field: value})


@pytest.mark.parametrize(
    "field", ["factor", "beta_fast", "original_max_position_embeddings"]
)
def test_what_is_no_number_in_rope_scaling_is_refused(field):
    for value in [*NO_NUMBERS[:-1], 0]:
        with pytest.raises(ConfigError):
            ModelConfig.from_dict(
                V3 | {"rope_scaling": V3["rope_scaling"] | {field: value}}
            )


def test_a_latent_of_queries_needs_one_of_keys():
    with pytest.raises(ConfigError, match="q_lora_rank is 8; it must be 0 without"):
        replace(DENSE, q_lora_rank=8)


# Files that were written by hand may lack these; programs agree on what it means.
MAY_BE_MISSING = {
    "rope_scaling",
    "num_nextn_predict_layers",
    "max_position_embeddings",
    "beta_fast",
}
FILES = [
    DATA / f"configs/{name}.json"
    for name in (
        "deepseek_moe_16b",
        "deepseek_v2",
        "deepseek_v3.2",
        "inference_v3.2",
        "kimi_k2.6",
        "glm_4.7_flash",
    )
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_any_value_in_any_field_is_read_or_refused_by_name(path):
    """No other error than ConfigError, and no field whose absence changes the model."""
    data = json.loads(path.read_text(encoding="utf-8"))
    model, text = ModelConfig.from_dict(data), data.get("text_config", data)
    objects = [text, *(x for x in text.values() if isinstance(x, dict))]
    for part, field in [(x, field) for x in objects for field in x]:
        kept = part.pop(field)
        try:
            same = ModelConfig.from_dict(data)
            ours = path.stem.startswith("inference")  # with the package's defaults
            assert same == model or field in MAY_BE_MISSING or ours, field
        except ConfigError:
            pass
        for part[field] in (math.nan, -1, 0.5, 10**400, "1", True, None, {"a": 1}):
            with contextlib.suppress(ConfigError):
                ModelConfig.from_dict(data)
        part[field] = kept
