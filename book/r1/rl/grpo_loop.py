"""The loop of GRPO: problems, rollout, rewards, advantages, loss, update."""

import sys
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from r1.model.transformer import Model
from r1.rl.environment import Environment, score
from r1.rl.losses import Loss, group_advantages
from r1.rl.metrics import describe, watch
from r1.rl.policy import logprobs
from r1.rl.rollout import Rollout, join, roll_out
from r1.rl.settings import Settings
from r1.train.optimizer import apply_gradient, rl_optimizer

ROUNDS = 8  # of asking, at most, for groups that are kept


def grpo(
    model: Model,
    reference: Model,
    steps: int,
    settings: Settings = Settings(),
    environment: Environment = Environment(),
    seed: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
) -> Iterator[dict[str, float]]:
    """Train `model` by group relative policy optimization; yields a dict a step.

    `reference` is the model that it began as. A step depends on `seed` and its number,
    so a run that goes on from step `start` with its `optimizer` is the run that was not
    cut off. Where the environment keeps some groups only, `asked` counts the problems
    that it took, and `kept_reward` and `kept_length` are those of the groups that are
    learned from; all other numbers are of the step's first problems.
    """
    s, env = settings, environment
    optimizer = optimizer or rl_optimizer(model, s.updates.lr)
    for step in progress(start, steps):
        generator = step_generator(seed, step)

        # A group of answers to each problem, and the reward of each answer.
        problems = env.ask(seed, step, s.prompts)
        rollout = roll_out(model, problems, s.sampling, generator)
        rewards = score(rollout, env.reward, step)

        metrics = {"step": step, **describe(rollout, rewards, s.sampling.group)}
        some = rollout.rows(slice(None, None, 8))
        metrics |= watch(model, reference, some, s.sampling.temperature)
        if env.keep is not None:
            rollout, rewards, metrics["asked"] = refill(
                model, rollout, rewards, s, env, seed, step, generator
            )
            metrics |= {"kept_reward": rewards.mean().item()}
            metrics |= {"kept_length": rollout.mask.sum(1).double().mean().item()}

        # How much better than the rest of its group each answer is.
        groups = rewards.view(-1, s.sampling.group)
        advantages = group_advantages(groups, s.scale).flatten()

        # What stays as it is while the policy moves. With one update a step the old
        # log-probabilities are those of the first pass, so nothing is computed twice.
        constants = {}
        with torch.no_grad():
            if not s.updates.one:
                constants["logp_old"] = logprobs(model, rollout, s.sampling.temperature)
            if getattr(s.loss, "kl_weight", 0.0):
                constants["logp_ref"] = logprobs(
                    reference, rollout, s.sampling.temperature
                )

        losses, norms = [], []
        for rows in parts(s.updates, len(rewards), generator):
            part = rollout.rows(rows)
            logp = logprobs(model, part, s.sampling.temperature)
            fixed = {name: values[rows] for name, values in constants.items()}
            fixed.setdefault("logp_old", logp.detach())
            loss = s.loss(logp, advantages=advantages[rows], mask=part.mask, **fixed)
            norms.append(apply_gradient(model, optimizer, loss.loss, f"{step=}"))
            losses.append(loss)
        yield {**metrics, **means(losses), "grad_norm": max(norms)}


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of a step, which depend on `seed` and `step` alone."""
    return torch.Generator().manual_seed(1_000_003 * seed + step)


def parts(updates, answers: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The rows of each update of a step, in random order."""
    for _ in range(updates.epochs):
        order = torch.randperm(answers, generator=generator)
        yield from order.chunk(updates.minibatches)


def refill(
    model: Model,
    rollout: Rollout,
    rewards: Tensor,
    settings: Settings,
    environment: Environment,
    seed: int,
    step: int,
    generator: torch.Generator,
) -> tuple[Rollout, Tensor, int]:
    """Groups that are kept, as many as there were; others are asked in their place.

    Returns them, their rewards, and how many problems were asked in all. After ROUNDS
    of asking what there is must do; without any group the first rollout is kept whole.
    """
    s, env, first, kept, found = settings, environment, (rollout, rewards), [], 0
    for asked in range(1, ROUNDS + 1):
        groups = env.keep(rewards.view(-1, s.sampling.group)).nonzero()[:, 0]
        groups = groups[: s.prompts - found]
        within = torch.arange(s.sampling.group)
        rows = (groups[:, None] * s.sampling.group + within).flatten()
        if len(rows):
            kept.append((rollout.rows(rows), rewards[rows]))
        found += len(groups)
        if found == s.prompts or asked == ROUNDS:
            break
        problems = env.ask(seed, step, s.prompts * (asked + 1))[s.prompts * asked :]
        rollout = roll_out(model, problems, s.sampling, generator)
        rewards = score(rollout, env.reward, step)
    kept = kept or [first]
    both = torch.cat([values for _, values in kept])
    return join([part for part, _ in kept]), both, asked * s.prompts


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
