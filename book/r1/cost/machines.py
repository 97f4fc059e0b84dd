"""Several GPUs: what each holds of a model, what travels in a step, what that takes.

All of it is arithmetic on a configuration: no processes are started, no GPU is asked.
`experiments.travels` holds the first part to what torch's processes hold and send. The
second part says how long the wires and the products take at least; the speeds are
published ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from r1.cost.bill import PEAK, mtp_flops
from r1.cost.counting import training_flops
from r1.cost.memory import (
    PRECISIONS,
    DeviceMemory,
    Layout,
    Matrix,
    count_memory,
    split_stages,
    stage_matrices,
)
from r1.model.config import ModelConfig

KINDS = ("all_gather", "reduce_scatter", "all_reduce", "all_to_all")


def leaves(kind: str, size: int, processes: int) -> int:
    r"""Bytes that leave one of P processes in a collective about `size` bytes.

    $\frac{P-1}{P}\,\mathrm{size}$ for an all-gather (size: of the result) and for a
    reduce-scatter (of what is reduced), and twice that for an all-reduce, which is one
    after the other. No algorithm sends less from each. Of an all-to-all it is the size
    of the rows for other processes, (P - 1) / P of all if they are even.

    Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; use one of {KINDS}")
    times = 2 if kind == "all_reduce" else 1
    return times * size * (processes - 1) // processes


class Shared(NamedTuple):
    """Numbers of a model that P processes share out, counted for one of them.

    `gathered` are those that come together for a pass, with padding; `own` are those
    that a process stores: its part of the gathered, and its experts where these stay.
    `moved` are those of `own` that are no padding: its optimizer knows no others.
    """

    gathered: int
    own: int
    moved: int


