"""Configurations are read from both formats, and bad ones are refused by name."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

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
        ({"rope_scaling": "yarn"}, "rope_scaling"),
        ({"rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 0.7}}, "mscale"),
        ({"topk_method": "random"}, "topk_method"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_supported_is_refused_by_name(change, field):
    with pytest.raises(ConfigError, match=field):
        ModelConfig.from_dict(V3 | change)


def test_the_configuration_in_the_data_folder_names_only_known_fields():
    known = {field.name for field in fields(ModelConfig)} | {"dtype"}
    assert set(INFERENCE) <= known
