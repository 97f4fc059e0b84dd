"""Experts on several processes: the tokens travel, the experts stay.

`torchrun --standalone --nproc-per-node 2 -m r1.model.parallel` compares a layer spread
over two processes with the same layer in one, and prints what each process held and
sent.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from r1.model.config import ModelConfig
from r1.model.moe import Experts, MoE, grouped_experts

CAUSE = re.compile(r"(\[rank\d+\]: )?\w+Error: ")


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, send, receive):
        ctx.sizes = send, receive
        out = x.new_empty(sum(receive), *x.shape[1:])
        dist.all_to_all_single(out, x.contiguous(), receive, send)
        return out

    @staticmethod
    def backward(ctx, grad):
        # The gradient of a row goes back to the rank that sent it.
        send, receive = ctx.sizes
        return _AllToAll.apply(grad, receive, send), None, None


def exchange(
    x: Float[Tensor, "sent *width"] | Int[Tensor, "sent *width"],
    send: list[int],
    receive: list[int],
) -> Tensor:
    """Send the first `send[0]` rows to rank 0, the next to rank 1 and so on.

    Returns the rows of all ranks, `receive[r]` from rank r, in the order of ranks. The
    gradient takes the same way back.
    """
    return _AllToAll.apply(x, send, receive)


def parallel_experts(
    x: Float[Tensor, "tokens dim"],
    weights: Float[Tensor, "tokens k"],
    indices: Int[Tensor, "tokens k"],
    experts: Experts,
) -> tuple[Float[Tensor, "tokens dim"], list[int]]:
    """Each token through its experts, of which this process holds only its part.

    Rank r holds the r-th part of all experts. A token's vector goes once to every rank
    that holds one of its experts, whose weighted sum comes back. Also returns how many
    vectors went to each rank, this one included.
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

    rows, gates, chosen = (exchange(t[token], *sizes) for t in (x, weights, indices))
    local = chosen // per_rank == rank
    # A token brings all of its k choices. Those on other ranks become -1 (left out);
    # local experts are numbered from 0.
    slots = torch.where(local, chosen - rank * per_rank, -1)
    sums = grouped_experts(rows, gates, slots, w1, w2, w3)
    # Results return the way the tokens came, so send and receive change places. A token
    # may come back from several ranks: index_add sums the parts.
    back = exchange(sums, *sizes[::-1])
    return torch.zeros_like(x).index_add(0, token, back), sizes[0]


class ParallelMoE(nn.Module):
    """A layer of experts of which every process holds an equal share.

    The experts' matrices are DTensors, cut along the axis of experts: a process stores
    its part, and torch knows the whole. Router and shared experts are on every process,
    as is data of its own. `sent` is the number of vectors that went to each rank in the
    last pass.

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

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        weights, indices = self.gate(x)
        flat = (t.flatten(0, -2) for t in (x, weights, indices))
        y, self.sent = parallel_experts(*flat, self.experts)
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


def compare(config: ModelConfig, tokens: int, seed: int = 0) -> dict:
    """Run one layer whole and spread: what this process held and sent, what differs.

    Every process has an equal part of the `tokens`; the loss is the sum of the squared
    outputs of all of them. `difference` is the largest in any output or gradient, as
    a share of that tensor's largest number.
    """
    torch.manual_seed(seed)
    whole, divided = MoE(config).double(), MoE(config).double()
    divided.load_state_dict(whole.state_dict())
    divided = ParallelMoE(divided, init_device_mesh("cpu", (dist.get_world_size(),)))
    rank, world = dist.get_rank(), dist.get_world_size()
    x = torch.randn(tokens, config.dim, dtype=torch.float64, requires_grad=True)
    own_x = x.detach().chunk(world)[rank].requires_grad_()

    y, y_part = whole(x), divided(own_x)
    y.pow(2).sum().backward()
    y_part.pow(2).sum().backward()
    divided.reduce_gradients()
    pairs = [(y_part, y.chunk(world)[rank]), (own_x.grad, x.grad.chunk(world)[rank])]
    ours = dict(divided.named_parameters())
    for name, weight in whole.named_parameters():
        grad = ours[name].grad
        grad = grad.full_tensor() if isinstance(grad, DTensor) else grad
        pairs.append((grad, weight.grad))

    load = divided.gate.load.tolist()
    total = divided.gate.update_bias(0.001)
    load_agrees = torch.equal(total, whole.gate.load)
    sent_away = sum(n for r, n in enumerate(divided.sent) if r != rank)
    return {
        "rank": rank,
        "experts": torch.arange(config.n_routed_experts).chunk(world)[rank].tolist(),
        "parameters": sum(p.to_local().numel() for p in divided.experts.parameters()),
        "tokens": len(own_x),
        "load": load,
        "load_of_all": total.tolist(),
        "load_agrees": load_agrees,
        "bias": divided.gate.bias.tolist(),
        "sent": divided.sent,
        "bytes": 2 * sent_away * config.dim * 2,  # there and back, as BF16
        "difference": max(
            ((a - b).abs().max() / b.abs().max()).item() for a, b in pairs
        ),
        "gradients": len(pairs) - 1,
    }


def launch(
    processes: int,
    *arguments: str,
    module: str = "r1.model.parallel",
    timeout: int = 120,
) -> list[dict]:
    """Start `torchrun ... -m module` with arguments; a report for each process.

    Raises RuntimeError with the first error of any process.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", module, *arguments]
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


def main(argv: list[str] | None = None) -> None:
    """Compare under torchrun; rank 0 prints the reports of all as one line of JSON."""
    parser = argparse.ArgumentParser(prog="r1.model.parallel", description=main.__doc__)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--chosen", type=int, default=4)
    parser.add_argument("--groups", type=int, default=1)
    parser.add_argument("--limit", type=int, default=1, help="groups a token may use")
    args = parser.parse_args(argv)
    config = replace(
        ModelConfig.tiny(),
        n_routed_experts=args.experts,
        n_activated_experts=args.chosen,
        n_expert_groups=args.groups,
        n_limited_groups=args.limit,
        initializer_range=0.2,
    )
    dist.init_process_group("gloo")
    reports: list = [None] * dist.get_world_size()
    dist.all_gather_object(reports, compare(config, args.tokens))
    if dist.get_rank() == 0:
        print(json.dumps(reports), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
