"""What many runs begin with alike is computed once: the same function of the same.

A call is told from others by all that it is given: the weights of a model, the numbers
of a tensor, the state of a generator, the text of anything else. What it leaves, its
result and the generator's state, is then what computing it again would leave.
"""

import hashlib
from collections.abc import Callable
from functools import wraps

import torch

from r1.model.transformer import Model


def told(x: object) -> object:
    """All that a result may depend on, as something that can be compared."""
    if isinstance(x, Model):
        weights = hashlib.sha256()
        for name, tensor in x.state_dict().items():
            weights.update(f"{name}{told(tensor)}".encode())
        return weights.hexdigest(), repr(x.config), x.training
    if isinstance(x, torch.Tensor):
        numbers = x.detach().contiguous().numpy().tobytes()
        return str(x.dtype), tuple(x.shape), hashlib.sha256(numbers).hexdigest()
    if isinstance(x, torch.Generator):
        return told(x.get_state())
    if isinstance(x, tuple | list):
        return type(x).__qualname__, *map(told, x)
    return f"{type(x).__qualname__} {x!r}"


def once(function: Callable) -> Callable:
    """The function, which computes nothing twice, except what has a gradient."""
    known: dict[object, tuple] = {}

    @wraps(function)
    def call(*given, **named):
        key = torch.is_grad_enabled(), told([*given, *named.items()])
        everything = (*given, *named.values())
        generators = [x for x in everything if isinstance(x, torch.Generator)]
        if key not in known:
            result = function(*given, **named)
            if getattr(result, "requires_grad", False):
                return result
            known[key] = result, [g.get_state() for g in generators]
        result, states = known[key]
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        return result

    return call
