"""Folders of Hugging Face's layout are read as they are, whole or a layer at a time."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from folders import (
    BLOCK,
    SMALL,
    V2,
    V3,
    fields_of,
    random_model,
    save_shards,
    tensors_of,
)
from folders import write_folder as write
from safetensors.torch import save_file
from torch.multiprocessing.reductions import StorageWeakRef
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import (
    DeepseekV2ForCausalLM,
    DeepseekV3ForCausalLM,
    Glm4MoeLiteConfig,
    Glm4MoeLiteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from r1.model.config import ModelConfig
from r1.model.drafting import MTPDrafter, sample_with_drafts
from r1.model.folder import Folder, FolderError, parts_of, tiles_of
from r1.model.formats import ConfigError
from r1.model.fp8 import quantize
from r1.model.moe import routers
from r1.model.pretrained import peak_bytes
from r1.model.sampling import sample
from r1.model.streamed import ExpertsOnDisk, StreamedModel
from r1.model.transformer import Model

CONFIGS = Path(__file__).parents[2] / "book/data/configs"
EXACT = {"rtol": 1e-5, "atol": 1e-5}


def text(batch=2, length=11):
    return torch.randint(0, 32, (batch, length), generator=torch.manual_seed(1))


def read(folder, dtype=torch.float32):
    return Model.from_pretrained(folder, dtype, progress=False)


def widened(tensors):
    """What eight bits stand for, without the package: each scale repeated in its block.

    A scale belongs to 16 x 16 numbers, fewer at the edges.
    """
    found = {}
    for name, tensor in tensors.items():
        if name + "_scale_inv" in tensors:
            scales = tensors[name + "_scale_inv"]
            for axis in (0, 1):
                scales = scales.repeat_interleave(BLOCK[axis], axis)
            rows, columns = tensor.shape
            found[name] = tensor.float() * scales[:rows, :columns]
        elif not name.endswith("_scale_inv"):
            found[name] = tensor
    return found


@pytest.mark.parametrize("kind", ["V3", "V2", "V3 in eight bits", "V2 in eight bits"])
@torch.no_grad()
def test_a_folder_gives_the_logits_of_transformers(kind, tmp_path):
    config, theirs = V3, DeepseekV3ForCausalLM
    if kind.startswith("V2"):
        config, theirs = V2, DeepseekV2ForCausalLM
    model, eight = random_model(config), "eight" in kind
    folder = other = write(tmp_path / "model", model, eight)
    if eight:  # Transformers reads eight bits only where accelerate is installed
        other = write(tmp_path / "wide", model)
        save_shards(other, widened(tensors_of(model, eight_bits=True)))
    reference = theirs.from_pretrained(other, dtype=torch.float32).eval()
    expected = reference(text()).logits
    assert_close(read(folder)(text()), expected, **EXACT)
    assert_close(StreamedModel(folder, torch.float32)(text()), expected, **EXACT)
    if eight:
        assert not torch.allclose(model(text()), expected, **EXACT)


@torch.no_grad()
def test_a_folder_that_transformers_saved_is_read(tmp_path):
    """Its config.json is version 5's, with an MTP layer that the files do not hold."""
    folder = write(tmp_path / "model", random_model(replace(V3, rms_norm_eps=1e-2)))
    reference = DeepseekV3ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference.save_pretrained(tmp_path / "again")
    model = read(tmp_path / "again")
    assert len(model.mtp) == 0
    assert_close(model(text()), reference.eval()(text()).logits, **EXACT)


@torch.no_grad()
def test_a_folder_of_glm_is_read(tmp_path):
    """GLM-4.7-Flash: DeepSeek-V3's layers, another epsilon, layers named by kind."""
    torch.manual_seed(0)
    data = fields_of(replace(SMALL, rms_norm_eps=1e-2)) | {
        "model_type": "glm4_moe_lite"
    }
    wanted = set(Glm4MoeLiteConfig().to_dict())
    config = Glm4MoeLiteConfig(**{k: v for k, v in data.items() if k in wanted})
    theirs = Glm4MoeLiteForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path)
    assert "mlp_layer_types" in json.loads((tmp_path / "config.json").read_text())
    assert_close(read(tmp_path)(text()), theirs(text()).logits, **EXACT)


