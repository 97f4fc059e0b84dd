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


def overwritten(x, weights, indices, up):
    """Of each token only what its last expert says: a mistake."""
    last = indices.max(1, keepdim=True).values
    return expected(x, weights.gather(1, indices.argmax(1, keepdim=True)), last, up)


@points(3, read='chapter 03, "The experts, three times"')
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
        mistakes={
            "all experts of a token have the weight of its first slot": lambda: (
                expected(x, weights[:, :1].expand(-1, 3), indices, up)
            ),
            "an expert overwrites what other experts gave for the same token": lambda: (
                overwritten(x, weights, indices, up)
            ),
        },
    )


@points(
    3,
    read=(
        'handout, question 3, "Each expert is called *once*"; '
        'chapter 03, "The experts, three times"'
    ),
)
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
