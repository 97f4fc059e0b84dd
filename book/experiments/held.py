"""Chapter 09: what small models hold on two processes, counted by torch.

`torchrun --standalone --nproc-per-node 2 -m experiments.held` trains for one step under
each of CASES, and prints what every process then holds, as one line of JSON. Counted
are the storages behind tensors: one that several tensors share counts once.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from experiments.runner import parse
from r1.cost.memory import Layout, Stage, in_flight, split_stages
from r1.model.config import ModelConfig
from r1.model.mtp import mtp_losses
from r1.model.transformer import Model, cross_entropy
from r1.train import distributed
from r1.train.optimizer import new_optimizer

TINY = ModelConfig.tiny()
CONFIGS = {
    "tiny": TINY,
    "dense": ModelConfig.dense(),
    "deep": replace(
        TINY,
        n_layers=4,
        n_dense_layers=2,
        vocab_size=48,
        n_shared_experts=2,
        num_nextn_predict_layers=2,
    ),
    "tied": replace(TINY, tie_word_embeddings=True, num_nextn_predict_layers=0),
    "one latent": replace(
        TINY, q_lora_rank=0, moe_inter_dim=64, topk_method="greedy", n_routed_experts=12
    ),
}
FULL = Layout(precision="FP32", zero=0, data=2, sequence=80)
CASES = {
    "copies": FULL,
    "zero": replace(FULL, zero=1),
    "shared": replace(FULL, zero=3),
    "experts": replace(FULL, zero=3, expert=2),
    "pipeline": replace(FULL, data=1, pipeline=2),
}


@dataclass(frozen=True)
class Options:
    """Which models, and how many sequences of how many tokens."""

    configs: tuple[str, ...] = tuple(CONFIGS)
    """names of CONFIGS"""
    rows: int = 5
    """sequences of a process"""
    length: int = 16
    """tokens of a sequence"""


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind tensors on this process, each counted once."""
    storages = {}
    for tensor in tensors:
        local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        storage = local.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def saved_bytes(run: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Bytes that `run` keeps for a backward pass; the storages of `known` not counted.

    Known are weights, which are there anyway.
    """
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor
    ):
        result = run()  # what it returns keeps the graph, and so the tensors, alive
    weights = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept = [t for t in saved if t.untyped_storage().data_ptr() not in weights]
    del result
    return storage_bytes(kept)


class OneStage(nn.Module):
    """The part of a model that one process of a pipeline holds.

    The last of the two has a copy of the embedding if it needs one: for MTP modules, or
    as a head that is tied to it.
    """

    def __init__(self, model: Model, stage: Stage):
        super().__init__()
        self.embed = model.embed if stage.embedding or stage.mtp else None
        self.layers = model.layers[stage.layers.start : stage.layers.stop]
        self.norm = model.norm if stage.head else None
        self.head = model.head if stage.head else None
        self.mtp = model.mtp if stage.mtp else nn.ModuleList()

    def forward_all(self, micros: Tensor) -> list[Tensor]:
        """Micro-batches through the layers of this stage, all held at once."""
        outputs = []
        for x in micros.unbind():
            x = x.clone()  # a storage of its own
            for block in self.layers:
                x = block(x)
            outputs.append(x)
        return outputs

    def loss(self, tokens: Tensor, width: int) -> Tensor:
        """Something to go back from; what comes from the stage before is random."""
        inputs = tokens[:, :-1]
        first = self.head is None
        x = self.embed(inputs) if first else torch.randn(*inputs.shape, width)
        for block in self.layers:
            x = block(x)
        if self.head is None:
            return x.square().mean()
        return whole_loss(self, self.norm(x), tokens)


def whole_loss(model: nn.Module, hidden: Tensor, tokens: Tensor) -> Tensor:
    """The loss of the next token and of MTP modules."""
    loss = cross_entropy(model.head(hidden), tokens[:, 1:])
    return loss + sum(mtp_losses(model.mtp, model.embed, model.head, hidden, tokens))


def count(config: ModelConfig, case: str, tokens: Tensor) -> dict[str, int]:
    """Train for one step, and count what this process holds afterwards."""
    torch.manual_seed(0)
    layout, model = CASES[case], Model(config)
    if case == "pipeline":
        stage = split_stages(config, layout.pipeline)[dist.get_rank()]
        model = OneStage(model, stage)
    elif layout.zero == 3:
        distributed.share(model, experts=layout.expert > 1)
    if layout.zero == 1:
        # Its import warns, and only this case needs it.
        from torch.distributed.optim import ZeroRedundancyOptimizer

        # It deals out whole weights, so processes hold about as much as one another.
        optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW)
    else:
        optimizer = new_optimizer(model)
    if case == "pipeline":
        loss = model.loss(tokens, config.dim)
    else:
        loss = whole_loss(model, model.encode(tokens[:, :-1]), tokens)
    loss.backward()
    optimizer.step()
    own = optimizer.optim if layout.zero == 1 else optimizer
    moments = [
        state[name]
        for state in own.state.values()
        for name in ("exp_avg", "exp_avg_sq")
    ]
    parameters = list(model.parameters())
    biases = [b for name, b in model.named_buffers() if name.endswith(".bias")]
    held = {
        "weights": storage_bytes([*parameters, *biases]),
        "gradients": storage_bytes(p.grad for p in parameters),
        "moments": storage_bytes(moments),
    }
    if case == "pipeline":
        flying = in_flight(layout, dist.get_rank())
        inputs = torch.randn(flying, *tokens[:, :-1].shape, config.dim)
        run = partial(model.forward_all, inputs.requires_grad_())
        held["activations"] = saved_bytes(run, parameters)
    return held


def main(words: Sequence[str] | None = None) -> None:
    """Count under torchrun; rank 0 prints the counts of all, process by process."""
    options = parse(Options, words, "held")
    distributed.start()
    rank, found = distributed.rank(), {}
    for name in options.configs:
        config = CONFIGS[name]
        shape = options.rows, options.length + 1
        tokens = torch.randint(config.vocab_size, shape)
        for case in CASES:
            if case == "experts" and not config.n_moe_layers:
                continue
            found[f"{name}/{case}"] = count(config, case, tokens)
    reports: list = [None] * distributed.processes()
    dist.all_gather_object(reports, found)
    if rank == 0:
        print(json.dumps(reports), flush=True)
    distributed.stop()


if __name__ == "__main__":
    main()
