"""Record the runs that question 7 asks about, each with one fault planted.

It writes files/*.csv. Run in the folder of the book, 90 seconds for each run:
python assignments/rewards_and_grpo/make_runs.py --run a --seed 3
python assignments/rewards_and_grpo/make_runs.py --run b --seed 1
python assignments/rewards_and_grpo/make_runs.py --run c --seed 2
python assignments/rewards_and_grpo/make_runs.py --run healthy
"""

import argparse
import sys
from pathlib import Path

import torch

from r1.rl import Environment, grpo_loop, new_policy, rule_reward
from r1.text import encode
from r1.train import load_checkpoint, read_table, write_log

HERE = Path(__file__).parent
STEPS = 40
PRICE = 0.05
right_advantages, right_roll_out = grpo_loop.group_advantages, grpo_loop.roll_out


def turned_round(rewards, scale=True):
    """Advantages with the wrong sign."""
    return -right_advantages(rewards, scale)


def without_its_end(*args):
    """Answers whose mask leaves out the last token, which is the end token."""
    rollout = right_roll_out(*args)
    behind = torch.zeros_like(rollout.mask)
    behind[:, :-1] = rollout.mask[:, 1:]
    return rollout._replace(mask=rollout.mask & behind)


def short_ones_preferred(problem, text):
    """The right reward, less a price for each token."""
    return rule_reward(problem, text) - PRICE * len(encode(text))


def train(name, seed):
    """Train with the fault of this name; returns the rows of the log."""
    torch.set_num_threads(1)
    base = new_policy(load_checkpoint("data/base/base_seed1.safetensors")[0])
    policy, reward = new_policy(base), rule_reward
    if name == "a":
        grpo_loop.group_advantages = turned_round
    if name == "b":
        reward = short_ones_preferred
    if name == "c":
        grpo_loop.roll_out = without_its_end
    return list(
        grpo_loop.grpo(
            policy, base, STEPS, environment=Environment(reward=reward), seed=seed
        )
    )


def healthy():
    """The first steps of chapter 13's five runs, with a column for the seed."""
    rows = []
    for seed in range(5):
        _, columns, cells = read_table("rl/steps")[f"zero_seed{seed}"]
        table = (dict(zip(columns, row, strict=True)) for row in cells[:STEPS])
        rows += [{"seed": seed, **row} for row in table]
    return rows


def main():
    """Record what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", choices=("a", "b", "c", "healthy"), required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sick = args.run != "healthy"
    rows = train(args.run, args.seed) if sick else healthy()
    path = HERE / "files" / (f"run_{args.run}.csv" if sick else "healthy.csv")
    script = f"assignments/{HERE.name}/{Path(__file__).name}"
    write_log(path, rows, " ".join(["python", script, *sys.argv[1:]]))
    path.chmod(0o644)


if __name__ == "__main__":
    main()
