"""Attention over the past, and the cache that remembers it."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from r1.config import ModelConfig
from r1.layers import apply_rotary, rotary_angles


class KVCache:
    """Keys and values of the tokens seen so far, for one layer.

    `capacity` tokens are set aside at the first append; `nbytes` counts the
    numbers that are in use, which is what kv_cache_bytes predicts.

    Raises ValueError when more than `capacity` tokens are appended.
    """

    def __init__(self, capacity: int):
        self.capacity, self.length = capacity, 0
        self.keys = self.values = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v (batch seq heads width); return all that is stored."""
        end = self.length + k.shape[1]
        if end > self.capacity:
            raise ValueError(
                f"the cache holds {self.capacity} tokens and {end} are needed; "
                "make it with a larger capacity"
            )
        if self.keys is None:
            self.keys, self.values = (
                x.new_zeros(x.shape[0], self.capacity, *x.shape[2:]) for x in (k, v)
            )
        self.keys[:, self.length : end] = k
        self.values[:, self.length : end] = v
        self.length = end
        return self.keys[:, :end], self.values[:, :end]

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values in use, over the whole batch."""
        if self.keys is None:
            return 0
        used = (x[:, : self.length] for x in (self.keys, self.values))
        return sum(x.numel() * x.element_size() for x in used)


def causal_mask(
    length: int, start: int, pads: Int[Tensor, " batch"] | None = None
) -> Bool[Tensor, "batch 1 seq keys"]:
    """Which key each query may see: none of the future, and no padding.

    Queries stand at positions `start` to `start + length - 1`; row b begins with
    `pads[b]` padding tokens. A query always sees itself, so that no row of the
    softmax is empty, not even that of a padding token, which nobody reads.
    """
    query = torch.arange(start, start + length)[:, None]
    key = torch.arange(start + length)[None, :]
    past = (key <= query)[None, None]
    if pads is None:
        return past
    return past & ((key >= pads[:, None, None, None]) | (key == query))


class MultiHeadAttention(nn.Module):
    r"""Every head compares its query with the keys of the past, and mixes values.

    $o_{t,i} = \sum_{j \le t} \mathrm{softmax}_j\big(q_{t,i}^\top k_{j,i} /
    \sqrt{d_h}\big)\, v_{j,i}$ and $u_t = W^O [o_{t,1}; \dots; o_{t,n_h}]$.

    `n_kv_heads < n_heads` lets several queries share a key and a value (grouped
    queries; 1 is multi-query). The last `qk_rope_head_dim` features of queries and
    keys turn with the position.

    Source: DeepSeek-V2, equations 1 to 8.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        d, heads, kv_heads = config.dim, config.n_heads, config.n_kv_heads
        self.wq = nn.Linear(d, heads * config.qk_head_dim, bias=False)
        self.wk = nn.Linear(d, kv_heads * config.qk_head_dim, bias=False)
        self.wv = nn.Linear(d, kv_heads * config.v_head_dim, bias=False)
        self.wo = nn.Linear(heads * config.v_head_dim, d, bias=False)
        angles = rotary_angles(
            config.max_seq_len, config.qk_rope_head_dim, config.rope_theta
        )
        self.register_buffer("angles", angles, persistent=False)

    def forward(
        self,
        x: Float[Tensor, "batch seq dim"],
        cache: KVCache | None = None,
        pads: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch seq dim"]:
        """Attend from x to itself and to what the cache holds, and add x to it.

        Raises ValueError when the sequence outgrows `max_seq_len`.
        """
        start, length = (cache.length if cache else 0), x.shape[1]
        if start + length > len(self.angles):
            raise ValueError(
                f"{start + length} tokens exceed max_seq_len={len(self.angles)}; "
                "shorten the sequence or raise max_seq_len in the configuration"
            )
        angles = self.angles[start : start + length]
        q = self._turn(self.wq(x).unflatten(-1, (self.config.n_heads, -1)), angles)
        k = self._turn(self.wk(x).unflatten(-1, (self.config.n_kv_heads, -1)), angles)
        v = self.wv(x).unflatten(-1, (self.config.n_kv_heads, -1))
        if cache is not None:
            k, v = cache.append(k, v)
        plain = start == 0 and pads is None
        out = F.scaled_dot_product_attention(
            *(y.transpose(1, 2) for y in (q, k, v)),  # (b, h, s, d)
            attn_mask=None if plain else causal_mask(length, start, pads),
            is_causal=plain,
            enable_gqa=self.config.n_kv_heads < self.config.n_heads,
        )
        return self.wo(out.transpose(1, 2).flatten(-2))

    def _turn(self, x: Tensor, angles: Tensor) -> Tensor:
        nope = self.config.qk_nope_head_dim
        if not nope:
            return apply_rotary(x, angles)
        return torch.cat([x[..., :nope], apply_rotary(x[..., nope:], angles)], dim=-1)
