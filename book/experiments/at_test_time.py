"""Chapter 16: computing more for one question.

Votes and verifiers choose among many answers, forced thoughts are shorter or longer.
Every seed of a base has its own base, its own held-out problems and its own verifiers.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from experiments.distill import TOGETHER, held_out, measure
from experiments.runner import Job, Row, run_grid
from r1.model.sampling import Answer, ask
from r1.recipe.at_test_time import (
    auc,
    best_at_k,
    budget,
    clean_steps,
    counts_of,
    train_verifier,
    verifier_scores,
    vote,
    vote_at_k,
)
from r1.rl.grpo_loop import new_policy, problems_of
from r1.rl.ppo_loop import new_critic
from r1.text.answers import is_right
from r1.text.problems import EitherWay, Problem, is_worked_out
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.evaluation import pass_at_k

DRAWS = 64  # of k answers, for the one way to choose that has no formula
LOGGED = 16  # updates of a verifier whose mean is a row
DIGITS = 2  # of the scores that are rounded


@dataclass(frozen=True, kw_only=True)
class Verifier:
    """Which model's answers a verifier learns to judge, and how.

    `number` tells the verifiers of one model apart: each reads other problems and other
    answers. {seed} in the name of the model is the seed of the run.
    """

    model: str
    number: int = 0
    terms: tuple[int, int] = (3, 5)
    problems: int = 1024
    copies: int = 4
    epochs: int = 3
    lr: float = 1e-3
    seeds: tuple[int | None, ...] = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Votes:
    """A model that answers each of some problems `samples` times, and its verifiers."""

    model: str
    terms: int
    verifiers: tuple[str, ...] = ()
    samples: int = 64
    problems: int = 128
    seeds: tuple[int | None, ...] = (0, 1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Forced:
    """A model whose thoughts have at most some tokens, or at least some steps.

    `terms` are the fewest and the most of the problems.
    """

    model: str
    terms: tuple[int, int]
    most: tuple[int, ...]
    least: tuple[int, ...]
    problems: int = 192
    seeds: tuple[int | None, ...] = (0, 1, 2, 3, 4)


# The five bases of chapter 07's second recipe, none of them selected.
BASE = "base/steady_seed{seed}"
# Students of chapter 15: of R1-Zero on three to five terms, of R1 on three to eight.
STUDENT = "distill/traces_dense4_seed{seed}"
ONE = {"seeds": (0,)}
THREE = {"seeds": (0, 3, 4)}  # the students of R1 whose weights were kept
JUDGES = ("verifier_base_0", "verifier_base_1", "verifier_base_2")
FIVE = tuple(f"verifier_student_{number}" for number in range(5))

# Predictions, written before these runs. The first edition's runs (one selected base,
# one student, one verifier of each, 16 draws) were known.
# 1. Five terms, five bases: the vote of 64 is right in more than 0.95 of the problems.
#    A clean vote of 8 is better than a vote of 16.
# 2. The best by a verifier, mean of three verifiers on each base: better with 8 answers
#    than with one, and worse with 64 than with 16. A base's weighed vote of 64 is
#    better than its best of 64.
# 3. Scores rounded to two digits, equal scores drawn by lot: the best of 64 is no worse
#    than the best of 16. Then it is the fine differences that mislead.
# 4. (Verifiers that have read more answers, and fewer: these runs were not made.)
# 5. The student, five verifiers: the best of 64 is worse than the best of two.
# 6. Six terms: no way to choose gets above 0.3, although one of 64 answers is nearly
#    always right.
# 7. Forced, five bases: made to think, better than free at three, four and five terms,
#    worse at six. Cut off a step early, worse than bare answers. Made to take one step
#    more than the problem has, below 0.25. At six terms waiting is no gain.
# 8. Seven terms, students of R1 of two sizes: at the price of one answer of R1, a
#    vote of the students of a quarter is worse than that answer, and so is a vote of
#    the students of a sixteenth.
RUNS = {
    **{name: Verifier(model=BASE, number=number) for number, name in enumerate(JUDGES)},
    **{
        name: Verifier(model=STUDENT, number=number, **ONE)
        for number, name in enumerate(FIVE)
    },
    "votes_base_5": Votes(model=BASE, terms=5, verifiers=JUDGES),
    "votes_base_6": Votes(model=BASE, terms=6, verifiers=JUDGES),
    "votes_student_5": Votes(model=STUDENT, terms=5, verifiers=FIVE, **ONE),
    "votes_r1_7": Votes(model="distill/teacher_r1", terms=7, **THREE),
    "votes_dense4_7": Votes(
        model="distill/r1_traces_dense4_seed{seed}", terms=7, **THREE
    ),
    "votes_dense16_7": Votes(
        model="distill/r1_traces_dense16_seed{seed}", terms=7, **THREE
    ),
    "votes_next_7": Votes(
        model="distill/next_traces_dense16_seed{seed}", terms=7, **ONE
    ),
    "forced_base": Forced(
        model=BASE,
        terms=(3, 6),
        most=(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30),
        least=(2, 3, 4, 5, 6, 7),
    ),
    "forced_zero": Forced(
        model="rl/zero_seed0",
        terms=(3, 6),
        most=(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30),
        least=(2, 3, 4, 5, 6, 7),
        **ONE,
    ),
}


def model_of(job: Job, name: str):
    """The model that a row names, or a run of this grid."""
    return new_policy(load_checkpoint(job.weights(name.format(seed=job.seed)))[0])


# verifiers


def in_parts(rows: list[Row], size: int = LOGGED) -> list[Row]:
    """The means of every `size` rows; of a last part that is shorter, its own."""
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [
        {"step": part[0]["step"]}
        | {name: sum(r[name] for r in part) / len(part) for name in ("loss", "hits")}
        for part in parts
    ]


def run_verifier(job: Job) -> Row:
    """Train a verifier on marked answers of a model to problems for training."""
    row = RUNS[job.name]
    model = model_of(job, row.model)
    problems = problems_of(row.number, 0, row.problems, row.terms, EitherWay)
    groups = ask(model, problems, row.copies, row.number, together=TOGETHER)
    marked = [
        (problem, answer.text)
        for problem, answers in zip(problems, groups, strict=True)
        for answer in answers
    ]
    verifier = new_critic(model)
    rows = list(train_verifier(verifier, marked, row.epochs, row.lr, seed=row.number))
    notes = {"marked": row.model.format(seed=job.seed).rpartition("/")[2]}
    save_checkpoint(job.path(ending=".safetensors"), verifier, **notes)
    job.write(rows := in_parts(rows))
    return rows[-1]


# votes


class Asked(NamedTuple):
    """A problem and what a model answered, read once."""

    problem: Problem
    texts: list[str]
    right: list[bool]
    thinks: list[bool]

    @classmethod
    def of(cls, problem: Problem, answers: Sequence[Answer]) -> "Asked":
        """The answers to a problem with their marks."""
        texts = [answer.text for answer in answers]
        right = [is_right(problem, text) for text in texts]
        return cls(problem, texts, right, [t.startswith("<think>") for t in texts])


def mean(values: Sequence[float]) -> float:
    """The mean over problems."""
    return sum(values) / len(values)


def powers(samples: int) -> list[int]:
    """1, 2, 4, ..., as far as there are samples."""
    return [2**power for power in range(samples.bit_length())]


def votes_of(asked: list[Asked], tokens: float) -> list[Row]:
    """How good is each way to choose one of k answers? For k = 1, 2, 4, ..., all.

    Each share is the mean over the problems of an exact chance, that of a random
    choice of k of the answers that there are. `tokens` is the mean length of an answer.
    """
    samples, rows = len(asked[0].texts), []
    kept = [[t for t in a.texts if clean_steps(t)] for a in asked]
    rest = [[t for t in a.texts if not clean_steps(t)] for a in asked]
    for k in powers(samples):
        marks = {"any": [], "worked": [], "majority": [], "clean": []}
        for a, clean, other in zip(asked, kept, rest, strict=True):
            worked = sum(is_worked_out(a.problem, text) for text in a.texts)
            marks["any"].append(pass_at_k(samples, sum(a.right), k))
            marks["worked"].append(pass_at_k(samples, worked, k))
            marks["majority"].append(vote_at_k(counts_of(a.problem, a.texts), k))
            among = counts_of(a.problem, clean)
            chance = vote_at_k(among._replace(silent=among.silent + len(other)), k)
            # Where none of the k is clean, all of them vote.
            if len(other) >= k:
                none = 1.0 - pass_at_k(samples, len(clean), k)
                chance += none * vote_at_k(counts_of(a.problem, other), k)
            marks["clean"].append(chance)
        shares = {name: mean(values) for name, values in marks.items()}
        rows.append({"k": k, "tokens": k * tokens, **shares})
    return rows


def judged(asked: list[Asked], scores: list[list[float]]) -> list[Row]:
    """How good is what a verifier likes best of k, and a vote that it weighs?

    learned: the best of k, exactly. thinks: how often that is a thought. rounded: the
    same with scores of two digits. weighed: a vote with the scores as weights, the mean
    of `DRAWS` draws. auc: how often a right answer scores higher than a wrong one to
    the same problem, and the same among thoughts alone.
    """
    samples, rng, rows = len(asked[0].texts), random.Random(0), []
    pairs = list(zip(asked, scores, strict=True))
    sure = {"auc": auc_of(pairs), "auc_thoughts": auc_of(pairs, thoughts=True)}
    for k in powers(samples):
        marks = {"learned": [], "thinks": [], "rounded": [], "weighed": []}
        for a, liked in pairs:
            near = [round(score, DIGITS) for score in liked]
            marks["learned"].append(best_at_k(liked, a.right, k))
            marks["thinks"].append(best_at_k(liked, a.thinks, k))
            marks["rounded"].append(best_at_k(near, a.right, k))
            marks["weighed"].append(weighed(a, liked, k, rng))
        shares = {name: mean(values) for name, values in marks.items()}
        rows.append({"k": k, **shares, **sure})
    return rows


def weighed(a: Asked, scores: list[float], k: int, rng: random.Random) -> float:
    """How often a vote of k that is weighed by scores is right, in some draws."""
    draws, hits = DRAWS if k < len(a.texts) else 1, 0
    for _ in range(draws):
        places = rng.sample(range(len(a.texts)), k)
        texts, some = ([of[i] for i in places] for of in (a.texts, scores))
        hits += vote(a.problem, texts, some) == a.problem.answer
    return hits / draws


def auc_of(pairs: list[tuple[Asked, list[float]]], thoughts: bool = False) -> float:
    """The mean of `auc` over the problems that have right and wrong answers."""
    values = []
    for a, scores in pairs:
        kept = [i for i in range(len(scores)) if a.thinks[i] or not thoughts]
        right = [a.right[i] for i in kept]
        if 0 < sum(right) < len(right):
            values.append(auc([scores[i] for i in kept], right))
    return mean(values) if values else float("nan")


def run_votes(job: Job) -> Row:
    """Answer problems many times, and let every way to choose choose."""
    row = RUNS[job.name]
    model = model_of(job, row.model)
    problems = held_out((row.terms, row.terms), row.problems, job.seed or 0)
    groups = ask(model, problems, row.samples, together=TOGETHER)
    asked = [Asked.of(*pair) for pair in zip(problems, groups, strict=True)]
    judges = []
    for number, name in enumerate(row.verifiers):
        verifier = model_of(job, f"at_test_time/{name}_seed{{seed}}")
        scores = [verifier_scores(verifier, a.problem.prompt, a.texts) for a in asked]
        judges += [{"judge": number, **r} for r in judged(asked, scores)]
    if judges:
        job.write(judges, "judges")
    tokens = sum(len(answer.ids) for group in groups for answer in group)
    job.write(rows := votes_of(asked, tokens / (len(groups) * row.samples)))
    return {f"majority@{r['k']}": r["majority"] for r in rows}


# forced thoughts


def budgets_of(row: Forced) -> list[tuple[int, int]]:
    """Pairs of least steps and most tokens, -1 for no limit: none, a thought, each."""
    limits = [(0, -1), (1, -1)]
    return (
        limits + [(0, most) for most in row.most] + [(least, -1) for least in row.least]
    )


def run_forced(job: Job) -> Row:
    """Force thoughts to be short or long; a row for every length and budget."""
    row = RUNS[job.name]
    model, rows = model_of(job, row.model), []
    for terms in range(row.terms[0], row.terms[1] + 1):
        problems = held_out((terms, terms), row.problems, job.seed or 0)
        for least, most in budgets_of(row):
            amend = budget(least, None if most < 0 else most)
            measured = measure(model, problems, amend)
            rows.append({"terms": terms, "least": least, "most": most, **measured})
    job.write(rows)
    return rows[-1]


def make(job: Job) -> Row:
    """Make one run."""
    way = {Verifier: run_verifier, Votes: run_votes, Forced: run_forced}
    return way[type(RUNS[job.name])](job)


def done(job: Job) -> bool:
    """Whether a run is finished: the file that it writes last is there."""
    return job.path().exists()


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("at_test_time", RUNS, make, done, words)


if __name__ == "__main__":
    main()
