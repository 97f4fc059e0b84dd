"""Supervised fine-tuning: to imitate answers, whoever wrote them."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from r1.model.transformer import Model
from r1.text.tokenizer import EOS, PAD_ID, encode
from r1.train.likelihood import aggregate, token_logprobs
from r1.train.optimizer import apply_gradient, learning_rate, rl_optimizer


class Example(NamedTuple):
    """What is asked, and the answer to imitate, which ends with the end token."""

    prompt: str
    answer: str


def stack(
    examples: Sequence[Example],
) -> tuple[Int[Tensor, "batch all"], Bool[Tensor, "batch all-1"]]:
    """Tokens of prompts and answers, padded on the right, and where the answers are.

    The mask is that of a Rollout: true at [b, s] where tokens[b, s + 1] is one of the
    answer.

    Raises ValueError for an answer without its end.
    """
    for prompt, answer in examples:
        if not answer.endswith(EOS):
            raise ValueError(f"the answer {answer!r} to {prompt!r} lacks {EOS}; add it")
    ids = [(encode(prompt), encode(answer)) for prompt, answer in examples]
    width = max(len(prompt) + len(answer) for prompt, answer in ids)
    rows = [p + a + [PAD_ID] * (width - len(p) - len(a)) for p, a in ids]
    # The mask is about targets: the last token of the prompt predicts the first one of
    # the answer, so everything is one place to the left.
    start = torch.tensor([[len(p) - 1] for p, _ in ids])
    end = torch.tensor([[len(p) + len(a) - 1] for p, a in ids])
    position = torch.arange(width - 1)
    return torch.tensor(rows), (position >= start) & (position < end)


def sft_loss(
    model: Model,
    tokens: Int[Tensor, "batch all"],
    mask: Bool[Tensor, "batch all-1"],
) -> Float[Tensor, ""]:
    r"""Surprise of a token of the answers, in nats: the mean of $-\log \pi(o_t)$.

    Prompts are read and not learned. With advantages of 1 for every token it is the
    loss of chapter 11's policy gradient: imitation is reinforcement of what others did.
    """
    logp = token_logprobs(model(tokens[:, :-1]), tokens[:, 1:])
    return -aggregate(logp, mask, "token")


def sft(
    model: Model,
    examples: Sequence[Example],
    epochs: int,
    lr: float = 1e-3,
    batch: int = 64,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """Train `model` on answers, each of them once an epoch; yields a dict a step.

    Warm-up over the first steps, then a cosine to a tenth of `lr`; no weight decay.

    Raises ValueError without an example, for fewer than one epoch, and for a batch of
    less than one.
    """
    if not examples:
        raise ValueError("there is no example; give at least one")
    if epochs < 1 or batch < 1:
        raise ValueError(f"{epochs=}, {batch=}: both must be at least 1")
    rng, examples = random.Random(f"sft/{seed}"), list(examples)
    optimizer = rl_optimizer(model, lr)
    # -(-a // b) is a / b, rounded up: the last batch of an epoch may be smaller.
    steps = epochs * -(-len(examples) // batch)
    step = 0
    for _ in range(epochs):
        rng.shuffle(examples)
        for start in range(0, len(examples), batch):
            rate = learning_rate(step, steps, lr, warmup=max(1, steps // 10))
            for group in optimizer.param_groups:
                group["lr"] = rate
            stacked = stack(examples[start : start + batch])
            loss = sft_loss(model, *(x.to(model.device) for x in stacked))
            norm = apply_gradient(model, optimizer, loss, f"{step=}")
            yield {"step": step, "loss": loss.item(), "grad_norm": norm, "lr": rate}
            step += 1
