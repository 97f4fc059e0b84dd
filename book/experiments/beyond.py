"""Chapter 13: can rewards teach what the base model does not do in 256 answers?

The text of the bases has problems of three to eight terms, all worked out, and three
steps of four are a slip: the result is one too large, and is carried on. Single steps
are therefore right with a chance of about q = 0.25, and a whole solution of n terms
with q ** (n - 1): one of 16 at three terms, one of 16,384 at eight. The slip is the
likelier result at every step, so a lower temperature does not help.

Before the predictions a pilot was seen: the base of seed 0, and 60 steps of `short` on
it with another seed and two rates, whose accuracy at three and four terms had risen
from 0.1 to 0.7. Nothing was known of longer problems.

Predictions, before the runs, for each of five bases, in exact chances of the worked
solution:

1. base: the mean chance at n terms is within a factor of 2 of q ** (n - 1), where q is
   its share of right steps; 256 answers find it for fewer than one problem of ten at
   eight terms, and for nine of ten at three terms.
2. short (rewards for three and four terms): the policy stops slipping, at all steps,
   also those that it was not asked for; one answer of eight terms is worked out more
   often than 256 of the base (pass@1 against pass@256).
3. long (rewards for eight terms alone, as many steps): the reward comes by luck only,
   about one answer of ten; the chance at eight terms stays below that of 256 answers
   of the base: it learns nothing that can be seen.
4. curriculum (three terms, then four, up to eight): at eight terms not worse than
   short.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from experiments import pretrain
from experiments.pretrain import Grid
from experiments.runner import TESTED, Job, Row, run_grid
from r1.model.transformer import Model
from r1.rl.grpo_loop import Environment, Settings, grpo, new_policy, problems_of
from r1.text.problems import Problem, random_problem, worked_solution
from r1.text.tokenizer import EOS, encode
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.evaluation import evaluate
from r1.train.likelihood import token_logprobs

FIVE = (0, 1, 2, 3, 4)
PROBLEMS = 512  # of each length, to ask for the chance of their worked solution
ANSWERS = [4**power for power in range(9)]  # k of pass@k
TEMPERATURES = (1.0, 0.5, 0.25)


@dataclass(frozen=True, kw_only=True)
class Rewarded:
    """A base that slips, and the lengths that it is rewarded for, one after the other.

    Each entry of `lengths` has an equal part of the steps.
    """

    lengths: tuple[tuple[int, int], ...]
    base: str = "beyond/base_slips_seed{seed}"
    settings: Settings = Settings()
    steps: int = 102  # chapter 13's hundred, made divisible by six lengths
    seeds: tuple[int | None, ...] = FIVE

    def ask(self, seed: int, step: int, count: int) -> list[Problem]:
        """The problems of a step."""
        stage = step * len(self.lengths) // self.steps
        return problems_of(seed, step, count, self.lengths[stage])


RUNS = {
    "base_slips": Grid(
        base="base/steady_seed{seed}",
        text="slips",
        steps=1000,
        lr=1e-3,
        log_every=10,
        bias_speed=1e-3,
        seeds=FIVE,
    ),
    "short": Rewarded(lengths=((3, 4),)),
    "long": Rewarded(lengths=((8, 8),)),
    "curriculum": Rewarded(lengths=tuple((n, n) for n in range(3, 9))),
}


def solution_logprob(
    model: Model, problems: list[Problem], temperature: float = 1.0
) -> torch.Tensor:
    """The log of the chance that an answer is the worked solution, of each problem.

    All problems must have one number of terms, so that no solution needs padding.
    """
    prompts = [encode(problem.prompt) for problem in problems]
    texts = [
        f"<think>{worked_solution(p)}</think><answer>{p.answer}</answer>{EOS}"
        for p in problems
    ]
    rows = [a + encode(b) for a, b in zip(prompts, texts, strict=True)]
    tokens = torch.tensor(rows)
    with torch.no_grad():
        logits = model(tokens[:, :-1]) / temperature
    logp = token_logprobs(logits, tokens[:, 1:])
    return logp[:, len(prompts[0]) - 1 :].double().sum(1)


def chance_rows(model: Model) -> list[Row]:
    """For each length, temperature and k: the chance that one of k is worked out.

    It is exact: of each problem the chance p of its worked solution is computed, and
    the row has the mean over the problems of 1 - (1 - p)^k.
    """
    rows = []
    for terms in TESTED:
        rng = random.Random(f"beyond/{terms}")
        asked = [random_problem(rng, (terms, terms), True) for _ in range(PROBLEMS)]
        for temperature in TEMPERATURES:
            p = solution_logprob(model, asked, temperature).exp().clamp(max=1.0)
            for k in ANSWERS:
                found = -torch.expm1(k * torch.log1p(-p)).mean().item()
                row = {"terms": terms, "temperature": temperature, "k": k}
                rows.append(row | {"worked": found})
    return rows


def make(job: Job) -> Row:
    """Make one run: weights, log, tests, and last the chances."""
    row = RUNS[job.name]
    if isinstance(row, Grid):
        result = pretrain.make(row, job)
        model = new_policy(load_checkpoint(job.path(ending=".safetensors"))[0])
    else:
        base = load_checkpoint(job.weights(row.base.format(seed=job.seed)))[0]
        base = new_policy(base)
        model, environment = new_policy(base), Environment(row.ask)
        what = (row.steps, row.settings, environment, job.seed)
        job.write(rows := list(grpo(model, base, *what)))
        save_checkpoint(job.path(ending=".safetensors"), model)
        result = rows[-1]
    # A base has been tested on three to five terms already; here it is on all.
    tested = [{"terms": n, **evaluate(model, n, PROBLEMS)} for n in TESTED]
    job.write(tested, "terms")
    job.write(chance_rows(model), "chances")
    return result


def done(job: Job) -> bool:
    """Whether a run is finished: the file that it writes last is there."""
    return job.path("chances").exists()


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("beyond", RUNS, make, done, words)


if __name__ == "__main__":
    main()
