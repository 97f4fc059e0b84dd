"""What several tests of this assignment use."""

import torch

from coursekit.testing import run


def tables(gen, *shape):
    """Distributions over the last axis, none like another."""
    rows = torch.rand(*shape, generator=gen, dtype=torch.float64) ** 2 + 0.02
    return rows / rows.sum(-1, keepdim=True)


def wide(numbers):
    """A tensor of float64."""
    return torch.tensor(numbers, dtype=torch.float64)


def planted(student, body, arguments="drafts, q, p, u"):
    """A function among the notebook's names, made of these lines."""
    lines = ["import torch", f"def planted({arguments}):"]
    lines += [f"    {line}" for line in body.strip().splitlines()]
    # what these need is written anew: a name of the notebook may have changed
    draw = [
        "def draw(weights, u):",
        "    up_to = weights.cumsum(-1)",
        "    return (up_to <= u[:, None] * up_to[:, -1:]).sum(-1)",
    ]
    inside = [*lines[:2], *(f"    {line}" for line in draw), *lines[2:]]
    return run(student, "\n".join([*inside, "result = planted"]))


def judged(student, body):
    """What the notebook says of a rule: True, False or something else."""
    return student.is_lossless(planted(student, body))
