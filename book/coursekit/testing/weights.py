"""Trained weights that were handed in: read with care, for the reference model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from coursekit.walls.files import Unreadable, read_bytes

HEADER = 2**20  # bytes of a header; a model of this book needs a few thousand


class Weights(NamedTuple):
    """Tensors by name, and the texts that were saved beside them."""

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, str]


def _header(data: bytes, name: str) -> dict:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(HEADER, len(data) - 8):
        raise AssertionError(f"{name} is not a complete safetensors file")
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError) as error:
        raise AssertionError(f"{name} is not a safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise AssertionError(f"{name} is not a safetensors file")
    return header


def weights(
    files: Mapping[str, Path],
    name: str,
    like: Mapping[str, torch.Tensor] | None = None,
    limit: int = 16 * 2**20,
) -> Weights:
    """The tensors of a safetensors file that was handed in, checked before use.

    Args:
        files: the files handed in, by name
        name: the one wanted
        like: tensors with exactly the names and shapes to expect, such as a reference
            model's `state_dict()`; floating point of any width is taken as theirs.
            Without it the caller has to judge names and shapes.
        limit: the most bytes it may have

    Raises AssertionError with a message for the student, for a file that is missing,
    too large, damaged, not finite or of other names and shapes.
    """
    if name not in files:
        raise AssertionError(f"hand in {name} beside the notebook")
    try:
        data = read_bytes(files[name], limit)
    except Unreadable as error:
        raise AssertionError(str(error)) from error
    metadata = _header(data, name).get("__metadata__") or {}
    try:
        tensors = load(data)
    except (
        SafetensorError,
        ValueError,
        RuntimeError,
        KeyError,
        AttributeError,
    ) as error:
        raise AssertionError(f"{name} is damaged: {error}") from error
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.float().isfinite().all():
            raise AssertionError(
                f"{name}: {key} has values that are not finite (a training that has "
                "diverged?)"
            )
    if like is not None:
        tensors = _fitted(tensors, like, name)
    return Weights(tensors, metadata)


def _fitted(tensors, like, name) -> dict[str, torch.Tensor]:
    missing = sorted(set(like) - set(tensors))
    extra = sorted(set(tensors) - set(like))
    if missing or extra:
        raise AssertionError(f"{name}: missing {missing[:3]}, not expected {extra[:3]}")
    for key, wanted in like.items():
        found = tensors[key]
        if found.shape != wanted.shape:
            raise AssertionError(
                f"{name}: {key} has shape {list(found.shape)}, not {list(wanted.shape)}"
            )
        if found.is_floating_point() != wanted.is_floating_point():
            raise AssertionError(f"{name}: {key} is {found.dtype}, not {wanted.dtype}")
    return {key: tensors[key].to(wanted.dtype) for key, wanted in like.items()}
