"""Models made from a folder: what they take, and how they get their weights."""

import sys

import torch
from torch import Tensor, nn
from tqdm import tqdm

from r1.model.attention import Attention, model_angles
from r1.model.config import ModelConfig
from r1.model.folder import EIGHT_BITS, FLOATS, Folder
from r1.model.moe import Router


def peak_bytes(source: Folder, model: nn.Module, dtype: torch.dtype) -> int:
    """Bytes that `fill` needs at most: the model, and the tensor that is being read.

    A tensor is mapped, then copied; one of eight bits becomes float32 in between, three
    times: as numbers, times its scales, and joined.
    """
    size = torch.empty(0, dtype=dtype).itemsize
    numbers = sum(p.numel() for p in model.parameters())
    biases = sum(b.numel() for n, b in model.named_buffers() if n.endswith("gate.bias"))
    reading = max(
        s.numbers * (FLOATS[s.dtype] + size + 12 * (s.dtype == EIGHT_BITS))
        for s in source.tensors.values()
        if s.dtype in FLOATS
    )
    table = _table_bytes(source.config)
    return numbers * size + biases * max(4, size) + reading + table


def _table_bytes(config: ModelConfig) -> int:
    return config.max_seq_len * config.qk_rope_head_dim // 2 * 8


def fill(
    source: Folder,
    model: nn.Module,
    dtype: torch.dtype,
    device: torch.device | str,
    progress: bool,
) -> None:
    """Give a model that was made on "meta" the weights of a folder, part by part."""
    if progress:
        total = sum(p.numel() for p in model.parameters())
        gigabytes = peak_bytes(source, model, dtype) / 1e9
        print(
            f"{total / 1e9:.3g} billion parameters take {gigabytes:.3g} GB at most; "
            "StreamedModel reads them layer by layer",
            file=sys.stderr,
        )
    angles = model_angles(source.config).to(device)
    parts = {name + ".": part for name, part in model.named_children()}
    for name in ("layers", "mtp"):
        many = parts.pop(f"{name}.")
        parts |= {f"{name}.{i}.": part for i, part in enumerate(many)}
    tied = source.config.tie_word_embeddings
    if tied:
        parts.pop("head.")
    kept = (x for part in parts.values() for x in part.state_dict().values())
    total = sum(x.numel() for x in kept)
    with tqdm(total=total, unit="", unit_scale=True, disable=not progress) as bar:
        for prefix, part in parts.items():
            state = source.state(part, prefix, dtype, device, True, bar.update)
            put(part, state, angles)
            # Pages that were read stay in memory while their file is open.
            source.close()
    if tied:
        model.head.weight = model.embed.weight


def put(module: nn.Module, state: dict[str, Tensor], angles: Tensor) -> nn.Module:
    """Give a module that was made on "meta" its weights, and what no file holds."""
    module.load_state_dict(state, assign=True)
    for part in module.modules():
        if isinstance(part, Attention):
            part.angles = angles  # one table for all layers
        elif isinstance(part, Router):
            part.load = torch.zeros_like(part.load, device=angles.device)
    return module
