"""Pretraining: batches, schedules, one step, and the loop around it."""

import math
import random
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from r1.model.moe import (
    expert_balance_loss,
    max_violation,
    routers,
    sequence_balance_loss,
)
from r1.model.mtp import mtp_losses
from r1.model.transformer import Model, cross_entropy
from r1.text.problems import document
from r1.text.tokenizer import encode
from r1.train.distributed import add_up, own_rows, processes
from r1.train.optimizer import clip_gradient, learning_rate, new_optimizer


def packed_batch(
    seed: int,
    step: int,
    rows: int = 32,
    length: int = 128,
    document: Callable[[random.Random], str] = document,
) -> Int[Tensor, "rows {length}+1"]:
    """One batch of pretraining text: documents end to end, cut into rows.

    It depends on `seed` and `step` alone, so a run that is resumed sees what the
    uninterrupted run would have seen. Row r's inputs are [:-1], its targets [1:].
    """
    # Python turns a text into the same seed on every machine and in every run.
    rng = random.Random(f"{seed}/{step}")
    ids: list[int] = []
    while len(ids) < rows * (length + 1):
        ids += encode(document(rng))
    # One token more than length, because inputs and targets are the same row shifted by
    # one. The last document is cut off.
    return torch.tensor(ids[: rows * (length + 1)]).view(rows, length + 1)


class Balance(NamedTuple):
    """How the load of experts is balanced while training.

    `bias_speed` is gamma of the routing biases; `loss` is None, "expert" or
    "sequence", a balance loss that enters with the factor `alpha`.
    """

    bias_speed: float = 0.0
    loss: str | None = None
    alpha: float = 0.0


UNBALANCED = Balance()


def balance_loss(model: Model, kind: str | None) -> Tensor:
    """The balance loss of the last forward pass, summed over layers; without alpha.

    Raises ValueError for a kind that is not None, "expert" or "sequence".
    """
    if kind not in (None, "expert", "sequence"):
        raise ValueError(f"kind is {kind!r}; use None, 'expert' or 'sequence'")
    # A first term of 0, so that the sum is a tensor for a model without experts too.
    losses = [torch.zeros((), device=model.device)]
    for router in routers(model) if kind else []:
        if kind == "expert":
            losses.append(expert_balance_loss(router.scores, router.indices))
        else:  # equation 18 counts the largest scores, without the bias
            k = router.indices.shape[-1]
            largest = router.scores.topk(k).indices
            losses.append(sequence_balance_loss(router.scores, largest))
    return sum(losses)


def bias_speed(step: int, steps: int, peak: float) -> float:
    """Gamma of the routing biases: `peak`, then 0 for the last 0.5 parts in 14.8.

    Source: DeepSeek-V3, section 4.2 (14.3T tokens, then 500B).
    """
    # At the end the biases stand still: routing changes with the weights alone.
    return peak if step < steps * 14.3 / 14.8 else 0.0


def further_weight(step: int, steps: int, initial: float) -> float:
    """Lambda of the MTP loss: `initial`, and a third for the last 4.8 in 14.8.

    Source: DeepSeek-V3, section 4.2 (0.3 for 10T tokens, then 0.1 for 4.8T).
    """
    # At the end training turns to the next token, which is what the model is used for.
    return initial if step < steps * 10 / 14.8 else initial / 3


def train_step(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    lr: float,
    balance: Balance = UNBALANCED,
    mtp_weight: float = 0.3,
) -> dict[str, float]:
    """One update on one batch; returns the loss and the gradient's norm.

    Under torchrun each process works on its rows, and the result is that of one.

    `mtp_weight` is lambda of equation 25: what the mean of the MTP modules' losses,
    `mtp_loss`, is multiplied with. With experts, also the balance loss before alpha,
    and averaged over layers, MaxVio of the batch and the number of idle experts; biases
    are updated after weights.

    Raises FloatingPointError when the loss or its gradient is not finite, before any
    update.
    """
    batch = own_rows(batch).to(model.device)
    hidden = model.encode(batch[:, :-1])
    loss = cross_entropy(model.head(hidden), batch[:, 1:])
    mtp_terms = mtp_losses(model.mtp, model.embed, model.head, hidden, batch)
    mtp_loss = sum(mtp_terms) / max(1, len(mtp_terms))
    imbalance = balance_loss(model, balance.loss)
    # All processes have equally many rows, so the mean of means is the batch's.
    mtp_part = torch.as_tensor(mtp_loss, device=loss.device)
    parts = torch.stack((loss, mtp_part, imbalance)).detach()
    mean_loss, mean_mtp, mean_imbalance = add_up(parts / processes()).tolist()
    if not math.isfinite(mean_loss):
        raise FloatingPointError(
            f"the loss is {mean_loss}; lower the learning rate (now {lr:.2g})"
        )
    optimizer.zero_grad()
    total_loss = loss + mtp_weight * mtp_loss + balance.alpha * imbalance
    (total_loss / processes()).backward()  # gradients are added up over processes
    norm = clip_gradient(model, f"with the learning rate {lr:.2g}")
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    metrics = {"loss": mean_loss, "grad_norm": norm}
    if mtp_terms:
        metrics["mtp_loss"] = mean_mtp
    if gates := routers(model):
        # After optimizer.step: the load was counted with the old biases, and the next
        # batch is the first one that meets the new ones.
        loads = [
            gate.take_load() if gate.bias is None else gate.update_bias(balance[0])
            for gate in gates
        ]
        metrics["balance_loss"] = mean_imbalance
        load = torch.stack(loads)
        metrics["max_vio"] = max_violation(load).mean().item()
        metrics["idle"] = (load == 0).sum().item() / len(gates)
    return metrics


def pretrain(
    model: Model,
    steps: int,
    seed: int = 0,
    peak_lr: float = 3e-3,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
    batch: Callable[[int, int], Tensor] = packed_batch,
    balance: Balance = UNBALANCED,
    mtp_weight: float = 0.3,
) -> Iterator[dict[str, float]]:
    """Train `model` from step `start` to `steps`; yields a dict a step.

    The progress bar shows on a terminal and nowhere else.
    """
    optimizer = optimizer or new_optimizer(model)
    bar = range(start, steps)
    if sys.stderr.isatty():
        bar = tqdm(bar, initial=start, total=steps, unit="step")
    for step in bar:
        model.train()  # between two steps somebody may have evaluated it
        lr = learning_rate(step, steps, peak_lr)
        speed = bias_speed(step, steps, balance.bias_speed)
        metrics = train_step(
            model,
            optimizer,
            batch(seed, step),
            lr,
            balance._replace(bias_speed=speed),
            further_weight(step, steps, mtp_weight),
        )
        yield {"step": step, **metrics, "lr": lr}
