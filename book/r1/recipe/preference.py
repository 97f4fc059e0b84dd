"""A learned preference: which of two answers is put better, fitted to noisy choices."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from r1.text.answers import read
from r1.text.problems import DIGITS
from r1.text.readable import Task

FEATURES = ("length", "restated", "signs", "equals")
SEEN_SYMBOLS = 40  # symbols of an answer that count


class Pair(NamedTuple):
    """Two answers to a task, of which somebody chose the first."""

    task: Task
    chosen: str
    other: str


def features(task: Task, answer: str) -> Float[Tensor, " features"]:
    """What the model sees of an answer, as counts divided by ten.

    length: symbols. restated: pairs of neighbors that the question has too. signs:
    operations. equals: equal signs. What stands in the thought is not seen.
    """
    asked = {task.question[i : i + 2] for i in range(len(task.question) - 1)}
    answer = answer[:SEEN_SYMBOLS]
    restated = [answer[i : i + 2] in asked for i in range(len(answer) - 1)]
    marks = Counter(answer)
    counts = (len(answer), sum(restated), sum(marks[s] for s in "+-*"), marks["="])
    return torch.tensor([count / 10 for count in counts])


def taste(task: Task, answer: str) -> float:
    """How well an answer is put, as our annotator sees it; whether it is true, not.

    A fifth for every symbol, from the first on, that stands where a summary has one of
    its kind (6=1+5: any two digits, the last sign and term of the problem), and a tenth
    less for every symbol behind those.
    """
    # From the first symbol of a wrong kind on, every symbol costs.
    kinds = (DIGITS, "=", DIGITS, task.operations[-1], str(task.terms[-1]))
    matching = 0
    while matching < min(len(answer), 5) and answer[matching] in kinds[matching]:
        matching += 1
    return matching / 5 - 0.1 * (len(answer) - matching)


def taste_of(task: Task, text: str) -> float:
    """The `taste` of the answer in a text; 0 where the form is not kept."""
    answer = read(text)
    return taste(task, answer.answer) if answer else 0.0


def choose(
    rng: random.Random, task: Task, one: str, two: str, noise: float = 0.1
) -> Pair:
    """An annotator's choice by `taste`; a share `noise` of them is the wrong one.

    Raises ValueError for a share outside of 0 to 0.5.
    """
    if not 0 <= noise <= 0.5:
        raise ValueError(f"noise is {noise}; take a share from 0 to 0.5")
    prefers_one = taste(task, one) > taste(task, two)
    if taste(task, one) == taste(task, two):
        prefers_one = rng.random() < 0.5
    # Exclusive or: with probability noise the choice is turned around.
    prefers_one ^= rng.random() < noise
    return Pair(task, one, two) if prefers_one else Pair(task, two, one)


def pairs_of(
    rng: random.Random, tasks: Sequence[Task], texts: Sequence[str], noise: float = 0.1
) -> list[Pair]:
    """Choices between two answers to each task, of a policy or broken off.

    `texts` has as many to each task, one below the other. Of each answer we also take
    the beginning, up to a symbol drawn at random, as of somebody in a hurry. A task
    without two different answers gives no pair.
    """
    size, pairs = len(texts) // len(tasks), []
    for index, task in enumerate(tasks):
        read_answers = map(read, texts[index * size : (index + 1) * size])
        complete = sorted({answer.answer for answer in read_answers if answer})
        # Beginnings of answers show the model what a missing part costs.
        beginnings = {answer[: rng.randint(1, len(answer))] for answer in complete}
        # Sorted: the order of a set differs between runs, and the draws with it.
        candidates = sorted(beginnings.union(complete))
        if len(candidates) > 1:
            pairs.append(choose(rng, task, *rng.sample(candidates, 2), noise))
    return pairs


@dataclass(frozen=True)
class Preference:
    """A score that is linear in the features; larger is better."""

    weights: tuple[float, ...]

    def score(self, task: Task, text: str) -> float:
        """The score of a text; that of an answer that is not there is 0."""
        answer = read(text)
        if answer is None:
            return 0.0
        return float(features(task, answer.answer) @ torch.tensor(self.weights))

    def reward(self, task: Task, text: str) -> float:
        r"""$\sigma(s)$, between 0 and 1; 0 where the form is not kept."""
        if read(text) is None:
            return 0.0
        # A bounded reward: RL cannot gain without limit by making the score larger.
        return torch.tensor(self.score(task, text)).sigmoid().item()


def preference_loss(
    weights: Float[Tensor, " features"], differences: Float[Tensor, "pairs features"]
) -> Float[Tensor, ""]:
    r"""$-\log \sigma(s_\mathrm{chosen} - s_\mathrm{other})$, the mean over pairs.

    Source: Bradley and Terry, 1952; Ouyang et al., 2022, equation 1.
    """
    # The score is linear, so s(chosen) - s(other) = w (f(chosen) - f(other)): only
    # differences of features enter. logsigmoid does not overflow for large ones.
    return -torch.nn.functional.logsigmoid(differences @ weights).mean()


def fit(pairs: Sequence[Pair], decay: float = 1e-3) -> Preference:
    """The preference that explains choices best, with a small pull toward 0.

    Raises ValueError without a pair.
    """
    if not pairs:
        raise ValueError("there is no pair to learn from; sample more answers")
    rows = [features(p.task, p.chosen) - features(p.task, p.other) for p in pairs]
    differences = torch.stack(rows)
    weights = torch.zeros(len(FEATURES), requires_grad=True)
    # The loss is convex and has four weights: LBFGS finds its only minimum, from any
    # start. The decay keeps it finite where the pairs can be separated.
    optimizer = torch.optim.LBFGS([weights], max_iter=200)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = preference_loss(weights, differences) + decay * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return Preference(tuple(weights.tolist()))


def agreement(preference: Preference, pairs: Sequence[Pair]) -> float:
    """The share of pairs whose chosen answer scores more; half of those that tie."""
    weights = torch.tensor(preference.weights)
    gaps = torch.stack(
        [features(p.task, p.chosen) - features(p.task, p.other) for p in pairs]
    )
    # sign is -1, 0 or 1, which becomes 0, 1/2 or 1.
    return ((gaps @ weights).sign() / 2 + 0.5).mean().item()
