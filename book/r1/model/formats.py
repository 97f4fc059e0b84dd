"""Configurations as DeepSeek and Hugging Face write them, and what is refused."""

from typing import Any

from r1.model.silent_fields import SILENT, warn_of_others

# Field of Hugging Face's config.json -> field of DeepSeek's inference code.
HUGGING_FACE_NAMES = {
    "hidden_size": "dim",
    "intermediate_size": "inter_dim",
    "moe_intermediate_size": "moe_inter_dim",
    "num_hidden_layers": "n_layers",
    "first_k_dense_replace": "n_dense_layers",
    "num_attention_heads": "n_heads",
    "num_experts_per_tok": "n_activated_experts",
    "n_group": "n_expert_groups",
    "topk_group": "n_limited_groups",
    "scoring_func": "score_func",
    "routed_scaling_factor": "route_scale",
    "max_position_embeddings": "max_seq_len",
}
HUGGING_FACE_ROPE = {  # the same for what stands in rope_scaling
    "rope_theta": "rope_theta",
    "factor": "rope_factor",
    "original_max_position_embeddings": "original_seq_len",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "mscale_all_dim": "mscale",
}
# What every DeepSeek-V3 of Transformers is.
NEEDED_BY_TRANSFORMERS = {
    "score_func": "sigmoid",
    "topk_method": "noaux_tc",
    "index_n_heads": 0,
    "latent_norm_eps": 1e-6,
}
# What DeepSeek's inference code assumes where a file is silent.
INFERENCE_DEFAULTS = {"score_func": "softmax", "rope_factor": 40.0}
NOT_ARCHITECTURE = {"dtype", "scale_fmt", "max_batch_size"}
# model_type of config.json: DeepSeekMoE; V2; V3 and R1; V3.2; Kimi-K2; GLM-4.7-Flash.
PLAIN = {"deepseek", "deepseek_v2"}  # with attention without a latent, in some files
BIASED = {"deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe_lite"}
FAMILY = PLAIN | BIASED
WRAPPERS = {"kimi_k25", "kimi_vl"}  # the model of the text is in text_config
# What a file of a kind says, null or a number: programs assume different numbers.
ALWAYS = ("rms_norm_eps", "rope_theta", "n_shared_experts", "norm_topk_prob")
CHOICE = ("q_lora_rank", "n_group", "topk_group", "routed_scaling_factor")
EXPECTED = dict.fromkeys(BIASED, ALWAYS + CHOICE) | {"deepseek": ALWAYS}
EXPECTED |= {"deepseek_v2": (*ALWAYS, *CHOICE, "topk_method")}
SOFTMAX = {"score_func": "softmax", "topk_method": "greedy", "norm_topk_prob": False}
SIGMOID = {"score_func": "sigmoid", "topk_method": "noaux_tc"}
# What changes the arithmetic, and the only value that is known here.
ONLY = {
    "hidden_act": "silu",
    "rope_interleave": True,
    "attention_bias": False,
    "mlp_bias": False,
    "qk_layernorm": False,
    "moe_layer_freq": 1,  # every layer after the dense ones has experts
    "partial_rotary_factor": 1.0,
}
# What other families have, and no model here.
NEVER = (
    "sliding_window",
    "compress_ratios",  # DeepSeek-V4
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "use_qk_norm",
)
# Fields that are read, beside those of the two tables of names.
READ = {*ONLY, *NEVER, "model_type", "rope_scaling", "rope_parameters"}
READ |= {"num_key_value_heads", "num_mtp_layers", "mlp_layer_types", "layer_types"}
OURS_ALONE = {"n_kv_heads", "latent_norm_eps"}  # in no file
NOT_WRITTEN = OURS_ALONE | {"index_head_dim", "index_n_heads", "index_topk"}
MAY_BE_NULL = {  # and is then as if it were not there
    "n_dense_layers",
    "n_expert_groups",
    "n_limited_groups",
    "n_routed_experts",
    "n_shared_experts",
    "kv_lora_rank",
    "num_nextn_predict_layers",
}


class ConfigError(ValueError):
    """A configuration that cannot describe a model; the message names the field."""


def from_inference(data: dict[str, Any], known: set[str], name: str) -> dict[str, Any]:
    """Read the fields of `inference/configs/*.json`, and what its code assumes.

    `known` are our field names, `name` is what an error calls the file.

    Raises ConfigError for a field that is unknown.
    """
    unknown = sorted(set(data) - known - NOT_ARCHITECTURE)
    if unknown:
        raise ConfigError(
            f"{name} has a field {unknown[0]!r} that no model of DeepSeek has; "
            f"known are {', '.join(sorted(known))}"
        )
    values = INFERENCE_DEFAULTS | {k: v for k, v in data.items() if k in known}
    # DeepSeek's inference files say nothing of the next two fields; their code derives
    # them from the score function.
    sigmoid = values["score_func"] == "sigmoid"
    grouped = values.get("n_expert_groups", 1) != 1
    plain = "group_limited_greedy" if grouped else "greedy"
    values.setdefault("topk_method", "noaux_tc" if sigmoid else plain)
    values.setdefault("norm_topk_prob", sigmoid)
    return _with_context(values)


