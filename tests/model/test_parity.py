"""The same weights give the same numbers as Transformers' DeepSeek-V3."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from folders import BASE
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.modeling_layers import MtpModel

from r1.model.config import ModelConfig
from r1.model.formats import ConfigError, to_hugging_face
from r1.model.hugging_face import to_transformers
from r1.model.moe import routers
from r1.model.mtp import mtp_losses
from r1.model.sampling import sample
from r1.model.transformer import Model, cross_entropy
from r1.model.weight_names import rename_weights
from r1.text.tokenizer import EOS_ID, encode
from r1.train.checkpoint import load_checkpoint

DATA = Path(__file__).parents[2] / "book/data"
GROUPS = {"n_expert_groups": 4, "n_limited_groups": 2, "n_activated_experts": 3}
CONFIGS = {
    "tiny": ModelConfig.tiny(),
    "queries uncompressed": replace(BASE, q_lora_rank=0),
    "another epsilon": replace(BASE, rms_norm_eps=1e-2),
    "groups": replace(BASE, **GROUPS),
    "no shared experts": replace(BASE, n_shared_experts=0),
    "three shared experts": replace(BASE, n_shared_experts=3),
    "all layers dense": replace(BASE, n_dense_layers=3),
    "no layer dense": replace(BASE, n_dense_layers=0),
    "weights scaled": replace(BASE, route_scale=2.5, **GROUPS),
    "weights not normalized": replace(BASE, norm_topk_prob=False),
    "tied": replace(BASE, tie_word_embeddings=True),
    "yarn": replace(BASE, rope_factor=4.0, original_seq_len=64),
    "yarn, scaled": replace(BASE, rope_factor=4.0, original_seq_len=64, mscale=0.7),
    "one module": replace(BASE, num_nextn_predict_layers=1, **GROUPS),
    "two modules, yarn": replace(
        BASE, num_nextn_predict_layers=2, rope_factor=4.0, original_seq_len=64
    ),
}
# Theirs initializes shared experts of width 0.
pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element")
EACH = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def pair(config, dtype=torch.float32):
    """Their model, with biases that matter, their modules, and ours with the same."""
    torch.manual_seed(0)
    fields = to_hugging_face(config)
    theirs = DeepseekV3ForCausalLM._from_config(
        DeepseekV3Config(**fields), experts_implementation="eager"
    )
    depth = config.num_nextn_predict_layers
    mtp = MtpModel(theirs, depth) if depth else None
    for part in (theirs, *([mtp] if mtp else [])):
        for name, buffer in part.named_buffers():
            if name.endswith("e_score_correction_bias"):
                torch.nn.init.uniform_(buffer, -0.1, 0.1)
        for name, weight in part.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(weight, 0.5, 1.5)
            elif part is mtp and weight.numel():  # Transformers leaves them empty
                torch.nn.init.normal_(weight, std=0.2)
        part.to(dtype).eval()
    ours = Model.from_transformers(theirs, mtp).eval()
    return theirs, mtp, ours


def text(batch=2, length=11):
    return torch.randint(0, 32, (batch, length), generator=torch.manual_seed(1))


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_and_gradients_agree(config, dtype):
    theirs, _, ours = pair(config, dtype)
    tokens = text()
    a, b = ours(tokens[:, :-1]), theirs(tokens[:, :-1]).logits
    assert_close(a, b, rtol=1e-5, atol=1e-5)
    for logits in (a, b):
        cross_entropy(logits, tokens[:, 1:]).backward()
    named = [(n, p.grad) for n, p in theirs.named_parameters() if p.grad is not None]
    expected = rename_weights(dict(named))
    found = {n: p.grad for n, p in ours.named_parameters() if n[:3] != "mtp"}
    assert_close(found, expected, rtol=1e-5, atol=1e-5)


@EACH
def test_generation_agrees_token_by_token(config):
    theirs, _, ours = pair(config)
    prompts = text(3, 7)
    out = theirs.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=20,
        do_sample=False,
        eos_token_id=EOS_ID,
        pad_token_id=EOS_ID,
    )
    written = sample(ours, prompts.tolist(), 20, temperature=0.0)
    for text_of_ours, row in zip(written, out[:, 7:].tolist(), strict=True):
        assert text_of_ours == (row[: row.index(EOS_ID) + 1] if EOS_ID in row else row)


@pytest.mark.parametrize("name", ["tiny", "one module", "two modules, yarn"])
def test_modules_agree_with_their_mtp_model(name):
    theirs, mtp, ours = pair(CONFIGS[name])
    tokens = text()
    state = theirs.model(tokens[:, :-1]).last_hidden_state
    assert_close(ours.encode(tokens[:, :-1]), state, rtol=1e-5, atol=1e-5)
    outputs, length = [], tokens.shape[1] - 1
    for k in range(len(mtp.layers)):
        given = tokens[:, k + 1 : length]
        places = torch.arange(k + 1, length)[None]
        state = mtp.forward_layer(k, state[:, :-1], places, None, input_ids=given)
        outputs.append(theirs.lm_head(state))
    seen = []

    def head(state):
        seen.append(ours.head(state))
        return seen[-1]

    mtp_losses(ours.mtp, ours.embed, head, ours.encode(tokens[:, :-1]), tokens)
    for a, b in zip(seen, outputs, strict=True):
        assert_close(a, b, rtol=1e-5, atol=1e-5)


@EACH
def test_there_and_back_again_is_the_same_model(config, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = Model(config).eval()
    for router in routers(model):
        torch.nn.init.uniform_(router.bias, -0.1, 0.1)
    folder = tmp_path / "model"
    to_transformers(model, folder)
    back, mtp = loaded(folder, config, monkeypatch)
    again = Model.from_transformers(back, mtp).eval()
    stretched = {} if config.yarn else {"original_seq_len": config.original_seq_len}
    assert replace(again.config, **stretched) == config
    for name, weight in model.state_dict().items():
        assert_close(again.state_dict()[name], weight, rtol=0, atol=0)


def loaded(folder, config, monkeypatch):
    """Their model from a folder, and its modules.

    Transformers looks for modules behind layer 61, V3's number, and nowhere else.
    """
    depth = config.num_nextn_predict_layers
    behind = "|".join(str(config.n_layers + k) for k in range(max(1, depth)))
    pattern = re.compile(rf"model\.layers\.(?:{behind})\.")
    keys = "_keys_to_ignore_on_load_unexpected"
    monkeypatch.setattr(DeepseekV3ForCausalLM, keys, [pattern.pattern])
    monkeypatch.setattr(MtpModel, "get_mtp_weights_regex", lambda model: pattern)
    theirs = DeepseekV3ForCausalLM.from_pretrained(
        folder, experts_implementation="eager"
    ).eval()
    return theirs, MtpModel.from_pretrained(theirs).eval() if depth else None


def test_a_saved_folder_has_the_names_of_deepseeks_files(tmp_path):
    model = Model(replace(CONFIGS["one module"], n_layers=2))
    to_transformers(model, tmp_path / "model")
    names = set(load_file(tmp_path / "model" / "model.safetensors"))
    for name in (
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.kv_a_proj_with_mqa.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.1.mlp.gate.e_score_correction_bias",
        "model.layers.1.mlp.experts.7.down_proj.weight",
        "model.layers.1.mlp.shared_experts.up_proj.weight",
        "model.layers.2.eh_proj.weight",
        "model.layers.2.enorm.weight",
        "model.layers.2.self_attn.o_proj.weight",
        "model.layers.2.shared_head.norm.weight",
        "model.layers.2.shared_head.head.weight",
        "model.layers.2.embed_tokens.weight",
        "model.norm.weight",
        "lm_head.weight",
    ):
        assert name in names
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["DeepseekV3ForCausalLM"]
    assert config["num_nextn_predict_layers"] == 1


def test_what_transformers_cannot_be_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="kv_lora_rank is 0"):
        to_transformers(Model(ModelConfig.dense()), tmp_path / "a")
    refused = {"score_func": "softmax", "topk_method": "greedy"}
    for field, value in (refused | {"latent_norm_eps": 1e-2}).items():
        with pytest.raises(ConfigError, match=field):
            to_transformers(Model(replace(BASE, **{field: value})), tmp_path / "a")
    unscaled = replace(CONFIGS["yarn"], mscale=0.0)  # their logits would be off by 3
    with pytest.raises(ConfigError, match="mscale_all_dim is missing or 0"):
        to_transformers(Model(unscaled), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    "hidden_act": {"hidden_act": "gelu"},
    "rope_interleave": {"rope_interleave": False},
    "rope_type": {"rope_parameters": {"rope_type": "linear", "factor": 4.0}},
    "mscale_all_dim": {
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
    "max_position_embeddings": {
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 4.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 256,
        }
    },
}


@pytest.mark.parametrize("field", REFUSED)
def test_what_would_be_computed_differently_is_refused(field):
    fields = to_hugging_face(BASE) | REFUSED[field]
    if "rope_parameters" in REFUSED[field]:
        fields["rope_parameters"] = fields["rope_parameters"] | {"rope_theta": 10000.0}
        fields.pop("rope_scaling", None)
    theirs = DeepseekV3ForCausalLM(DeepseekV3Config(**fields))
    with pytest.raises(ConfigError, match=field):
        Model.from_transformers(theirs)


@pytest.mark.parametrize("config", [ModelConfig.tiny()])
def test_a_routing_bias_keeps_its_digits_in_a_model_of_half_precision(config):
    model = Model(config)
    for router in routers(model):
        torch.nn.init.constant_(router.bias, 0.001)
    for changed in (model.bfloat16(), model.double()):
        for router in routers(changed):
            assert_close(router.bias.float(), torch.full((8,), 0.001))


def test_the_trained_model_writes_the_same_text_in_transformers(tmp_path):
    model, _, _ = load_checkpoint(DATA / "base/base_seed1.safetensors")
    model.eval()
    to_transformers(model, tmp_path / "base")
    theirs = DeepseekV3ForCausalLM.from_pretrained(tmp_path / "base").eval()
    for prompt in ("<bos>7*3+5-2=", "<bos>9-8*6+2*7=", "<bos>"):
        ids = encode(prompt)
        out = theirs.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
            max_new_tokens=40,
            do_sample=False,
            eos_token_id=EOS_ID,
            pad_token_id=EOS_ID,
        )
        assert (
            sample(model, [ids], 40, temperature=0.0)[0] == out[0, len(ids) :].tolist()
        )
