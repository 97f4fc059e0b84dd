"""Sparse attention: a small indexer scores the past, and few tokens are attended to."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from r1.model.attention import LatentAttention, causal_mask, softmax_scale
from r1.model.cache import KVCache
from r1.model.config import ModelConfig
from r1.model.layers import apply_rotary
from r1.model.transformer import Model


def index_scores(
    q: Float[Tensor, "b s j d"], k: Float[Tensor, "b t d"], w: Float[Tensor, "b s j"]
) -> Float[Tensor, "b s t"]:
    r"""How much each query wants each key.

    $I_{t,s} = \sum_j w_{t,j}\, \mathrm{ReLU}(q_{t,j} \cdot k_s)$ over indexer heads j.

    Source: DeepSeek-V3.2, equation 1.
    """
    return torch.einsum("bsj,bsjt->bst", w, torch.einsum("bsjd,btd->bsjt", q, k).relu())


def choose(
    scores: Float[Tensor, "b s t"], allowed: Bool[Tensor, "#b s t"], k: int
) -> tuple[Int[Tensor, "b s k"], Bool[Tensor, "b s k"]]:
    """The k best allowed keys of each query, and which of these k are allowed.

    A query near the beginning has fewer than k allowed keys; the rest of its k are not
    allowed, and must not be attended to.
    """
    found = scores.masked_fill(~allowed, -torch.inf)
    chosen = found.topk(min(k, scores.shape[-1]), dim=-1)
    return chosen.indices, chosen.values > -torch.inf


def index_loss(
    p: Float[Tensor, "b s t"],
    scores: Float[Tensor, "b s t"],
    among: Bool[Tensor, "#b s t"],
) -> Float[Tensor, ""]:
    r"""Mean KL divergence of the indexer from attention, over the keys `among`.

    $D_{KL}(p_t \| \mathrm{softmax}(I_t))$, with p 0 and the softmax empty elsewhere.

    Source: DeepSeek-V3.2, equations 3 and 4.
    """
    logq = scores.masked_fill(~among, -torch.inf).log_softmax(-1)
    terms = torch.xlogy(p, p) - p * logq.masked_fill(~among, 0.0)
    return terms.sum(-1).mean()


class Indexer(nn.Module):
    """Small queries, one small key for each token, and a weight for each query.

    Queries come from the query latent, keys and weights from what enters the layer, and
    the first `rotary` features turn with the position. Nothing flows back from here
    into the model: what comes in is detached.

    Source: DeepSeek-V3.2, equation 1, without the norm of keys, the Hadamard matrix and
    the eight bits; rotary pairs are neighbors.
    """

    def __init__(
        self, config: ModelConfig, heads: int = 4, width: int = 16, rotary: int = 8
    ):
        super().__init__()
        self.wq_b = nn.Linear(config.q_lora_rank, heads * width, bias=False)
        self.wk = nn.Linear(config.dim, width, bias=False)
        self.weights_proj = nn.Linear(config.dim, heads, bias=False)
        self.heads, self.width, self.rotary = heads, width, rotary

    def forward(
        self,
        q_latent: Float[Tensor, "b s rank"],
        x: Float[Tensor, "b s dim"],
        angles: Float[Tensor, "s pairs"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (b s j d), keys (b s d) and weights (b s j)."""
        q_latent, x = q_latent.detach(), x.detach()
        q = self.wq_b(q_latent).unflatten(-1, (self.heads, self.width))
        k = self.wk(x)[:, :, None]
        q, k = (
            torch.cat([apply_rotary(y[..., :r], angles), y[..., r:]], dim=-1)
            for r, y in ((self.rotary, q), (self.rotary, k))
        )
        # The scale keeps scores of the same size for any number of heads and features.
        scale = (self.heads * self.width) ** -0.5
        return q, k[:, :, 0], self.weights_proj(x) * scale


