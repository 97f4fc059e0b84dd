"""Answers that a policy writes: their tokens, their rewards, what they are like."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from r1.model.sampling import left_pad, sample
from r1.model.transformer import Model
from r1.rl.losses import kl
from r1.rl.rewards import accuracy_reward
from r1.text.problems import Problem, random_problem
from r1.text.tokenizer import PAD_ID, decode, encode
from r1.train.likelihood import aggregate, token_logprobs

Reward = Callable[[Problem, str], float]
Ask = Callable[[int, int, int, tuple[int, int]], list[Problem]]
TOGETHER = 128  # answers of similar length that are computed at once


@dataclass(frozen=True)
class Settings:
    """How a policy is trained; the defaults are those of chapter 13.

    `clip` is how far a ratio may go below and above 1, `epochs` how often each batch
    of answers is used, in `minibatches` parts; `constant` belongs to `how`.
    """

    prompts: int = 32
    group: int = 16
    terms: tuple[int, int] = (5, 5)
    max_new_tokens: int = 48
    temperature: float = 1.0
    lr: float = 1e-4
    clip: tuple[float, float] = (0.2, 0.2)
    kl_weight: float = 0.0
    scale: bool = True
    how: str = "sequence"
    level: str = "token"
    constant: float | None = None
    epochs: int = 1
    minibatches: int = 1


class Rollout(NamedTuple):
    """Answers to a batch of problems, `group` to each, one below the other.

    `tokens` are prompts, padded on the left, and answers, padded on the right; `mask`
    is true where the next token is one of the answer: at [b, s] for tokens[b, s + 1].
    """

    problems: list[Problem]
    texts: list[str]
    tokens: Int[Tensor, "batch seq+1"]
    pads: Int[Tensor, " batch"] | None
    mask: Bool[Tensor, "batch seq"]

    def rows(self, some: Tensor | slice) -> "Rollout":
        """A part of it, without its texts."""
        pads = None if self.pads is None else self.pads[some]
        return Rollout([], [], self.tokens[some], pads, self.mask[some])


def problems_of(seed: int, step: int, count: int, terms: tuple[int, int]):
    """The problems of a step, which depend on `seed` and `step` alone."""
    rng = random.Random(f"rl/{seed}/{step}")
    return [random_problem(rng, terms) for _ in range(count)]


def roll_out(
    model: Model, problems: list[Problem], settings: Settings, generator
) -> Rollout:
    """Write `group` answers to each problem."""
    s, prompts = settings, [encode(problem.prompt) for problem in problems]
    answers = sample(
        model, prompts, s.max_new_tokens, s.temperature, generator, copies=s.group
    )
    asked = [problem for problem in problems for _ in range(s.group)]
    left, pads = left_pad(prompts)
    width = max(map(len, answers))
    right = torch.tensor([a + [PAD_ID] * (width - len(a)) for a in answers])
    tokens = torch.cat([left.repeat_interleave(s.group, 0), right], dim=1)
    place = torch.arange(tokens.shape[1] - 1) - (left.shape[1] - 1)
    lengths = torch.tensor(list(map(len, answers)))
    mask = (place >= 0) & (place < lengths[:, None])
    pads = pads.repeat_interleave(s.group) if pads.any() else None
    return Rollout(asked, [decode(a) for a in answers], tokens, pads, mask)


def join(rollouts: list[Rollout]) -> Rollout:
    """One rollout of several, one below the other, padded to one width."""
    lefts = [int(r.mask[0].int().argmax()) for r in rollouts]
    most = max(lefts)
    width = max(
        r.mask.shape[1] + most - n for r, n in zip(rollouts, lefts, strict=True)
    )
    tokens, masks, pads = [], [], []
    for r, left in zip(rollouts, lefts, strict=True):
        sides = (most - left, width - r.mask.shape[1] - (most - left))
        tokens.append(F.pad(r.tokens, sides, value=PAD_ID))
        masks.append(F.pad(r.mask, sides))
        none = torch.zeros(len(r.tokens), dtype=torch.long)
        pads.append((none if r.pads is None else r.pads) + sides[0])
    both = torch.cat(pads)
    return Rollout(
        [p for r in rollouts for p in r.problems],
        [text for r in rollouts for text in r.texts],
        torch.cat(tokens),
        both if both.any() else None,
        torch.cat(masks),
    )


def score(rollout: Rollout, reward: Reward, step: int) -> Float[Tensor, " batch"]:
    """The reward of every answer.

    Raises FloatingPointError for one that is not finite, with step, prompt and value.
    """
    pairs = zip(rollout.problems, rollout.texts, strict=True)
    values = [reward(problem, text) for problem, text in pairs]
    for problem, text, value in zip(
        rollout.problems, rollout.texts, values, strict=True
    ):
        if not math.isfinite(value):
            raise FloatingPointError(
                f"step {step}: the reward of {text!r} to {problem.prompt!r} is {value}"
            )
    return torch.tensor(values)


def answer_logits(model: Model, rollout: Rollout) -> Float[Tensor, "batch seq vocab"]:
    """What the model says at every position but the last, padding seen by nobody."""
    return model(rollout.tokens[:, :-1], pads=rollout.pads)


def by_length(
    rollout: Rollout, compute: Callable[[Rollout], Tensor], together: int = TOGETHER
) -> Float[Tensor, "batch seq"]:
    """What `compute` says of every position, without work for most of the padding.

    Answers of similar length go through it together, cut where the longest of them
    ends; behind an answer's end there are zeros, which no loss looks at.
    """
    width = rollout.mask.shape[1]
    ends = width - rollout.mask.flip(1).int().argmax(1)
    order, pieces = ends.argsort(stable=True), []
    for rows in order.split(together):
        end = int(ends[rows].max())
        part = rollout.rows(rows)
        part = part._replace(tokens=part.tokens[:, : end + 1], mask=part.mask[:, :end])
        pieces.append(F.pad(compute(part), (0, width - end)))
    return torch.cat(pieces)[order.argsort()]


def logprobs(
    model: Model, rollout: Rollout, temperature: float = 1.0
) -> Float[Tensor, "batch seq"]:
    """Log-probability of every token of the answers, as it was drawn."""

    def compute(part: Rollout) -> Tensor:
        logits = answer_logits(model, part) / temperature
        return token_logprobs(logits, part.tokens[:, 1:])

    return by_length(rollout, compute)


def entropy(logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    r"""How undecided each distribution is, in nats: $-\sum_v p_v \log p_v$."""
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def describe(rollout: Rollout, rewards: Tensor, group: int) -> dict[str, float]:
    """What the answers of a step are like, as shares and means."""
    pairs = zip(rollout.problems, rollout.texts, strict=True)
    right = [accuracy_reward(problem, text) for problem, text in pairs]
    thought = [text.startswith("<think>") for text in rollout.texts]
    groups = rewards.view(-1, group)
    silent = (groups == groups[:, :1]).all(1)
    return {
        "reward": rewards.mean().item(),
        "accuracy": sum(right) / len(right),
        "thinking": sum(thought) / len(thought),
        "length": rollout.mask.sum(1).double().mean().item(),
        "no_signal": silent.double().mean().item(),
    }


@torch.no_grad()
def watch(
    model: Model, reference: Model, rollout: Rollout, settings: Settings
) -> dict[str, float]:
    """How undecided the policy is, and how far from its reference: means a token."""
    logits = answer_logits(model, rollout) / settings.temperature
    logp = token_logprobs(logits, rollout.tokens[:, 1:])
    away = kl(logp, logprobs(reference, rollout, settings.temperature))
    return {
        "entropy": aggregate(entropy(logits), rollout.mask, "token").item(),
        "kl": aggregate(away, rollout.mask, "token").item(),
    }
