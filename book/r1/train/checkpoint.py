"""Checkpoints: weights, optimizer and notes in one safetensors file."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from r1.model.config import ModelConfig
from r1.model.files import write_atomically
from r1.model.transformer import Model
from r1.train.distributed import gather, rank
from r1.train.optimizer import State, load_state, save_state


def save_checkpoint(
    path: Path | str,
    model: Model,
    optimizer: torch.optim.Optimizer | None = None,
    **notes: object,
) -> None:
    """Write weights, the optimizer's state if given, and notes to one safetensors file.

    The configuration goes along. The file is complete or it is not there. Where several
    processes share the model, all must call this; rank 0 writes the whole.
    """
    weights = gather(model).state_dict()
    # safetensors stores tensors that are contiguous and share no memory. A tied head is
    # the embedding, and is left out.
    tensors = {f"model.{k}": v.contiguous() for k, v in weights.items()}
    if model.config.tie_word_embeddings:
        tensors.pop("model.head.weight")
    if optimizer is not None:
        for weight, state in save_state(model, optimizer).items():
            tensors |= {f"optimizer.{weight}.{k}": v for k, v in state.items()}
    # After gather and save_state, which need all processes.
    if rank():
        return
    metadata = {
        "config": json.dumps(asdict(model.config)),
        "notes": json.dumps(notes),
    }
    write_atomically(Path(path), lambda partial: save_file(tensors, partial, metadata))


def fingerprint(path: Path | str) -> str:
    """Twelve letters and digits of a file's bytes: other weights have others."""
    status = Path(path).stat()
    return _fingerprint(Path(path), status.st_mtime_ns, status.st_size)


@cache
def _fingerprint(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def load_checkpoint(
    path: Path | str,
    optimizer_for: Callable[[Model], torch.optim.Optimizer] | None = None,
) -> tuple[Model, torch.optim.Optimizer | None, dict]:
    """Rebuild the model, its optimizer if asked for, and the notes from a checkpoint.

    `optimizer_for` makes a new optimizer for the model, which then remembers what the
    saved one did; it may share the model among processes first.

    Raises FileNotFoundError, and ValueError for a file that is no checkpoint.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"no checkpoint {path.name}; make one with python -m experiments.pretrain, "
            "or see data/README.md for those of the book"
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path.name} is not a safetensors file: {error}") from error
    if "config" not in metadata:
        raise ValueError(f"{path.name} holds no configuration; it is no checkpoint")
    model = Model(ModelConfig.from_dict(json.loads(metadata["config"]), path.name))
    weights = {k[6:]: v for k, v in tensors.items() if k.startswith("model.")}
    if model.config.tie_word_embeddings:
        weights["head.weight"] = weights["embed.weight"]
    model.load_state_dict(weights)
    optimizer = optimizer_for(model) if optimizer_for else None
    state: State = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            weight, quantity = key.removeprefix("optimizer.").rsplit(".", 1)
            state.setdefault(weight, {})[quantity] = value
    if optimizer is not None and state:
        load_state(model, optimizer, state)
    return model, optimizer, json.loads(metadata.get("notes", "{}"))