def from_hugging_face(
    data: dict[str, Any], known: set[str], name: str
) -> dict[str, Any]:
    """Read the fields of Hugging Face's `config.json`, translated to our names.

    Fields that change nothing in the arithmetic are passed over, and a field that is
    not known is passed over with a warning. Where images are read too, the model of
    the text is described in `text_config`.

    Raises ConfigError for what no model of the book has.
    """
    if isinstance(data.get("text_config"), dict):
        _check_family(data, WRAPPERS | FAMILY, name)
        data, name = data["text_config"], f"{name} (text_config)"
    _check_family(data, FAMILY, name)
    kind = data.get("model_type")
    for field, supported in ONLY.items():
        value = data.get(field)
        if value is None:
            continue
        if isinstance(value, bool) != isinstance(supported, bool) or value != supported:
            _refuse(name, field, value, repr(supported))
    for field in NEVER:
        if data.get(field):
            _refuse(name, field, data[field], "null")
    kinds = data.get("layer_types") or []
    if not isinstance(kinds, list) or any(k != "indexed_attention" for k in kinds):
        _refuse(name, "layer_types", kinds, "'indexed_attention' in each layer")
    scaling = data.get("rope_scaling")
    rope = data.get("rope_parameters") if scaling is None else scaling
    rope = {} if rope is None else rope
    if not isinstance(rope, dict):
        raise ConfigError(f"{name} has rope_scaling={rope!r}; it must be an object")
    _check_rope(data, rope, name)
    for field in EXPECTED[kind]:
        if field not in data and field not in rope:
            raise ConfigError(f"{name} has no field {field!r}; every {kind} has one")
    # Transformers leaves out what every model of a kind has.
    values = dict(SIGMOID if kind in BIASED else SOFTMAX)
    ours = {*HUGGING_FACE_NAMES.values(), *HUGGING_FACE_ROPE.values()} | OURS_ALONE
    readable = {*HUGGING_FACE_NAMES, *known} - ours | {"rope_theta"}
    warn_of_others(data, readable | READ | SILENT, name)
    named = {HUGGING_FACE_NAMES.get(k, k): v for k, v in data.items() if k in readable}
    named.setdefault("num_nextn_predict_layers", named.get("num_mtp_layers"))
    values |= {k: v for k, v in named.items() if v is not None or k not in MAY_BE_NULL}
    values |= {new: rope[old] for old, new in HUGGING_FACE_ROPE.items() if old in rope}
    values |= _dense_layers(data, name)
    if values.get("q_lora_rank") is None:
        values["q_lora_rank"] = 0
    if values.get("kv_lora_rank"):
        # Latent attention has no heads of keys; the files repeat n_heads there.
        values.pop("n_kv_heads", None)
    elif kind in PLAIN and _says_no_latent(data):
        values |= _plain_attention(data, name)
    else:
        raise ConfigError(
            f"{name} has no kv_lora_rank, the width of the latent; every {kind} has one"
        )
    if kind == "deepseek_v32" and not values.get("index_n_heads"):
        raise ConfigError(f"{name} has no field 'index_n_heads'; every {kind} has one")
    return _with_context({k: v for k, v in values.items() if k in known})


def _refuse(name: str, field: str, value: Any, supported: str) -> None:
    raise ConfigError(f"{name} has {field}={value!r}; only {supported} is supported")


def _check_family(data: dict[str, Any], family: set[str], name: str) -> None:
    """Refuse what is built otherwise, by its name."""
    kind = data.get("model_type")
    if not isinstance(kind, str) or kind not in family:
        known = ", ".join(sorted(FAMILY))
        other = (
            "; R1's distilled models are Qwen and Llama, which Transformers opens"
            if kind in ("qwen2", "qwen3", "llama")
            else ""
        )
        raise ConfigError(f"{name} has model_type={kind!r}; known are {known}{other}")


def _says_no_latent(data: dict[str, Any]) -> bool:
    """Only the first mixture may leave the field out."""
    if "kv_lora_rank" not in data:
        return data["model_type"] == "deepseek"
    rank = data["kv_lora_rank"]
    return rank is None or (type(rank) is int and rank == 0)


