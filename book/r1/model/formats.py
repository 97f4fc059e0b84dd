"""What DeepSeek and Hugging Face name differently: configurations and weights."""

import re
from typing import Any

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
HUGGING_FACE_WEIGHTS = {  # part of a weight's name -> part of ours
    "embed_tokens": "embed",
    "lm_head": "head",
    "input_layernorm": "attn_norm",
    "self_attn": "attn",
    "q_proj": "wq",
    "q_a_proj": "wq_a",
    "q_a_layernorm": "q_norm",
    "q_b_proj": "wq_b",
    "kv_a_proj_with_mqa": "wkv_a",
    "kv_a_layernorm": "kv_norm",
    "kv_b_proj": "wkv_b",
    "o_proj": "wo",
    "post_attention_layernorm": "ffn_norm",
    "mlp": "ffn",
    "gate_proj": "w1",
    "down_proj": "w2",
    "up_proj": "w3",
    "e_score_correction_bias": "bias",
}
# What every DeepSeek-V3 of Transformers is.
NEEDED_BY_TRANSFORMERS = {"score_func": "sigmoid", "topk_method": "noaux_tc"}
# What DeepSeek's inference code assumes where a file is silent.
INFERENCE_DEFAULTS = {"score_func": "softmax", "rope_factor": 40.0}
NOT_ARCHITECTURE = {"dtype", "scale_fmt", "max_batch_size"}


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

    Fields that say nothing about the architecture are passed over.

    Raises ConfigError for what no model of the book has.
    """
    if data.get("moe_layer_freq", 1) != 1:
        raise ConfigError(
            f"{name} has moe_layer_freq={data['moe_layer_freq']!r}; only 1 "
            "(every layer after the dense ones has experts) is supported"
        )
    values = {
        "score_func": "softmax",
        "topk_method": "greedy",
        "norm_topk_prob": False,
    }
    if data.get("model_type") == "deepseek_v3":  # Transformers leaves these out
        values = {"score_func": "sigmoid", "topk_method": "noaux_tc"}
    rope = data.get("rope_scaling") or data.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise ConfigError(f"{name} has rope_scaling={rope!r}; it must be an object")
    _check_rope(data, rope, name)
    values |= {HUGGING_FACE_NAMES.get(k, k): v for k, v in data.items()}
    values |= {new: rope[old] for old, new in HUGGING_FACE_ROPE.items() if old in rope}
    if values.get("q_lora_rank") is None:
        values["q_lora_rank"] = 0
    if values.get("kv_lora_rank"):
        # Latent attention has no heads of keys; the files repeat n_heads there.
        values.pop("n_kv_heads", None)
    return _with_context({k: v for k, v in values.items() if k in known})


def _check_rope(data: dict[str, Any], rope: dict[str, Any], name: str) -> None:
    """Refuse positions and activations that no model of the book has."""

    def refuse(field: str, value: Any, supported: str) -> None:
        raise ConfigError(
            f"{name} has {field}={value!r}; only {supported} is supported"
        )

    if data.get("hidden_act", "silu") != "silu":
        refuse("hidden_act", data["hidden_act"], "'silu'")
    if not data.get("rope_interleave", True):
        refuse("rope_interleave", False, "True")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "yarn"):
        refuse("rope_type", kind, "'default' or 'yarn'")
    if kind == "default":
        return
    mscale = rope.get("mscale", 1)
    if rope.get("mscale_all_dim", mscale) != mscale:
        refuse("mscale_all_dim", rope["mscale_all_dim"], f"mscale, {mscale!r},")
    if rope.get("attention_factor") is not None:
        refuse("attention_factor", rope["attention_factor"], "none")
    length = data.get("max_position_embeddings")
    if length is not None and rope.get("factor", 1) > 1:
        original = rope.get("original_max_position_embeddings", length)
        if length <= original:
            refuse("max_position_embeddings", length, f"more than {original}")


def check_transformers(data: dict[str, Any]) -> None:
    """Refuse what a model of Transformers computes otherwise than DeepSeek's code.

    Raises ConfigError with the field.
    """
    eps = data.get("rms_norm_eps", 1e-6)
    if eps != 1e-6:
        raise ConfigError(
            f"rms_norm_eps is {eps}; Transformers' DeepSeek-V3 uses it in some norms "
            "and 1e-6 in others, so only 1e-6 is supported"
        )
    rope = data.get("rope_parameters") or {}
    if rope.get("rope_type") == "yarn" and not rope.get("mscale_all_dim"):
        raise ConfigError(
            "mscale_all_dim is missing, and then Transformers stretches the rotary "
            "part of a query alone; give mscale_all_dim the value of mscale"
        )


def _with_context(values: dict[str, Any]) -> dict[str, Any]:
    length = values.get("original_seq_len", 4096)
    factor = values.get("rope_factor", 1.0)
    if isinstance(length, int) and isinstance(factor, int | float):
        values.setdefault("max_seq_len", int(length * factor))
    return values


def rename_weights(weights: dict[str, Any]) -> dict[str, Any]:
    """Give the weights of a model of Transformers, or of a part of one, our names.

    `model.layers.0.mlp.gate_proj.weight` becomes `layers.0.ffn.w1.weight`; the tensor
    `gate_up_proj`, which holds two matrices of each expert, becomes w1 and w3. Shared
    experts of width 0 are left out.
    """
    renamed = {}
    for name, weight in weights.items():
        if not weight.numel():
            continue
        if name.endswith("experts.gate_up_proj"):
            # Transformers stacks gate and up projection, in this order.
            halves = weight.chunk(2, dim=1)
            names = (name.replace("gate_up_proj", part) for part in ("w1", "w3"))
            named = dict(zip(names, halves, strict=True))
        else:
            named = {name: weight}
        for name, weight in named.items():
            parts = name.removeprefix("model.").split(".")
            ours = ".".join(HUGGING_FACE_WEIGHTS.get(part, part) for part in parts)
            renamed[ours] = weight
    return renamed


def rename_mtp(weights: dict[str, Any]) -> dict[str, Any]:
    """Give the weights of an `MtpModel` of Transformers our names; the shared go."""
    return {
        re.sub(r"^layers", "mtp", name)
        .replace(".mtp_block.", ".block.")
        .replace(".post_norm.", ".norm."): weight
        for name, weight in rename_weights(weights).items()
        if name.startswith("layers.")
    }


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
        if field not in rope_fields and field != "n_kv_heads"
    }
    values["q_lora_rank"] = values["q_lora_rank"] or None
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.yarn:
        rope = {name: getattr(config, ours) for name, ours in HUGGING_FACE_ROPE.items()}
        rope |= {"rope_type": "yarn", "mscale": config.mscale}
    return values | {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "num_key_value_heads": config.n_heads,
        "hidden_act": "silu",
        "rope_parameters": rope,
    }


def to_hugging_face_weights(weights: dict[str, Any], n_layers: int) -> dict[str, Any]:
    """Give our weights the names, and the division, of DeepSeek's published files.

    Every matrix of every expert is a tensor of its own,
    `model.layers.3.mlp.experts.0.gate_proj.weight`; MTP module 0 is the layer behind
    the last, with copies of embedding and head.
    """
    theirs = {ours: name for name, ours in HUGGING_FACE_WEIGHTS.items()}
    renamed = {}
    for name, weight in weights.items():
        module = re.match(r"mtp\.(\d+)\.(block\.)?", name)
        if module:
            # In DeepSeek's files the MTP module is one more layer, with its own copies
            # of the embedding and of the head, which we share.
            layer = f"layers.{n_layers + int(module[1])}."
            name = layer + re.sub(r"^norm\.", "shared_head.norm.", name[module.end() :])
            renamed[f"model.{layer}embed_tokens.weight"] = weights["embed.weight"]
            renamed[f"model.{layer}shared_head.head.weight"] = weights["head.weight"]
        parts = [theirs.get(part, part) for part in name.split(".")]
        if parts[-2] == "experts":
            prefix = "model." + ".".join(parts[:-1])
            renamed |= {
                f"{prefix}.{number}.{parts[-1]}.weight": expert
                for number, expert in enumerate(weight.unbind())
            }
        else:
            prefix = "" if parts[0] == "lm_head" else "model."
            renamed[prefix + ".".join(parts)] = weight
    # safetensors refuses tensors that share memory, as unbind's views do.
    return {name: weight.contiguous().clone() for name, weight in renamed.items()}
