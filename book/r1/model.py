"""A transformer that predicts the next token."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from r1.attention import KVCache, MultiHeadAttention
from r1.config import ConfigError, ModelConfig
from r1.layers import RMSNorm, SwiGLU
from r1.moe import MoE


class Block(nn.Module):
    r"""One layer: attention, then a feed-forward layer, each added to its input.

    $u = x + \mathrm{Attn}(\mathrm{RMSNorm}(x))$ and
    $y = u + \mathrm{FFN}(\mathrm{RMSNorm}(u))$. From layer `n_dense_layers` on, the
    feed-forward layer is a mixture of experts.
    """

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.attn_norm = RMSNorm(config.dim, config.rms_norm_eps)
        self.attn = MultiHeadAttention(config)
        self.ffn_norm = RMSNorm(config.dim, config.rms_norm_eps)
        dense = layer < config.n_dense_layers
        self.ffn = SwiGLU(config.dim, config.inter_dim) if dense else MoE(config)

    def forward(
        self,
        x: Float[Tensor, "batch seq dim"],
        cache: KVCache | None = None,
        pads: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch seq dim"]:
        x = x + self.attn(self.attn_norm(x), cache, pads)
        return x + self.ffn(self.ffn_norm(x))


class Model(nn.Module):
    r"""Token ids to logits: embedding, blocks, a last norm, the output head.

    Matrices start as $\mathcal N(0, \texttt{initializer\_range}^2)$, norms as ones.

    Raises ConfigError for parts that are not built yet (latent attention and MTP
    modules: `kv_lora_rank`, `num_nextn_predict_layers`).
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        for field in ("kv_lora_rank", "num_nextn_predict_layers"):
            if getattr(config, field):
                raise ConfigError(
                    f"{field} is {getattr(config, field)!r}; Model does not build "
                    f"this so far, use {field}=0"
                )
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.n_layers))
        self.norm = RMSNorm(config.dim, config.rms_norm_eps)
        self.head = nn.Linear(config.dim, config.vocab_size, bias=False)
        for parameter in self.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=config.initializer_range)
        if config.tie_word_embeddings:
            self.head.weight = self.embed.weight

    def forward(
        self,
        tokens: Int[Tensor, "batch seq"],
        caches: list[KVCache] | None = None,
        pads: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch seq vocab"]:
        x = self.embed(tokens)
        for block, cache in zip(
            self.layers, caches or [None] * len(self.layers), strict=True
        ):
            x = block(x, cache, pads)
        return self.head(self.norm(x))

    def new_caches(self, capacity: int) -> list[KVCache]:
        """One empty cache a layer, each for `capacity` tokens."""
        return [KVCache(capacity) for _ in self.layers]


def cross_entropy(
    logits: Float[Tensor, "batch seq vocab"], targets: Int[Tensor, "batch seq"]
) -> Float[Tensor, ""]:
    r"""Mean surprise at the targets, in nats: $-\frac1T\sum_t \log p_t(y_t)$."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
