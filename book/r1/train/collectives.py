"""What torch's collectives send from one process to others, counted while they run."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode

from r1.cost.machines import leaves


class Collectives(TorchDispatchMode):
    """Within it, `leave` has the bytes that leave this process in torch's collectives.

    `calls` has how many there were. torch shows a mode every operation that it is about
    to run, also those of a backward pass and of its own FSDP2.
    """

    def __init__(self):
        super().__init__()
        self.leave, self.calls = Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # it becomes operations on parts, which come here
        name = str(func._overloadpacket)
        if "c10d" in name and (found := collective(name.split(".")[-1], args)):
            kind, size = found
            self.leave[kind] += size
            self.calls[kind] += 1
        return func(*args, **(kwargs or {}))


def collective(name: str, args: Sequence[Any]) -> tuple[str, int] | None:
    """The kind of one of torch's collectives, and the bytes that leave this process.

    None for what only waits.

    Raises NotImplementedError for a collective that no program of the book has used.
    """
    world, rank = dist.get_world_size(), dist.get_rank()

    def size(tensors: Tensor | Sequence[Tensor]) -> int:
        tensors = [tensors] if isinstance(tensors, Tensor) else tensors
        return sum(x.numel() * x.element_size() for x in tensors)

    match name:
        case "_allgather_base_":  # of result, part
            return "all_gather", leaves("all_gather", size(args[0]), world)
        case "_reduce_scatter_base_":  # of result, what is reduced
            return "reduce_scatter", leaves("reduce_scatter", size(args[1]), world)
        case "allreduce_" | "all_reduce" | "all_reduce_":
            return "all_reduce", leaves("all_reduce", size(args[0]), world)
        case "alltoall_base_":  # of result, rows, group, rows from and for each rank
            rows, send = args[1], args[4] or [len(args[1]) // world] * world
            others = sum(send) - send[rank]
            return "all_to_all", others * rows[:1].numel() * rows.element_size()
        case "wait_tensor" | "_wrap_tensor_autograd" | "barrier":
            return None
    raise NotImplementedError(f"{name} is no collective that is counted here")
