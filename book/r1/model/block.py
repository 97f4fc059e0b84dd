"""One layer of a transformer."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from r1.model.attention import LatentAttention, MultiHeadAttention
from r1.model.cache import KVCache
from r1.model.config import ModelConfig
from r1.model.layers import RMSNorm, SwiGLU
from r1.model.moe import MoE


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
        # No norm behind the sum: gradients pass from y to x unchanged.
        x = x + self.attn(self.attn_norm(x), cache, pads)
        return x + self.ffn(self.ffn_norm(x))
