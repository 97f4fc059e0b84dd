"""What PPO adds to a policy gradient: advantages from a critic. It knows no model."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def gae(
    rewards: Float[Tensor, " batch"],
    values: Float[Tensor, "batch seq"],
    mask: Bool[Tensor, "batch seq"],
    lam: float = 1.0,
    gamma: float = 1.0,
) -> tuple[Float[Tensor, "batch seq"], Float[Tensor, "batch seq"]]:
    r"""Advantages of every token of every answer, and what the critic should have said.

    $\delta_t = r_t + \gamma V_{t+1} - V_t$ and $A_t = \sum_l (\gamma\lambda)^l
    \delta_{t+l}$, where the reward comes with the last token and the value behind it is
    0. The return is $A_t + V_t$. With $\lambda = 1$ and $\gamma = 1$ an advantage is
    reward less value; with $\lambda = 0$ it is one step's surprise.

    Raises ValueError for lam or gamma outside 0 to 1.
    Source: Schulman et al., 2016, equation 16, as in DAPO, equation 2.
    """
    if not 0 <= lam <= 1 or not 0 <= gamma <= 1:
        raise ValueError(f"lam is {lam}, gamma is {gamma}; both must be from 0 to 1")
    advantages = torch.zeros_like(values)
    ahead = next_value = torch.zeros_like(rewards)
    following = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    for t in reversed(range(values.shape[1])):
        last = mask[:, t] & ~following[:, t]
        delta = rewards * last + gamma * next_value - values[:, t]
        ahead = (delta + gamma * lam * ahead) * mask[:, t]
        advantages[:, t] = ahead
        next_value = values[:, t] * mask[:, t]
    return advantages, (advantages + values) * mask


def whiten(
    values: Float[Tensor, "batch seq"], mask: Bool[Tensor, "batch seq"]
) -> Float[Tensor, "batch seq"]:
    """Shift and scale to mean 0 and deviation 1 over all tokens of the mask.

    Values that are all equal become exactly 0, in whatever way their mean is rounded.
    """
    seen = values[mask]
    if (seen == seen[:1]).all():
        return torch.zeros_like(values)
    return (values - seen.mean()) / seen.std(correction=0) * mask
