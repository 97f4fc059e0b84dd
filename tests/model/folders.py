"""Folders with the layout of those on Hugging Face, small, of random weights."""

import json
from dataclasses import replace

import torch
from safetensors.torch import save_file

from r1.model.config import ModelConfig
from r1.model.formats import to_hugging_face
from r1.model.fp8 import quantize
from r1.model.moe import routers
from r1.model.transformer import Model
from r1.model.weight_names import to_hugging_face_weights

BASE = replace(
    ModelConfig.tiny(),
    dim=32,
    inter_dim=48,
    moe_inter_dim=24,
    num_nextn_predict_layers=0,
    initializer_range=0.2,
)
SMALL = replace(BASE, route_scale=2.5, max_seq_len=64, original_seq_len=64)
GROUPS = {"n_expert_groups": 4, "n_limited_groups": 2}
V3 = replace(
    SMALL,
    num_nextn_predict_layers=1,
    n_activated_experts=3,
    rope_factor=4.0,
    original_seq_len=16,
    **GROUPS,
)
V2 = replace(
    SMALL,
    score_func="softmax",
    topk_method="group_limited_greedy",
    norm_topk_prob=False,
    q_lora_rank=0,
    **GROUPS,
)
BLOCK = (16, 16)  # 24 and 40 are no multiples: last blocks are partial


def fields_of(config):
    """A config.json for Transformers, also of models with a softmax."""
    if config.score_func == "sigmoid":
        return to_hugging_face(config)
    like = replace(config, score_func="sigmoid", topk_method="noaux_tc")
    kind = {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"]}
    names = {"scoring_func": "softmax", "topk_method": config.topk_method}
    return to_hugging_face(like) | kind | names


def random_model(config, seed=0):
    torch.manual_seed(seed)
    model = Model(config).eval()
    for router in routers(model):
        if router.bias is not None:
            torch.nn.init.uniform_(router.bias, -0.1, 0.1)
    for name, weight in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    return model


def tensors_of(model, eight_bits=False):
    """Names and tensors of the files, a table of angles among them as in Kimi's."""
    found = to_hugging_face_weights(model.state_dict(), model.config.n_layers)
    found["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    if model.config.tie_word_embeddings:
        found.pop("lm_head.weight")
    for name in list(found) if eight_bits else []:
        if "_proj" in name and "eh_proj" not in name:
            q, scales = quantize(found[name], BLOCK)
            found[name] = q.to(torch.float8_e4m3fn)
            found[name + "_scale_inv"] = scales
    return found


def write_folder(folder, model, eight_bits=False, shards=3, **fields):
    """Write a model as DeepSeek publishes one; more fields for config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    data = fields_of(model.config) | fields
    if eight_bits:
        data["quantization_config"] = {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": list(BLOCK),
        }
    (folder / "config.json").write_text(json.dumps(data))
    save_shards(folder, tensors_of(model, eight_bits), shards)
    return folder


def save_shards(folder, tensors, shards=3):
    names = sorted(tensors)
    places = {}
    for k in range(shards):
        file = f"model-{k + 1:05}-of-{shards:06}.safetensors"
        part = {name: tensors[name].contiguous() for name in names[k::shards]}
        save_file(part, folder / file, {"format": "pt"})
        places |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
