"""Values as bytes, and back: JSON for the shape of a value, safetensors for tensors.

Nothing read here can run code. Whatever cannot be read as a plain value is Garbage,
so a reply is either made of numbers, strings, lists and tensors, or it is refused.
"""

import base64
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

LIMIT = 64 * 2**20  # bytes of an encoded value
LENGTH = struct.Struct("<I")
PLAIN = (bool, int, float, str)
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype)
}
DATA = (*PLAIN, type(None), bytes, list, tuple, set, Mapping)
DATA += (torch.Tensor, torch.dtype, np.generic, np.ndarray)
Other = Callable[[Any], tuple[str, Any] | None]  # (name, data), or None for data


class Unsendable(TypeError):
    """A value that is neither plain data nor something with a name for it."""


class Garbage(ValueError):
    """Bytes that no `encode` has made."""


def _no_other(value: Any) -> None:
    return None


class _Encoder:
    def __init__(self, other: Other):
        self.other = other
        self.tensors: dict[str, torch.Tensor] = {}

    def tensor(self, value: torch.Tensor) -> str:
        key = str(len(self.tensors))
        plain = value.detach().cpu().to_dense() if value.is_sparse else value.detach()
        # a copy of its own, since safetensors refuses memory that two tensors share
        self.tensors[key] = plain.cpu().contiguous().clone()
        return key

    def items(self, values) -> list:
        return [self.tree(value) for value in values]

    def tree(self, value: Any) -> Any:
        named = self.other(value)
        if named is not None:
            return {"is": named[0], "of": self.tree(named[1])}
        if value is None:
            return None
        for kind in PLAIN:
            if isinstance(value, kind):
                return value if type(value) is kind else kind(value)
        if isinstance(value, torch.Tensor):
            return {"is": "tensor", "of": self.tensor(value)}
        if isinstance(value, np.generic):
            return self.tree(value.item())
        if isinstance(value, np.ndarray):
            return {"is": "array", "of": self.tensor(torch.from_numpy(value.copy()))}
        if isinstance(value, torch.dtype):
            return {"is": "dtype", "of": str(value).removeprefix("torch.")}
        if isinstance(value, bytes):
            return {"is": "bytes", "of": base64.b64encode(value).decode()}
        if isinstance(value, Mapping):
            pairs = [[self.tree(k), self.tree(v)] for k, v in value.items()]
            return {"is": "dict", "of": pairs}
        for kind in (list, tuple, set):
            if isinstance(value, kind):
                return {"is": kind.__name__, "of": self.items(value)}
        raise Unsendable(f"a {type(value).__name__} is no number, text, list or tensor")


def encode(value: Any, other: Other = _no_other) -> bytes:
    """The bytes of a value; `other` may give (name, data) for what is no data itself.

    Raises Unsendable for other objects and for more than LIMIT bytes.
    """
    encoder = _Encoder(other)
    try:
        head = json.dumps(encoder.tree(value)).encode()
        body = save(encoder.tensors)
    except RecursionError:
        raise Unsendable("a value that holds itself, or is nested too deep") from None
    except (ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise Unsendable(f"it cannot be sent: {error}") from error
    size = LENGTH.size + len(head) + len(body)
    if size > LIMIT:
        raise Unsendable(f"{size} bytes are too many; at most {LIMIT} can be sent")
    return LENGTH.pack(len(head)) + head + body


class _Decoder:
    def __init__(self, tensors: dict[str, torch.Tensor], other: Mapping[str, Callable]):
        self.tensors = tensors
        self.kinds = {
            "tensor": self.tensors.__getitem__,
            "array": lambda key: self.tensors[key].numpy(),
            "dtype": DTYPES.__getitem__,
            "bytes": lambda text: base64.b64decode(text, validate=True),
            "dict": lambda pairs: {self.tree(k): self.tree(v) for k, v in pairs},
            "list": self.items,
            "tuple": lambda values: tuple(self.items(values)),
            "set": lambda values: set(self.items(values)),
        }
        for name, make in other.items():
            self.kinds[name] = lambda of, make=make: make(self.tree(of))

    def items(self, values: list) -> list:
        return [self.tree(value) for value in values]

    def tree(self, node: Any) -> Any:
        if node is None or isinstance(node, PLAIN):
            return node
        return self.kinds[node["is"]](node["of"])


def decode(data: bytes, other: Mapping[str, Callable] | None = None) -> Any:
    """The value of bytes; `other` makes what `encode`'s `other` has named.

    Raises Garbage for anything that `encode` has not made.
    """
    try:
        (length,) = LENGTH.unpack_from(data)
        start = LENGTH.size + length
        if start > len(data):
            raise Garbage(f"a head of {length} bytes in {len(data)}")
        head = json.loads(data[LENGTH.size : start])
        return _Decoder(load(bytes(data[start:])), other or {}).tree(head)
    except (
        *(ValueError, TypeError, KeyError, IndexError, AttributeError),
        *(RecursionError, RuntimeError, struct.error, SafetensorError),
    ) as error:
        raise Garbage(f"not a value: {type(error).__name__}: {error}") from error
