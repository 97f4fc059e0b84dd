"""Several words at a time: modules that look one token further each."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from r1.model.block import Block
from r1.model.cache import KVCache
from r1.model.config import ModelConfig
from r1.model.layers import RMSNorm


class MTPModule(nn.Module):
    r"""From what the model knows after token $i$ and the next token to the one beyond.

    $h'^k_i = M_k\,[\mathrm{RMSNorm}(\mathrm{Emb}(t_{i+k}));
    \mathrm{RMSNorm}(h^{k-1}_i)]$ and $h^k = \mathrm{RMSNorm}(\mathrm{Block}(h'^k))$.
    From it the head of the main model tells $t_{i+k+1}$. The block is of the kind of
    the model's last layer.

    The paper writes the halves of $M_k$'s input the other way round; this order is that
    of DeepSeek's weights. Which state is handed on, the paper leaves open and programs
    differ: here it is the one after a last norm, as in Transformers' `MtpModel`, and
    $h^0$ is what the main model's last norm puts out. Names are those of the weights;
    `embed` and `head` belong to the main model.

    Source: DeepSeek-V3, equations 21 and 22.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        d, eps = config.dim, config.rms_norm_eps
        self.enorm, self.hnorm = RMSNorm(d, eps), RMSNorm(d, eps)
        self.eh_proj = nn.Linear(2 * d, d, bias=False)
        self.block = Block(config, config.n_layers - 1)
        self.norm = RMSNorm(d, eps)

    def forward(
        self,
        hidden: Float[Tensor, "batch seq dim"],
        embedded: Float[Tensor, "batch seq dim"],
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch seq dim"]:
        # Separate norms: an embedding and a hidden state have very different lengths,
        # and without norms the projection would mostly see the longer one.
        x = torch.cat([self.enorm(embedded), self.hnorm(hidden)], dim=-1)
        return self.norm(self.block(self.eh_proj(x), cache))


def mtp_losses(
    modules: Iterable[MTPModule],
    embed: Callable[[Tensor], Tensor],
    head: Callable[[Tensor], Tensor],
    hidden: Float[Tensor, "batch seq dim"],
    tokens: Int[Tensor, "batch seq+1"],
) -> list[Float[Tensor, ""]]:
    r"""Surprise of each module at the tokens it should foretell, in nats.

    $\mathcal L^k = -\frac1T \sum_{i=2+k}^{T+1} \log P^k_i[t_i]$. The T positions of
    `hidden` have seen tokens 1 to T of the T + 1 in `tokens`. Module k works on
    positions 1 to T - k: position i is given $t_{i+k}$ and foretells $t_{i+k+1}$. With
    six tokens "a b c d e f" (T = 5), module 1 at position 1 has seen a, is given b and
    foretells c; its last position, 4, has seen a to d, is given e and foretells f.

    The sum has T - k terms and is divided by T, as in the paper.
    Source: DeepSeek-V3, equations 21 to 24.
    """
    losses, length = [], hidden.shape[1]
    for depth, module in enumerate(modules, start=1):
        # From 0: position i reads tokens[i + depth], predicts tokens[i + depth + 1].
        next_tokens, targets = tokens[:, depth:length], tokens[:, depth + 1 :]
        # The last position has no token that far ahead; attention is causal, so
        # dropping it changes no other. The states go on, so later losses train earlier
        # modules.
        hidden = module(hidden[:, :-1], embed(next_tokens))
        logits = head(hidden)
        total = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="sum"
        )
        # Divided by T and not by the T - k terms: as in the paper, deeper modules weigh
        # a little less. len(tokens) is the batch.
        losses.append(total / (length * len(tokens)))
    return losses
