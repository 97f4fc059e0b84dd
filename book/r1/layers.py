"""The pieces that every block is made of: norm, feed-forward layer, rotary turn."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class RMSNorm(nn.Module):
    r"""Divide each vector by its root mean square, then scale each feature.

    $y = w \odot x / \sqrt{\mathrm{mean}(x^2) + \epsilon}$, over the last axis.

    Source: Zhang and Sennrich, 2019, equation 4.
    """

    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class SwiGLU(nn.Module):
    r"""A feed-forward layer whose hidden features are gated.

    $y = W_2\,(\mathrm{silu}(W_1 x) \odot W_3 x)$: three matrices, no biases, named
    as in DeepSeek's inference code.

    Source: Shazeer, 2020, equation 6.
    """

    def __init__(self, dim: int, inter_dim: int):
        super().__init__()
        self.w1 = nn.Linear(dim, inter_dim, bias=False)
        self.w2 = nn.Linear(inter_dim, dim, bias=False)
        self.w3 = nn.Linear(dim, inter_dim, bias=False)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


def rotary_angles(
    length: int, width: int, theta: float = 10000.0
) -> Float[Tensor, "length pairs"]:
    r"""Angle of each pair of features at each position, in radians, as float64.

    $\phi_{t,i} = t\,\theta^{-2i/d}$ for position $t$ and pair $i$ of $d/2$.

    Raises ValueError when `width` is odd: features turn in pairs.
    Source: Su et al., 2021, section 3.2.2.
    """
    if width % 2:
        raise ValueError(f"a rotary width of {width} is odd; features turn in pairs")
    speeds = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.outer(torch.arange(length, dtype=torch.float64), speeds)


def apply_rotary(
    x: Float[Tensor, "batch seq heads width"],
    angles: Float[Tensor, "seq pairs"],
) -> Float[Tensor, "batch seq heads width"]:
    r"""Turn each pair of neighboring features by its position's angle.

    $(x_{2i}, x_{2i+1}) \mapsto (x_{2i}\cos\phi - x_{2i+1}\sin\phi,\;
    x_{2i}\sin\phi + x_{2i+1}\cos\phi)$. Pairs are interleaved, as in DeepSeek's code.
    """
    cos, sin = (f(angles).to(x.dtype)[:, None, :] for f in (torch.cos, torch.sin))
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = even * cos - odd * sin, even * sin + odd * cos
    return torch.stack(turned, dim=-1).flatten(-2)
