import torch
from helpers import draws, layer_of, normal, number, swiglu

from coursekit.testing import close, points


@points(3, read=('chapter 03, "The mathematics"; handout, question 4'))
def test_q4_gates_are_shares_of_the_chosen(student, gen):
    """The gates of a token sum to 1, whatever the others that were not chosen have."""
    w, x = layer_of(gen), normal(gen, 20, 5)
    found = student.gate(x, w, torch.zeros(6).double(), 2)
    gates = number(found[0], [20, 2], "gates", torch.float64)
    close(
        gates.sum(1),
        torch.ones(20).double(),
        "the sum of a token's gates (of which experts is it a share?)",
    )


@points(3, read='chapter 03, "The experts, three times"')
def test_q4_outputs_come_back_to_their_tokens(student, gen):
    """With scale 1 and a shared expert that gives 0, the layer equals a plain loop."""
    w, x, gates = layer_of(gen), normal(gen, 20, 5), normal(gen, 20, 3)
    w["shared"] = tuple(0 * matrix for matrix in w["shared"])
    indices = draws(gen, 20, 6, 3)
    right = torch.zeros_like(x)
    for t, row in enumerate(indices.tolist()):
        for slot, e in enumerate(row):
            expert = w["w1"][e], w["w2"][e], w["w3"][e]
            right[t] += gates[t, slot] * swiglu(x[t], *expert)
    close(
        student.layer(x, gates, indices, w, 1.0),
        right,
        "layer, the routed experts (the rows were sorted by expert; follow one token: "
        "where is its row now, and how does it return to its place?)",
    )


@points(3, read='handout, question 4, "padding not counted"')
def test_q4_padding_is_no_load(student, gen):
    """Where every gate is 1, the load counts the tokens that are not padding."""
    real = torch.arange(20) % 3 > 0
    indices, gates = draws(gen, 20, 5, 2), torch.ones(20, 2).double()
    found = student.count_load(gates, indices, real, 5)
    load = number(found, [5], "load")
    right = torch.bincount(indices[real].flatten(), minlength=5).double()
    close(load, right, "the load of a batch with padding (real is False there)")
