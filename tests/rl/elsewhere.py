"""A device that is not the CPU, without one: it computes on the CPU and says "lazy".

A tensor of this device holds its numbers in a tensor of the CPU. An operation that gets
tensors of both devices fails as it does on a GPU, with the same exceptions: copies,
row numbers on the CPU, and a single number of the CPU where others are computed with
it one by one. torch's FakeTensorMode finds the same mixes, but it makes no weights of a
GPU where torch is built without CUDA, and its tensors hold no numbers: what a step
computes next depends on the tokens that it has drawn.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("lazy")  # whose backward pass is computed without a GPU
aten = torch.ops.aten
COPIES = {aten._to_copy, aten.copy_, aten.lift_fresh, aten._local_scalar_dense}
ROWS = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class Elsewhere(torch.Tensor):
    """A tensor that says that it is on DEVICE; `held` has its numbers."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class Operations(TorchDispatchMode):
    """Within it, what an operation makes on DEVICE holds numbers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class Lists(TorchFunctionMode):
    """Within it, lists become tensors of DEVICE and these lists, by way of the CPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.tolist:
            return func(args[0].cpu())
        if func not in (torch.tensor, torch.as_tensor) or "device" not in kwargs:
            return func(*args, **kwargs)
        device = kwargs.pop("device")
        return func(*args, **kwargs, device="cpu").to(device)


@contextmanager
def other_device():
    """Within it there is a device of its own; a default device is set inside."""
    with Operations(), Lists():
        yield


def run(func, args, kwargs):
    """Compute on the CPU, after the check that the inputs are on one device."""
    device, packet = kwargs.get("device"), func._overloadpacket
    inputs: list[torch.Tensor] = []
    given = args
    args = change(given, lambda x: inputs.append(x) or getattr(x, "held", x))
    theirs = [x for x in inputs if isinstance(x, Elsewhere)]
    there = bool(theirs) if device is None else torch.device(device) == DEVICE
    if theirs and packet not in COPIES:
        ours = [x for x in inputs if not isinstance(x, Elsewhere)]
        if packet in ROWS and isinstance(given[0], Elsewhere):
            ours = [x for x in given[2:3] if not isinstance(x, Elsewhere) and x.ndim]
        if torch.Tag.pointwise in func.tags or packet is aten.masked_fill:
            ours = [x for x in ours if x.ndim]
        if ours:
            raise RuntimeError(f"{func}: tensors of the CPU and of {DEVICE}")
    generator = kwargs.get("generator")
    if generator is not None and there:
        raise RuntimeError(f"{func}: the generator is of the CPU, not of {DEVICE}")
    if packet is aten.copy_:
        there = isinstance(inputs[0], Elsewhere)
    if device is not None:
        kwargs["device"] = torch.device("cpu")
    result = func(*args, **kwargs)
    # A conjugate is a mark that a tensor of DEVICE does not have.
    return change(result, lambda x: Elsewhere(x.resolve_conj())) if there else result


def change(values, how):
    """Values with another tensor in the place of each, also in lists."""
    if isinstance(values, torch.Tensor):
        return how(values)
    if isinstance(values, (list, tuple)):
        return type(values)(change(x, how) for x in values)
    return values
