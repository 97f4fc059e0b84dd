"""Computing more at test time: longer thoughts, more answers, and a choice of one."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from r1.model.sampling import Amend
from r1.model.transformer import Model
from r1.text.answers import is_right, said
from r1.text.problems import Problem, count_mistakes
from r1.text.tokenizer import EOS, IDS
from r1.train.finetuning import Example, stack
from r1.train.optimizer import apply_gradient, learning_rate, rl_optimizer

THINK, END, NEXT = (IDS[symbol] for symbol in ("<think>", "</think>", ";"))
ANSWER = IDS["<answer>"]


def budget(least: int = 0, most: int | None = None) -> Amend:
    """Force the length of a thought: a rule for `amend` of r1.model.sample.

    `least` counts steps: an end of the thought that comes before that many steps is
    replaced by `;`, which in our world says "wait, one more". `most` counts tokens
    behind <think>: a thought that has as many is ended. With either, the answer begins
    with a thought, and <answer> follows its end; with neither, nothing is changed.

    Raises ValueError for a negative number.
    Source: Muennighoff et al., 2025 (s1), section 3.1.
    """
    if least < 0 or (most is not None and most < 0):
        raise ValueError(f"{least=}, {most=}: neither may be negative")
    forced = least > 0 or most is not None

    def amend(
        before: Int[Tensor, "rows step"], chosen: Int[Tensor, " rows"]
    ) -> Int[Tensor, " rows"]:
        if not before.shape[1]:
            return torch.full_like(chosen, THINK) if forced else chosen
        in_thought = (before[:, 0] == THINK) & ~(before == END).any(1)
        # n separators divide n + 1 steps, the one being written included.
        steps = 1 + (before == NEXT).sum(1)
        chosen = torch.where(
            in_thought & (chosen == END) & (steps < least), NEXT, chosen
        )
        # before has <think> too, hence > and not >=. The rule for most comes after the
        # rule for least, so it wins.
        if most is not None and before.shape[1] > most:
            chosen = torch.where(in_thought, END, chosen)
        # A forced end surprises the model, and it might go on with the thought: the tag
        # of the answer is forced too.
        just_ended = (before[:, -1] == END) & forced
        return torch.where(just_ended, ANSWER, chosen)

    return amend


def chunks(values: Sequence, size: int) -> Iterator[Sequence]:
    """Parts of `size`, the last one of what is left."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def clean_steps(text: str) -> float:
    """A rule that reads steps and no problem: 1 if there are some, none of them wrong.

    It recomputes each single step of the thought. Whether they are the steps of the
    problem it does not ask; that would be to solve it.
    """
    steps, wrong, _ = count_mistakes(text.partition("</think>")[0])
    return float(steps > 0 and not wrong)


def vote(
    problem: Problem, texts: Sequence[str], weights: Sequence[float] | None = None
) -> str | None:
    """The digit with most votes, each weighing what `weights` says; None without one.

    Of several with as many votes, the one that was said first. An answer of weight 0
    has no vote.
    """
    votes: dict[str, float] = defaultdict(float)
    for text, weight in zip(texts, weights or [1.0] * len(texts), strict=True):
        if weight and (digit := said(problem, text)) is not None:
            votes[digit] += weight
    # max takes the first of equals, and a dictionary keeps the order of insertion.
    return max(votes, key=votes.__getitem__) if votes else None


def best(problem: Problem, texts: Sequence[str], scores: Sequence[float]) -> str | None:
    """The digit of the answer with the highest score, the first of several."""
    return said(problem, texts[max(range(len(texts)), key=scores.__getitem__)])


class Counts(NamedTuple):
    """How often each digit was said in some answers to one problem.

    `silent` are the answers that say none.
    """

    right: int
    others: tuple[int, ...]
    silent: int


def counts_of(problem: Problem, texts: Sequence[str]) -> Counts:
    """Count what some answers say."""
    votes = Counter(said(problem, text) for text in texts)
    right, silent = votes.pop(problem.answer, 0), votes.pop(None, 0)
    return Counts(right, tuple(sorted(votes.values())), silent)


def vote_at_k(counts: Counts, k: int) -> float:
    r"""Chance that a vote of k answers, drawn without replacement, is right.

    Of all choices of k from the n answers that are there, it counts those in which the
    right digit has r votes and no other digit has more; where t others have r as well,
    the first that was said wins, which is the right one with chance 1 / (1 + t). The
    ways of the other digits are the coefficients of a product of polynomials, in x for
    answers and in y for ties:

    $\prod_d \left( \sum_{j<r} \binom{n_d}{j} x^j + \binom{n_d}{r} x^r y \right)$.

    Raises ValueError for a k that is not between 1 and n, and for a negative count.
    """
    if min(counts.right, counts.silent, *counts.others) < 0:
        raise ValueError(f"{counts}: a count is 0 or more")
    n = counts.right + sum(counts.others) + counts.silent
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; choose between 1 and all {n} answers")
    ties = len(counts.others) + 1
    ways = 0.0
    for r in range(1, min(k, counts.right) + 1):
        product = np.zeros((k - r + 1, ties))
        product[0, 0] = 1.0
        for number in counts.others:
            longer = np.zeros_like(product)
            for j in range(min(number, r, k - r) + 1):
                tied = int(j == r)
                part = product[: k - r + 1 - j, : ties - tied]
                longer[j:, tied:] += math.comb(number, j) * part
            product = longer
        # What is left of the k are answers that say nothing.
        quiet = [math.comb(counts.silent, k - r - used) for used in range(k - r + 1)]
        shared = product @ (1 / np.arange(1, ties + 1))
        ways += math.comb(counts.right, r) * float(np.array(quiet, float) @ shared)
    return ways / math.comb(n, k)