class SparseAttention(LatentAttention):
    """Latent attention that looks at the `k` tokens which its indexer ranks highest.

    Without `k` it looks at all tokens: then it is latent attention. The index keys are
    cached behind the latents. `impl` says how: "masked" computes all scores and throws
    most of them away; "fetched" takes k latents for each query and computes with these
    alone. `by` is "indexer", or "last" for the last k tokens.

    While training, `index_loss` is the divergence of the indexer from what all heads
    together attend to, among the tokens that were attended to.

    Source: DeepSeek-V3.2, equations 1 to 4.
    """

    def __init__(self, config: ModelConfig, k: int | None = None, by: str = "indexer"):
        super().__init__(config)
        self.indexer, self.k, self.by = Indexer(config), k, by
        self.impl = "masked"
        self.index_loss: Tensor | None = None

    def __getstate__(self) -> dict:
        # As in Router: a copy has not seen what the loss is of.
        return super().__getstate__() | {"index_loss": None}

    def _mix(
        self, x: Tensor, angles: Tensor, cache: KVCache | None, pads: Tensor | None
    ) -> Float[Tensor, "b s h d"]:
        c = self.config
        q_latent, past = self.q_norm(self.wq_a(x)), self._latent(x, angles)
        index_q, index_k, w = self.indexer(q_latent, x, angles)
        if cache is not None:
            past, index_k = cache.append(past, index_k)
        q = self._absorb(self.wq_b(q_latent).unflatten(-1, (c.n_heads, -1)), angles)
        length, start = x.shape[1], past.shape[1] - x.shape[1]
        allowed = causal_mask(length, start, pads)[:, 0]
        scores = self._rank(index_q, index_k, w)
        if self.impl == "fetched" and self.k:
            mixed = self._fetched(q, past, *choose(scores, allowed, self.k))
        else:
            among = self._among(scores, allowed)
            p = self._probabilities(q, past, among)
            if self.training and self.by == "indexer":
                self.index_loss = index_loss(p.detach().mean(2), scores, among)
            mixed = torch.einsum("bsht,btc->bshc", p, past[..., : c.kv_lora_rank])
        return torch.einsum("bshc,hdc->bshd", mixed, self._expansion()[1])

    def _rank(self, q: Tensor, k: Tensor, w: Tensor) -> Float[Tensor, "b s t"]:
        """What tokens are chosen by: the indexer's scores, or how late they stand."""
        if self.by == "indexer":
            return index_scores(q, k, w)
        positions = torch.arange(k.shape[1]).to(k)
        return positions.expand(*w.shape[:2], -1)

    def _expansion(self) -> tuple[Tensor, ...]:
        """W_UK and W_UV of each head."""
        heads = self.wkv_b.weight.unflatten(0, (self.config.n_heads, -1))
        widths = [self.config.qk_nope_head_dim, self.config.v_head_dim]
        return heads.split(widths, dim=1)

    def _absorb(
        self, q: Float[Tensor, "b s h d"], angles: Tensor
    ) -> Float[Tensor, "b s h latent"]:
        """Queries that are compared with the cached latents themselves."""
        widths = [self.config.qk_nope_head_dim, self.config.qk_rope_head_dim]
        q_nope, q_rope = q.split(widths, dim=-1)
        q_latent = torch.einsum("bshd,hdc->bshc", q_nope, self._expansion()[0])
        q = torch.cat([q_latent, apply_rotary(q_rope, angles)], dim=-1)
        return q * softmax_scale(self.config)

    def _among(self, ranks: Tensor, allowed: Tensor) -> Bool[Tensor, "b s t"]:
        """True for the keys that each query attends to."""
        if not self.k:
            return allowed
        chosen, is_allowed = choose(ranks, allowed, self.k)
        return torch.zeros_like(ranks, dtype=torch.bool).scatter(-1, chosen, is_allowed)

    @staticmethod
    def _probabilities(q: Tensor, past: Tensor, among: Tensor) -> Tensor:
        scores = torch.einsum("bshc,btc->bsht", q, past)
        return scores.masked_fill(~among[:, :, None], -torch.inf).softmax(-1)

    def _fetched(
        self, q: Tensor, past: Tensor, chosen: Tensor, is_allowed: Tensor
    ) -> Float[Tensor, "b s h c"]:
        rows = torch.arange(len(past))[:, None, None]
        few = past[rows, chosen]  # (b, s, k, c): k latents for each query
        scores = torch.einsum("bshc,bskc->bshk", q, few)
        p = scores.masked_fill(~is_allowed[:, :, None], -torch.inf).softmax(-1)
        return torch.einsum("bshk,bskc->bshc", p, few[..., : self.config.kv_lora_rank])


def sparse_layers(model: Model) -> list[SparseAttention]:
    """The sparse attention of each layer that has one."""
    attentions = (block.attn for block in model.layers)
    return [attn for attn in attentions if isinstance(attn, SparseAttention)]


def make_sparse(model: Model, k: int | None = None, by: str = "indexer") -> Model:
    """Give every layer of a model an indexer, in place; the MTP modules keep theirs.

    Weights stay, and without `k` so does what the model computes.
    """
    for block in model.layers:
        dense = block.attn
        block.attn = SparseAttention(model.config, k, by).to(dense.wo.weight)
        block.attn.load_state_dict(dense.state_dict(), strict=False)
        block.attn.train(dense.training)
    return model
