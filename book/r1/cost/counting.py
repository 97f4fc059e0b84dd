"""What a model costs: parameters, cache bytes, operations, GPU hours, dollars."""

import math
from dataclasses import dataclass

from r1.model.config import ModelConfig


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a model; `mtp` is what the MTP modules add to `total`.

    `parts` divides `total`, `active_parts` divides `active`, by part of the model.
    """

    parts: dict[str, int]
    active_parts: dict[str, int]
    mtp: int

    @property
    def total(self) -> int:
        """All parameters of the main model."""
        return sum(self.parts.values())

    @property
    def active(self) -> int:
        """Those that work on one token, embedding and output head included."""
        return sum(self.active_parts.values())

    @property
    def active_without_embedding(self) -> int:
        """Those that multiply: looking a row up in the embedding costs nothing."""
        return self.active - self.active_parts["embedding"]


def count_attention(config: ModelConfig) -> int:
    r"""Count the parameters of one attention layer, its inner norms included.

    Latent attention, with $d$ = dim, $d_c'$ = q_lora_rank, $d_c$ = kv_lora_rank,
    $d_q = d_h + d_h^R$:

    $d\,d_c' + d_c' + d_c' n_h d_q + d(d_c + d_h^R) + d_c + d_c n_h(d_h + d_v)
    + n_h d_v d$

    Source: DeepSeek-V3, equations 1 to 11, and its inference code (the norms).
    """
    d, heads = config.dim, config.n_heads
    d_q, d_v = config.qk_head_dim, config.v_head_dim
    output = heads * d_v * d
    if config.q_lora_rank:
        rank = config.q_lora_rank
        # Down to the latent, the weight of its norm, and up to all heads.
        query = d * rank + rank + rank * heads * d_q
    else:
        query = d * heads * d_q
    if not config.kv_lora_rank:
        return query + d * config.n_kv_heads * (d_q + d_v) + output
    rank = config.kv_lora_rank
    # The rotary key is counted once and not for each head: all heads share it. The last
    # rank is the weight of the norm.
    down = d * (rank + config.qk_rope_head_dim) + rank
    up = rank * heads * (config.qk_nope_head_dim + d_v)
    return query + down + up + output + count_indexer(config)


def count_indexer(config: ModelConfig) -> int:
    """Count V3.2's indexer in one layer, 0 where there is none.

    Queries from the query latent, a key of `index_head_dim` with a norm that has a
    weight and a bias, and a weight for each head.

    Source: `inference/model.py` of DeepSeek-V3.2-Exp.
    """
    heads, width = config.index_n_heads, config.index_head_dim
    queries = config.q_lora_rank * heads * width
    return queries + config.dim * (width + heads) + 2 * width


def need_no_indexer(config: ModelConfig) -> None:
    """Raise ValueError where attention chooses its tokens: only parameters and the
    cache of such a model are counted."""
    if config.index_n_heads:
        raise ValueError(
            f"index_topk is {config.index_topk}; attention to chosen tokens is not "
            "counted here, only attention to all"
        )


def count_expert(config: ModelConfig) -> int:
    """Count one expert: three matrices, `3 * dim * moe_inter_dim`."""
    return 3 * config.dim * config.moe_inter_dim


def count_parameters(config: ModelConfig) -> ParameterCount:
    """Count parameters to the unit: routing biases and norm weights included.

    An MTP module adds one more layer of the last layer's kind, the projection
    `eh_proj` (2 dim -> dim) and three norms; embedding and head are shared.

    Source: DeepSeek-V3, section 2, and README_WEIGHTS.md of its repository.
    """
    d, layers, moe_layers = config.dim, config.n_layers, config.n_moe_layers
    expert, embedding = count_expert(config), config.vocab_size * d
    # routing_bias is a bool and counts as 1: one bias for each expert.
    router = config.n_routed_experts * (d + config.routing_bias)
    shared = config.n_shared_experts * expert
    dense = 3 * d * config.inter_dim

    def parts(experts: int) -> dict[str, int]:
        return {
            "embedding": embedding,
            "attention": layers * count_attention(config),
            "dense feed-forward": config.n_dense_layers * dense,
            "routed experts": moe_layers * experts * expert,
            "shared experts": moe_layers * shared,
            "router": moe_layers * router,
            "norms": (2 * layers + 1) * d,
            "output head": 0 if config.tie_word_embeddings else embedding,
        }

    active = parts(config.n_activated_experts)
    if config.tie_word_embeddings:  # one matrix, and as the head it multiplies
        active |= {"embedding": 0, "output head": embedding}
    layer = count_attention(config) + 2 * d
    if moe_layers:
        layer += config.n_routed_experts * expert + shared + router
    else:
        layer += dense
    # eh_proj maps 2 d to d; the three norms are enorm, hnorm and the last one.
    mtp = config.num_nextn_predict_layers * (layer + 2 * d * d + 3 * d)
    return ParameterCount(parts(config.n_routed_experts), active, mtp)


def kv_cache_bytes(config: ModelConfig, tokens: int = 1, itemsize: int = 2) -> int:
    r"""Bytes that attention remembers of `tokens` tokens, in all layers.

    Latent attention keeps $(d_c + d_h^R)$ numbers a token and layer, plain
    attention $n_{kv}(d_q + d_v)$; `itemsize` is bytes a number (2: BF16).

    Source: DeepSeek-V2, table 1; DeepSeek's Insights paper, table 1.
    """
    if config.kv_lora_rank:
        # V3.2 keeps the indexer's key too, which is 0 wide where there is none.
        numbers = config.kv_lora_rank + config.qk_rope_head_dim + config.index_head_dim
    else:
        numbers = config.n_kv_heads * (config.qk_head_dim + config.v_head_dim)
    return numbers * config.n_layers * itemsize * tokens


def count_gpus(config: ModelConfig, context: int, users: int, memory: float) -> int:
    r"""Count the GPUs that hold the caches of `users`, and nothing else.

    $\lceil \mathrm{bytes}(\mathrm{context} \cdot \mathrm{users}) /
    \mathrm{memory} \rceil$ with `context` tokens a user and `memory` bytes a GPU;
    a number of the cache has two bytes (BF16).
    """
    return math.ceil(kv_cache_bytes(config, context * users) / memory)


def attention_flops(config: ModelConfig, seq_len: int, causal: bool = True) -> float:
    r"""Training operations a token spends on attending, not on its matrices.

    $3 \cdot 2 s\, n_h (d_q + d_v) L$ for forward and backward, halved when each
    token sees, on average, half of the $s$ = `seq_len` positions.

    Raises ValueError for attention that chooses its tokens by an indexer.
    """
    need_no_indexer(config)
    heads = config.n_heads * (config.qk_head_dim + config.v_head_dim)
    # A pair of positions costs d_q + d_v multiplications a head. Times 2 with the
    # additions, times 3 because each product has two in the backward pass.
    return 6 * seq_len * heads * config.n_layers * (0.5 if causal else 1.0)


def training_flops(
    config: ModelConfig, seq_len: int = 4096, causal: bool = True
) -> float:
    r"""Operations to train on one token: $6 N$ for matrices, and attention's.

    $N$ is `active_without_embedding`: two operations a parameter forward, four
    backward. A multiplication and an addition count as two. The formula is our
    reconstruction; it gives the 250 GFLOP a token of table 2 in the Insights paper.
    """
    # N numbers cost 2 N operations forward; the gradients of the input and of the
    # weight cost 2 N each.
    matrices = 6 * count_parameters(config).active_without_embedding
    return matrices + attention_flops(config, seq_len, causal)


def gpu_hours(flops: float, peak_flops: float, utilization: float) -> float:
    """Hours on one GPU for `flops` operations at a share of its peak per second.

    Raises ValueError for a utilization outside (0, 1].
    """
    if not 0 < utilization <= 1:
        raise ValueError(
            f"utilization is {utilization!r}; it is a share of the peak, in (0, 1]"
        )
    return flops / (peak_flops * utilization) / 3600


def dollars(hours: float, dollars_per_hour: float = 2.0) -> float:
    """Rent of GPU hours; $2 an hour is what DeepSeek-V3's table 1 assumes."""
    return hours * dollars_per_hour
