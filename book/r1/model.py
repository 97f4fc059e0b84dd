"""A transformer that predicts the next token."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from r1.attention import LatentAttention, MultiHeadAttention
from r1.cache import KVCache
from r1.config import ConfigError, ModelConfig
from r1.layers import RMSNorm, SwiGLU
from r1.moe import MoE


class Block(nn.Module):
    r"""One layer: attention, then a feed-forward layer, each added to its input.

    $u = x + \mathrm{Attn}(\mathrm{RMSNorm}(x))$ and
    $y = u + \mathrm{FFN}(\mathrm{RMSNorm}(u))$. From layer `n_dense_layers` on, the
    feed-forward layer is a mixture of experts; attention is latent where
    `kv_lora_rank` is not 0.
    """

    def __init__(self, config: ModelConfig, layer: int = 0):
        super().__init__()
        self.attn_norm = RMSNorm(config.dim, config.rms_norm_eps)
        attention = LatentAttention if config.kv_lora_rank else MultiHeadAttention
        self.attn = attention(config)
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

    Raises ConfigError for MTP modules, which it does not build so far.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        if config.num_nextn_predict_layers:
            raise ConfigError(
                f"num_nextn_predict_layers is {config.num_nextn_predict_layers!r}; "
                "Model does not build this so far, use num_nextn_predict_layers=0"
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
