"""Reinforcement learning from rules: the loops of GRPO and PPO."""

import sys
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from r1.checkpoint import new_optimizer
from r1.grpo import (
    Loss,
    aggregate,
    clipped_surrogate,
    group_advantages,
    grpo_loss,
    ratio,
    token_logprobs,
)
from r1.model import Model
from r1.ppo import gae, whiten
from r1.rewards import rule_reward
from r1.rollout import (
    Reward,
    Settings,
    answer_logits,
    describe,
    logprobs,
    problems_of,
    roll_out,
    score,
    watch,
)

DEFAULTS = Settings()


def apply_gradient(
    model: Model, optimizer: torch.optim.Optimizer, loss: Tensor, where: str
) -> float:
    """One step of the optimizer along a loss; returns the gradient's length.

    Raises FloatingPointError for a loss that is not finite, before any update.
    """
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"{where}: the loss is {loss.item()}; lower the learning rate"
        )
    optimizer.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return norm.item()


def new_policy(base: Model) -> Model:
    """A copy of the base model to train, without its MTP modules."""
    policy = Model(replace(base.config, num_nextn_predict_layers=0))
    weights = base.state_dict().items()
    policy.load_state_dict({k: v for k, v in weights if not k.startswith("mtp.")})
    return policy.eval()


def rl_optimizer(model: Model, lr: float) -> torch.optim.AdamW:
    """AdamW as in pretraining, without weight decay."""
    optimizer = new_optimizer(model, lr)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    return optimizer


def grpo(
    model: Model,
    reference: Model,
    steps: int,
    settings: Settings = DEFAULTS,
    seed: int = 0,
    reward: Reward = rule_reward,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
) -> Iterator[dict[str, float]]:
    """Train `model` by group relative policy optimization; yields a dict a step.

    `reference` is the model that it began as. A step depends on `seed` and its number,
    so a run that is resumed is the run that was not cut off.
    """
    s, optimizer = settings, optimizer or rl_optimizer(model, settings.lr)
    for step in progress(start, steps):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        problems = problems_of(seed, step, s.prompts, s.terms)
        rollout = roll_out(model, problems, s, generator)
        rewards = score(rollout, reward, step)
        advantages = group_advantages(rewards.view(-1, s.group), s.scale).flatten()
        logp_ref = None
        if s.kl_weight:
            logp_ref = logprobs(reference, rollout, s.temperature)
        logp_old = None
        if s.epochs * s.minibatches > 1:  # else the first pass is the old one
            logp_old = logprobs(model, rollout, s.temperature)
        metrics = describe(rollout, rewards, s.group)
        metrics |= watch(model, reference, rollout.rows(slice(None, None, 8)), s)
        norms, losses = [], []
        for _ in range(s.epochs):
            order = torch.randperm(len(advantages), generator=generator)
            for rows in order.chunk(s.minibatches):
                part = rollout.rows(rows)
                logits = answer_logits(model, part) / s.temperature
                logp = token_logprobs(logits, part.tokens[:, 1:])
                found = grpo_loss(
                    logp,
                    logp.detach() if logp_old is None else logp_old[rows],
                    advantages[rows],
                    part.mask,
                    s.clip,
                    s.kl_weight,
                    None if logp_ref is None else logp_ref[rows],
                    s.how,
                    s.level,
                    s.constant,
                )
                norms.append(apply_gradient(model, optimizer, found.loss, f"{step=}"))
                losses.append(found)
        yield {"step": step, **metrics, **means(losses), "grad_norm": max(norms)}


def new_critic(base: Model) -> Model:
    """A model of the policy's size whose first output is a value; it begins at 0."""
    critic = new_policy(base)
    torch.nn.init.zeros_(critic.head.weight)
    return critic


def ppo(
    model: Model,
    critic: Model,
    reference: Model,
    steps: int,
    settings: Settings = DEFAULTS,
    seed: int = 0,
    reward: Reward = rule_reward,
    optimizers: tuple | None = None,
    start: int = 0,
    lam: float = 1.0,
    critic_lr: float = 3e-4,
) -> Iterator[dict[str, float]]:
    """Train `model` by proximal policy optimization with a learned critic.

    As grpo, but that an answer is compared with what the critic expects at each of its
    tokens (gae with `lam`) and not with its group. The critic learns the same returns.
    """
    s = settings
    both = ((model, s.lr), (critic, critic_lr))
    optimizers = optimizers or tuple(rl_optimizer(m, lr) for m, lr in both)
    for step in progress(start, steps):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        problems = problems_of(seed, step, s.prompts, s.terms)
        rollout = roll_out(model, problems, s, generator)
        rewards, mask = score(rollout, reward, step), rollout.mask
        once = s.epochs * s.minibatches == 1  # then the first passes are the old ones
        with torch.set_grad_enabled(once):
            values = answer_logits(critic, rollout)[..., 0]
        advantages, returns = gae(rewards, values.detach(), mask, lam)
        error = (returns - values.detach()).square()
        metrics = describe(rollout, rewards, s.group)
        metrics |= watch(model, reference, rollout.rows(slice(None, None, 8)), s)
        metrics["value_error"] = aggregate(error, mask, "token").item()
        logp_old = None if once else logprobs(model, rollout, s.temperature)
        norms, losses = [], []
        for _ in range(s.epochs):
            order = torch.randperm(len(rewards), generator=generator)
            for rows in order.chunk(s.minibatches):
                part = rollout.rows(rows)
                logits = answer_logits(model, part) / s.temperature
                logp = token_logprobs(logits, part.tokens[:, 1:])
                old = logp.detach() if once else logp_old[rows]
                rho = ratio(logp, old, part.mask)
                better = whiten(advantages, mask)[rows]
                gain = clipped_surrogate(rho, better, s.clip)
                losses.append(-aggregate(gain, part.mask, s.how, s.constant))
                norms.append(
                    apply_gradient(model, optimizers[0], losses[-1], f"{step=}")
                )
                now = values[rows] if once else answer_logits(critic, part)[..., 0]
                off = now - returns[rows]
                value_loss = aggregate(off.square() / 2, part.mask, "token")
                apply_gradient(critic, optimizers[1], value_loss, f"{step=}, critic")
        loss = sum(x.item() for x in losses) / len(losses)
        yield {"step": step, **metrics, "loss": loss, "grad_norm": max(norms)}


def means(losses: list[Loss]) -> dict[str, float]:
    """Means of what the updates of one step have seen."""
    return {
        name: sum(getattr(loss, name).item() for loss in losses) / len(losses)
        for name in ("loss", "clipped")
    }


def progress(start: int, steps: int):
    """The numbers of the steps, behind a bar where there is a terminal."""
    numbers = range(start, steps)
    if not sys.stderr.isatty():
        return numbers
    return tqdm(numbers, initial=start, total=steps, unit="step")
