"""Chapter 16: what came after R1, on the problem of R1-Zero.

Every run begins at the base model and makes sixteen updates of each rollout, so that
ratios leave 1 and the losses differ.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from experiments.runner import Job, Row, run_grid
from r1.model.transformer import Model
from r1.rl.grpo_loop import Environment, Keep, Settings, Updates, grpo, new_policy
from r1.rl.losses import GRPOLoss, Loss
from r1.rl.losses_after_r1 import (
    cispo_loss,
    gspo_loss,
    masked_loss,
    mixed,
    overlong_penalty,
    product_loss,
)
from r1.rl.rewards import Reward, format_reward, rule_reward
from r1.rl.rollout import Sampling
from r1.text.problems import Problem
from r1.text.tokenizer import encode
from r1.train.checkpoint import load_checkpoint
from r1.train.evaluation import evaluate

SAMPLING = Sampling(group=16)
SETTINGS = Settings(16, SAMPLING, Updates(lr=3e-4, epochs=2, minibatches=8))
WARM = Settings(16, SAMPLING, Updates(lr=3e-4))  # one update a rollout
WARM_SEED, WARM_STEPS = 100, 40
TERMS = 5  # of the problems, and of those of the test
WIDE = (1e9, 1e9)  # never reached
HIGHER = (0.2, 0.28)  # DAPO, section 4.1
CACHE = 16  # tokens before the longest answer from which on length costs


def shaped_reward(problem: Problem, text: str) -> float:
    """Rules, and the penalty of DAPO for answers that end near the limit or not."""
    length, longest = len(encode(text)), SAMPLING.max_new_tokens
    return rule_reward(problem, text) + overlong_penalty(length, longest, CACHE)


def form_reward(problem: Problem, text: str) -> float:
    """1 for the form, right or wrong."""
    return format_reward(text)


def wrong_reward(problem: Problem, text: str) -> float:
    """1 for a wrong answer in the right form: what is right is not paid."""
    return format_reward(text) - float(rule_reward(problem, text) > 0.5)


class RandomReward:
    """Heads or tails, whatever the answer; one sequence of tosses for each seed."""

    def __init__(self, seed: int):
        self.rng = random.Random(f"reward/{seed}")

    def __call__(self, problem: Problem, text: str) -> float:
        """1 or 0."""
        return float(self.rng.random() < 0.5)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What is changed of GRPO; `warm` is how often the base has to think before."""

    settings: Settings = SETTINGS
    reward: Reward | type[RandomReward] = rule_reward
    keep: Keep | None = None
    warm: float = 0.0
    steps: int = 20
    base: str = "base/base_seed1"
    seeds: tuple[int | None, ...] = (0, 1, 2, 3, 4)


def but(steps: int = 20, scale: bool = True, **changes) -> Variant:
    """GRPO with other settings of its loss."""
    settings = replace(SETTINGS, scale=scale, loss=GRPOLoss(**changes))
    return Variant(settings=settings, steps=steps)


def by(loss: Callable[..., Loss], steps: int = 20, scale: bool = True) -> Variant:
    """Another loss in the place of GRPO's."""
    return Variant(settings=replace(SETTINGS, scale=scale, loss=loss), steps=steps)


def slow(variant: Variant, steps: int) -> Variant:
    """The same at a third of the learning rate."""
    updates = replace(variant.settings.updates, lr=1e-4)
    return replace(
        variant, settings=replace(variant.settings, updates=updates), steps=steps
    )


GRPO = Variant()
DAPO = replace(but(how="token", clip=HIGHER), reward=shaped_reward, keep=mixed)
PRODUCT = but(level="sequence")
GSPO = by(partial(gspo_loss, clip=(0.03, 0.04)))  # a range for our short answers
CISPO = by(cispo_loss)
R1_CLIP = but(16, clip=(10.0, 10.0))
R1_PRINTED = but(16, level="sequence", clip=(10.0, 10.0))
# Updates are of 32 answers, which have 48 tokens at most.
RUNS = {
    "grpo": GRPO,
    "grpo_slow": slow(GRPO, 30),
    "dr_grpo": but(how="constant", constant=32.0 * 48, scale=False),
    "clip_higher": but(16, clip=HIGHER),
    "dynamic": Variant(keep=mixed),
    "token": but(how="token"),
    "overlong": Variant(reward=shaped_reward),
    "dapo": DAPO,
    "dapo_slow": slow(DAPO, 30),
    "product": PRODUCT,
    "product_slow": slow(PRODUCT, 16),
    "product_mean": by(product_loss, 16),
    "sum": but(16, how="constant", constant=32.0),  # no 1 / |o| at a token
    "gspo_paper": by(gspo_loss, 16),
    "gspo": GSPO,
    "gspo_slow": slow(GSPO, 30),
    "cispo": CISPO,
    "cispo_slow": slow(CISPO, 30),
    "cispo_tight": by(partial(cispo_loss, highest=1.2), 30),
    "cispo_low": by(partial(cispo_loss, lowest=0.8), 16),
    "v32": by(masked_loss, 16, scale=False),
    "r1_clip": R1_CLIP,
    "r1_clip_slow": slow(R1_CLIP, 16),
    "r1_printed": R1_PRINTED,
    "r1_printed_slow": slow(R1_PRINTED, 16),
    "wrong": Variant(reward=wrong_reward),
    "random": Variant(reward=RandomReward),
    "random_unclipped": replace(but(clip=WIDE), reward=RandomReward),
    "random_warm": Variant(reward=RandomReward, warm=0.7),
}


def warmed(base: Model, share: float) -> Model:
    """The base model after as many steps of GRPO as it takes to think that often.

    Raises RuntimeError where WARM_STEPS are not enough.
    """
    policy = new_policy(base)
    for row in grpo(policy, base, WARM_STEPS, WARM, seed=WARM_SEED):
        if row["thinking"] >= share:
            return policy
    raise RuntimeError(
        f"after {WARM_STEPS} steps it thinks in {row['thinking']}, not {share}"
    )


def environment_of(variant: Variant, seed: int) -> Environment:
    """What a run is asked and paid; tosses begin anew with every seed."""
    reward = variant.reward
    reward = RandomReward(seed) if reward is RandomReward else reward
    return Environment(reward=reward, keep=variant.keep)


def train(job: Job) -> tuple[Model, list[Row]]:
    """The policy that a run ends with, and its log."""
    v = RUNS[job.name]
    base = new_policy(load_checkpoint(job.weights(v.base))[0])
    base = warmed(base, v.warm) if v.warm else base
    policy, environment = new_policy(base), environment_of(v, job.seed)
    loop = grpo(policy, base, v.steps, v.settings, environment, job.seed)
    return policy, list(loop)


def make(job: Job) -> Row:
    """Make one run: its log, and its answers to held-out problems."""
    policy, rows = train(job)
    job.write(rows)
    job.write([{"terms": TERMS, **evaluate(policy, TERMS)}], "terms")
    return rows[-1]


def done(job: Job) -> bool:
    """Whether a run is finished."""
    return job.path("terms").exists()


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("after", RUNS, make, done, words)


if __name__ == "__main__":
    main()
