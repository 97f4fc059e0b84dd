import torch
from helpers import draws, normal, planted, watched

from coursekit.testing import close, gradient, points

MIXED = """
experts = [lambda rows, n=n: (rows @ up[n]).relu() for n in range(len(up))]
return mixture(x, weights, indices, experts)
"""


def expected(x, weights, indices, up):
    """Every expert on every token, and a table of gates."""
    slots = indices % (len(up) + 1)
    gates = x.new_zeros(len(x), len(up) + 1).scatter(1, slots, weights)[:, :-1]
    return torch.einsum("te,ted->td", gates, torch.einsum("td,edf->tef", x, up).relu())


@points(2, read='handout, question 3, "a token may have no expert at all"')
def test_q3_slots_that_are_left_out(student, gen):
    """-1 stands for no expert: not the last one, and a token may have none."""
    x, weights = normal(gen, 40, 5), normal(gen, 40, 3)
    indices, up = draws(gen, 40, 5, 3), normal(gen, 5, 5, 5)
    out = torch.rand(40, 3, generator=gen) < 0.4
    out[:4] = True
    # scatter keeps one of several -1 in a row: give them all the weight 0
    indices = indices.masked_fill(out, -1)
    y, calls, seen = watched(student, x, weights, indices, up)
    right = expected(x, weights.masked_fill(out, 0.0), indices, up)
    close(y, right, "the mixture with slots of -1 (-1 is also the index of the last)")
    own = sum(len(rows) for rows in seen)
    close(own, int((~out).sum()), "rows in all calls (one for each slot that counts)")
    none = torch.full((40, 3), -1)
    y, calls, seen = watched(student, x, weights, none, up)
    close(y, torch.zeros_like(x), "the mixture of tokens without any expert")
    close(len(calls), 0, "calls for tokens without any expert")


@points(2, read='chapter 03, "The mathematics", "Where a gradient flows"')
def test_q3_gradients_reach_tokens_gates_and_experts(student, gen):
    """The layer trains: the gradients of x, weights and the experts' matrices."""
    x, weights = normal(gen, 20, 5), normal(gen, 20, 2)
    indices, up = draws(gen, 20, 6, 2) % 6, normal(gen, 6, 5, 5)
    slope = normal(gen, 20, 5)
    function = planted(student, MIXED, "x, weights, up, indices")
    found = gradient(function, x, weights, up, indices, cotangent=slope)
    leaves = [a.clone().requires_grad_() for a in (x, weights, up)]
    right = expected(*leaves[:2], indices, leaves[2])
    close(found.value, right.detach(), "the mixture")
    right.backward(slope)
    names = "x", "weights", "the experts"
    for name, a, leaf in zip(names, found.inputs[:3], leaves, strict=True):
        assert a is not None, f"no gradient reaches {name} (detach, no_grad, .data?)"
        close(a, leaf.grad, f"the gradient of {name}")


@points(2, read='handout, question 3, "terms are weighed and added"')
def test_q3_small_terms_are_not_lost(student):
    """Tokens in bfloat16, gates in float32: a sum of 1 and seven small numbers."""
    x = torch.ones(2, 4, dtype=torch.bfloat16)
    weights = torch.full((2, 8), 2.0**-9)
    weights[:, 0] = 1.0
    indices = torch.stack([torch.arange(8), torch.arange(8).flip(0)])
    up = torch.eye(4).expand(8, 4, 4).contiguous()
    y = watched(student, x, weights, indices, up)[0]
    right = torch.full((2, 4), 1 + 7 * 2.0**-9).bfloat16()
    close(
        y,
        right,
        "the mixture in bfloat16 (1 + 2**-9 rounds to 1 there: add up in the type of "
        "the gates, then round once)",
        rtol=1e-3,
    )
    assert y.dtype == torch.bfloat16, "the result is not of the type of x"
