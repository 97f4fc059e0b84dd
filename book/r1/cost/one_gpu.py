"""Memory of GRPO on one GPU, by arithmetic: nothing is allocated, nothing measured."""

from r1.cost.counting import count_parameters, kv_cache_bytes
from r1.cost.memory import Layout, kept_bytes, layer_matrices
from r1.model.config import ModelConfig

TILE = 4096, 32_768  # tokens and words whose logits TRL 1.16 computes at once, at most
ADAMW = 8  # bytes of two moments in float32


def qwen2(size: str) -> ModelConfig:
    """Qwen2.5 of "0.5B" or "1.5B", without the biases of its queries, keys and values.

    Raises ValueError for another size. Source: config.json of Qwen2.5-0.5B-Instruct and
    Qwen2.5-1.5B-Instruct on Hugging Face.
    """
    widths = {"0.5B": (896, 4864, 24, 14, 64), "1.5B": (1536, 8960, 28, 12, 128)}
    if size not in widths:
        raise ValueError(f"size is {size!r}; choose {' or '.join(widths)}")
    dim, inter_dim, layers, heads, width = widths[size]
    return ModelConfig(
        vocab_size=151_936,
        dim=dim,
        inter_dim=inter_dim,
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=2,
        qk_nope_head_dim=0,
        qk_rope_head_dim=width,
        v_head_dim=width,
        rope_theta=1e6,
        tie_word_embeddings=True,
    )


def lora_parameters(config: ModelConfig, rank: int) -> int:
    """Parameters of adapters of all linear layers: `rank` (rows + columns) for each.

    Source: Hu et al., 2021, section 4.1.
    """
    return sum(
        rank * (matrix.rows + matrix.columns) * matrix.number
        for layer in range(config.n_layers)
        for matrix in layer_matrices(config, layer)
        if matrix.kind in ("linear", "expert")
    )


def grpo_memory(
    config: ModelConfig,
    answers: int,
    tokens: int,
    part: int,
    lora_rank: int = 0,
) -> dict[str, int]:
    """Bytes that training holds, by kind, and "peak": the most at one time.

    `answers` are written at once, each with its prompt at most `tokens` long; gradients
    are computed for `part` of them at a time, and each layer is computed again. There
    is no reference model. All weights are trained, in float32 with a copy in BF16 for
    the products; or with a `lora_rank` adapters alone, beside weights in BF16. The
    cache of what is written is of the type of the weights. A GPU holds more: what the
    kernels need, and what lies free between tensors.

    Source: how TRL 1.16 and torch's AdamW store them.
    """
    total, stream = count_parameters(config).total, 2 if lora_rank else 4
    trained = lora_parameters(config, lora_rank) if lora_rank else total
    layout = Layout(precision="BF16", micro_batch=part, sequence=tokens)
    layer = kept_bytes(config, config.n_layers - 1, layout)
    held = {
        "weights": 2 * total + 4 * trained,
        "moments": ADAMW * trained,
        "gradients": 4 * trained,
        "activations": part * tokens * config.n_layers * config.dim * stream,
        "one layer": part * tokens * layer,
        "logits": 4 * min(part * tokens, TILE[0]) * min(config.vocab_size, TILE[1]),
        "cache": kv_cache_bytes(config, answers * tokens, stream),
    }
    # The cache is gone before the first gradient is there; moments stay.
    parts = ("gradients", "activations", "one layer", "logits")
    learning = sum(held[name] for name in parts)
    return held | {
        "peak": held["weights"] + held["moments"] + max(learning, held["cache"])
    }
