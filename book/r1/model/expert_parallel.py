"""Experts on several processes: the tokens travel, the experts stay.

`experiments.expert_parallel`, under torchrun, compares a layer that is spread over
processes with the same layer in one.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Shard, distribute_tensor

from r1.model.moe import Experts, MoE, grouped_experts

CAUSE = re.compile(r"(\[rank\d+\]: )?\w+Error: ")


class Parcel(NamedTuple):
    """What one all-to-all sent from this process to the other processes.

    Rows that a process sends to itself are not in it: they stay in its memory.
    """

    what: str
    dtype: str
    rows: int
    bytes: int


def _weigh(what: str, x: Tensor, send: list[int]) -> Parcel:
    """The rows of x that leave this process, in bytes as they are sent."""
    rows = sum(send) - send[dist.get_rank()]
    size = rows * x.shape[1:].numel() * x.element_size()
    return Parcel(what, str(x.dtype).removeprefix("torch."), rows, size)


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, send, receive, what, log):
        ctx.settings = send, receive, what, log
        if log is not None:
            log.append(_weigh(what, x, send))
        out = x.new_empty(sum(receive), *x.shape[1:])
        dist.all_to_all_single(out, x.contiguous(), receive, send)
        return out

    @staticmethod
    def backward(ctx, grad):
        # The gradient of a row goes back to the rank that sent it.
        send, receive, what, log = ctx.settings
        what = f"gradient of {what}"
        return _AllToAll.apply(grad, receive, send, what, log), None, None, None, None


def exchange(
    x: Float[Tensor, "sent *width"] | Int[Tensor, "sent *width"],
    send: list[int],
    receive: list[int],
    what: str = "rows",
    log: list[Parcel] | None = None,
) -> Tensor:
    """Send the first `send[0]` rows to rank 0, the next to rank 1 and so on.

    Returns the rows of all ranks, `receive[r]` from rank r, in the order of ranks. The
    gradient takes the same way back. A `log` receives a Parcel for each exchange,
    that of the gradient too.
    """
    return _AllToAll.apply(x, send, receive, what, log)


def parallel_experts(
    x: Float[Tensor, "tokens dim"],
    weights: Float[Tensor, "tokens k"],
    indices: Int[Tensor, "tokens k"],
    experts: Experts,
    log: list[Parcel] | None = None,
) -> tuple[Float[Tensor, "tokens dim"], list[int]]:
    """Each token through its experts, of which this process holds only its part.

    Rank r holds the r-th part of all experts. A token's vector goes once to every rank
    that holds one of its experts, whose weighted sum comes back. Also returns how many
    vectors went to each rank, this one included. `log` is that of `exchange`.
    """
    w1, w2, w3 = (w.to_local() for w in (experts.w1, experts.w2, experts.w3))
    world, rank, per_rank = dist.get_world_size(), dist.get_rank(), len(w1)
    # indices // per_rank is the rank of an expert. amax merges slots on the same rank:
    # the vector travels there once, however many of its experts that rank has.
    needed = F.one_hot(indices // per_rank, world).amax(1)  # (tokens, ranks), 0 or 1
    # nonzero runs along rows; of the transpose, rows are ranks, so tokens are in the
    # order of the ranks that they go to.
    token = needed.T.nonzero()[:, 1]  # rank 0's first
    send = needed.sum(0)
    receive = torch.empty_like(send)
    # Everybody first says how many rows will come; only then can buffers be made.
    dist.all_to_all_single(receive, send)
    sizes = send.tolist(), receive.tolist()
    if log is not None:
        log.append(_weigh("row counts", send, [1] * world))

    rows = exchange(x[token], *sizes, "tokens", log)
    gates = exchange(weights[token], *sizes, "gates", log)
    chosen = exchange(indices[token], *sizes, "choices", log)
    local = chosen // per_rank == rank
    # A token brings all of its k choices. Those on other ranks become -1 (left out);
    # local experts are numbered from 0.
    slots = torch.where(local, chosen - rank * per_rank, -1)
    sums = grouped_experts(rows, gates, slots, w1, w2, w3)
    # Results return the way the tokens came, so send and receive change places. A token
    # may come back from several ranks: index_add sums the parts.
    back = exchange(sums, *sizes[::-1], "sums", log)
    return torch.zeros_like(x).index_add(0, token, back), sizes[0]


class ParallelMoE(nn.Module):
    """A layer of experts of which every process holds an equal share.

    The experts' matrices are DTensors, cut along the axis of experts: a process stores
    its part, and torch knows the whole. Router and shared experts are on every process,
    as is data of its own. `sent` is the number of vectors that went to each rank in the
    last pass, and `parcels` lists the bytes of all its exchanges with other ranks.

    Raises ValueError where the processes cannot share the experts equally.
    """

    def __init__(self, moe: MoE, mesh: DeviceMesh):
        super().__init__()
        total = len(moe.experts.w1)
        if total % mesh.size():
            raise ValueError(
                f"{total} experts cannot be shared by {mesh.size()} processes; start a "
                f"number of processes that divides {total}"
            )
        self.gate, self.shared_experts = moe.gate, moe.shared_experts
        self.experts = moe.experts
        for name, weight in list(self.experts.named_parameters()):
            parts = distribute_tensor(weight.detach(), mesh, [Shard(0)])
            setattr(self.experts, name, nn.Parameter(parts))
        self.sent: list[int] = []
        self.parcels: list[Parcel] = []

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        weights, indices = self.gate(x)
        flat = (t.flatten(0, -2) for t in (x, weights, indices))
        self.parcels = []
        y, self.sent = parallel_experts(*flat, self.experts, self.parcels)
        y = y.view_as(x)
        return y if self.shared_experts is None else y + self.shared_experts(x)

    def reduce_gradients(self) -> None:
        """Add up over all ranks the gradients of what every rank holds a copy of."""
        copies = (
            [self.gate, self.shared_experts] if self.shared_experts else [self.gate]
        )
        for module in copies:
            for parameter in module.parameters():
                dist.all_reduce(parameter.grad)


def launch(
    module: str, *arguments: str, processes: int = 2, timeout: int = 120
) -> list[dict]:
    """Start `torchrun ... -m module` with arguments; a report for each process.

    A single process is started without torchrun.

    Raises RuntimeError with the first error of any process.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone"]
    torchrun += [f"--nproc-per-node={processes}"]
    command = [sys.executable, *(torchrun if processes > 1 else [])]
    command += ["-m", module, *arguments]
    package = Path(__file__).parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(package)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=timeout
    )
    if done.returncode:
        causes = [line for line in done.stderr.splitlines() if CAUSE.match(line)]
        cause = causes[0] if causes else done.stderr[-2000:]
        raise RuntimeError(f"the processes failed: {cause}")
    return json.loads(done.stdout.splitlines()[-1])
