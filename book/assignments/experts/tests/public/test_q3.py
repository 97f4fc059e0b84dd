import torch
from helpers import draws, normal, watched

from coursekit.testing import close, points


def expected(x, weights, indices, up):
    """Every expert on every token, one by one."""
    y = torch.zeros_like(x)
    for t, row in enumerate(indices.tolist()):
        for slot, e in enumerate(row):
            if e >= 0:
                y[t] += weights[t, slot] * (x[t] @ up[e]).relu()
    return y


@points(3)
def test_q3_it_is_the_sum_one_by_one(student, gen):
    """Thirty tokens, six experts, three of them for each token."""
    x, weights = normal(gen, 30, 5), normal(gen, 30, 3)
    indices, up = draws(gen, 30, 6, 3), normal(gen, 6, 5, 5)
    y = watched(student, x, weights, indices, up)[0]
    right = expected(x, weights, indices, up)
    close(
        y,
        right,
        "the mixture (which token and which slot does a row of an expert belong to?)",
    )


@points(3)
def test_q3_each_expert_is_called_once_or_not_at_all(student, gen):
    """Experts 2 and 5 have no token; the others see their own tokens, in order."""
    x, weights = normal(gen, 20, 5), normal(gen, 20, 2)
    names, up = torch.tensor([0, 1, 3, 4]), normal(gen, 6, 5, 5)
    indices = names[draws(gen, 20, 4, 2)]
    y, calls, seen = watched(student, x, weights, indices, up)
    close(y, expected(x, weights, indices, up), "the mixture")
    close(
        sorted(calls),
        sorted(set(indices.flatten().tolist())),
        "the experts that were called (each that has a token, once)",
    )
    for e, rows in zip(calls, seen, strict=True):
        own = x[(indices == e).any(1)]
        close(rows, own, f"the rows that expert {e} was given (its tokens, in order)")
