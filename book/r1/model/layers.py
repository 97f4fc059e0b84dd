"""The pieces that every block is made of: norm, feed-forward layer, rotary turn."""

import math

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


def rotary_speeds(width: int, theta: float = 10000.0) -> Float[Tensor, " pairs"]:
    r"""Angle by which each pair of features turns per position, in radians.

    $\theta_i = \theta^{-2i/d}$ for pair $i$ of $d/2$, as float64.

    Raises ValueError when `width` is odd: features turn in pairs.
    Source: Su et al., 2021, section 3.2.2.
    """
    if width % 2:
        raise ValueError(f"a rotary width of {width} is odd; features turn in pairs")
    # Pair 0 turns by 1 radian a position, the last pair by almost 1 / theta: fast pairs
    # tell near positions apart, slow pairs tell far positions apart.
    return theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


def rotary_angles(
    length: int, width: int, theta: float = 10000.0
) -> Float[Tensor, "length pairs"]:
    r"""Angle of each pair of features at each position, in radians, as float64.

    $\phi_{t,i} = t\,\theta^{-2i/d}$ for position $t$ and pair $i$ of $d/2$.

    Raises ValueError when `width` is odd: features turn in pairs.
    Source: Su et al., 2021, section 3.2.2.
    """
    positions = torch.arange(length, dtype=torch.float64)
    return torch.outer(positions, rotary_speeds(width, theta))


def yarn_range(
    width: int,
    theta: float,
    original_seq_len: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
) -> tuple[int, int]:
    r"""Pairs between which YaRN goes over from keeping speeds to dividing them.

    The pair that turns $r$ times over the $L$ trained positions is
    $\frac{d \ln(L / 2\pi r)}{2 \ln\theta}$; rounded down for `beta_fast` turns, up
    for `beta_slow`, and kept within 0 and $d - 1$, as DeepSeek's code does.

    Source: Peng et al., 2023, equations 17 to 19; DeepSeek's `inference/model.py`.
    """

    def pair(turns: float) -> float:
        # Pair i turns L theta^(-2i/d) / (2 pi) times over L positions. Setting this to
        # turns and solving for i gives the formula.
        ratio = original_seq_len / (2 * math.pi * turns)
        return width * math.log(ratio) / (2 * math.log(theta))

    # Fast pairs have small indices, so beta_fast gives the lower end.
    low, high = math.floor(pair(beta_fast)), math.ceil(pair(beta_slow))
    return max(low, 0), min(high, width - 1)


def yarn_speeds(
    width: int,
    theta: float,
    factor: float,
    original_seq_len: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
) -> Float[Tensor, " pairs"]:
    r"""Rotary speeds for a context `factor` times as long as the trained one.

    $\theta_i' = \gamma_i\,\theta_i + (1 - \gamma_i)\,\theta_i / s$: pairs that turn
    often ($\gamma_i = 1$) keep their speed $\theta_i$, those that turn less than once
    ($\gamma_i = 0$) are slowed down by $s$ = `factor`, with a ramp from pair `low` to
    pair `high` of yarn_range.

    Raises ValueError for a factor that is not 1 or more, and for an odd width.
    Source: Peng et al., 2023, section 3.2; DeepSeek's `inference/model.py`.
    """
    if not factor >= 1:  # nan is neither above 1 nor below
        raise ValueError(f"factor is {factor}; a context is extended by 1 or more")
    speeds = rotary_speeds(width, theta)
    low, high = yarn_range(width, theta, original_seq_len, beta_fast, beta_slow)
    pairs = torch.arange(len(speeds), dtype=torch.float64)
    # 0 up to pair low, 1 from pair high on. This is 1 - gamma of the formula. The 0.001
    # prevents a division by 0 where both ends are the same pair.
    slowed = ((pairs - low) / max(high - low, 0.001)).clamp(0, 1)
    return speeds * (1 - slowed) + speeds / factor * slowed


def yarn_mscale(factor: float, mscale: float = 1.0) -> float:
    r"""Factor on queries and on keys in a context `factor` times as long.

    $m = 0.1\,\texttt{mscale}\,\ln s + 1$, and 1 for $s \le 1$; the logits of
    attention are multiplied by $m^2$.

    Source: Peng et al., 2023, equation 22; DeepSeek's `inference/model.py`.
    """
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


def apply_rotary(
    x: Float[Tensor, "batch seq heads width"],
    angles: Float[Tensor, "seq pairs"],
) -> Float[Tensor, "batch seq heads width"]:
    r"""Turn each pair of neighboring features by its position's angle.

    $(x_{2i}, x_{2i+1}) \mapsto (x_{2i}\cos\phi - x_{2i+1}\sin\phi,\;
    x_{2i}\sin\phi + x_{2i+1}\cos\phi)$, which is $(x_{2i} + \mathrm i x_{2i+1})\,
    e^{\mathrm i\phi}$ in complex numbers. Pairs are interleaved, as in DeepSeek's code.
    """
    # A rotation in BF16 would change the length of a vector; compute in float32, and
    # round once at the end.
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    # Interleaved pairs (0, 1), (2, 3), ...: real and imaginary part of one number each.
    # view_as_complex needs them side by side in memory.
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)).contiguous())
    turn = torch.polar(torch.ones_like(angles), angles).to(pairs.dtype)
    turned = pairs * turn[:, None, :]
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)