@torch.no_grad()
def test_attention_without_a_latent_turns_halves_as_llama_does(tmp_path):
    """DeepSeek's first mixture of experts has Llama's attention; here all is dense."""
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 32,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(0)
    theirs = LlamaForCausalLM(LlamaConfig(**sizes, initializer_range=0.2)).eval()
    theirs.save_pretrained(tmp_path)
    data = sizes | {"model_type": "deepseek", "first_k_dense_replace": 2}
    data |= {"n_shared_experts": None, "norm_topk_prob": False}
    data |= {"rms_norm_eps": 1e-6, "rope_theta": 10000.0}
    (tmp_path / "config.json").write_text(json.dumps(data))
    assert_close(read(tmp_path)(text()), theirs(text()).logits, **EXACT)
    streamed = StreamedModel(tmp_path, torch.float32)
    assert_close(streamed(text()), theirs(text()).logits, **EXACT)


@torch.no_grad()
def test_the_text_of_a_model_that_sees_is_read_by_itself(tmp_path):
    model = random_model(SMALL)
    folder = write(tmp_path, model)
    data = json.loads((folder / "config.json").read_text())
    nested = {"model_type": "kimi_k25", "text_config": data | {"model_type": "kimi_k2"}}
    (folder / "config.json").write_text(json.dumps(nested), encoding="utf-8-sig")
    tensors = {f"language_model.{n}": t for n, t in tensors_of(model).items()}
    save_shards(folder, tensors | {"vision_tower.x": torch.ones(2)})
    assert_close(read(folder)(text()), model(text()), **EXACT)


@pytest.mark.parametrize("tied", [False, True])
def test_every_weight_comes_back_and_a_bias_keeps_its_digits(tied, tmp_path):
    model = random_model(replace(V3, tie_word_embeddings=tied))
    folder = write(tmp_path, model)
    back = read(folder)
    assert back.config == model.config
    assert (back.head.weight is back.embed.weight) == tied
    assert all(p.requires_grad for p in back.parameters())
    for name, weight in model.state_dict().items():
        assert_close(back.state_dict()[name], weight, rtol=0, atol=0)
    half = Model.from_pretrained(folder, progress=False)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert {r.bias.dtype for r in routers(half)} == {torch.float32}
    assert all(block.attn.angles.dtype == torch.float64 for block in half.layers)
    assert half(text()).dtype == torch.bfloat16


def test_a_streamed_model_writes_and_drafts_like_one_in_memory(tmp_path):
    folder = write(tmp_path, random_model(V3), eight_bits=True)
    model, streamed = read(folder), StreamedModel(folder, torch.float32)
    prompts = text(2, 5).tolist()
    written = sample(model, prompts, 6, temperature=0.0)
    assert sample(streamed, prompts, 6, temperature=0.0) == written
    drafted = [
        sample_with_drafts(m, prompts[0], MTPDrafter(m), 6, 0.0)
        for m in (model, streamed)
    ]
    assert drafted[0] == drafted[1]
    assert drafted[0].tokens == written[0]
    assert drafted[0].guessed


@torch.no_grad()
def test_embedding_and_head_may_have_eight_bits(tmp_path):
    model = random_model(SMALL)
    folder = write(tmp_path, model, quantization_config={"weight_block_size": BLOCK})
    tensors = tensors_of(model)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        q, tensors[name + "_scale_inv"] = quantize(tensors[name], BLOCK)
        tensors[name] = q.to(torch.float8_e4m3fn)
    save_shards(folder, tensors)
    logits = read(folder)(text())
    assert_close(StreamedModel(folder, torch.float32)(text()), logits, **EXACT)
    assert not torch.allclose(model(text()), logits, **EXACT)


class Alive(TorchDispatchMode):
    """The most bytes of tensors that were there at once, what they share once."""

    def __init__(self):
        super().__init__()
        self.held, self.most, self.total = {}, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs, out)):
            if isinstance(x, torch.Tensor) and x.device.type != "meta":
                whole = x.untyped_storage()
                self.total += whole.nbytes() - self.held.get(whole._cdata, (0, 0))[1]
                self.held[whole._cdata] = StorageWeakRef(whole), whole.nbytes()
        if self.total > self.most:  # else what is alive is not the most either
            self.held = {k: v for k, v in self.held.items() if not v[0].expired()}
            self.total = sum(size for _, size in self.held.values())
            self.most = max(self.most, self.total)
        return out


WIDE = replace(V3, dim=128, moe_inter_dim=64, n_layers=5, vocab_size=64)


def bytes_of(module):
    return sum(p.numel() * 4 for p in module.parameters())


