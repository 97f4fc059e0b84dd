"""Chapter 12: rewards that pay for the wrong thing, and their repairs.

Trained as chapter 13 trains: its rate, its temperature, 100 steps, and each of five
seeds begins with a base model of its own. An earlier series (rate 6e-4, temperature
1.2, 64 answers a step, 30 steps, one base) broke thoughts even with repaired rewards.

Predictions, before the runs, for answers to problems of five terms. tags: nearly all
answers think, because a thought has four tags and a bare answer two; no answer has a
fifth tag at this rate; thoughts stay right, so accuracy rises: here the careless
reward does no harm within 100 steps. tags_repaired: thinks and is right in nine of
ten, and cannot be told from tags in either. length: the answers become longer than a
worked solution, up to the limit of 48 tokens, and accuracy falls below that of the
base. length_repaired: thinks in nearly all answers; accuracy of thoughts is kept.

When tags had broken the thoughts of three seeds, one more arm was added: tags_capped
pays for four tags at most. Prediction, before its runs: answers do not grow beyond the
form, and thoughts break all the same, to less than half right in each of five seeds,
because no digit is paid for; so the missing cap is not the cause.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.runner import TESTED, Job, Row, run_grid
from r1.model.transformer import Model
from r1.rl.grpo_loop import Environment, Settings, grpo, new_policy
from r1.rl.rewards import Reward, accuracy_reward, format_reward
from r1.text.problems import Problem
from r1.text.tokenizer import TAGS, encode
from r1.train.checkpoint import load_checkpoint
from r1.train.evaluation import evaluate


def tag_count_reward(problem: Problem, text: str) -> float:
    """A quarter for every tag wherever it stands: four make a form."""
    return 0.25 * sum(text.count(tag) for tag in TAGS)


def capped_tag_reward(problem: Problem, text: str) -> float:
    """A quarter for every tag, and for four at most."""
    return min(1.0, tag_count_reward(problem, text))


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
    """What is paid for; {seed} in the name of the base is that of the run."""

    reward: Reward
    base: str = "base/steady_seed{seed}"
    settings: Settings = Settings()
    steps: int = 100
    seeds: tuple[int | None, ...] = (0, 1, 2, 3, 4)


RUNS = {
    "tags": Paid(reward=tag_count_reward),
    "tags_capped": Paid(reward=capped_tag_reward),
    "tags_repaired": Paid(reward=repaired_tag_reward),
    "length": Paid(reward=length_reward),
    "length_repaired": Paid(reward=repaired_length_reward),
}


def loop(job: Job) -> tuple[Model, Iterator[Row]]:
    """The policy of a run, and its steps, which train it."""
    row = RUNS[job.name]
    base = new_policy(load_checkpoint(job.weights(row.base.format(seed=job.seed)))[0])
    policy, environment = new_policy(base), Environment(reward=row.reward)
    what = (row.steps, row.settings, environment, job.seed)
    return policy, grpo(policy, base, *what)


def make(job: Job) -> Row:
    """Make one run; its log and its tests are written when it has ended."""
    policy, steps = loop(job)
    job.write(rows := list(steps))
    job.write([{"terms": n, **evaluate(policy, n)} for n in TESTED], "terms")
    return rows[-1]


def done(job: Job) -> bool:
    """Whether a run is finished: the file that it writes last is there."""
    return job.path("terms").exists()


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("hacking", RUNS, make, done, words)


if __name__ == "__main__":
    main()
