"""Reinforcement learning from rules: the loops of GRPO and PPO."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from r1.model.transformer import Model
from r1.rl.critic import gae, whiten
from r1.rl.losses import (
    Loss,
    clipped_surrogate,
    group_advantages,
    grpo_loss,
    ratio,
)
from r1.rl.rewards import rule_reward
from r1.rl.rollout import (
    Ask,
    Reward,
    Rollout,
    Settings,
    answer_logits,
    by_length,
    describe,
    join,
    logprobs,
    problems_of,
    roll_out,
    score,
    watch,
)
from r1.train.likelihood import aggregate
from r1.train.optimizer import apply_gradient, rl_optimizer

DEFAULTS = Settings()
ROUNDS = 8  # of asking, at most, for groups that are kept


def new_policy(base: Model) -> Model:
    """A copy of the base model to train, without its MTP modules."""
    policy = Model(replace(base.config, num_nextn_predict_layers=0))
    weights = base.state_dict().items()
    policy.load_state_dict({k: v for k, v in weights if not k.startswith("mtp.")})
    return policy.eval()


def begin_step(
    model: Model,
    reference: Model,
    settings: Settings,
    seed: int,
    step: int,
    reward: Reward,
    ask: Ask = problems_of,
) -> tuple[Rollout, Tensor, dict[str, int | float], torch.Generator]:
    """Answers, their rewards, what they are like, and the step's random numbers."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step)
    problems = ask(seed, step, settings.prompts, settings.terms)
    rollout = roll_out(model, problems, settings, generator)
    rewards = score(rollout, reward, step)
    metrics = {"step": step} | describe(rollout, rewards, settings.group)
    metrics |= watch(model, reference, rollout.rows(slice(None, None, 8)), settings)
    return rollout, rewards, metrics, generator


def refill(
    model: Model,
    rollout: Rollout,
    rewards: Tensor,
    settings: Settings,
    seed: int,
    step: int,
    reward: Reward,
    keep: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    ask: Ask = problems_of,
) -> tuple[Rollout, Tensor, int]:
    """Groups that `keep` keeps, as many as there were; others are asked in their place.

    Returns them, their rewards, and how many groups were asked in all. After ROUNDS of
    asking what there is must do; without any group the first rollout is kept whole.
    """
    s, first, kept, found = settings, (rollout, rewards), [], 0
    for asked in range(1, ROUNDS + 1):
        groups = keep(rewards.view(-1, s.group)).nonzero()[:, 0]
        groups = groups[: s.prompts - found]
        rows = (groups[:, None] * s.group + torch.arange(s.group)).flatten()
        if len(rows):
            kept.append((rollout.rows(rows), rewards[rows]))
        found += len(groups)
        if found == s.prompts or asked == ROUNDS:
            break
        problems = ask(seed, step, s.prompts * (asked + 1), s.terms)
        rollout = roll_out(model, problems[s.prompts * asked :], s, generator)
        rewards = score(rollout, reward, step)
    kept = kept or [first]
    both = torch.cat([values for _, values in kept])
    return join([part for part, _ in kept]), both, asked * s.prompts


def parts(settings: Settings, answers: int, generator) -> Iterator[Tensor]:
    """The rows of each update of a step, in random order."""
    for _ in range(settings.epochs):
        order = torch.randperm(answers, generator=generator)
        yield from order.chunk(settings.minibatches)


def grpo(
    model: Model,
    reference: Model,
    steps: int,
    settings: Settings = DEFAULTS,
    seed: int = 0,
    reward: Reward = rule_reward,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
    ask: Ask = problems_of,
    loss: Callable[..., Loss] | None = None,
    keep: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[dict[str, float]]:
    """Train `model` by group relative policy optimization; yields a dict a step.

    `reference` is the model that it began as. A step depends on `seed` and its number,
    so a run that is resumed is the run that was not cut off. `ask` draws its problems.

    `loss` takes logp, logp_old, advantages and mask in place of grpo_loss. `keep` says
    of the rewards (prompts group) which groups are learned from; others are asked in
    their place, and `asked` counts all.
    """
    s, optimizer = settings, optimizer or rl_optimizer(model, settings.lr)
    for step in progress(start, steps):
        rollout, rewards, metrics, generator = begin_step(
            model, reference, s, seed, step, reward, ask
        )
        if keep is not None:
            rollout, rewards, metrics["asked"] = refill(
                model, rollout, rewards, s, seed, step, reward, keep, generator, ask
            )
        advantages = group_advantages(rewards.view(-1, s.group), s.scale).flatten()
        with torch.no_grad():
            logp_ref = logp_old = None
            if s.kl_weight:
                logp_ref = logprobs(reference, rollout, s.temperature)
            if s.epochs * s.minibatches > 1:  # else the first pass is the old one
                logp_old = logprobs(model, rollout, s.temperature)
        norms, losses = [], []
        for rows in parts(s, len(rewards), generator):
            part = rollout.rows(rows)
            logp = logprobs(model, part, s.temperature)
            old = logp.detach() if logp_old is None else logp_old[rows]
            first = logp, old, advantages[rows], part.mask
            ref = None if logp_ref is None else logp_ref[rows]
            found = (
                grpo_loss(*first, s.clip, s.kl_weight, ref, s.how, s.level, s.constant)
                if loss is None
                else loss(*first)
            )
            norms.append(apply_gradient(model, optimizer, found.loss, f"{step=}"))
            losses.append(found)
        yield {**metrics, **means(losses), "grad_norm": max(norms)}


def new_critic(base: Model) -> Model:
    """A model of the policy's size whose first output is a value; it begins at 0."""
    critic = new_policy(base)
    torch.nn.init.zeros_(critic.head.weight)
    return critic


def values_of(critic: Model, rollout: Rollout) -> Float[Tensor, "batch seq"]:
    """What the critic expects at every token of the answers."""
    return by_length(rollout, lambda part: answer_logits(critic, part)[..., 0])


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
        rollout, rewards, metrics, generator = begin_step(
            model, reference, s, seed, step, reward, problems_of
        )
        mask, once = rollout.mask, s.epochs * s.minibatches == 1
        with torch.set_grad_enabled(once):  # then these are learned from
            values = values_of(critic, rollout)
        with torch.no_grad():
            logp_old = None if once else logprobs(model, rollout, s.temperature)
        advantages, returns = gae(rewards, values.detach(), mask, lam)
        better = whiten(advantages, mask)
        error = (returns - values.detach()).square()
        metrics["value_error"] = aggregate(error, mask, "token").item()
        norms, losses = [], []
        for rows in parts(s, len(rewards), generator):
            part = rollout.rows(rows)
            logp = logprobs(model, part, s.temperature)
            old = logp.detach() if once else logp_old[rows]
            rho = ratio(logp, old, part.mask)
            gain = clipped_surrogate(rho, better[rows], s.clip)
            losses.append(-aggregate(gain, part.mask, s.how, s.constant))
            norms.append(apply_gradient(model, optimizers[0], losses[-1], f"{step=}"))
            now = values[rows] if once else values_of(critic, part)
            value_loss = aggregate(
                (now - returns[rows]).square() / 2, part.mask, "token"
            )
            apply_gradient(critic, optimizers[1], value_loss, f"{step=}, critic")
        loss = sum(x.item() for x in losses) / len(losses)
        yield {**metrics, "loss": loss, "grad_norm": max(norms)}


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
