"""Training on several processes: each takes a part of every batch.

A process computes its part of the loss, and the gradients of all processes are added
up. Outside of torchrun all functions here do what a single process needs, which is
mostly nothing. What torch takes long to import is imported where it is used.
"""

import os
from functools import cache

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from r1.model.block import Block
from r1.model.cache import KVCache
from r1.model.moe import MoE
from r1.model.transformer import Model


def start(device: str | None = None) -> int:
    """Join the processes that torchrun started; returns the rank, 0 without torchrun.

    Models are then made on `device`, "cpu" or "cuda". Without one it is a GPU under
    torchrun where each process has a GPU of its own, and else the CPU. Processes talk
    over NCCL on GPUs, and over gloo on CPUs.

    Raises ValueError for more processes on this machine than it has GPUs.
    """
    torchrun = "RANK" in os.environ
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if torchrun else 1
    gpus = torch.cuda.device_count()
    if device is None:
        device = "cuda" if torchrun and gpus >= here else "cpu"
    if device == "cuda":
        if gpus < here:
            raise ValueError(
                f"this machine has {gpus} GPUs that torch can use, and {here} are "
                "needed, one for each process; use the device cpu"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) if torchrun else 0)
        torch.set_default_device("cuda")
    if torchrun:
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
    return rank()


def stop() -> None:
    """Leave the other processes; models that are made from now on are on the CPU."""
    if dist.is_initialized():
        dist.destroy_process_group()
        mesh.cache_clear()
    torch.set_default_device(None)


def rank() -> int:
    """The number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


@cache
def mesh() -> DeviceMesh:
    """All processes in one row."""
    return init_device_mesh(torch.get_default_device().type, (processes(),))


def own_rows(batch: Int[Tensor, "rows length"]) -> Int[Tensor, "own length"]:
    """The rows of a batch that this process works on.

    Raises ValueError where the processes cannot have equally many.
    """
    if not dist.is_initialized():
        return batch
    world = processes()
    if len(batch) % world:
        raise ValueError(
            f"{len(batch)} rows cannot be shared by {world} processes; choose a "
            f"multiple of {world} for --rows"
        )
    return batch.chunk(world)[rank()]


def add_up(part: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Sum over all processes.

    What follows is computed by every process alike, so the gradient of the sum is
    that of this process's part.
    """
    if not dist.is_initialized():
        return part
    from torch.distributed.tensor import DTensor, Partial

    # A Partial DTensor is a sum whose terms lie on the processes. full_tensor adds
    # them, and in the backward pass each term gets the gradient of the sum, unlike
    # dist.all_reduce, which has no gradient.
    return DTensor.from_local(part, mesh(), [Partial()]).full_tensor()


def share(model: Model, experts: bool = False) -> Model:
    """Let every process keep a part of each weight; make its optimizer afterwards.

    Before `encode` torch gathers the weights, after the backward pass it adds up the
    gradients, and leaves each process the sum for its part (FSDP2). All weights travel
    in one exchange, which suits a small model; a large one is shared layer by layer.
    With `experts` each process has whole experts, to which the tokens travel.

    Raises ValueError for experts without torchrun, or that cannot be shared equally.
    """
    if not dist.is_initialized():
        if experts:
            raise ValueError("experts are shared by several processes; start torchrun")
        return model
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    from r1.model.expert_parallel import ParallelMoE

    # FSDP gathers weights for every pass; experts that stay are left out.
    whole_experts: set[nn.Parameter] = set()
    for block in model.modules():
        if experts and isinstance(block, Block) and isinstance(block.ffn, MoE):
            block.ffn = ParallelMoE(block.ffn, mesh())
            whole_experts |= set(block.ffn.experts.parameters())
    # reshard_after_forward=False keeps the gathered weights for the backward pass: more
    # memory, and one exchange less.
    fully_shard(
        model, mesh=mesh(), reshard_after_forward=False, ignored_params=whole_experts
    )
    # FSDP gathers the weights when forward is called, but training calls encode.
    register_fsdp_forward_method(model, "encode")
    # FSDP averages by default. Here each process has its part of the whole gradient, so
    # the sum is right; and gloo has no other reduction.
    model.set_gradient_divide_factor(1.0)
    model.set_force_sum_reduction_for_comms(True)
    return model


def gather(model: Model) -> Model:
    """The whole model, as a single process would have it, on rank 0.

    All processes must call it. Where nothing is shared out, it is what is given.
    """
    if not dist.is_initialized():
        return model
    from torch.distributed.checkpoint import state_dict

    options = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = state_dict.get_model_state_dict(model, options=options)
    # Only rank 0 receives weights, so only there must none be missing (strict).
    with torch.device("cpu"):
        full_model = Model(model.config)
    full_model.load_state_dict(weights, strict=rank() == 0)
    return full_model


class _OwnRows:
    """The part of a cache that belongs to the rows of this process.

    `owner` is the rank that computes each row; the first pass fixes it.
    """

    def __init__(self, cache: KVCache, owner: Int[Tensor, " rows"] | None = None):
        self.cache, self.owner = cache, owner

    def __getitem__(self, rows: Int[Tensor, " some"]) -> "_OwnRows":
        own = self.owner == rank()
        # The cache numbers the rows of this process from 0: a running count, less 1.
        place = own.cumsum(0) - 1
        # A row may occur several times: copies of a prompt stay with its process.
        return _OwnRows(self.cache[place[rows[own[rows]]]], self.owner[rows])


class RowsApart(Model):
    """A model that every process runs on some rows, with the answers for all rows.

    All processes call it with the same tokens, and go on with the same logits: they
    draw the same tokens and have the same loss. The gradient of each is that of its own
    rows, which `share` adds up. Rows keep their process while they are continued, so
    when answers end early, some processes may have fewer rows left than others.
    """

    def __init__(self, model: Model):
        # Not Model.__init__, which would allocate a second set of weights.
        nn.Module.__init__(self)
        self.model, self.config = model, model.config

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    def new_caches(self, capacity: int) -> list[_OwnRows]:
        """One empty cache a layer, for `capacity` tokens of each row that is ours."""
        return [_OwnRows(cache) for cache in self.model.new_caches(capacity)]

    def forward(
        self,
        tokens: Int[Tensor, "batch seq"],
        caches: list[_OwnRows] | None = None,
        pads: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch seq vocab"]:
        rows = len(tokens)
        owner = caches[0].owner if caches else None
        if owner is None:
            # Row i goes to rank floor(i P / rows): the first rows to rank 0.
            places = torch.arange(rows, device=tokens.device)
            owner = places * processes() // rows
        for part in caches or []:
            part.owner = owner
        own = (owner == rank()).nonzero()[:, 0]
        own_caches = [part.cache for part in caches] if caches else None
        own_pads = None if pads is None else pads[own]
        logits = self.model.head(self.model.encode(tokens[own], own_caches, own_pads))
        # Each row is added to zeros only, so all processes get exactly the same logits.
        # They must draw the same tokens, or they would wait for one another for ever.
        empty = logits.new_zeros(rows, *logits.shape[1:])
        return add_up(empty.index_copy(0, own, logits))


def apart(model: Model) -> Model:
    """A model that divides rows among processes; without torchrun, what is given."""
    return RowsApart(model) if dist.is_initialized() else model