@torch.no_grad()
def test_a_streamed_model_holds_less_than_two_of_its_largest_layers(
    tmp_path, monkeypatch
):
    model = random_model(WIDE)
    largest = max(map(bytes_of, model.layers))
    assert bytes_of(model) > 5 * largest
    folder = write(tmp_path, model, eight_bits=True)
    del model

    def peak():
        with Alive() as alive:
            streamed = StreamedModel(folder, torch.float32)
            caches = streamed.new_caches(9)
            for tokens in (text(1, 5), text(1, 1)):
                streamed(tokens, caches)
        return alive.most

    assert peak() < 2 * largest
    # The opposite: a program that keeps what it has read is found.
    kept, reads = [], Folder.read
    monkeypatch.setattr(
        Folder, "read", lambda *words: kept.append(reads(*words)) or kept[-1]
    )
    assert peak() > 2 * largest


def test_only_experts_that_a_token_chose_are_read(tmp_path, monkeypatch):
    folder = write(tmp_path, random_model(SMALL))
    streamed, asked = StreamedModel(folder, torch.float32), set()
    reads = ExpertsOnDisk._read

    def noted(self, part, expert):
        asked.add((self.prefix, expert))
        return reads(self, part, expert)

    monkeypatch.setattr(ExpertsOnDisk, "_read", noted)
    streamed(text(1, 1))
    assert len(asked) == SMALL.n_moe_layers * SMALL.n_activated_experts


@pytest.mark.parametrize("eight_bits", [False, True])
def test_the_peak_that_is_said_is_the_peak(eight_bits, tmp_path, capsys):
    folder = write(tmp_path, random_model(WIDE), eight_bits)
    with Alive() as alive:
        model = Model.from_pretrained(folder, torch.float32)
    said = peak_bytes(Folder(folder), model, torch.float32)
    assert alive.most <= said < 1.15 * alive.most
    out, err = capsys.readouterr()
    assert out == ""
    assert f"take {said / 1e9:.3g} GB at most" in err
    assert "100%" in err


def shard(folder):
    return sorted(folder.glob("*.safetensors"))[1]


def change_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_tensors(folder, drop="", **more):
    tensors = tensors_of(random_model(V3), eight_bits=True)
    tensors.pop(drop, None)
    save_shards(folder, tensors | {n.replace("__", "."): t for n, t in more.items()})


def change_index(folder, file):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] |= {"x": file}
    path.write_text(json.dumps(index))


