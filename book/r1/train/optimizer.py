"""What moves the weights: the optimizer, its learning rate, one step along a loss."""

import torch
from torch import Tensor

from r1.model.transformer import Model


def new_optimizer(model: Model, lr: float = 0.0) -> torch.optim.AdamW:
    """AdamW with DeepSeek-V3's betas and weight decay (section 4.2)."""
    return torch.optim.AdamW(
        model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.1
    )


def apply_gradient(
    model: Model, optimizer: torch.optim.Optimizer, loss: Tensor, where: str
) -> float:
    """One step of the optimizer along a loss; returns the gradient's length.

    Raises FloatingPointError for a loss that is not finite, before any update.
    """
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"{where}: the loss is {loss.item()}; lower the learning rate"
        )
    optimizer.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return norm.item()


def rl_optimizer(model: Model, lr: float) -> torch.optim.AdamW:
    """AdamW as in pretraining, without weight decay."""
    optimizer = new_optimizer(model, lr)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    return optimizer


def learning_rate(step: int, steps: int, peak: float, warmup: int = 50) -> float:
    r"""Linear warm-up to `peak`, then a cosine down to a tenth of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * share)).item())
    return peak * (0.1 + 0.9 * cosine)