def best_at_k(scores: Sequence[float], right: Sequence[bool], k: int) -> float:
    r"""Chance that the highest of k scores, drawn without replacement, is right.

    Of the n answers, m score lower than s and g score s, of which h are right. The
    highest of k is s in $\binom{m+g}{k} - \binom{m}{k}$ of $\binom{n}{k}$ choices, and
    then right with chance h / g.

    Raises ValueError for a k that is not between 1 and n.
    """
    n = len(scores)
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}; choose between 1 and all {n} answers")
    groups: dict[float, list[bool]] = defaultdict(list)
    for score, hit in zip(scores, right, strict=True):
        groups[score].append(hit)
    chance, lower = 0.0, 0
    for _, hits in sorted(groups.items()):
        ways = math.comb(lower + len(hits), k) - math.comb(lower, k)
        chance += ways / math.comb(n, k) * sum(hits) / len(hits)
        lower += len(hits)
    return chance


def auc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """How often a right answer scores higher than a wrong one; a tie is one half.

    Raises ValueError where there is no right answer, or no wrong one.
    """
    pairs = list(zip(scores, right, strict=True))
    high = [score for score, hit in pairs if hit]
    low = [score for score, hit in pairs if not hit]
    if not high or not low:
        raise ValueError("it takes a right answer and a wrong one")
    wins = sum((a > b) + 0.5 * (a == b) for a in high for b in low)
    return wins / (len(high) * len(low))


def final_scores(
    verifier: Model, prompt: str, texts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """What a verifier says at the end of each answer: log-odds that it is right."""
    tokens, mask = stack([Example(prompt, t) for t in texts])
    return _at_end(verifier, tokens, mask)


def _at_end(verifier: Model, tokens: Tensor, mask: Tensor) -> Tensor:
    # argmax of the flipped mask counts the places behind its last True. One place
    # further the end token is the input, and the whole text is seen.
    last = mask.shape[1] - mask.flip(1).int().argmax(1)
    tokens, last = tokens.to(verifier.device), last.to(verifier.device)
    rows = torch.arange(len(tokens), device=tokens.device)
    return verifier(tokens)[rows, last, 0]


def verifier_scores(verifier: Model, prompt: str, texts: Sequence[str]) -> list[float]:
    """Chance of each answer to be right, says a verifier; 0 for one without an end."""
    complete = [index for index, text in enumerate(texts) if text.endswith(EOS)]
    # An answer that was cut off has no end token to judge at, and no complete answer.
    scores = [0.0] * len(texts)
    if complete:
        with torch.no_grad():
            log_odds = final_scores(verifier, prompt, [texts[i] for i in complete])
        for index, probability in zip(
            complete, log_odds.sigmoid().tolist(), strict=True
        ):
            scores[index] = probability
    return scores


def train_verifier(
    verifier: Model,
    marked: Sequence[tuple[Problem, str]],
    epochs: int = 2,
    lr: float = 1e-3,
    batch: int = 64,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """Teach a model, by rule-checked answers, to say which are right; a dict a step.

    The loss is the binary cross-entropy of its first output behind the end token.

    Raises ValueError without an answer that has an end.
    Source: Cobbe et al., 2021.
    """
    complete = [(p, text) for p, text in marked if text.endswith(EOS)]
    if not complete:
        raise ValueError("no answer has an end; give at least one")
    rng, optimizer = random.Random(f"verifier/{seed}"), rl_optimizer(verifier, lr)
    steps, step = epochs * -(-len(complete) // batch), 0
    for _ in range(epochs):
        rng.shuffle(complete)
        for part in chunks(complete, batch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, lr, max(1, steps // 10))
            tokens, mask = stack([Example(p.prompt, text) for p, text in part])
            right = torch.tensor([float(is_right(p, text)) for p, text in part])
            scores = _at_end(verifier, tokens, mask)
            right = right.to(scores.device)
            loss = F.binary_cross_entropy_with_logits(scores, right)
            apply_gradient(verifier, optimizer, loss, f"{step=}")
            hits = ((scores > 0) == (right > 0.5)).double().mean().item()
            yield {"step": step, "loss": loss.item(), "hits": hits}
            step += 1


def choices(
    problem: Problem, texts: Sequence[str], learned: Sequence[float] | None = None
) -> dict[str, float]:
    """Whether each way to choose one of the answers chooses a right one.

    any: whoever knows the answer (pass@k). majority: a vote. clean: a vote of those
    whose steps are clean. all if none is. learned: the one a verifier likes best, and
    learned_vote: a vote weighed by it.
    """
    clean = [clean_steps(text) for text in texts]
    picked = {
        "majority": vote(problem, texts),
        # If no answer has clean steps, all weights are 0.
        "clean": vote(problem, texts, clean) if any(clean) else vote(problem, texts),
    }
    if learned is not None:
        picked |= {
            "learned": best(problem, texts, learned),
            "learned_vote": vote(problem, texts, learned),
        }
    hits = {name: float(digit == problem.answer) for name, digit in picked.items()}
    any_right = any(is_right(problem, text) for text in texts)
    return {"any": float(any_right)} | hits
