"""A policy and its critic, and what they say of answers that are written."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from r1.model.transformer import Model
from r1.rl.rollout import Rollout
from r1.train.likelihood import token_logprobs

TOGETHER = 128  # answers of similar length that are computed at once


def new_policy(base: Model) -> Model:
    """A copy of the base model to train, without its MTP modules."""
    policy = Model(replace(base.config, num_nextn_predict_layers=0))
    weights = base.state_dict().items()
    policy.load_state_dict({k: v for k, v in weights if not k.startswith("mtp.")})
    return policy.eval()


def new_critic(base: Model) -> Model:
    """A model of the policy's size whose first output is a value; it begins at 0."""
    critic = new_policy(base)
    torch.nn.init.zeros_(critic.head.weight)
    return critic


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


def values_of(critic: Model, rollout: Rollout) -> Float[Tensor, "batch seq"]:
    """What the critic expects at every token of the answers."""
    return by_length(rollout, lambda part: answer_logits(critic, part)[..., 0])
