"""The loop of PPO: as that of GRPO, with a critic in the place of the group."""

from collections.abc import Iterator

import torch

from r1.model.transformer import Model
from r1.rl.critic import gae, whiten
from r1.rl.environment import Environment, score
from r1.rl.grpo_loop import parts, progress, step_generator
from r1.rl.losses import clipped_surrogate, ratio
from r1.rl.metrics import describe, watch
from r1.rl.policy import logprobs, values_of
from r1.rl.rollout import roll_out
from r1.rl.settings import PPOSettings
from r1.train.likelihood import aggregate
from r1.train.optimizer import apply_gradient, rl_optimizer

Optimizers = tuple[torch.optim.Optimizer, torch.optim.Optimizer]


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
    s, env = settings, environment
    if env.keep is not None:
        raise ValueError("PPO compares no groups; leave out the environment's keep")
    optimizers = optimizers or (
        rl_optimizer(model, s.updates.lr),
        rl_optimizer(critic, s.critic_lr),
    )
    for step in progress(start, steps):
        generator = step_generator(seed, step)
        problems = env.ask(seed, step, s.prompts)
        rollout = roll_out(model, problems, s.sampling, generator)
        rewards, mask = score(rollout, env.reward, step), rollout.mask
        metrics = {"step": step, **describe(rollout, rewards, s.sampling.group)}
        some = rollout.rows(slice(None, None, 8))
        metrics |= watch(model, reference, some, s.sampling.temperature)

        # What the critic expects, and by how much the rest of the answer is better.
        with torch.set_grad_enabled(s.updates.one):  # then these are learned from
            values = values_of(critic, rollout)
        advantages, returns = gae(rewards, values.detach(), mask, s.lam)
        advantages = whiten(advantages, mask)
        error = (returns - values.detach()).square()
        metrics["value_error"] = aggregate(error, mask, "token").item()

        logp_old = None
        if not s.updates.one:
            with torch.no_grad():
                logp_old = logprobs(model, rollout, s.sampling.temperature)
        norms, losses = [], []
        for rows in parts(s.updates, len(rewards), generator):
            part = rollout.rows(rows)
            logp = logprobs(model, part, s.sampling.temperature)
            old = logp.detach() if logp_old is None else logp_old[rows]
            rho = ratio(logp, old, part.mask)
            gain = clipped_surrogate(rho, advantages[rows], s.clip)
            losses.append(-aggregate(gain, part.mask, s.how))
            norms.append(apply_gradient(model, optimizers[0], losses[-1], f"{step=}"))
            now = values[rows] if s.updates.one else values_of(critic, part)
            surprise = (now - returns[rows]).square() / 2
            value_loss = aggregate(surprise, part.mask, "token")
            apply_gradient(critic, optimizers[1], value_loss, f"{step=}, critic")
        loss = sum(x.item() for x in losses) / len(losses)
        yield {**metrics, "loss": loss, "grad_norm": max(norms)}
