"""What the answers of a step are like, for the log of a run."""

import torch
from jaxtyping import Float
from torch import Tensor

from r1.model.transformer import Model
from r1.rl.losses import kl
from r1.rl.policy import answer_logits, logprobs
from r1.rl.rewards import accuracy_reward
from r1.rl.rollout import Rollout
from r1.train.likelihood import aggregate, token_logprobs


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
    model: Model, reference: Model, rollout: Rollout, temperature: float = 1.0
) -> dict[str, float]:
    """How undecided the policy is, and how far from its reference: means a token."""
    logits = answer_logits(model, rollout) / temperature
    logp = token_logprobs(logits, rollout.tokens[:, 1:])
    away = kl(logp, logprobs(reference, rollout, temperature))
    return {
        "entropy": aggregate(entropy(logits), rollout.mask, "token").item(),
        "kl": aggregate(away, rollout.mask, "token").item(),
    }
