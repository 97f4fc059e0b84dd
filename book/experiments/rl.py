"""Chapters 11 and 13: R1-Zero, on several kinds of base, and the knobs of GRPO.

Most runs train a base model by rules alone, on problems of five terms; `base_*` make
other base models, and `passk_*` ask models many times. What is not said here is as in
r1.rl.Settings, whose defaults are those of `zero`.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from experiments import pretrain, reinforce
from experiments.pretrain import Grid
from experiments.reinforce import GRPOSettings
from experiments.runner import Job, Row, run_grid
from r1.rl.grpo_loop import Environment, Updates, grpo, new_policy, problems_of
from r1.rl.losses import GRPOLoss
from r1.rl.ppo_loop import PPOSettings
from r1.rl.rollout import Sampling, roll_out
from r1.text.answers import is_right, said
from r1.text.problems import Problem, is_worked_out
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.evaluation import answer_often, majority_right, pass_at_k

DRAWS = 16  # of k answers, to see what their majority says


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A base model and how it is trained; {seed} in its name is that of the run."""

    base: str = "base/base_seed1"  # chosen: the best of three, see OWN
    settings: GRPOSettings | PPOSettings = GRPOSettings()
    terms: tuple[int, int] = (5, 5)
    steps: int = 100
    seeds: tuple[int | None, ...] = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Watched(Policy):
    """A policy that, after some steps, answers a problem that it does not learn from.

    Problem and draws are those of the answers that chapter 13 shows.
    """

    said: tuple[int, ...] = (0, 20, 50, 100)
    answers: int = 4


@dataclass(frozen=True, kw_only=True)
class PassAtK:
    """A model that answers each of some problems very often; {seed} as in Policy."""

    model: str
    terms: int
    samples: int = 256
    problems: int = 128
    seeds: tuple[int | None, ...] = (None,)


def short(steps: int = 40, **settings) -> Policy:
    """A run with one setting changed, for as long as it takes to see what it does."""
    return Policy(settings=GRPOSettings(**settings), steps=steps)


def own_passk(**settings) -> PassAtK:
    """Five models, each asked half as many problems as one alone."""
    return PassAtK(problems=64, seeds=FIVE, **settings)


def more(**changes) -> Grid:
    """The base model, which reads on."""
    return Grid(base="base/base_seed1", log_every=10, bias_speed=1e-3, **changes)


def again(seed: int) -> Grid:
    """The base of the first recipe from one seed, made again."""
    settings = {"steps": 3000, "log_every": 10, "bias_speed": 1e-3}
    return Grid(config="tiny", seeds=(None,), only_seed=seed, **settings)


def token_ppo(**settings) -> PPOSettings:
    """PPO that averages over all tokens of a step, with some settings changed."""
    return PPOSettings(how="token", **settings)


FIVE = (0, 1, 2, 3, 4)
# Nothing is chosen: the five bases of the second recipe, each with the run of its seed.
OWN = "base/steady_seed{seed}"
FOUR_TIMES = Updates(epochs=4, minibatches=4)
RUNS = {
    "zero": Policy(seeds=FIVE),
    "ppo_lam100": Policy(settings=token_ppo(lam=1.0), seeds=FIVE),
    "ppo_lam095": Policy(settings=token_ppo(lam=0.95), seeds=FIVE),
    # Every base of the second recipe. Prediction, before the runs: on each of the five
    # thinking grows, to more than 0.8 in the last ten of 100 steps.
    "steady": Policy(base=OWN, seeds=FIVE),
    # The first page of the website shows this one: the first of them once more, with a
    # step behind the hundredth, whose answers show what the hundred have made.
    "watched": Watched(base=OWN, steps=101, seeds=(0,)),
    # Chapter 11: PPO on the same bases. With critic_first the critic learns alone for
    # 20 steps, and the policy for 100 after them. Predictions, before the runs: with
    # lambda 1 half of the answers think within ten steps of GRPO (cannot tell); with
    # 0.95 ten or more steps later; with 0.95 and a critic that has begun first, within
    # ten steps of GRPO again, counted from the policy's first step: it is the critic
    # that knows nothing, and not lambda alone, that delays.
    "steady_lam100": Policy(base=OWN, settings=token_ppo(lam=1.0), seeds=FIVE),
    "steady_lam095": Policy(base=OWN, settings=token_ppo(lam=0.95), seeds=FIVE),
    "steady_first": Policy(
        base=OWN,
        settings=token_ppo(lam=0.95, critic_first=20),
        steps=120,
        seeds=FIVE,
    ),
    # Chapter 11: one setting at a time.
    "lr3e-4": short(updates=Updates(lr=3e-4)),
    "lr1e-3": short(updates=Updates(lr=1e-3)),
    "lr1e-2": short(updates=Updates(lr=1e-2)),
    "kl1": short(loss=GRPOLoss(kl_weight=1.0)),
    "nostd": short(scale=False),
    "group4": short(prompts=128, sampling=Sampling(group=4)),
    "group64": short(prompts=8, sampling=Sampling(group=64)),
    "epochs4": short(20, updates=FOUR_TIMES),
    "epochs4_noclip": short(20, updates=FOUR_TIMES, loss=GRPOLoss(clip=(1e9, 1e9))),
    "six": Policy(terms=(6, 6), steps=40),
    # Chapter 13: bases that hardly think, that think wrongly, that cannot, that notice.
    "base_few": more(text="few", steps=500, lr=1e-3),
    "base_wrong": more(text="wrong", steps=500, lr=1e-3),
    "base_unable": again(2),
    # The first recipe's seed 0: its thoughts of five terms are right in 0.60.
    # Prediction, before the runs: thinking grows, to less than on the bases above
    # after as many steps. (It came out: made again, this base is right in 0.96.)
    "base_shaky": again(0),
    "base_noticed": more(text="repaired", steps=2000, seeds=(0,)),
    "few": Policy(base="rl/base_few_seed{seed}"),
    "wrong": Policy(base="rl/base_wrong_seed{seed}"),
    "unable": Policy(base="rl/base_unable"),
    "shaky": Policy(base="rl/base_shaky"),
    "noticed": Policy(base="rl/base_noticed_seed0"),
    # Chapter 13: does the base know already what the policy knows?
    "passk_base_5": PassAtK(model="base/base_seed1", terms=5),
    "passk_base_6": PassAtK(model="base/base_seed1", terms=6),
    "passk_zero_5": PassAtK(model="rl/zero_seed0", terms=5),
    "passk_zero_6": PassAtK(model="rl/zero_seed0", terms=6),
    # The same of five bases, none of them chosen, and of what each has become.
    "passk_before_5": own_passk(model=OWN, terms=5),
    "passk_before_6": own_passk(model=OWN, terms=6),
    "passk_after_5": own_passk(model="rl/steady_seed{seed}", terms=5),
    "passk_after_6": own_passk(model="rl/steady_seed{seed}", terms=6),
}


