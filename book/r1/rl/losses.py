"""From log-probabilities and advantages to a loss. It knows no model."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from r1.train.likelihood import aggregate

KL_ESTIMATORS = ("k1", "k2", "k3")


def ratio(
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    mask: Bool[Tensor, "batch seq"],
    level: str = "token",
) -> Float[Tensor, "batch seq"]:
    r"""How much likelier than when it was sampled: $\rho = \pi / \pi_\mathrm{old}$.

    "token": of each token by itself. "sequence": of the whole answer,
    $\prod_t \rho_t$, the same number at each of its tokens, as the published
    objective has it (DeepSeek-R1, equation 1).

    Raises ValueError for another level.
    """
    if level not in ("token", "sequence"):
        raise ValueError(f"level is {level!r}; use 'token' or 'sequence'")
    # Masked before exp, which may be inf at padding: inf times 0 would be nan.
    log_ratio = (logp - logp_old).masked_fill(~mask, 0.0)
    if level == "sequence":
        # A product of ratios is the exponential of a sum of logarithms, in which no
        # partial product can overflow.
        log_ratio = log_ratio.sum(-1, keepdim=True).expand_as(log_ratio)
    return log_ratio.exp()


def clipped_surrogate(
    rho: Float[Tensor, "*shape"],
    advantages: Float[Tensor, "*shape"],
    clip: tuple[float, float] = (0.2, 0.2),
) -> Float[Tensor, "*shape"]:
    r"""$\min(\rho A,\ \mathrm{clip}(\rho, 1 - \epsilon_\mathrm{low}, 1 +
    \epsilon_\mathrm{high})\,A)$, to be maximized.

    The gradient is 0 where a step has been taken already: $A > 0$ and $\rho$ above the
    range, $A < 0$ and $\rho$ below it.

    Source: Schulman et al., 2017, equation 7; DeepSeekMath, equation 3.
    """
    low, high = clip
    # A > 0: min(rho, 1 + high) A, no gain from going above. A < 0: max(rho, 1 - low) A,
    # none from going below. On the other side of the range rho A is the smaller term,
    # so the gradient can bring a token back.
    return torch.minimum(rho * advantages, rho.clamp(1 - low, 1 + high) * advantages)


def silenced(
    rho: Float[Tensor, "*shape"],
    advantages: Float[Tensor, "*shape"],
    clip: tuple[float, float] = (0.2, 0.2),
) -> Bool[Tensor, "*shape"]:
    """Where the clip of `clipped_surrogate` has taken the gradient."""
    low, high = clip
    above, below = rho > 1 + high, rho < 1 - low
    return (above & (advantages > 0)) | (below & (advantages < 0))


def kl(
    logp: Float[Tensor, "*shape"],
    logp_ref: Float[Tensor, "*shape"],
    estimator: str = "k3",
) -> Float[Tensor, "*shape"]:
    r"""Estimates of $D_\mathrm{KL}(\pi \| \pi_\mathrm{ref})$ from tokens drawn from
    $\pi$.

    With $\ell = \log\pi - \log\pi_\mathrm{ref}$: $k_1 = \ell$, right on average;
    $k_2 = \ell^2 / 2$, not quite; $k_3 = e^{-\ell} + \ell - 1$, right on average and
    never negative, which is what DeepSeek uses.

    Raises ValueError for another estimator.
    Source: Schulman, 2020, "Approximating KL divergence"; DeepSeekMath, equation 4.
    """
    if estimator not in KL_ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r}; use one of {KL_ESTIMATORS}")
    # Under pi the mean of exp(-l) = pi_ref / pi is 1. So k3 adds a term of mean 0 to
    # k1, and is never negative because e^x >= 1 + x. exp(+l) would have another mean.
    log_ratio = logp - logp_ref
    if estimator == "k1":
        return log_ratio
    if estimator == "k2":
        return log_ratio.square() / 2
    return (-log_ratio).exp() + log_ratio - 1


class Loss(NamedTuple):
    """The number to minimize, and what is worth watching beside it, detached."""

    loss: Tensor
    kl: Tensor
    clipped: Tensor


def grpo_loss(
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    advantages: Float[Tensor, " batch"],
    mask: Bool[Tensor, "batch seq"],
    clip: tuple[float, float] = (0.2, 0.2),
    kl_weight: float = 0.0,
    logp_ref: Float[Tensor, "batch seq"] | None = None,
    how: str = "sequence",
    level: str = "token",
    constant: float | None = None,
) -> Loss:
    r"""What to minimize: $-\mathrm{aggregate}(\min[\rho A, \mathrm{clip}(\rho) A]
    - \beta\, k_3)$.

    `logp` has a gradient; `logp_old` is that of the model that wrote the answers,
    `logp_ref` that of the model to stay near to, needed where $\beta$ = `kl_weight` is
    not 0. In `clipped` is the share of tokens whose gradient the clip has taken.

    Raises ValueError for a KL weight without a reference, and as its parts do.
    Source: DeepSeekMath, equations 3 and 4.
    """
    if kl_weight and logp_ref is None:
        raise ValueError(f"kl_weight is {kl_weight} and logp_ref is None; give it")
    # If logp_old is logp, detached, rho is 1 but its gradient is that of log pi: a loss
    # whose value is 0 can still have a gradient.
    rho = ratio(logp, logp_old.detach(), mask, level)
    # GRPO gives all tokens of an answer the same advantage.
    token_advantages = advantages[:, None].expand_as(rho)
    objective = clipped_surrogate(rho, token_advantages, clip)
    divergence = torch.zeros_like(logp)
    # Prompt and padding may have any difference, and exp of it may be inf: mask before.
    if logp_ref is not None:
        divergence = kl(
            logp.masked_fill(~mask, 0.0), logp_ref.masked_fill(~mask, 0.0).detach()
        )
    # k_3 may be infinite far from the reference, and 0 times inf would be nan.
    if kl_weight:
        objective = objective - kl_weight * divergence
    clipped = silenced(rho, token_advantages, clip)
    return Loss(
        -aggregate(objective, mask, how, constant),
        aggregate(divergence.detach(), mask, "token"),
        aggregate(clipped.to(logp.dtype), mask, "token"),
    )


@dataclass(frozen=True)
class GRPOLoss:
    """grpo_loss with its settings chosen: what a training loop is given.

    `clip` is how far a ratio may go below and above 1; `constant` belongs to `how`.
    """

    clip: tuple[float, float] = (0.2, 0.2)
    kl_weight: float = 0.0
    how: str = "sequence"
    level: str = "token"
    constant: float | None = None

    def __call__(
        self,
        logp: Float[Tensor, "batch seq"],
        logp_old: Float[Tensor, "batch seq"],
        advantages: Float[Tensor, " batch"],
        mask: Bool[Tensor, "batch seq"],
        logp_ref: Float[Tensor, "batch seq"] | None = None,
    ) -> Loss:
        """grpo_loss; the loop gives `logp_ref` where `kl_weight` is not 0."""
        return grpo_loss(
            logp,
            logp_old,
            advantages,
            mask,
            self.clip,
            self.kl_weight,
            logp_ref,
            self.how,
            self.level,
            self.constant,
        )
