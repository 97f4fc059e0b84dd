"""Chapter 04: a layer of experts spread over processes, beside the same in one.

`torchrun --standalone --nproc-per-node 2 -m experiments.expert_parallel` prints what
each process held and sent, and what differs.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from experiments.runner import parse
from r1.model.config import ModelConfig
from r1.model.expert_parallel import ParallelMoE
from r1.model.moe import MoE


@dataclass(frozen=True)
class Options:
    """A layer of experts, and the tokens of all processes together."""

    tokens: int = 512
    """of all processes"""
    experts: int = 16
    """routed experts"""
    chosen: int = 4
    """experts of a token"""
    groups: int = 1
    """groups of experts"""
    limit: int = 1
    """groups that a token may use"""


def compare(config: ModelConfig, tokens: int, seed: int = 0) -> dict:
    """Run one layer whole and spread: what this process held and sent, what differs.

    The layer and the tokens are random, and all numbers are float64. Every process has
    an equal part of the `tokens`; the loss is the sum of the squared outputs of all of
    them. `difference` is the largest in any output or gradient, as a share of that
    tensor's largest number. Each process also keeps the whole layer, to compare with
    it: `kept_to_compare` is the number of parameters of its routed experts.
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
    return {
        "rank": rank,
        "experts": torch.arange(config.n_routed_experts).chunk(world)[rank].tolist(),
        "parameters": sum(p.to_local().numel() for p in divided.experts.parameters()),
        "kept_to_compare": sum(p.numel() for p in whole.experts.parameters()),
        "width": config.dim,
        "tokens": len(own_x),
        "load": load,
        "load_of_all": total.tolist(),
        "load_agrees": load_agrees,
        "bias": divided.gate.bias.tolist(),
        "sent": divided.sent,
        "parcels": [parcel._asdict() for parcel in divided.parcels],
        "difference": max(
            ((a - b).abs().max() / b.abs().max()).item() for a, b in pairs
        ),
        "gradients": len(pairs) - 1,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Compare under torchrun; rank 0 prints the reports of all as one line of JSON."""
    options = parse(Options, words, "expert_parallel")
    config = replace(
        ModelConfig.tiny(),
        n_routed_experts=options.experts,
        n_activated_experts=options.chosen,
        n_expert_groups=options.groups,
        n_limited_groups=options.limit,
        initializer_range=0.2,
    )
    dist.init_process_group("gloo")
    reports: list = [None] * dist.get_world_size()
    dist.all_gather_object(reports, compare(config, options.tokens))
    if dist.get_rank() == 0:
        print(json.dumps(reports), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
