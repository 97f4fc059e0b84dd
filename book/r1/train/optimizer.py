"""What moves the weights: the optimizer, its learning rate, one step along a loss."""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from r1.model.transformer import Model

State = dict[str, dict[str, Tensor]]  # of an optimizer: by weight, by quantity


def new_optimizer(model: Model, lr: float = 0.0) -> torch.optim.AdamW:
    """AdamW with DeepSeek-V3's betas and weight decay (section 4.2)."""
    return torch.optim.AdamW(
        model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.1
    )


def apply_gradient(
    model: Model, optimizer: torch.optim.Optimizer, loss: Tensor, where: str
) -> float:
    """One step of the optimizer along a loss; returns the gradient's length.

    Raises FloatingPointError for a loss or a gradient that is not finite, before any
    update.
    """
    # A step along nan would destroy all weights. Here they are still those of the step
    # before, and can be saved.
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"{where}: the loss is {loss.item()}; lower the learning rate"
        )
    optimizer.zero_grad()
    loss.backward()
    norm = clip_gradient(model, where)
    optimizer.step()
    return norm


def clip_gradient(
    model: nn.Module, where: str = "this step", longest: float = 1.0
) -> float:
    """Shorten the gradient of the whole model to `longest`; returns its length before.

    A weight that several processes share counts once, with all its parts.

    Raises FloatingPointError, which says `where`, for a length that is not finite.
    """
    # One length for the whole model: all gradients are shortened by the same factor, so
    # the direction stays.
    norm = nn.utils.clip_grad_norm_(model.parameters(), longest)
    length = (norm.full_tensor() if dist.is_initialized() else norm).item()
    # A finite loss can have such a gradient: min(inf, 1.2) is 1.2, and behind it is the
    # derivative of exp, 0 times inf = nan.
    if not math.isfinite(length):
        raise FloatingPointError(
            f"{where}: the loss is finite and the length of its gradient is {length}; "
            "lower the learning rate, and look for an exponential that overflows, such "
            "as a ratio of probabilities"
        )
    return length


def save_state(model: Model, optimizer: torch.optim.Optimizer) -> State:
    """What an optimizer remembers of each weight, by the weight's name.

    Where several processes share the weights, all must call it; rank 0 has the result.
    """
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = state_dict.get_optimizer_state_dict(model, optimizer, options=options)
    return state.get("state", {})


def load_state(model: Model, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Let an optimizer remember what another one did; its own settings stay.

    Where several processes share the weights, each takes its part.
    """
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(full_state_dict=True)
    # The learning rate and the decay stay those of this optimizer.
    current = state_dict.get_optimizer_state_dict(model, optimizer)
    state_dict.set_optimizer_state_dict(
        model, optimizer, current | {"state": state}, options=options
    )


def rl_optimizer(model: Model, lr: float) -> torch.optim.AdamW:
    """AdamW as in pretraining, without weight decay."""
    optimizer = new_optimizer(model, lr)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    return optimizer


def learning_rate(step: int, steps: int, peak: float, warmup: int = 50) -> float:
    r"""Linear warm-up to `peak`, then a cosine down to a tenth of it."""
    # step + 1: a first step with the rate 0 would be lost.
    if step < warmup:
        return peak * (step + 1) / warmup
    # max prevents 0 / 0 in a run that ends with its warm-up.
    progress = (step - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * progress)).item())
    return peak * (0.1 + 0.9 * cosine)
