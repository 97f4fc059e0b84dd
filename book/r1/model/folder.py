"""A folder as it is downloaded from Hugging Face, read one tensor at a time."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from r1.model.config import ModelConfig
from r1.model.fp8 import dequantize
from r1.model.weight_names import hugging_face_names

INDEX = "model.safetensors.index.json"
SCALES = "_scale_inv"  # behind the name of a matrix of eight bits: its scales
EIGHT_BITS = "F8_E4M3"
FLOATS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, EIGHT_BITS: 1}
ANGLES = "rotary_emb.inv_freq"  # a table in old files, which is computed here
IMAGES = ("vision_tower.", "mm_projector.")  # the part that sees
COPIES = ("embed_tokens.weight", "shared_head.head.weight")  # in an MTP layer
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
ROWS = 4096  # of a matrix that is looked at in pieces


class FolderError(ValueError):
    """A folder that holds no model of the family; the message names file and tensor."""


class Stored(NamedTuple):
    """Where a tensor lies, its shape, and safetensors' name of its type."""

    file: str
    key: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def numbers(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


class Folder:
    """A folder with `config.json` and safetensors: names and shapes at once, numbers
    when they are asked for.

    `config` has MTP modules only where the files hold them. Files are mapped into
    memory, so that a tensor costs nothing before it is read.

    Raises FolderError for a folder that is not whole, naming what is missing, and
    ConfigError for a model of another family.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        data = _read_json(self.path / "config.json")
        self.config = ModelConfig.from_dict(data, "config.json")
        self.head = EMBED if self.config.tie_word_embeddings else HEAD
        self.tile = _tile(data)
        self._open: dict[str, Any] = {}
        self.tensors = {s.key.removeprefix("language_model."): s for s in self._list()}
        layer = f"model.layers.{self.config.n_layers}."
        if not any(name.startswith(layer) for name in self.tensors):
            self.config = replace(self.config, num_nextn_predict_layers=0)

    def _list(self) -> Iterator[Stored]:
        for file in _shards(self.path):
            try:
                opened = self._opened(file)
            except (SafetensorError, OSError) as error:
                raise FolderError(
                    f"{file} is not whole ({error}); download it again"
                ) from error
            for key in opened.keys():  # noqa: SIM118 (it is no dictionary)
                part = opened.get_slice(key)
                yield Stored(file, key, tuple(part.get_shape()), part.get_dtype())

    def _opened(self, file: str) -> Any:
        if file not in self._open:
            self._open[file] = safe_open(self.path / file, "pt")
        return self._open[file]

    def close(self) -> None:
        """Let go of the files' pages; what is read next opens its file again."""
        self._open.clear()

    def check(self, model: nn.Module) -> None:
        """Compare with the names and shapes of a model, which may be on "meta".

        Raises FolderError for the first tensor that is missing, has another shape or
        type, or is unknown.
        """
        wanted = {}
        for name, tensor in model.state_dict().items():
            for theirs, shape in parts_of(name, tensor.shape, self.config.n_layers):
                wanted[theirs] = shape
        if self.config.tie_word_embeddings:
            wanted.pop(HEAD)
        for name, shape in wanted.items():
            self._check_tensor(name, shape)
        for name in sorted(set(self.tensors) - set(wanted)):
            if not self._is_known(name, wanted):
                raise FolderError(
                    f"{self.tensors[name].file} holds {name}, which no model of "
                    "config.json has; is it the folder of another model?"
                )

    def _check_tensor(self, name: str, shape: tuple[int, ...]) -> None:
        if name not in self.tensors:
            raise FolderError(f"no file of {self.path.name} holds {name}")
        stored = self.tensors[name]
        if stored.shape != shape:
            raise FolderError(
                f"{stored.file}: {name} has the shape {stored.shape}; "
                f"by config.json it has {shape}"
            )
        if stored.dtype not in FLOATS:
            raise FolderError(
                f"{stored.file}: {name} is {stored.dtype}; read are {', '.join(FLOATS)}"
            )
        if stored.dtype == EIGHT_BITS:
            scales, tiles = self.tensors.get(name + SCALES), tiles_of(shape, self.tile)
            if scales is None or scales.shape != tiles:
                found = "missing" if scales is None else f"of shape {scales.shape}"
                raise FolderError(
                    f"{stored.file}: {name} has eight bits, and its scales "
                    f"({name + SCALES}) are {found}; there must be {tiles}"
                )

    def _is_known(self, name: str, wanted: dict[str, Any]) -> bool:
        if name.endswith(ANGLES) or name.startswith(IMAGES):
            return True
        if name.removesuffix(SCALES) in wanted:
            return True
        if name == HEAD:
            return self.config.tie_word_embeddings
        first = self.config.n_layers
        return any(
            name == f"model.layers.{first + k}.{copy}"
            for k in range(self.config.num_nextn_predict_layers)
            for copy in COPIES
        )

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """A tensor by its name in the files, which it may still share with the file."""
        stored = self.tensors[name]
        tensor = self._opened(stored.file).get_tensor(stored.key)
        if stored.dtype == EIGHT_BITS:
            scales = self.tensors[name + SCALES]
            found = self._opened(scales.file).get_tensor(scales.key).float()
            tensor = dequantize(tensor, found, self.tile)
        if self._turns_by_halves(name):
            tensor = _interleave(tensor, self.config.qk_rope_head_dim)
        return tensor.to(dtype)

    def read_rows(self, name: str, rows: slice, dtype: torch.dtype) -> Tensor:
        """Some rows of a matrix; see `read`."""
        stored = self.tensors[name]
        if stored.dtype == EIGHT_BITS:  # scales are of blocks of rows
            return self.read(name, dtype)[rows]
        part = self._opened(stored.file).get_slice(stored.key)
        return part[rows.start : rows.stop].to(dtype)

    def _turns_by_halves(self, name: str) -> bool:
        plain = not self.config.kv_lora_rank
        return plain and name.endswith(("q_proj.weight", "k_proj.weight"))

    def state(
        self,
        module: nn.Module,
        prefix: str,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        copy: bool = False,
        seen: Callable[[int], Any] = lambda numbers: None,
    ) -> dict[str, Tensor]:
        """The weights of a part of a model, whose names there begin with `prefix`.

        A routing bias keeps at least float32. Without `copy` what has the type of the
        files stays in them, and is read when it is used. `seen` is told how many
        numbers were read.
        """
        found = {}
        for name, like in module.state_dict().items():
            whole = torch.promote_types(dtype, torch.float32)
            kind = whole if name.endswith("gate.bias") else dtype
            names = parts_of(prefix + name, like.shape, self.config.n_layers)
            if len(names) == 1:
                found[name] = self.read(names[0][0], kind).to(device, copy=copy)
            else:
                # The matrices of the experts come one by one into one tensor.
                found[name] = torch.empty(like.shape, dtype=kind, device=device)
                for number, (theirs, _) in enumerate(names):
                    found[name][number] = self.read(theirs, kind)
            seen(like.numel())
        return found

    def check_copies(self) -> None:
        """Raise FolderError where an MTP layer's embedding or head is another one."""
        for k in range(self.config.num_nextn_predict_layers):
            for copy, main in zip(COPIES, (EMBED, self.head), strict=True):
                name = f"model.layers.{self.config.n_layers + k}.{copy}"
                if name in self.tensors and not self._same(name, main):
                    raise FolderError(
                        f"{name} is not {main}; a model of the book shares them"
                    )

    def _same(self, one: str, other: str) -> bool:
        if self.tensors[one].shape != self.tensors[other].shape:
            return False
        starts = range(0, self.config.vocab_size, ROWS)
        pieces = (slice(start, start + ROWS) for start in starts)
        return all(
            torch.equal(
                *(self.read_rows(n, piece, torch.float32) for n in (one, other))
            )
            for piece in pieces
        )


def parts_of(name: str, shape: torch.Size, n_layers: int) -> list[tuple[str, tuple]]:
    """The tensors of the files that make a tensor of ours, with their shapes."""
    theirs = hugging_face_names(name, n_layers)
    if "{}" not in theirs:
        return [(theirs, tuple(shape))]
    return [(theirs.format(number), tuple(shape[1:])) for number in range(shape[0])]


def _interleave(weight: Tensor, width: int) -> Tensor:
    """Rows of heads whose halves turn together, as rows whose neighbors do.

    The files of attention without a latent pair feature i with i + width / 2, as Llama
    does; here pairs are neighbors. Queries and keys change places alike, so that their
    products stay.
    """
    halves = weight.unflatten(0, (-1, 2, width // 2))
    return halves.transpose(1, 2).flatten(0, 2)


def tiles_of(shape: tuple[int, ...], tile: tuple[int, int]) -> tuple[int, ...]:
    """How many scales a matrix has down and across; the last blocks may be partial."""
    return tuple(-(-width // size) for width, size in zip(shape, tile, strict=False))


def _tile(data: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns of a scale, by `quantization_config`."""
    text = data.get("text_config")
    inner = text.get("quantization_config") if isinstance(text, dict) else None
    found = data.get("quantization_config") or inner or {}
    method = found.get("quant_method", "fp8")
    if method != "fp8":
        raise FolderError(
            f"config.json has quant_method={method!r}; weights in BF16 and in blocks "
            "of eight bits (fp8) are read, so take the model's BF16 files"
        )
    block = found.get("weight_block_size") or [128, 128]
    if len(block) != 2 or not all(type(n) is int and n > 0 for n in block):
        raise FolderError(
            f"config.json has weight_block_size={block!r}; it is [128, 128]"
        )
    return tuple(block)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise FolderError(
            f"{path.parent} has no {path.name}; give the folder that was downloaded"
        ) from error
    except (ValueError, OSError) as error:
        raise FolderError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise FolderError(f"{path} holds no object with named fields")
    return data


def _shards(path: Path) -> list[str]:
    """The files of the index, or all there are; every one of them is there."""
    if not (path / INDEX).exists():
        found = sorted(p.name for p in path.glob("*.safetensors"))
        if not found:
            raise FolderError(f"{path} has no file *.safetensors")
        return found
    files = _read_json(path / INDEX).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise FolderError(f"{INDEX} has no weight_map")
    names = sorted({str(file) for file in files.values()})
    for name in names:
        if Path(name).name != name or not (path / name).is_file():
            count = sum(file == name for file in files.values())
            raise FolderError(
                f"{path} has no {name}, in which {INDEX} has {count} tensors; "
                "download it"
            )
    return names
