"""What DeepSeek and Hugging Face name differently: weights."""

import re
from typing import Any

HUGGING_FACE_WEIGHTS = {  # part of a weight's name -> part of ours
    "embed_tokens": "embed",
    "lm_head": "head",
    "input_layernorm": "attn_norm",
    "self_attn": "attn",
    "q_proj": "wq",
    "q_a_proj": "wq_a",
    "q_a_layernorm": "q_norm",
    "q_b_proj": "wq_b",
    "k_proj": "wk",
    "v_proj": "wv",
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
OUR_WEIGHTS = {ours: theirs for theirs, ours in HUGGING_FACE_WEIGHTS.items()}


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


def hugging_face_names(name: str, n_layers: int) -> str:
    """What a tensor of ours is called in DeepSeek's files; see to_hugging_face_weights.

    The tensor of all experts, `layers.3.ffn.experts.w1`, gets a name with a place for
    the number of an expert: `model.layers.3.mlp.experts.{}.gate_proj.weight`.
    """
    module = re.match(r"mtp\.(\d+)\.(block\.)?", name)
    if module:
        layer = f"layers.{n_layers + int(module[1])}."
        name = layer + re.sub(r"^norm\.", "shared_head.norm.", name[module.end() :])
    parts = [OUR_WEIGHTS.get(part, part) for part in name.split(".")]
    if parts[-2] == "experts":
        parts[-1:] = ["{}", parts[-1], "weight"]
    return ("" if parts[0] == "lm_head" else "model.") + ".".join(parts)


def to_hugging_face_weights(weights: dict[str, Any], n_layers: int) -> dict[str, Any]:
    """Give our weights the names, and the division, of DeepSeek's published files.

    Every matrix of every expert is a tensor of its own,
    `model.layers.3.mlp.experts.0.gate_proj.weight`; MTP module 0 is the layer behind
    the last, with copies of embedding and head.
    """
    renamed = {}
    for name, weight in weights.items():
        theirs = hugging_face_names(name, n_layers)
        if module := re.match(r"mtp\.(\d+)\.", name):
            # In DeepSeek's files the MTP module is one more layer, with its own copies
            # of the embedding and of the head, which we share.
            layer = f"model.layers.{n_layers + int(module[1])}."
            renamed[f"{layer}embed_tokens.weight"] = weights["embed.weight"]
            renamed[f"{layer}shared_head.head.weight"] = weights["head.weight"]
        if "{}" in theirs:
            experts = enumerate(weight.unbind())
            renamed |= {theirs.format(number): expert for number, expert in experts}
        else:
            renamed[theirs] = weight
    # safetensors refuses tensors that share memory, as unbind's views do.
    return {name: weight.contiguous().clone() for name, weight in renamed.items()}