def share_out(
    config: ModelConfig, processes: int, experts: bool = False, rank: int = 0
) -> Shared:
    r"""How FSDP2 shares a model out: every tensor in P equal parts of its first axis.

    A tensor whose first axis has $n$ rows of $m$ numbers becomes parts of
    $\lceil n / P \rceil m$ numbers, so that the last parts are padded where P does not
    divide n. The matrices of all experts of a layer are one tensor with an axis of
    experts. With `experts` these stay where they are and are not gathered.

    Raises ValueError where P does not divide the experts that stay.
    """
    if experts and config.n_routed_experts % processes:
        raise ValueError(
            f"{config.n_routed_experts} experts cannot be shared by {processes} "
            "processes; choose a number that divides them"
        )
    part = stay = moved = 0
    for matrix in all_matrices(config):
        rows = matrix.number if matrix.kind == "expert" else matrix.rows
        each, row = -(-rows // processes), matrix.parameters // rows
        numbers = each * row
        moved += min(each, max(rows - each * rank, 0)) * row
        if experts and matrix.kind == "expert":
            stay += numbers
        else:
            part += numbers
    return Shared(part * processes, part + stay, moved)


def all_matrices(config: ModelConfig) -> list[Matrix]:
    """What an optimizer moves: the weights of a model, MTP modules included.

    Each is a tensor of its own, but that the experts of a layer are one.
    """
    (stage,) = split_stages(config, 1)
    matrices = [m for piece in stage_matrices(config, stage) for m in piece]
    norm, found = Matrix("norm", "plain", config.dim), []
    for matrix in matrices:
        if matrix.name == "norms":
            found += [norm] * (matrix.rows // config.dim)
        elif matrix.kind != "bias":
            found.append(matrix)
    return found


def other_ranks(config: ModelConfig, processes: int) -> float:
    r"""To how many other processes a token goes on average if its choice is random.

    $(P - 1)\big(1 - \binom{E - E/P}{k} / \binom{E}{k}\big)$ for k of E experts, of
    which each process holds E / P: a process is left out if none of its experts is
    among the k.
    """
    experts, k = config.n_routed_experts, config.n_activated_experts
    away = math.comb(experts - experts // processes, k) / math.comb(experts, k)
    return (processes - 1) * (1 - away)


def row_bytes(config: ModelConfig, itemsize: int = 4) -> tuple[int, int]:
    r"""Bytes that a token's row takes to a process with its experts, and back from it.

    There go its vector, k gates and k choices, of 8 bytes each, and in the backward
    pass the gradient of the sum. Back come the sum, and in the backward pass the
    gradients of the vector and of the gates.
    """
    back = itemsize * (2 * config.dim + config.n_activated_experts)
    return back + 8 * config.n_activated_experts, back


def pretraining_travels(
    config: ModelConfig,
    processes: int,
    rows: tuple[int, int] | None = None,
    itemsize: int = 4,
) -> dict[str, int]:
    """Bytes that leave one process in a step of pretraining, by kind of collective.

    Weights are gathered once, gradients are reduced once. Three losses, the length of
    the gradient of each tensor, and the load of the experts of each layer, in numbers
    of 8 bytes, are added up. With `rows`, experts stay, and `rows` are those that go to
    other processes and those that come from them, in all layers; in each layer the
    process also tells the others how many will come.
    """
    shared = share_out(config, processes, rows is not None)
    layers = config.n_moe_layers
    layers += config.num_nextn_predict_layers * (config.n_moe_layers > 0)
    lengths = itemsize * len(all_matrices(config))
    sums = [3 * itemsize, lengths, *[8 * config.n_routed_experts] * layers]
    travels = dict.fromkeys(KINDS, 0)
    for kind in ("all_gather", "reduce_scatter"):
        travels[kind] = leaves(kind, shared.gathered * itemsize, processes)
    travels["all_reduce"] = sum(leaves("all_reduce", s, processes) for s in sums)
    if rows is not None:
        (out, into), (there, back) = rows, row_bytes(config, itemsize)
        counts = 8 * (processes - 1) * layers
        travels["all_to_all"] = out * there + into * back + counts
    return travels


def grpo_travels(
    config: ModelConfig, processes: int, passes: Sequence[int], itemsize: int = 4
) -> dict[str, int]:
    """Bytes that leave one process in a step of GRPO with one update, by kind.

    Weights are gathered once, for sampling and learning, and gradients are reduced
    once. Each pass computes logits at so many positions, of which every process has
    those of its rows and gets all: they are added up to zeros. So are the lengths of
    the gradients of all tensors.
    """
    shared = share_out(config, processes)
    travels = dict.fromkeys(KINDS, 0)
    for kind in ("all_gather", "reduce_scatter"):
        travels[kind] = leaves(kind, shared.gathered * itemsize, processes)
    sums = [positions * config.vocab_size for positions in passes]
    sums.append(len(all_matrices(config)))
    travels["all_reduce"] = sum(
        leaves("all_reduce", numbers * itemsize, processes) for numbers in sums
    )
    return travels


@dataclass(frozen=True)
class Cluster:
    """GPUs in nodes of 8, and what one of them does in a second.

    `nvlink` is what a GPU receives from its node and `infiniband` what it receives
    from other nodes, in bytes; `peak` are operations.

    Sources: NVLink of an H100, 900 GB/s in both directions together (Insights paper,
    section 4.1); InfiniBand, 50 GB/s for a GPU (DeepSeek-V3, section 3.2.2).
    """

    gpus: int
    node: int = 8
    nvlink: float = 450e9
    infiniband: float = 50e9
    peak: float = PEAK

    @property
    def inside(self) -> int:
        """GPUs of a node."""
        return min(self.gpus, self.node)

    def gather_seconds(self, size: float | int) -> float:
        r"""Least time of an all-gather of `size` bytes, or of a reduce-scatter.

        With G GPUs in n nodes every GPU receives $\frac{G-1}{G}$ of it, and every node
        $\frac{n-1}{n}$ of it through the InfiniBand of all its GPUs together. The
        longer of the two decides.
        """
        nodes = self.gpus / self.inside
        received = size * (self.gpus - 1) / self.gpus
        entering = size * (nodes - 1) / nodes / self.inside
        return max(received / self.nvlink, entering / self.infiniband)

    def exchange_seconds(self, size: float | int, among: int) -> float:
        """Least time of an all-to-all in which `size` bytes leave each of some GPUs.

        They are the GPUs of a node, or of all nodes. What is for GPUs of the same node
        takes NVLink, all else InfiniBand.
        """
        if among == 1:
            return 0.0
        near = size * (self.inside - 1) / (among - 1)
        return max(near / self.nvlink, (size - near) / self.infiniband)


@dataclass(frozen=True)
class GPUStep:
    """A training step on one GPU of several: bytes, seconds at least, tokens at most.

    `gathered` bytes of weights and gradients and `sent` bytes of tokens leave the GPU.
    """

    gpus: int
    held: DeviceMemory
    gathered: float | int
    sent: float | int
    wires: float | int
    products: float
    tokens: int

    @property
    def tokens_per_second(self) -> float:
        """Of all GPUs, if whatever travels does so while something is computed."""
        return self.gpus * self.tokens / max(self.wires, self.products)


def gpu_step(
    config: ModelConfig,
    cluster: Cluster,
    sequences: int,
    length: int,
    experts: int = 1,
    recompute: str = "nothing",
) -> GPUStep:
    r"""A step on `sequences` of `length` tokens for each GPU, under FSDP2 in BF16.

    Layers are gathered one after the other, for the forward pass and again for the
    backward pass, in 2 bytes a number; gradients of 4 bytes are reduced once. Where
    `experts` GPUs share the experts of each layer, those of a node or all, they gather
    none but what the GPUs of other nodes hold of the same experts, and a token's
    vector, its sum and the two gradients travel in 2 bytes a number, to the GPUs of a
    random choice. All parts are even, without padding. Products run at the peak of the
    GPU, so all times are too short; if `recompute` is "layers", the forward pass is
    computed twice.

    Raises ValueError where GPUs cannot share the experts in this way.
    """
    precision, gpus = PRECISIONS["BF16"], cluster.gpus
    if experts not in (1, cluster.inside, gpus):
        raise ValueError(
            f"{experts} of {gpus} GPUs share experts; choose 1, the {cluster.inside} "
            f"of a node, or all {gpus}"
        )
    layout = Layout(
        data=gpus,
        expert=experts,
        zero=3,
        micro_batch=sequences,
        sequence=length,
        recompute=recompute,
    )
    matrices = all_matrices(config)
    everywhere = sum(m.parameters for m in matrices)
    apart = sum(m.parameters for m in matrices if m.kind == "expert")
    apart = apart // experts if experts > 1 else 0  # of the experts of one GPU
    everywhere -= apart * experts
    # Weights twice and gradients once: bytes that each number costs on the way.
    passes, holders = 2 * precision.weight + precision.gradient, gpus // experts
    gathered = passes * everywhere * (gpus - 1) / gpus
    wires = cluster.gather_seconds(passes * everywhere)
    tokens, sent = sequences * length, 0.0
    if experts > 1:
        between = passes * apart * (holders - 1) / holders
        layers = config.n_moe_layers + config.num_nextn_predict_layers
        rows = tokens * other_ranks(config, experts) * layers
        sent = rows * 4 * config.dim * precision.weight
        gathered += between
        wires += between / cluster.infiniband
        wires += cluster.exchange_seconds(sent, experts)
    flops = training_flops(config, length) + mtp_flops(config, length)
    flops *= 4 / 3 if recompute == "layers" else 1
    return GPUStep(
        gpus=gpus,
        held=count_memory(config, layout)[0],
        gathered=gathered,
        sent=sent,
        wires=wires,
        products=tokens * flops / cluster.peak,
        tokens=tokens,
    )
