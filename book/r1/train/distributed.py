"""Training on several processes: each takes a part of every batch.

With data parallelism every process has the whole model; with expert parallelism it
has its share of the experts, and tokens travel to them (r1.model.parallel). Outside of
torchrun all functions here do what a single process needs, which is mostly nothing.
"""

import os

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from r1.model.block import Block
from r1.model.moe import MoE
from r1.model.parallel import ParallelMoE
from r1.model.transformer import Model
from r1.train.optimizer import new_optimizer


def start() -> int:
    """Join the processes that torchrun started; returns the rank, 0 without torchrun.

    Processes talk over NCCL where each has a GPU of its own, and over gloo else.
    """
    if "RANK" not in os.environ:
        return 0
    local = int(os.environ["LOCAL_RANK"])
    if torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"]):
        torch.set_default_device(f"cuda:{local}")
        dist.init_process_group("nccl")
    else:
        dist.init_process_group("gloo")
    return dist.get_rank()


def stop() -> None:
    """Leave the other processes; what follows is computed on the CPU."""
    if dist.is_initialized():
        dist.destroy_process_group()
        torch.set_default_device("cpu")


def own_rows(batch: Int[Tensor, "rows length"]) -> Int[Tensor, "own length"]:
    """The rows of a batch that this process works on.

    Raises ValueError where the processes cannot have equally many.
    """
    if not dist.is_initialized():
        return batch
    world = dist.get_world_size()
    if len(batch) % world:
        raise ValueError(
            f"{len(batch)} rows cannot be shared by {world} processes; choose a "
            f"multiple of {world} for --rows"
        )
    return batch.chunk(world)[dist.get_rank()]


def average(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Mean over all processes."""
    if dist.is_initialized():
        values = values.clone()
        dist.all_reduce(values)
        values /= dist.get_world_size()
    return values


def shared_weights(model: Model) -> set[str]:
    """Names of the weights of which this process holds only its share."""
    return {
        f"{name}.experts.{weight}"
        for name, module in model.named_modules()
        if isinstance(module, ParallelMoE)
        for weight, _ in module.experts.named_parameters()
    }


def average_gradients(model: Model) -> None:
    """Make gradients those of the mean loss over all processes.

    Copied weights: the sum over processes, in one exchange, over their number. Experts
    that are shared out have had the tokens of all processes already; they are divided
    as well.
    """
    shared, world = shared_weights(model), dist.get_world_size()
    named = [(n, p.grad) for n, p in model.named_parameters() if p.grad is not None]
    copied = [grad for name, grad in named if name not in shared]
    total = torch.cat([grad.flatten() for grad in copied])
    dist.all_reduce(total)
    parts = total.split([grad.numel() for grad in copied])
    for grad, part in zip(copied, parts, strict=True):
        grad.copy_(part.view_as(grad))
    for _, grad in named:
        grad /= world


def clip_gradients(model: Model, longest: float) -> Float[Tensor, ""]:
    """Shorten the gradient of the whole model to `longest`; returns its length before.

    With several processes gradients are averaged first, and every weight counts once,
    wherever it is held.
    """
    if not dist.is_initialized():
        return torch.nn.utils.clip_grad_norm_(model.parameters(), longest)
    average_gradients(model)
    shared = shared_weights(model)
    named = [(n, p.grad) for n, p in model.named_parameters() if p.grad is not None]
    zero = torch.zeros(())
    here = sum((g.square().sum() for n, g in named if n in shared), zero)
    dist.all_reduce(here)
    everywhere = sum((g.square().sum() for n, g in named if n not in shared), zero)
    norm = (here + everywhere).sqrt()
    for _, grad in named:
        grad *= (longest / (norm + 1e-6)).clamp(max=1.0)
    return norm


def share_experts(
    model: Model, optimizer: torch.optim.Optimizer
) -> torch.optim.Optimizer:
    """Leave on this process its share of every layer's experts.

    Returns an optimizer for what is left, with its state.

    Raises ValueError without torchrun, and where experts cannot be shared equally.
    """
    if not dist.is_initialized():
        raise ValueError("experts are shared by several processes; start torchrun")
    for block in model.modules():
        if isinstance(block, Block) and isinstance(block.ffn, MoE):
            block.ffn = ParallelMoE(block.ffn)
    shared, world, rank = shared_weights(model), dist.get_world_size(), dist.get_rank()

    def own(name: str, value: Tensor) -> Tensor:
        return value.chunk(world)[rank].clone() if name in shared else value

    return _with_state(model, optimizer, own)


def gather(
    model: Model, optimizer: torch.optim.Optimizer
) -> tuple[Model, torch.optim.Optimizer]:
    """The whole model and its optimizer, as a single process would have them.

    All processes must call it. Where nothing is shared out, they are what is given.
    """
    shared = shared_weights(model)
    if not shared:
        return model, optimizer

    def joined(name: str, value: Tensor) -> Tensor:
        if name not in shared:
            return value
        parts = [torch.empty_like(value) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, value.contiguous())
        return torch.cat(parts)

    whole = Model(model.config)
    weights = model.state_dict().items()
    whole.load_state_dict({name: joined(name, value) for name, value in weights})
    return whole, _with_state(whole, optimizer, joined)


def _with_state(model, optimizer, change) -> torch.optim.Optimizer:
    """A new optimizer for `model`, with changed tensors of the old one's state."""
    names = [name for name, _ in model.named_parameters()]
    state = {
        index: {
            key: change(names[index], value) if value.ndim else value
            for key, value in values.items()
        }
        for index, values in optimizer.state_dict()["state"].items()
    }
    new = new_optimizer(model)
    groups = new.state_dict()["param_groups"]
    new.load_state_dict({"state": state, "param_groups": groups})
    return new
