"""Rewards that pay for the wrong thing, their repairs, and runs of both.

`python -m experiments.hacking` trains with each reward for three seeds and writes a
log a run to data/hacking; it takes about four minutes on one core. Chapter 12 shows
them.
"""

import argparse
from pathlib import Path

import torch

from r1.rl.environment import Environment
from r1.rl.grpo_loop import grpo
from r1.rl.policy import new_policy
from r1.rl.rewards import accuracy_reward, format_reward
from r1.rl.rollout import Sampling
from r1.rl.settings import Settings, Updates
from r1.text.problems import Problem
from r1.text.tokenizer import TAGS, encode
from r1.train.checkpoint import load_checkpoint
from r1.train.records import write_log

SETTINGS = Settings(
    prompts=8,
    sampling=Sampling(group=8, max_new_tokens=40, temperature=1.2),
    updates=Updates(lr=6e-4),
)
STEPS = 30


def tag_count_reward(problem: Problem, text: str) -> float:
    """A quarter for every tag wherever it stands: four make a form."""
    return 0.25 * sum(text.count(tag) for tag in TAGS)


def repaired_tag_reward(problem: Problem, text: str) -> float:
    """Accuracy, and 1 for a text that has the form: DeepSeek-R1, equation 4."""
    return accuracy_reward(problem, text) + format_reward(text)


def length_reward(problem: Problem, text: str) -> float:
    """Accuracy, and a tenth for every token, to encourage long thoughts."""
    return accuracy_reward(problem, text) + 0.1 * len(encode(text))


def repaired_length_reward(problem: Problem, text: str) -> float:
    """Accuracy, and a tenth for every token of an answer that is right."""
    return accuracy_reward(problem, text) * (1 + 0.1 * len(encode(text)))


REWARDS = {
    "tags": tag_count_reward,
    "tags_repaired": repaired_tag_reward,
    "length": length_reward,
    "length_repaired": repaired_length_reward,
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--base", type=Path, default=Path("data/base/base_seed1.safetensors"))
    add("--out", type=Path, default=Path("data/hacking"), help="folder for the logs")
    add("--seeds", type=int, default=3)
    add("--threads", type=int, help="of the CPU")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    base = new_policy(load_checkpoint(args.base)[0])
    for name, reward in REWARDS.items():
        for seed in range(args.seeds):
            env = Environment(reward=reward)
            rows = list(grpo(new_policy(base), base, STEPS, SETTINGS, env, seed))
            log = args.out / f"{name}_seed{seed}.csv"
            write_log(log, rows, "python -m experiments.hacking")
            print(log.stem, {k: round(v, 3) for k, v in rows[-1].items()}, flush=True)


if __name__ == "__main__":
    main()