Q = "model.layers.0.self_attn.o_proj.weight"
BROKEN = {
    "no configuration": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "half a configuration": (
        lambda f: (f / "config.json").write_text("{"),
        "config.json cannot be read",
    ),
    "a missing shard": (
        lambda f: shard(f).unlink(),
        r"no model-00002-of-000003\.safetensors, in which .* has \d+ tensors; download",
    ),
    "half a shard": (
        lambda f: shard(f).write_bytes(shard(f).read_bytes()[:-99]),
        r"model-00002-of-000003\.safetensors is not whole .*; download it again",
    ),
    "a pointer in place of a shard": (
        lambda f: shard(f).write_text("version https://git-lfs.github.com/spec/v1\n"),
        r"model-00002-of-000003\.safetensors is not whole",
    ),
    "a shard elsewhere": (lambda f: change_index(f, "../y.safetensors"), r"no \.\./y"),
    "a missing tensor": (lambda f: change_tensors(f, Q), f"holds {Q}"),
    "a wrong shape": (
        lambda f: change_config(f, moe_intermediate_size=25),
        r"has the shape \(24, 32\); by config.json it has \(25, 32\)",
    ),
    "an unknown tensor": (
        lambda f: change_tensors(f, model__layers__0__self_attn__x=torch.ones(1)),
        r"model\.layers\.0\.self_attn\.x, which no model",
    ),
    "too many layers": (
        lambda f: change_config(f, num_hidden_layers=2, num_nextn_predict_layers=0),
        r"holds model\.layers\.2\.",
    ),
    "missing scales": (
        lambda f: change_tensors(f, f"{Q}_scale_inv"),
        r"o_proj\.weight has eight bits, and its scales .* are missing; .* \(2, 6\)",
    ),
    "scales of other blocks": (
        lambda f: change_config(
            f, quantization_config={"weight_block_size": [128, 128]}
        ),
        r"are of shape \(\d, \d\); there must be \(1, 1\)",
    ),
    "blocks of nothing": (
        lambda f: change_config(f, quantization_config={"weight_block_size": [0, 16]}),
        r"weight_block_size=\[0, 16\]",
    ),
    "whole numbers": (
        lambda f: change_tensors(
            f, model__norm__weight=torch.ones(32, dtype=torch.int32)
        ),
        "model.norm.weight is I32",
    ),
    "four bits": (
        lambda f: change_config(
            f, quantization_config={"quant_method": "compressed-tensors"}
        ),
        "quant_method='compressed-tensors'",
    ),
    "another head for the module": (
        lambda f: change_tensors(
            f, model__layers__3__shared_head__head__weight=torch.ones(32, 32)
        ),
        r"model\.layers\.3\.shared_head\.head\.weight is not lm_head\.weight",
    ),
    "weights of torch": (
        lambda f: [p.unlink() for p in f.glob("model*")],
        r"no file \*\.safetensors",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "model"
    return write(folder, random_model(V3), eight_bits=True)


@pytest.mark.parametrize("why", BROKEN)
def test_what_is_wrong_with_a_folder_is_said(why, whole, tmp_path):
    breaks, match = BROKEN[why]
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Folder(tmp_path)
    breaks(tmp_path)
    for reader in (read, StreamedModel):
        with pytest.raises(FolderError, match=match):
            reader(tmp_path)


def test_a_model_of_another_family_is_refused_before_its_weights(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen2", "hidden_size": 8}')
    with pytest.raises(ConfigError, match="R1's distilled models"):
        read(tmp_path)


def test_one_file_without_an_index_is_read(tmp_path):
    model = random_model(SMALL)
    folder = write(tmp_path, model)
    for path in folder.glob("model*"):
        path.unlink()
    save_file(tensors_of(model), folder / "model.safetensors")
    with torch.no_grad():
        assert_close(read(folder)(text()), model(text()), **EXACT)


FP8 = {  # of a public report on the 61 files of Kimi-K2-Instruct: shapes, then scales
    "0.self_attn.kv_a_proj_with_mqa": ((576, 7168), (5, 56)),
    "0.self_attn.kv_b_proj": ((16384, 512), (128, 4)),
    "0.self_attn.o_proj": ((7168, 8192), (56, 64)),
    "0.self_attn.q_a_proj": ((1536, 7168), (12, 56)),
    "0.self_attn.q_b_proj": ((12288, 1536), (96, 12)),
    "0.mlp.down_proj": ((7168, 18432), (56, 144)),
    "0.mlp.gate_proj": ((18432, 7168), (144, 56)),
    "0.mlp.up_proj": ((18432, 7168), (144, 56)),
    "60.mlp.experts.383.down_proj": ((7168, 2048), (56, 16)),
    "60.mlp.experts.0.gate_proj": ((2048, 7168), (16, 56)),
    "1.mlp.experts.0.up_proj": ((2048, 7168), (16, 56)),
    "1.mlp.shared_experts.down_proj": ((7168, 2048), (56, 16)),
    "1.mlp.shared_experts.gate_proj": ((2048, 7168), (16, 56)),
    "1.mlp.shared_experts.up_proj": ((2048, 7168), (16, 56)),
}
WHOLE = {
    "lm_head.weight": (163840, 7168),
    "model.embed_tokens.weight": (163840, 7168),
    "model.norm.weight": (7168,),
    "model.layers.0.input_layernorm.weight": (7168,),
    "model.layers.60.post_attention_layernorm.weight": (7168,),
    "model.layers.0.self_attn.kv_a_layernorm.weight": (512,),
    "model.layers.0.self_attn.q_a_layernorm.weight": (1536,),
    "model.layers.1.mlp.gate.e_score_correction_bias": (384,),
    "model.layers.1.mlp.gate.weight": (384, 7168),
}


def test_the_files_of_kimi_k2_are_what_is_looked_for():
    """139,644 tensors: those of the model, scales, and a table of angles a layer."""
    config = ModelConfig.from_json(CONFIGS / "kimi_k2.json")
    with torch.device("meta"):
        state = Model(config).state_dict()
    wanted = dict(
        part for n, x in state.items() for part in parts_of(n, x.shape, config.n_layers)
    )
    for name, (shape, scales) in FP8.items():
        assert wanted[f"model.layers.{name}.weight"] == shape
        assert tiles_of(shape, (128, 128)) == scales
    assert {name: wanted[name] for name in WHOLE} == WHOLE
    eight = sum("_proj" in name for name in wanted)
    assert len(wanted) + eight + config.n_layers == 139_644