def pass_rows(answered: list[tuple[Problem, list[str]]]) -> list[Row]:
    """A row for k = 1, 2, 4, ... up to all answers to each problem.

    pass: chance that one of k is right. worked: that one of k is worked out, with every
    step right. majority: chance that the commonest answer of k is right.
    """
    samples, rng, rows = len(answered[0][1]), random.Random(0), []
    for power in range(samples.bit_length()):
        k = 2**power
        marks = {"pass": [], "worked": [], "majority": []}
        for problem, texts in answered:
            for name, judge in (("pass", is_right), ("worked", is_worked_out)):
                hits = sum(judge(problem, text) for text in texts)
                marks[name].append(pass_at_k(samples, hits, k))
            for _ in range(DRAWS):
                digits = (said(problem, text) for text in rng.sample(texts, k))
                votes = Counter(filter(None, digits))
                marks["majority"].append(majority_right(votes, problem.answer))
        means = {name: sum(values) / len(values) for name, values in marks.items()}
        rows.append({"k": k, **means})
    return rows


def options_of(row: Policy, job: Job) -> reinforce.Options:
    """The options of one run of the grid; it goes on where it was cut off."""
    kind = reinforce.Ppo if isinstance(row.settings, PPOSettings) else reinforce.Grpo
    out = job.path(ending=".safetensors")
    return kind(
        base=job.weights(row.base.format(seed=job.seed)),
        out=out,
        terms=row.terms,
        steps=row.steps,
        seed=job.seed,
        settings=row.settings,
        resume=out.exists(),
    )


def watch(row: Watched, job: Job) -> Row:
    """Train a policy, and write what it answers on the way; returns the last step.

    Its weights at these steps are written too.
    """
    base = new_policy(load_checkpoint(job.weights(row.base.format(seed=job.seed)))[0])
    policy, log, said = new_policy(base), [], []
    environment = Environment(partial(problems_of, terms=row.terms))
    steps = grpo(policy, base, row.steps, row.settings, environment, job.seed)
    asked = problems_of(99, 0, 1)
    for done in range(row.steps):
        if done in row.said:
            draws = torch.Generator().manual_seed(3)
            answers = roll_out(policy, asked, Sampling(group=row.answers), draws)
            said += [
                {"step": done, "problem": asked[0].prompt, "text": text}
                for text in answers.texts
            ]
            if done:  # the page shows these models, and before step 0 there is the base
                weights = job.path(f"step{done}", ".safetensors")
                save_checkpoint(weights, policy, step=done, seed=job.seed)
        log.append(next(steps))
    job.write(log)
    job.write(said, "said")
    return log[-1]


def make(job: Job) -> Row:
    """Make one run."""
    row = RUNS[job.name]
    if isinstance(row, Watched):
        return watch(row, job)
    if isinstance(row, Grid):
        return pretrain.make(row, job)
    if isinstance(row, PassAtK):
        model = new_policy(
            load_checkpoint(job.weights(row.model.format(seed=job.seed)))[0]
        )
        answered = answer_often(model, row.terms, row.samples, row.problems)
        job.write(rows := pass_rows(answered))
        return {f"pass@{r['k']}": r["pass"] for r in rows}
    options = options_of(row, job)
    if not options.resume:
        job.path().unlink(missing_ok=True)
    return reinforce.run(options, job.command)


def done(job: Job) -> bool:
    """Whether a run is finished: the file that it writes last is there."""
    kinds = {Grid: "valid", Policy: "terms", Watched: "said", PassAtK: ""}
    return job.path(kinds[type(RUNS[job.name])]).exists()


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("rl", RUNS, make, done, words)


if __name__ == "__main__":
    main()