def _plain_attention(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Heads without a latent, as in DeepSeek's first mixture: all features turn."""
    width, heads = data.get("hidden_size"), data.get("num_attention_heads")
    if type(width) is not int or type(heads) is not int or heads < 1 or width % heads:
        raise ConfigError(
            f"{name} has hidden_size={width!r} and num_attention_heads={heads!r}; "
            "without a latent, the heads divide the width"
        )
    each = width // heads
    kv_heads = data.get("num_key_value_heads")
    return {
        "kv_lora_rank": 0,
        "qk_nope_head_dim": 0,
        "qk_rope_head_dim": each,
        "v_head_dim": each,
        "n_kv_heads": heads if kv_heads is None else kv_heads,
    }


def _dense_layers(data: dict[str, Any], name: str) -> dict[str, int]:
    """How many layers are dense, where each layer is named by its kind."""
    kinds = data.get("mlp_layer_types")
    if kinds is None:
        return {}
    dense = kinds.count("dense") if isinstance(kinds, list) else 0
    rest = len(kinds) - dense if isinstance(kinds, list) else 0
    if kinds != ["dense"] * dense + ["sparse"] * rest:
        _refuse(name, "mlp_layer_types", kinds, "first 'dense', then 'sparse'")
    return {"n_dense_layers": dense}


def _check_rope(data: dict[str, Any], rope: dict[str, Any], name: str) -> None:
    """Refuse positions that no model of the book has."""
    plain = "default" if set(rope) <= {"rope_theta"} else None
    kind = rope.get("rope_type", rope.get("type", plain))
    if kind not in ("default", "yarn"):
        _refuse(name, "rope_type", kind, "'default' or 'yarn'")
    for field in (*HUGGING_FACE_ROPE, "mscale"):
        if field in rope and not _is_number(rope[field]):
            raise ConfigError(
                f"{name} has {field}={rope[field]!r}; it must be a number"
            )
    if kind == "default":
        return
    if "factor" not in rope:
        raise ConfigError(f"{name} has yarn without a factor; add it to rope_scaling")
    mscale, everywhere = rope.get("mscale", 1), rope.get("mscale_all_dim")
    if everywhere != mscale and (everywhere is not None or "mscale" in rope):
        _refuse(name, "mscale_all_dim", everywhere, f"mscale, {mscale!r},")
    if rope.get("attention_factor") is not None:
        _refuse(name, "attention_factor", rope["attention_factor"], "none")
    length = data.get("max_position_embeddings")
    if _is_number(length) and rope["factor"] > 1:
        original = rope.get("original_max_position_embeddings", length)
        if length <= original:
            _refuse(name, "max_position_embeddings", length, f"more than {original}")


def _is_number(value: Any) -> bool:
    # A whole number may be longer than any float.
    return type(value) in (int, float) and abs(value) < 2**1023


def check_transformers(data: dict[str, Any]) -> None:
    """Refuse what a model of Transformers computes otherwise than DeepSeek's code.

    Raises ConfigError with the field.
    """
    rope = data.get("rope_parameters") or {}
    if rope.get("rope_type") == "yarn" and not rope.get("mscale_all_dim"):
        raise ConfigError(
            "mscale_all_dim is missing or 0, and then Transformers stretches the "
            "rotary part of a query alone; give mscale_all_dim the value of mscale"
        )


def _with_context(values: dict[str, Any]) -> dict[str, Any]:
    length = values.get("original_seq_len", 4096)
    factor = values.get("rope_factor", 1.0)
    if type(length) is int and _is_number(factor) and _is_number(length * factor):
        values.setdefault("max_seq_len", int(length * factor))
    return values


def to_hugging_face(config: Any) -> dict[str, Any]:
    """Write a ModelConfig with the fields of Hugging Face's `config.json`.

    Raises ConfigError for what `DeepseekV3ForCausalLM` of Transformers cannot be.
    """
    for field, needed in NEEDED_BY_TRANSFORMERS.items():
        if getattr(config, field) != needed:
            raise ConfigError(
                f"{field} is {getattr(config, field)!r}; Transformers' DeepSeek-V3 "
                f"has only {needed!r}"
            )
    if not config.kv_lora_rank:
        raise ConfigError(
            "kv_lora_rank is 0; Transformers' DeepSeek-V3 has only latent attention"
        )
    theirs = {ours: name for name, ours in HUGGING_FACE_NAMES.items()}
    rope_fields = set(HUGGING_FACE_ROPE.values())
    values = {
        theirs.get(field, field): value
        for field, value in vars(config).items()
        if field not in rope_fields | NOT_WRITTEN
    }
    values["q_lora_rank"] = values["q_lora_rank"] or None
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.yarn:
        rope = {name: getattr(config, ours) for name, ours in HUGGING_FACE_ROPE.items()}
        rope |= {"rope_type": "yarn", "mscale": config.mscale}
    values |= {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "num_key_value_heads": config.n_heads,
        "hidden_act": "silu",
        "rope_parameters": rope,
    }
    check_transformers(values)  # what is refused from there is not sent there either
    return values
