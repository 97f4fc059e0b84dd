"""What came after R1, on the problem of R1-Zero.

`python -m experiments.after VARIANT --seed S` makes one run.

Every run begins at the base model and makes sixteen updates of each rollout, so that
ratios leave 1 and the losses differ. Two files a run, in data/after: the log, and
answers to problems that no training sees.
"""

import argparse
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from r1.model.transformer import Model
from r1.rl.environment import Environment, Reward
from r1.rl.grpo_loop import grpo
from r1.rl.losses import GRPOLoss, Loss
from r1.rl.losses_after_r1 import (
    cispo_loss,
    gspo_loss,
    masked_loss,
    mixed,
    overlong_penalty,
    product_loss,
)
from r1.rl.policy import new_policy
from r1.rl.rewards import format_reward, rule_reward
from r1.rl.rollout import Sampling
from r1.rl.settings import Settings, Updates
from r1.text.problems import Problem
from r1.text.tokenizer import encode
from r1.train.checkpoint import load_checkpoint
from r1.train.evaluation import evaluate
from r1.train.records import write_log

SAMPLING = Sampling(group=16)
SETTINGS = Settings(16, SAMPLING, Updates(lr=3e-4, epochs=2, minibatches=8))
STEPS, TERMS = 30, 5
WIDE = (1e9, 1e9)  # never reached
HIGHER = (0.2, 0.28)  # DAPO, section 4.1
CACHE = 16  # tokens before the longest answer from which on length costs
WARM = Settings(16, SAMPLING, Updates(lr=3e-4))  # one update a rollout


class Variant(NamedTuple):
    """What is changed; `warm` is the share of thoughts that the base is brought to."""

    settings: Settings = SETTINGS
    reward: Reward = rule_reward
    keep: Callable | None = None
    warm: float = 0.0


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


def _but(scale: bool = True, **changes) -> Settings:
    return replace(SETTINGS, scale=scale, loss=GRPOLoss(**changes))


def _with(loss: Callable[..., Loss], scale: bool = True) -> Settings:
    return replace(SETTINGS, scale=scale, loss=loss)


# Dr. GRPO divides by a number that no answer changes: updates of 32 answers of 48.
CONSTANT = {"how": "constant", "constant": 32.0 * 48, "scale": False}
OWN_RANGE = partial(gspo_loss, clip=(0.03, 0.04))
VARIANTS = {
    "grpo": Variant(),
    "dr_grpo": Variant(_but(**CONSTANT)),
    "clip_higher": Variant(_but(clip=HIGHER)),
    "dynamic": Variant(keep=mixed),
    "token": Variant(_but(how="token")),
    "overlong": Variant(reward=shaped_reward),
    "dapo": Variant(_but(how="token", clip=HIGHER), shaped_reward, mixed),
    "product": Variant(_but(level="sequence")),
    "product_mean": Variant(_with(product_loss)),
    "sum": Variant(_but(how="constant", constant=32.0)),  # no 1 / |o| at a token
    "gspo_paper": Variant(_with(gspo_loss)),
    "gspo": Variant(_with(OWN_RANGE)),
    "cispo": Variant(_with(cispo_loss)),
    "cispo_tight": Variant(_with(partial(cispo_loss, highest=1.2))),
    "cispo_low": Variant(_with(partial(cispo_loss, lowest=0.8))),
    "v32": Variant(_with(masked_loss, scale=False)),
    "r1_clip": Variant(_but(clip=(10.0, 10.0))),
    "r1_printed": Variant(_but(level="sequence", clip=(10.0, 10.0))),
    "wrong": Variant(reward=wrong_reward),
    "random": Variant(reward=RandomReward),
    "random_unclipped": Variant(_but(clip=WIDE), reward=RandomReward),
    "random_warm": Variant(reward=RandomReward, warm=0.7),
}
SLOWER = ("grpo", "dapo", "product", "gspo", "cispo", "r1_clip", "r1_printed")
VARIANTS |= {
    f"{name}_slow": VARIANTS[name]._replace(
        settings=replace(
            VARIANTS[name].settings, updates=replace(SETTINGS.updates, lr=1e-4)
        )
    )
    for name in SLOWER
}


def warmed(base: Model, share: float) -> Model:
    """The base model after as many steps of GRPO as it takes to think that often.

    Raises RuntimeError where 40 steps are not enough.
    """
    policy = new_policy(base)
    for row in grpo(policy, base, 40, WARM, seed=100):
        if row["thinking"] >= share:
            return policy
    raise RuntimeError(f"after 40 steps it thinks in {row['thinking']}, not {share}")


def run(name: str, seed: int, base: Model, steps: int, out: Path) -> None:
    """One run, unless it is there: its log, and its answers to held-out problems."""
    log, tested = (out / f"{name}_seed{seed}{end}.csv" for end in ("", "_terms"))
    if tested.exists():
        print(f"{log.stem} is finished")
        return
    v, command = VARIANTS[name], f"python -m experiments.after {name} --seed {seed}"
    command += "" if steps == STEPS else f" --steps {steps}"
    base = warmed(base, v.warm) if v.warm else base
    policy, reward = new_policy(base), v.reward
    reward = RandomReward(seed) if reward is RandomReward else reward
    env = Environment(reward=reward, keep=v.keep)
    loop = grpo(policy, base, steps, v.settings, env, seed)
    rows = list(loop)
    write_log(log, rows, command)
    write_log(tested, [{"terms": TERMS, **evaluate(policy, TERMS)}], command)
    print(log.stem, {k: round(v, 3) for k, v in rows[-1].items()}, flush=True)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("variants", nargs="+", choices=VARIANTS, metavar="VARIANT", help="or several")
    add("--seed", type=int, nargs="+", default=list(range(5)), help="or several")
    add("--steps", type=int, default=STEPS)
    add("--base", type=Path, default=Path("data/base/base_seed1.safetensors"))
    add("--out", type=Path, default=Path("data/after"), help="folder for the logs")
    add("--threads", type=int, default=1, help="of the CPU")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    base = new_policy(load_checkpoint(args.base)[0])
    for name in args.variants:
        for seed in args.seed:
            run(name, seed, base, args.steps, args.out)


if __name__ == "__main__":
    main()
