"""PPO: as GRPO, with a critic in the place of the group."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from r1.model.transformer import Model
from r1.rl.grpo_loop import (
    Environment,
    Updates,
    check_temperature,
    copy_of,
    describe,
    logprobs,
    of_answers,
    parts,
    progress,
    step_generator,
    watch,
)
from r1.rl.losses import clipped_surrogate, ratio
from r1.rl.rewards import score
from r1.rl.rollout import Rollout, Sampling, roll_out
from r1.train.likelihood import aggregate
from r1.train.optimizer import apply_gradient, rl_optimizer

Optimizers = tuple[torch.optim.Optimizer, torch.optim.Optimizer]


@dataclass(frozen=True)
class PPOSettings:
    """How PPO trains: the critic in the place of the group.

    `lam` is lambda of generalized advantage estimation, `critic_lr` the learning rate
    of the critic; `clip`, `how` and `constant` are those of GRPOLoss. In the first
    `critic_first` steps the critic learns and the policy does not.

    Raises ValueError for a temperature that is not above 0.
    """

    prompts: int = 32
    sampling: Sampling = Sampling()
    updates: Updates = Updates()
    clip: tuple[float, float] = (0.2, 0.2)
    how: str = "sequence"
    constant: float | None = None
    lam: float = 1.0
    critic_lr: float = 3e-4
    critic_first: int = 0

    def __post_init__(self):
        check_temperature(self.sampling)


def new_critic(base: Model) -> Model:
    """A model of the policy's size whose first output is a value; it begins at 0.

    Its head is a matrix of its own, also where that of the base is the embedding.
    """
    critic = copy_of(base, tie_word_embeddings=False)
    # With V = 0 at the start, the first advantages are the rewards, without a random
    # critic's noise.
    torch.nn.init.zeros_(critic.head.weight)
    return critic


def values_of(critic: Model, rollout: Rollout) -> Float[Tensor, "batch seq"]:
    """What the critic expects at every token of the answers."""
    return of_answers(critic, rollout, lambda logits, tokens: logits[..., 0])


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
    reward less value; with $\lambda = 0$ it is the TD error of one step.

    Raises ValueError for lam or gamma outside 0 to 1.
    Source: Schulman et al., 2016, equation 16, as in DAPO, equation 2.
    """
    if not 0 <= lam <= 1 or not 0 <= gamma <= 1:
        raise ValueError(f"lam is {lam}, gamma is {gamma}; both must be from 0 to 1")
    advantages = torch.zeros_like(values)
    # A_t = delta_t + gamma lambda A_(t+1): backward in time, one pass gives all sums.
    running = next_value = torch.zeros_like(rewards)
    # The last token of an answer is one of the answer whose successor is not.
    following = torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    for t in reversed(range(values.shape[1])):
        last = mask[:, t] & ~following[:, t]
        # At the last token next_value is 0, because the episode ends there.
        delta = rewards * last + gamma * next_value - values[:, t]
        # The mask sets padding to 0. So the recursion starts anew at the last token of
        # each row, wherever it is.
        running = (delta + gamma * lam * running) * mask[:, t]
        advantages[:, t] = running
        next_value = values[:, t] * mask[:, t]
    # A = return - V, so A + V is the target of the critic.
    return advantages, (advantages + values) * mask


def whiten(
    values: Float[Tensor, "batch seq"], mask: Bool[Tensor, "batch seq"]
) -> Float[Tensor, "batch seq"]:
    """Shift and scale to mean 0 and standard deviation 1 over all tokens of the mask.

    Values that are all equal become exactly 0, in whatever way their mean is rounded.
    """
    masked = values[mask]
    if (masked == masked[:1]).all():
        return torch.zeros_like(values)
    return (values - masked.mean()) / masked.std(correction=0) * mask


def ppo(
    model: Model,
    critic: Model,
    reference: Model,
    steps: int,
    settings: PPOSettings = PPOSettings(),
    environment: Environment = Environment(),
    seed: int = 0,
    optimizers: Optimizers | None = None,
    start: int = 0,
) -> Iterator[dict[str, float]]:
    """Train `model` by proximal policy optimization with a learned critic.

    As grpo, but that an answer is compared with what the critic expects at each of its
    tokens (gae with `lam`) and not with its group. The critic learns the same returns.
    `optimizers` are those of the model and of the critic.

    Raises ValueError for an environment that keeps some groups only.
    """
    if environment.keep is not None:
        raise ValueError("PPO compares no groups; leave out the environment's keep")
    optimizers = optimizers or (
        rl_optimizer(model, settings.updates.lr),
        rl_optimizer(critic, settings.critic_lr),
    )
    for step in progress(start, steps):
        generator = step_generator(seed, step)
        problems = environment.ask(seed, step, settings.prompts)
        rollout = roll_out(model, problems, settings.sampling, generator)
        rewards, mask = score(rollout, environment.reward, step), rollout.mask
        metrics = {"step": step, **describe(rollout, rewards, settings.sampling.group)}
        sample = rollout.rows(slice(None, None, 8))
        metrics |= watch(model, reference, sample, settings.sampling.temperature)

        # What the critic expects, and by how much the rest of the answer is better.
        # With one update the critic learns from this pass, so it needs the gradient.
        # With several, each update computes values anew, and these are constants.
        with torch.set_grad_enabled(settings.updates.one):
            values = values_of(critic, rollout)
        # detach: the policy must not improve its advantages by changing the critic.
        advantages, returns = gae(rewards, values.detach(), mask, settings.lam)
        # Returns come before whitening: the critic learns rewards in their own unit.
        advantages = whiten(advantages, mask)
        error = (returns - values.detach()).square()
        metrics["value_error"] = aggregate(error, mask, "token").item()

        logp_old = None
        if not settings.updates.one:
            with torch.no_grad():
                logp_old = logprobs(model, rollout, settings.sampling.temperature)
        norms, losses = [], []
        for rows in parts(settings.updates, len(rewards), generator):
            part = rollout.rows(rows)
            logp = logprobs(model, part, settings.sampling.temperature)
            part_logp_old = logp.detach() if logp_old is None else logp_old[rows]
            rho = ratio(logp, part_logp_old, part.mask)
            objective = clipped_surrogate(rho, advantages[rows], settings.clip)
            surrogate = aggregate(objective, part.mask, settings.how, settings.constant)
            losses.append(-surrogate)
            if step >= settings.critic_first:
                norms.append(
                    apply_gradient(model, optimizers[0], losses[-1], f"{step=}")
                )
            predicted = (
                values[rows] if settings.updates.one else values_of(critic, part)
            )
            squared_error = (predicted - returns[rows]).square() / 2
            value_loss = aggregate(squared_error, part.mask, "token")
            apply_gradient(critic, optimizers[1], value_loss, f"{step=}, critic")
        loss = sum(x.item() for x in losses) / len(losses)
        yield {**metrics, "loss": loss, "grad_norm": max(norms, default=0.0)}
