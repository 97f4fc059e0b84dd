"""Answers that a policy writes, as the tokens that it learns from."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from r1.model.sampling import ask, left_pad
from r1.model.transformer import Model
from r1.text.problems import Problem
from r1.text.tokenizer import PAD_ID, encode


@dataclass(frozen=True)
class Sampling:
    """How answers are written: `group` to each problem."""

    group: int = 16
    max_new_tokens: int = 48
    temperature: float = 1.0


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

    def rows(self, selection: Tensor | slice) -> "Rollout":
        """A part of it, without its texts."""
        pads = None if self.pads is None else self.pads[selection]
        return Rollout([], [], self.tokens[selection], pads, self.mask[selection])


def roll_out(
    model: Model,
    problems: list[Problem],
    sampling: Sampling = Sampling(),
    generator: torch.Generator | int = 0,
) -> Rollout:
    """Write a group of answers to each problem; `generator` fixes the draws."""
    groups = ask(
        model,
        problems,
        sampling.group,
        generator,
        sampling.temperature,
        sampling.max_new_tokens,
    )
    asked = [problem for problem in problems for _ in range(sampling.group)]
    answers = [answer.ids for group in groups for answer in group]
    # Prompts end in the same column and answers begin in the next one, so that the
    # place of an answer is the same in all rows.
    prompts, device = [encode(problem.prompt) for problem in problems], model.device
    left, pads = (x.to(device) for x in left_pad(prompts))
    width = max(map(len, answers))
    padded = [a + [PAD_ID] * (width - len(a)) for a in answers]
    right = torch.tensor(padded, device=device)
    tokens = torch.cat([left.repeat_interleave(sampling.group, 0), right], dim=1)
    # Place 0 is the last token of the prompt, whose logits predict the first of the
    # answer: the mask is one column to the left of the tokens that it is about.
    place = torch.arange(tokens.shape[1] - 1, device=device) - (left.shape[1] - 1)
    lengths = torch.tensor(list(map(len, answers)), device=device)
    # The end token is learned, the padding behind it is not.
    mask = (place >= 0) & (place < lengths[:, None])
    pads = pads.repeat_interleave(sampling.group) if pads.any() else None
    texts = [answer.text for group in groups for answer in group]
    return Rollout(asked, texts, tokens, pads, mask)


def join(rollouts: list[Rollout]) -> Rollout:
    """One rollout of several, one below the other, padded to one width."""
    # argmax of 0s and 1s is the place of the first 1: the width of the prompts, less 1.
    # It is the same in all rows of a rollout.
    lefts = [int(r.mask[0].int().argmax()) for r in rollouts]
    longest = max(lefts)
    width = max(
        r.mask.shape[1] + longest - n for r, n in zip(rollouts, lefts, strict=True)
    )
    tokens, masks, pads = [], [], []
    for r, left in zip(rollouts, lefts, strict=True):
        # On the left up to the longest prompt, on the right up to the longest answer:
        # the columns of the prompts' ends coincide again.
        sides = (longest - left, width - r.mask.shape[1] - (longest - left))
        tokens.append(F.pad(r.tokens, sides, value=PAD_ID))
        masks.append(F.pad(r.mask, sides))
        # What is added on the left is padding for attention too.
        no_pads = torch.zeros_like(r.tokens[:, 0])
        pads.append((no_pads if r.pads is None else r.pads) + sides[0])
    all_pads = torch.cat(pads)
    return Rollout(
        [p for r in rollouts for p in r.problems],
        [text for r in rollouts for text in r.texts],
        torch.cat(tokens),
        all_pads if all_pads.any() else None,
        torch.cat(masks),
    )
