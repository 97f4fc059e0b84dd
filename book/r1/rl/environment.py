"""What a policy is asked, and what its answers are paid."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from r1.rl.rewards import rule_reward
from r1.rl.rollout import Rollout
from r1.text.problems import Problem, random_problem

Ask = Callable[[int, int, int], list[Problem]]  # seed, step, how many
Reward = Callable[[Problem, str], float]
Keep = Callable[[Float[Tensor, "prompts group"]], Bool[Tensor, " prompts"]]


def problems_of(
    seed: int,
    step: int,
    count: int,
    terms: tuple[int, int] = (5, 5),
    kind: type[Problem] = Problem,
) -> list[Problem]:
    """The problems of a step, which depend on `seed` and `step` alone.

    `terms` are the fewest and the most that a problem has; `kind` is the class of the
    problems, which says how an answer is read.
    """
    rng = random.Random(f"rl/{seed}/{step}")
    drawn = [random_problem(rng, terms) for _ in range(count)]
    return [kind(problem.terms, problem.operations) for problem in drawn]


@dataclass(frozen=True)
class Environment:
    """The problems that `ask` draws for a step, and the reward of an answer.

    `keep` says from which groups of rewards there is something to learn; None: from
    all. In the place of a group that is not kept, another problem is asked.
    """

    ask: Ask = problems_of
    reward: Reward = rule_reward
    keep: Keep | None = None


def score(rollout: Rollout, reward: Reward, step: int) -> Float[Tensor, " batch"]:
    """The reward of every answer.

    Raises FloatingPointError for one that is not finite, with step, prompt and value.
    """
    pairs = list(zip(rollout.problems, rollout.texts, strict=True))
    values = [reward(problem, text) for problem, text in pairs]
    for (problem, text), value in zip(pairs, values, strict=True):
        if not math.isfinite(value):
            raise FloatingPointError(
                f"step {step}: the reward of {text!r} to {problem.prompt!r} is {value}"
            )
    return torch.tensor(values)
