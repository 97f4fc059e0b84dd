"""What several tests of this assignment use."""

import torch

from coursekit.testing import run


def wide(numbers):
    """A tensor of float64."""
    return torch.tensor(numbers, dtype=torch.float64)


def normal(gen, *shape):
    """Normal numbers in float64."""
    return torch.randn(*shape, generator=gen, dtype=torch.float64)


def draws(gen, tokens, experts, k):
    """For each token k different experts in any order, [tokens, k]."""
    return torch.rand(tokens, experts, generator=gen).argsort(1)[:, :k]


def number(value, shape, what, least=torch.float32):
    """A tensor of this shape, in float64, of whole numbers or of `least` or finer."""
    assert isinstance(value, torch.Tensor), f"{what}: expected a tensor"
    assert list(value.shape) == shape, (
        f"{what}: expected shape {shape}, got {list(value.shape)}"
    )
    floats = value.is_floating_point()
    assert not floats or torch.finfo(value.dtype).eps <= torch.finfo(least).eps, (
        f"{what}: expected {least}, got {value.dtype}, which has fewer digits (keep "
        "the type of the numbers that the function is given)"
    )
    return value.double()


def planted(student, body, arguments):
    """A function among the notebook's names, made of these lines."""
    lines = ["import torch", f"def planted({arguments}):"]
    lines += [f"    {line}" for line in body.strip().splitlines()]
    return run(student, "\n".join([*lines, "result = planted"]))


WATCHED = """
calls, seen = [], []
def one(number):
    def expert(rows):
        calls.append(number)
        seen.append(rows.detach().clone())
        return (rows @ up[number].to(rows.dtype)).relu()
    return expert
y = mixture(x, weights, indices, [one(n) for n in range(len(up))])
return y, calls, seen
"""


def watched(student, x, weights, indices, up):
    """The mixture's output, which experts it called, and with which rows.

    Expert n computes relu(x @ up[n]); up is [e, d, d].
    """
    function = planted(student, WATCHED, "x, weights, indices, up")
    return function(x, weights, indices, up)


def layer_of(gen, experts=6, dim=5, inter=7):
    """Weights of the layer of question 4."""
    w = {"centroids": normal(gen, experts, dim)}
    w |= {
        "w1": normal(gen, experts, inter, dim),
        "w3": normal(gen, experts, inter, dim),
    }
    w["w2"] = normal(gen, experts, dim, inter)
    shared = normal(gen, 4, dim), normal(gen, dim, 4), normal(gen, 4, dim)
    return w | {"shared": shared}


def swiglu(x, w1, w2, w3):
    """One expert: [n, d] -> [n, d]."""
    return (torch.nn.functional.silu(x @ w1.T) * (x @ w3.T)) @ w2.T
