"""Bytes of GRPO on one GPU, counted by hand where they can be."""

from dataclasses import replace

import pytest

from r1.cost.counting import count_parameters
from r1.cost.one_gpu import grpo_memory, lora_parameters, qwen2
from r1.model.config import ModelConfig

# By hand, without embedding: 2 layers of width 8, 2 heads of 4, as many keys, and
# SwiGLU of width 16.
SMALL = ModelConfig(
    vocab_size=10,
    dim=8,
    inter_dim=16,
    n_layers=2,
    n_heads=2,
    qk_nope_head_dim=0,
    qk_rope_head_dim=4,
    v_head_dim=4,
)
GIB = 2**30


@pytest.mark.parametrize(("size", "published"), [("0.5B", 0.49), ("1.5B", 1.54)])
def test_the_models_have_as_many_parameters_as_their_makers_say(size, published):
    config = qwen2(size)
    biases = config.n_layers * (config.dim + 2 * 2 * config.v_head_dim)
    assert round((count_parameters(config).total + biases) / 1e9, 2) == published
    with pytest.raises(ValueError, match=r"'7B'; choose 0\.5B or 1\.5B"):
        qwen2("7B")


def test_an_adapter_has_rank_times_rows_and_columns_of_each_matrix():
    assert lora_parameters(SMALL, 3) == 2 * 3 * (4 * (8 + 8) + 3 * (8 + 16))
    assert lora_parameters(SMALL, 6) == 2 * lora_parameters(SMALL, 3)


def test_bytes_of_all_weights_by_hand():
    found = grpo_memory(SMALL, answers=6, tokens=5, part=2)
    total = count_parameters(SMALL).total
    assert found["weights"] == (4 + 2) * total
    assert found["gradients"] == 4 * total
    assert found["moments"] == 8 * total
    assert found["activations"] == 2 * 5 * 2 * 8 * 4  # answers tokens layers width
    assert found["logits"] == 4 * 10 * 10
    assert found["cache"] == 6 * 5 * 2 * 2 * (4 + 4) * 4  # ... layers heads key value
    rest = ("gradients", "activations", "one layer", "logits")
    held = sum(found[name] for name in ("weights", "moments", *rest))
    assert found["peak"] == held


def test_adapters_leave_weights_in_bf16_and_train_what_is_theirs():
    found = grpo_memory(SMALL, answers=6, tokens=5, part=2, lora_rank=3)
    total, adapter = count_parameters(SMALL).total, lora_parameters(SMALL, 3)
    assert found["weights"] == 2 * total + 4 * adapter
    assert found["moments"] == 8 * adapter
    assert found["gradients"] == 4 * adapter


def test_the_cache_counts_where_it_is_more_than_learning():
    few, many = (grpo_memory(SMALL, n, 5, 2) for n in (2, 2000))
    assert many["cache"] == 1000 * few["cache"]
    assert many["peak"] == many["weights"] + many["moments"] + many["cache"]


def test_what_the_recipes_say_of_24_gb():
    """0.5B fits with all its weights; 1.5B does not, and fits with adapters."""
    answers = {"answers": 128, "tokens": 768, "part": 8}
    assert grpo_memory(qwen2("0.5B"), **answers)["peak"] < 12 * GIB
    few = {"answers": 32, "tokens": 768, "part": 8}
    assert grpo_memory(qwen2("1.5B"), **few)["peak"] > 24 * GIB
    assert grpo_memory(qwen2("1.5B"), **few, lora_rank=32)["peak"] < 8 * GIB
    wider = replace(qwen2("0.5B"), vocab_size=2 * 151_936)
    more = grpo_memory(wider, **answers)
    assert more["logits"] == grpo_memory(qwen2("0.5B"), **answers)["logits"]
