"""What a model has learned: right answers to problems, losses on kinds of text."""

import math
import random
from collections.abc import Iterable

import torch
from torch import Tensor

from r1.model.moe import count_load, max_violation, routers
from r1.model.mtp import mtp_losses
from r1.model.sampling import ask
from r1.model.transformer import Model, cross_entropy
from r1.text import corpus
from r1.text.answers import is_right, said
from r1.text.problems import Problem, count_mistakes, random_problem
from r1.text.tokenizer import EOS_ID, IDS, encode

EVALUATED_TOKENS = 64  # tokens of an answer


@torch.no_grad()
def evaluate(
    model: Model,
    terms: int,
    problems: int = 512,
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, float]:
    """Answer held-out problems of `terms` terms; shares and a mean length.

    accuracy: of all, in the right form with the right digit. thinking: of all, with
    a thought. accuracy_thinking, accuracy_bare: of those with, without. form: of
    all, in the right form. length: new tokens an answer. mistakes: of the steps of
    the thoughts. repaired: of the mistakes.

    Raises ValueError for fewer than one problem.
    """
    if problems < 1:
        raise ValueError(f"problems is {problems}; ask at least 1")
    rng = random.Random(f"evaluate/{seed}/{terms}")
    asked = [
        random_problem(rng, (terms, terms), held_out=True) for _ in range(problems)
    ]
    answers = ask(model, asked, 1, seed, temperature, max_new_tokens=EVALUATED_TOKENS)
    texts = [answer.text for (answer,) in answers]
    right = [is_right(*pair) for pair in zip(asked, texts, strict=True)]
    digits = [said(*pair) for pair in zip(asked, texts, strict=True)]
    thought = [text.startswith("<think>") for text in texts]

    def share(hits: list[bool]) -> float:
        # nan and not 0: where nobody thought, nothing is known of thoughts.
        return sum(hits) / len(hits) if hits else float("nan")

    pairs = list(zip(right, thought, strict=True))
    counts = [count_mistakes(text) for text in texts]
    steps, wrong, repaired = (sum(column) for column in zip(*counts, strict=True))
    return {
        "accuracy": share(right),
        "thinking": share(thought),
        "accuracy_thinking": share([hit for hit, thinks in pairs if thinks]),
        "accuracy_bare": share([hit for hit, thinks in pairs if not thinks]),
        "form": share([digit is not None for digit in digits]),
        "length": sum(len(answer.ids) for (answer,) in answers) / problems,
        "mistakes": wrong / steps if steps else float("nan"),
        "repaired": repaired / wrong if wrong else float("nan"),
    }


@torch.no_grad()
def evaluate_kinds(
    model: Model, documents: int = 128, seed: int = 0
) -> list[dict[str, int | float]]:
    """Losses and loads on new documents of every kind of `corpus`, a row a kind.

    loss: mean surprise in nats at the symbols of the answer. load_L_E: share of a
    token's choices that went to expert E in the L-th layer with experts, counted
    over all tokens of the documents.
    """
    model.eval()
    rows = []
    for number, kind in enumerate(corpus.KINDS):
        rng = random.Random(f"kinds/{seed}/{kind}")
        texts = [encode(corpus.document(rng, kind)) for _ in range(documents)]
        longest = max(map(len, texts))
        padded = [t + [EOS_ID] * (longest - len(t)) for t in texts]
        tokens = torch.tensor(padded, device=model.device)
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        answer = torch.zeros_like(targets, dtype=torch.bool)
        not_padding = torch.zeros_like(targets, dtype=torch.bool)
        for row, text in enumerate(texts):
            # targets[i] is text[i + 1]. The answer's symbols are text[opening + 1 :
            # closing], so as targets they are [opening : closing - 1].
            opening, closing = (
                text.index(IDS[tag]) for tag in ("<answer>", "</answer>")
            )
            answer[row, opening : closing - 1] = True
            # Padding also passes the routers, and its load must not count.
            not_padding[row, : len(text) - 1] = True
        logits = model(inputs)
        row = {"kind": number}
        row["loss"] = cross_entropy(logits[answer][None], targets[answer][None]).item()
        for layer, router in enumerate(routers(model.layers)):
            load = count_load(router.indices[not_padding], len(router.weight))
            shares = (load / load.sum()).tolist()
            row |= {f"load_{layer}_{e}": share for e, share in enumerate(shares)}
        rows.append(row)
    return rows


@torch.no_grad()
def validate(model: Model, batches: Iterable[Tensor]) -> dict[str, float]:
    """Loss on batches that no run is trained on, and MaxVio of all of them together.

    Each batch has inputs and targets in one: [:, :-1] and [:, 1:]. max_vio_global is
    the mean over layers with experts, mtp_loss_k the loss of MTP module k; they are
    there only if the model has some.
    """
    model.eval()
    losses, mtp_values, gates = [], [], routers(model.layers)
    loads = [torch.zeros_like(gate.load) for gate in gates]
    for batch in batches:
        batch = batch.to(model.device)
        hidden = model.encode(batch[:, :-1])
        losses.append(cross_entropy(model.head(hidden), batch[:, 1:]).item())
        mtp_terms = mtp_losses(model.mtp, model.embed, model.head, hidden, batch)
        mtp_values.append([loss.item() for loss in mtp_terms])
        for load, gate in zip(loads, gates, strict=True):
            # Added up before MaxVio is taken: single batches are uneven by chance, and
            # the mean of their MaxVio would be too large.
            load += count_load(gate.indices, len(load))
    scores = {"loss": sum(losses) / len(losses)}
    for depth, values in enumerate(zip(*mtp_values, strict=True), start=1):
        scores[f"mtp_loss_{depth}"] = sum(values) / len(values)
    if gates:
        scores["max_vio_global"] = max_violation(torch.stack(loads)).mean().item()
    return scores


def pass_at_k(samples: int, right: int, k: int) -> float:
    r"""Chance that one of k answers is right, from `samples` of which some were.

    $1 - \binom{n - c}{k} / \binom{n}{k}$ for n samples of which c are right, which is
    right on average where 1 - (1 - c/n)^k is too small.

    Raises ValueError for a k that is not between 1 and `samples`, and for a number of
    right ones that is not between 0 and `samples`.
    Source: Chen et al., 2021, equation 1.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k is {k}; choose between 1 and all {samples} samples")
    if not 0 <= right <= samples:
        raise ValueError(f"{right} are right; choose between 0 and {samples} samples")
    # The share of the subsets of k samples in which none is right. comb is 0 where
    # fewer than k are wrong; integers keep it exact.
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def majority_right(votes: dict[str, int], answer: str) -> float:
    """Whether the commonest answer is right; a share of it where several are."""
    # A vote with a tie picks a winner at random: take the expected value.
    highest = max(votes.values(), default=0)
    winners = [vote for vote, count in votes.items() if count == highest]
    return (answer in winners) / len(winners) if winners else 0.0


@torch.no_grad()
def answer_often(
    model: Model,
    terms: int,
    samples: int,
    problems: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
) -> list[tuple[Problem, list[str]]]:
    """Answer each of some held-out problems many times."""
    rng = random.Random(f"often/{seed}/{terms}")
    asked = [random_problem(rng, (terms, terms), True) for _ in range(problems)]
    groups = ask(
        model, asked, samples, seed, temperature, EVALUATED_TOKENS, together=samples
    )
    texts = [[answer.text for answer in group] for group in groups]
    return list(zip(asked, texts, strict=True))
