"""Chapter 12: rewards that pay for the wrong thing, and their repairs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.runner import Job, Row, run_grid
from r1.rl.grpo_loop import Environment, Settings, Updates, grpo, new_policy
from r1.rl.rewards import Reward, accuracy_reward, format_reward
from r1.rl.rollout import Sampling
from r1.text.problems import Problem
from r1.text.tokenizer import TAGS, encode
from r1.train.checkpoint import load_checkpoint


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


@dataclass(frozen=True, kw_only=True)
class Paid:
    """What is paid for; a high rate and a high temperature let it be found soon."""

    reward: Reward
    base: str = "base/base_seed1"
    settings: Settings = Settings(
        prompts=8,
        sampling=Sampling(group=8, max_new_tokens=40, temperature=1.2),
        updates=Updates(lr=6e-4),
    )
    steps: int = 30
    seeds: tuple[int | None, ...] = (0, 1, 2)


RUNS = {
    "tags": Paid(reward=tag_count_reward),
    "tags_repaired": Paid(reward=repaired_tag_reward),
    "length": Paid(reward=length_reward),
    "length_repaired": Paid(reward=repaired_length_reward),
}


def loop(job: Job) -> Iterator[Row]:
    """The steps of a run."""
    row = RUNS[job.name]
    base = new_policy(load_checkpoint(job.weights(row.base))[0])
    environment = Environment(reward=row.reward)
    return grpo(new_policy(base), base, row.steps, row.settings, environment, job.seed)


def make(job: Job) -> Row:
    """Make one run, and write its log when it has ended."""
    rows = list(loop(job))
    job.write(rows)
    return rows[-1]


def done(job: Job) -> bool:
    """Whether a run is finished."""
    return job.path().exists()


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("hacking", RUNS, make, done, words)


if __name__ == "__main__":
    main()
