"""What came after GRPO: other losses, a rule for length, groups that are kept.

It knows no model. A loss of this file takes what grpo_loss takes first, and gives a
Loss; r1.rl.grpo is given it in its settings.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from r1.rl.losses import Loss, clipped_surrogate, kl, ratio, silenced
from r1.train.likelihood import aggregate

NONE = torch.zeros(())


def mean_ratio(
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    mask: Bool[Tensor, "batch seq"],
) -> Float[Tensor, " batch"]:
    r"""$s_i = (\prod_t \rho_{i,t})^{1 / |o_i|}$: the geometric mean of the ratios.

    Source: GSPO, equation 7.
    """
    log_ratio = (logp - logp_old.detach()).masked_fill(~mask, 0.0)
    # A root of order |o| is a division by |o| of the logarithm. It keeps the ratio of a
    # long answer near to 1, which is why the clip range of GSPO is so narrow.
    return (log_ratio.sum(-1) / mask.sum(-1)).exp()


def gspo_loss(
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    advantages: Float[Tensor, " batch"],
    mask: Bool[Tensor, "batch seq"],
    clip: tuple[float, float] = (3e-4, 4e-4),
) -> Loss:
    r"""$-\frac1B \sum_i \min(s_i A_i, \mathrm{clip}(s_i) A_i)$: whole answers clipped.

    In `clipped` is the share of tokens in answers that the clip has silenced. The
    default range is the paper's, for answers of thousands of tokens.

    Source: GSPO, equation 5 (range: section 5.1).
    """
    mean_ratios = mean_ratio(logp, logp_old, mask)
    clipped = (
        silenced(mean_ratios, advantages, clip)[:, None].expand_as(logp).to(logp.dtype)
    )
    loss = -clipped_surrogate(mean_ratios, advantages, clip).mean()
    return Loss(loss, NONE, aggregate(clipped, mask, "token"))


def gspo_token_loss(
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    advantages: Float[Tensor, " batch"],
    mask: Bool[Tensor, "batch seq"],
    clip: tuple[float, float] = (3e-4, 4e-4),
) -> Loss:
    r"""The same gradient by tokens: $s_{i,t} = \mathrm{sg}[s_i]\, \pi_{i,t} /
    \mathrm{sg}[\pi_{i,t}]$, averaged by answer, which is how libraries compute it.

    Source: GSPO, equations 13 and 14.
    """
    mean_ratios = mean_ratio(logp, logp_old, mask).detach()[:, None]
    # The value of exp(logp - sg[logp]) is 1 and its gradient is that of logp. So rho
    # has the value s, and its gradient goes to each token separately.
    rho = mean_ratios * (logp - logp.detach()).masked_fill(~mask, 0.0).exp()
    token_advantages = advantages[:, None].expand_as(rho)
    loss = -aggregate(clipped_surrogate(rho, token_advantages, clip), mask, "sequence")
    return gspo_loss(logp, logp_old, advantages, mask, clip)._replace(loss=loss)


def product_loss(
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    advantages: Float[Tensor, " batch"],
    mask: Bool[Tensor, "batch seq"],
    clip: tuple[float, float] = (0.2, 0.2),
) -> Loss:
    r"""$-\frac1B \sum_i \frac{1}{|o_i|} \min(P_i A_i, \mathrm{clip}(P_i) A_i)$ with
    $P_i = \prod_t \rho_{i,t}$: the product with GRPO's $1 / |o_i|$.

    grpo_loss with level="sequence" has no $1 / |o_i|$ at a token: the mean over tokens
    has taken it out of a sum of $|o_i|$ equal numbers.
    """
    product = ratio(logp, logp_old.detach(), mask, "sequence")
    token_advantages = advantages[:, None].expand_as(product)
    # aggregate takes the mean of |o| equal numbers, which cancels its own 1 / |o|. Here
    # is the 1 / |o| that remains.
    objective = clipped_surrogate(product, token_advantages, clip) / mask.sum(
        -1, keepdim=True
    )
    clipped = silenced(product, token_advantages, clip).to(logp.dtype)
    loss = -aggregate(objective, mask, "sequence")
    return Loss(loss, NONE, aggregate(clipped, mask, "token"))


@dataclass(frozen=True)
class PrintedLoss:
    r"""R1's objective as it is printed: $-\frac1B \sum_i \left( \min(P_i A_i,
    \mathrm{clip}(P_i) A_i) - \beta\, k_3 \right)$ with the probabilities of whole
    answers in both terms.

    $P_i$ is the product of the ratios of the tokens, and $k_3 = Q_i - \log Q_i - 1$
    with $Q_i = \pi_\mathrm{ref}(o_i) / \pi(o_i)$. The defaults are R1's. In `clipped`
    is the share of tokens in answers that the clip has silenced.

    Source: DeepSeek-R1, equations 1 and 2 (range and weight: version 2, section 3.2.1).
    """

    clip: tuple[float, float] = (10.0, 10.0)
    kl_weight: float = 0.001

    def __call__(
        self,
        logp: Float[Tensor, "batch seq"],
        logp_old: Float[Tensor, "batch seq"],
        advantages: Float[Tensor, " batch"],
        mask: Bool[Tensor, "batch seq"],
        logp_ref: Float[Tensor, "batch seq"] | None = None,
    ) -> Loss:
        """The loss; the loop gives `logp_ref` where `kl_weight` is not 0.

        Raises ValueError for a KL weight without a reference.
        """
        if self.kl_weight and logp_ref is None:
            raise ValueError(
                f"kl_weight is {self.kl_weight} and logp_ref is None; give it"
            )

        def of_answer(token_logp: Tensor) -> Tensor:
            # The log-probability of an answer is the sum of those of its tokens.
            return token_logp.masked_fill(~mask, 0.0).sum(-1)

        whole, old = of_answer(logp), of_answer(logp_old).detach()
        product = (whole - old).exp()
        objective = clipped_surrogate(product, advantages, self.clip)
        divergence = torch.zeros_like(whole)
        if logp_ref is not None:
            divergence = kl(whole, of_answer(logp_ref).detach())
        if self.kl_weight:
            objective = objective - self.kl_weight * divergence
        gone = silenced(product, advantages, self.clip)[:, None].expand_as(logp)
        return Loss(
            -objective.mean(),
            divergence.detach().mean(),
            aggregate(gone.to(logp.dtype), mask, "token"),
        )


def cispo_loss(
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    advantages: Float[Tensor, " batch"],
    mask: Bool[Tensor, "batch seq"],
    highest: float = 5.0,
    lowest: float = 0.0,
) -> Loss:
    r"""$-\frac{1}{\sum_i |o_i|} \sum_{i,t} \mathrm{sg}[\min(\rho_{i,t}, c)]\, A_i
    \log \pi_{i,t}$ with $c$ = `highest`: the weight is clipped, no token is dropped.

    In `clipped` is the share of tokens whose weight the bound has lowered; they keep a
    gradient. The paper's runs have no lower bound, and the default upper one is TRL's.
    `lowest` is GRPO's lower clip put back: tokens of wrong answers with a ratio below
    it are dropped, and count as clipped.

    Source: MiniMax-M1, equations 4 and 5; the lower bound: equations 6 and 7.
    """
    # The ratio is a constant weight here, and the gradient comes from log pi. So the
    # bound limits a token's gradient, where PPO's clip sets it to 0.
    rho, token_advantages = (
        ratio(logp, logp_old.detach(), mask).detach(),
        advantages[:, None],
    )
    # A negative advantage and a low ratio: the token has become unlikely already.
    dropped = (rho < lowest) & (token_advantages < 0)
    objective = (
        rho.clamp(max=highest)
        * token_advantages
        * logp.masked_fill(~mask | dropped, 0.0)
    )
    lowered = (((rho > highest) & (token_advantages != 0)) | dropped).to(logp.dtype)
    return Loss(
        -aggregate(objective, mask, "token"), NONE, aggregate(lowered, mask, "token")
    )


def masked_loss(
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    advantages: Float[Tensor, " batch"],
    mask: Bool[Tensor, "batch seq"],
    clip: tuple[float, float] = (0.2, 0.2),
    furthest: float = 0.05,
) -> Loss:
    r"""GRPO without the bad answers that the policy has already left far behind.

    $M_i = 0$ where $A_i < 0$ and $\frac{1}{|o_i|} \sum_t \log(\pi_\mathrm{old} / \pi)
    >$ `furthest`, else 1. A masked answer still counts in the mean.

    Source: DeepSeek-V3.2, equations 8 and 9; its threshold is not published.
    """
    # -log of the mean ratio is the mean of log(old / new): an estimate of KL(old ||
    # new), because the tokens were drawn from old.
    distance = -mean_ratio(logp, logp_old, mask).detach().log()
    unmasked = (advantages >= 0) | (distance <= furthest)
    rho = ratio(logp, logp_old.detach(), mask)
    token_advantages = advantages[:, None].expand_as(rho)
    # Set to 0 and not left out: the mean over answers keeps its denominator.
    objective = clipped_surrogate(rho, token_advantages, clip) * unmasked[:, None]
    clipped = (silenced(rho, token_advantages, clip) | ~unmasked[:, None]).to(
        logp.dtype
    )
    loss = -aggregate(objective, mask, "sequence")
    return Loss(loss, NONE, aggregate(clipped, mask, "token"))


def token_weights(
    loss: Callable[..., Loss],
    logp: Float[Tensor, "batch seq"],
    logp_old: Float[Tensor, "batch seq"],
    advantages: Float[Tensor, " batch"],
    mask: Bool[Tensor, "batch seq"],
) -> Float[Tensor, "batch seq"]:
    r"""How hard a loss pushes each token: $w = -\partial L / \partial \log \pi_{i,t}$.

    Every loss of this family is $\sum w_{i,t} \nabla \log \pi_{i,t}$ with a $w$ of its
    own: what they differ in is here.
    """
    # A leaf of its own: the gradient stops at the log-probabilities, before the model.
    leaf = logp.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf, logp_old, advantages, mask).loss, leaf)
    return -gradient


def overlong_penalty(length: int, longest: int, cache: int) -> float:
    r"""0 up to `longest` - `cache` tokens, then down to -1 at `longest`, then -1.

    Raises ValueError for a cache that is not between 1 and `longest`.
    Source: DAPO, equation 13.
    """
    if not 1 <= cache <= longest:
        raise ValueError(f"cache is {cache}; choose between 1 and longest={longest}")
    # 0.0 - x and not -x, which would print -0.0 for a short answer.
    return 0.0 - min(1.0, max(0.0, (length - (longest - cache)) / cache))


def mixed(rewards: Float[Tensor, "prompts group"]) -> Bool[Tensor, " prompts"]:
    """Which groups say anything: those whose rewards are not all equal.

    Source: DAPO, equation 11, where rewards are those for right and wrong.
    """
    return (rewards != rewards[:, :1]).any(-1)
