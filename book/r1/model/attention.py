"""Attention over the past: with a key and value per head, or with one latent."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from r1.model.cache import KVCache
from r1.model.config import ModelConfig
from r1.model.formats import ConfigError
from r1.model.layers import (
    RMSNorm,
    apply_rotary,
    rotary_speeds,
    yarn_mscale,
    yarn_speeds,
)

IMPLEMENTATIONS = ("auto", "naive", "absorbed")


def model_angles(config: ModelConfig) -> Float[Tensor, "length pairs"]:
    """Rotary angles for all `max_seq_len` positions, stretched by YaRN if configured.

    As in DeepSeek's inference code, YaRN is on where `rope_factor` exceeds 1 and
    `max_seq_len` exceeds `original_seq_len`.
    """
    width, theta = config.qk_rope_head_dim, config.rope_theta
    speeds = rotary_speeds(width, theta)
    if config.yarn:
        speeds = yarn_speeds(
            width,
            theta,
            config.rope_factor,
            config.original_seq_len,
            config.beta_fast,
            config.beta_slow,
        )
    # float64, because float32 has 24 significant bits: an angle near 4,096 radians
    # could be off by 0.0002, and an angle near 100,000 by 0.004.
    return torch.outer(torch.arange(config.max_seq_len, dtype=torch.float64), speeds)


def softmax_scale(config: ModelConfig) -> float:
    r"""Factor on the product of a query and a key: $m^2 / \sqrt{d_h + d_h^R}$.

    $m$ is 1, or yarn_mscale where YaRN is on.
    """
    # YaRN multiplies queries and keys by m each, so a score is multiplied by m twice.
    m = yarn_mscale(config.rope_factor, config.mscale) if config.yarn else 1.0
    return m * m / math.sqrt(config.qk_head_dim)


def angles_after(
    cache: KVCache | None, x: Tensor, angles: Tensor, pads: Tensor | None
) -> Float[Tensor, "seq pairs"]:
    """Angles of the positions at which x (batch seq dim) follows what is cached.

    Raises ValueError when the sequence outgrows `angles`, and when `pads` has not
    one number for each row of x.
    """
    start = cache.length if cache else 0
    end = start + x.shape[1]
    if end > len(angles):
        raise ValueError(
            f"{end} tokens exceed max_seq_len={len(angles)}; "
            "shorten the sequence or raise max_seq_len in the configuration"
        )
    if pads is not None and len(pads) != len(x):
        raise ValueError(
            f"pads has {len(pads)} numbers for {len(x)} sequences; give one for each"
        )
    return angles[start:end]


def causal_mask(
    length: int, start: int, pads: Int[Tensor, " batch"] | None = None
) -> Bool[Tensor, "batch 1 seq keys"]:
    """Which key each query may see: none of the future, and no padding.

    Queries stand at positions `start` to `start + length - 1`; row b begins with
    `pads[b]` padding tokens. A query always sees itself, so that no row of the
    softmax is empty, not even that of a padding token, which nobody reads.
    """
    # Rows are the new queries, columns all keys: a cache adds columns.
    device = None if pads is None else pads.device
    query = torch.arange(start, start + length, device=device)[:, None]
    key = torch.arange(start + length, device=device)[None, :]
    past = (key <= query)[None, None]
    if pads is None:
        return past
    # Without (key == query) a padding token would have no key. A softmax over no key is
    # nan where it is written out, and torch's fused attention gives 0 in its place.
    return past & ((key >= pads[:, None, None, None]) | (key == query))


def attend(
    q: Float[Tensor, "b s h d"],
    k: Float[Tensor, "b t kv_heads d"],
    v: Float[Tensor, "b t kv_heads v"],
    pads: Int[Tensor, " b"] | None,
    scale: float,
    grouped: bool = False,
) -> Float[Tensor, "b s h v"]:
    """Mix the values of the past by torch's kernel; the last `s` of `t` ask.

    Without padding the kernel needs no mask: it leaves out the future where all ask,
    and a single token sees everything. It is fast where keys and values have one width,
    so the narrower get features of 0, which change no score and are cut off again.
    """
    length, start = q.shape[1], k.shape[1] - q.shape[1]
    # is_causal aligns the triangle with the first key, which is wrong with cached keys.
    causal = pads is None and start == 0
    everything = pads is None and length == 1
    mask = None
    if not (causal or everything):
        mask = causal_mask(length, start, pads).to(q.device)
    narrow, wide = v.shape[-1], max(q.shape[-1], v.shape[-1])
    q, k, v = (
        y if y.shape[-1] == wide else F.pad(y, (0, wide - y.shape[-1]))
        for y in (q, k, v)
    )
    out = F.scaled_dot_product_attention(
        *(y.transpose(1, 2) for y in (q, k, v)),  # (b, h, s, d)
        attn_mask=mask,
        is_causal=causal,
        scale=scale,
        enable_gqa=grouped,
    )
    return out.transpose(1, 2)[..., :narrow]


class Attention(nn.Module):
    """What both kinds of attention share: angles, and how a layer is called.

    A kind has `_mix`, which puts x into the cache and returns a mixture of values for
    each head (batch seq heads features), and the output matrix `wo`.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.register_buffer("angles", model_angles(config), persistent=False)

    def _apply(self, fn, recurse=True):
        """Move as any module, with angles left in float64: BF16 has 3 digits."""
        # Module.to(bfloat16) converts every buffer; the float64 tensor is put back.
        exact = self.angles
        super()._apply(fn, recurse)
        self.angles = exact.to(self.angles.device)
        return self

    def forward(
        self,
        x: Float[Tensor, "batch seq dim"],
        cache: KVCache | None = None,
        pads: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch seq dim"]:
        """Attend from x to itself and to what the cache holds; put x into the cache.

        Raises ValueError when the sequence outgrows `max_seq_len`.
        """
        angles = angles_after(cache, x, self.angles, pads)
        return self.wo(self._mix(x, angles, cache, pads).flatten(-2))


class MultiHeadAttention(Attention):
    r"""Every head compares its query with the keys of the past, and mixes values.

    $o_{t,i} = \sum_{j \le t} \mathrm{softmax}_j\big(q_{t,i}^\top k_{j,i} /
    \sqrt{d_h}\big)\, v_{j,i}$ and $u_t = W^O [o_{t,1}; \dots; o_{t,n_h}]$.

    `n_kv_heads < n_heads` lets several queries share a key and a value (grouped
    queries; 1 is multi-query). The last `qk_rope_head_dim` features of queries and
    keys turn with the position.

    Source: DeepSeek-V2, equations 1 to 8.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        d, heads, kv_heads = config.dim, config.n_heads, config.n_kv_heads
        self.wq = nn.Linear(d, heads * config.qk_head_dim, bias=False)
        self.wk = nn.Linear(d, kv_heads * config.qk_head_dim, bias=False)
        self.wv = nn.Linear(d, kv_heads * config.v_head_dim, bias=False)
        self.wo = nn.Linear(heads * config.v_head_dim, d, bias=False)

    def _mix(
        self, x: Tensor, angles: Tensor, cache: KVCache | None, pads: Tensor | None
    ) -> Float[Tensor, "b s h d"]:
        q = self._turn(self.wq(x).unflatten(-1, (self.config.n_heads, -1)), angles)
        k = self._turn(self.wk(x).unflatten(-1, (self.config.n_kv_heads, -1)), angles)
        v = self.wv(x).unflatten(-1, (self.config.n_kv_heads, -1))
        if cache is not None:
            # Keys are cached after the rotation: their positions never change.
            k, v = cache.append(k, v)
        grouped = self.config.n_kv_heads < self.config.n_heads
        return attend(q, k, v, pads, softmax_scale(self.config), grouped)

    def _turn(self, x: Tensor, angles: Tensor) -> Tensor:
        nope = self.config.qk_nope_head_dim
        if not nope:
            return apply_rotary(x, angles)
        return torch.cat([x[..., :nope], apply_rotary(x[..., nope:], angles)], dim=-1)


class LatentAttention(Attention):
    r"""Attention that remembers one latent vector and one rotary key per token.

    $c_t = \mathrm{RMSNorm}(W^{DKV} h_t)$ and $k_t^R = \mathrm{RoPE}(W^{KR} h_t)$ are
    cached, $d_c + d_h^R$ numbers; $k_{t,i} = [W^{UK}_i c_t; k_t^R]$,
    $v_{t,i} = W^{UV}_i c_t$, and queries come from a latent of their own if
    `q_lora_rank` is not 0.

    `impl` says how: "naive" forms keys and values, "absorbed" moves $W^{UK}$ to the
    query and $W^{UV}$ behind the sum, so that heads share the latent as key and
    value; "auto" is absorbed for a single token after a cache and naive otherwise.
    Matrices have the names of DeepSeek's inference code.

    Raises ConfigError without a latent, ValueError for an unknown `impl`.
    Source: DeepSeek-V3, equations 1 to 11 (the norms: its inference code).
    """

    def __init__(self, config: ModelConfig, impl: str = "auto"):
        super().__init__(config)
        if not config.kv_lora_rank:
            raise ConfigError(
                "kv_lora_rank is 0; give the latent a width, or use MultiHeadAttention"
            )
        if impl not in IMPLEMENTATIONS:
            raise ValueError(f"impl is {impl!r}; choose one of {IMPLEMENTATIONS}")
        self.impl = impl
        d, eps = config.dim, config.latent_norm_eps
        heads, d_c = config.n_heads, config.kv_lora_rank
        if config.q_lora_rank:
            self.wq_a = nn.Linear(d, config.q_lora_rank, bias=False)
            self.q_norm = RMSNorm(config.q_lora_rank, eps)
            self.wq_b = nn.Linear(
                config.q_lora_rank, heads * config.qk_head_dim, bias=False
            )
        else:
            self.wq = nn.Linear(d, heads * config.qk_head_dim, bias=False)
        self.wkv_a = nn.Linear(d, d_c + config.qk_rope_head_dim, bias=False)
        self.kv_norm = RMSNorm(d_c, eps)
        self.wkv_b = nn.Linear(
            d_c, heads * (config.qk_nope_head_dim + config.v_head_dim), bias=False
        )
        self.wo = nn.Linear(heads * config.v_head_dim, d, bias=False)

    def _mix(
        self, x: Tensor, angles: Tensor, cache: KVCache | None, pads: Tensor | None
    ) -> Float[Tensor, "b s h d"]:
        q = self._queries(x).unflatten(-1, (self.config.n_heads, -1))
        q_nope, q_rope = q.split(
            [self.config.qk_nope_head_dim, self.config.qk_rope_head_dim], dim=-1
        )
        # A rotated content key would put a rotation, which depends on both positions,
        # between W_UQ and W_UK. W_UK could then not be moved to the query.
        q_rope = apply_rotary(q_rope, angles)
        past = self._latent(x, angles)
        if cache is not None:
            (past,) = cache.append(past)
        # For a pair of positions absorbed costs n_h (2 d_c + d_h^R), naive only n_h
        # (d_q + d_v). But naive first expands all cached latents, which costs most for
        # one new token.
        decoding = self.impl == "auto" and past.shape[1] > x.shape[1] == 1
        absorb = self.impl == "absorbed" or decoding
        return (self._absorbed if absorb else self._naive)(q_nope, q_rope, past, pads)

    def _queries(self, x: Tensor) -> Tensor:
        if self.config.q_lora_rank:
            return self.wq_b(self.q_norm(self.wq_a(x)))
        return self.wq(x)

    def _latent(self, x: Tensor, angles: Tensor) -> Tensor:
        """What is cached: the latent, and the rotary key that all heads share."""
        latent, k_rope = self._split(self.wkv_a(x))
        # All heads share it, so the cache grows by d_h^R numbers a token and not by n_h
        # d_h^R. apply_rotary wants an axis of heads: one head here.
        k_rope = apply_rotary(k_rope[:, :, None], angles)[:, :, 0]
        # The norm comes before the cache. So only linear maps, W_UK and W_UV, stand
        # between the cache and the scores, and absorbed attention can move them.
        return torch.cat([self.kv_norm(latent), k_rope], dim=-1)

    def _split(self, past: Tensor) -> tuple[Tensor, ...]:
        widths = [self.config.kv_lora_rank, self.config.qk_rope_head_dim]
        return past.split(widths, dim=-1)

    def _naive(
        self,
        q_nope: Float[Tensor, "b s h n"],
        q_rope: Float[Tensor, "b s h r"],
        past: Float[Tensor, "b t latent"],
        pads: Int[Tensor, " b"] | None,
    ) -> Float[Tensor, "b s h d"]:
        latent, k_rope = self._split(past)
        heads, d_h = self.config.n_heads, self.config.qk_nope_head_dim
        kv = self.wkv_b(latent).unflatten(-1, (heads, -1))
        k_rope = k_rope[:, :, None].expand(-1, -1, heads, -1)
        q = torch.cat([q_nope, q_rope], dim=-1)
        k = torch.cat([kv[..., :d_h], k_rope], dim=-1)
        return attend(q, k, kv[..., d_h:], pads, softmax_scale(self.config))

    def _absorbed(
        self,
        q_nope: Float[Tensor, "b s h n"],
        q_rope: Float[Tensor, "b s h r"],
        past: Float[Tensor, "b t latent"],
        pads: Int[Tensor, " b"] | None,
    ) -> Float[Tensor, "b s h d"]:
        heads, d_c = self.config.n_heads, self.config.kv_lora_rank
        # The rows of wkv_b belong to heads; of each head the first d_h make the key,
        # the others the value.
        w_uk, w_uv = self.wkv_b.weight.unflatten(0, (heads, -1)).split(
            [self.config.qk_nope_head_dim, self.config.v_head_dim], dim=1
        )
        # q^T (W_UK c) = (W_UK^T q)^T c. The product with W_UK moves from all keys to
        # one query, and the latent itself becomes the key.
        q_latent = torch.einsum("bshd,hdc->bshc", q_nope, w_uk)
        q = torch.cat([q_latent, q_rope], dim=-1) * softmax_scale(self.config)
        # [q_latent; q_rope] times [latent; rotary key] adds both parts of the score.
        # past has no axis h: all heads share it.
        scores = torch.einsum("bshc,btc->bsht", q, past)
        length, start = q.shape[1], past.shape[1] - q.shape[1]
        if length > 1 or pads is not None:
            mask = causal_mask(length, start, pads).transpose(1, 2)
            scores = scores.masked_fill(~mask.to(scores.device), -torch.inf)
        # sum_t p_t (W_UV c_t) = W_UV (sum_t p_t c_t): expand one mixture, not t values.
        mixed = torch.einsum("bsht,btc->bshc", scores.softmax(-1), past[..., :d_c])
        return torch.einsum("bshc,hdc->bshd", mixed, w_uv)
