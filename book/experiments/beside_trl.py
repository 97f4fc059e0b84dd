"""Chapter 19: the runs `steady` of experiments.rl once more, by TRL's loop.

Each of the five bases of the second recipe goes to TRL in Hugging Face's layout, is
trained for 40 steps with the settings of experiments/settings/clock.yaml, and comes
back by Model.from_pretrained to be tested as all models of the book are. Base, problems
of each step, rewards and settings are those of the run of the same seed in rl/steady,
whose first 40 steps are the other side of the comparison.

What cannot be made the same: TRL's standard deviation of a group divides by 15 and not
by 16, and has 1e-4 added, so its advantages are 3 % smaller, which AdamW nearly takes
back; and its draws come from another generator.

Prediction, before the runs: in the mean accuracy of steps 30 to 39, paired by base,
r1.stats.compare cannot tell the two apart; by TRL too, all five bases rise from about
0.5 to more than 0.8. Seen before: rl/steady, and two steps of TRL.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments import grpo_trl
from experiments.runner import Job, Row, run_grid
from r1.model.transformer import Model
from r1.rl.grpo_loop import Settings, problems_of
from r1.train.evaluation import evaluate

CLOCK = Path(__file__).parent / "settings/clock.yaml"
TERMS = 5
# What TRL logs, and what it is called in the tables of the book.
LOGGED = {
    "reward": "reward",
    "rewards/accuracy_reward/mean": "accuracy",
    "rewards/thinking/mean": "thinking",
    "completions/mean_length": "length",
    "frac_reward_zero_std": "no_signal",
    "entropy": "entropy",
    "loss": "loss",
    "clip_ratio/region_mean": "clipped",
    "grad_norm": "grad_norm",
}


@dataclass(frozen=True, kw_only=True)
class ByTRL:
    """A base model that TRL trains; {seed} in its name is that of the run."""

    base: str = "base/steady_seed{seed}"
    steps: int = 40
    seeds: tuple[int | None, ...] = (0, 1, 2, 3, 4)


RUNS = {"trl": ByTRL()}


def thinking(problem: Any, text: str) -> float:
    """1 for a text with a thought, in whatever form: TRL logs the mean."""
    return float(text.startswith("<think>"))


def train(base: Path, folder: Path, steps: int, seed: int) -> tuple[list[Row], Model]:
    """The steps of a run by TRL, with our names, and the model that it saves."""
    words = ["--config", str(CLOCK), "--output_dir", str(folder / "trained")]
    words += ["--max_steps", str(steps), "--seed", str(seed), "--disable_tqdm", "true"]
    _, args, _ = grpo_trl.read_settings(words)
    grpo_trl.export(base, folder / "base")
    prompts = Settings().prompts
    problems = [p for step in range(steps) for p in problems_of(seed, step, prompts)]
    rewards = grpo_trl.REWARDS | {thinking: 0.0}
    trainer = grpo_trl.new_trainer(str(folder / "base"), problems, args, rewards)
    trainer.train()
    trainer.save_model(args.output_dir)
    logs = [log for log in trainer.state.log_history if "reward" in log]
    rows = [
        {"step": step, **{ours: float(log[name]) for name, ours in LOGGED.items()}}
        for step, log in enumerate(logs)
    ]
    # Its type by default is that of large models, BF16.
    return rows, Model.from_pretrained(args.output_dir, torch.float32)


def make(job: Job) -> Row:
    """Make one run: its steps, and last the test of what it has trained."""
    row = RUNS[job.name]
    base = job.weights(row.base.format(seed=job.seed))
    with tempfile.TemporaryDirectory() as folder:
        rows, policy = train(base, Path(folder), row.steps, job.seed)
    job.write(rows)
    job.write([{"terms": TERMS, **evaluate(policy, TERMS)}], "terms")
    return rows[-1]


def done(job: Job) -> bool:
    """Whether a run is finished: the file that it writes last is there."""
    return job.path("terms").exists()


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("beside_trl", RUNS, make, done, words)


if __name__ == "__main__":
    main()
