import torch
from helpers import draws, layer_of, normal, number, swiglu

from coursekit.testing import close, points


@points(3, read='chapter 04, "A bias that only chooses: auxiliary-loss-free balancing"')
def test_q4_the_bias_is_in_no_gate(student, gen):
    """Gates of one token are to each other as its affinities, whatever the bias is."""
    w, x = layer_of(gen), normal(gen, 20, 5)
    scores = torch.sigmoid(x @ w["centroids"].T)
    for bias in (0.4 * normal(gen, 6), torch.full((6,), 3.0).double()):
        found = student.gate(x, w, bias, 2)
        gates = number(found[0], [20, 2], "gates", torch.float64)
        indices = number(found[1], [20, 2], "indices").long()
        chosen = (scores + bias).topk(2).indices
        close(
            indices.sort(1).values,
            chosen.sort(1).values,
            "indices, sorted (those with the largest affinity plus bias)",
            mistakes={
                "the bias does not take part in the choice": (
                    scores.topk(2).indices.sort(1).values
                )
            },
        )
        own = scores.gather(1, indices)
        close(
            gates[:, 0] * own[:, 1],
            gates[:, 1] * own[:, 0],
            "first gate times second affinity, and the other way round (is the bias in "
            "the gates?)",
        )
        assert (gates > 0).all(), "gates have to be above 0: affinities are"


@points(3, read=('chapter 03, "A shared expert"; handout, question 4'))
def test_q4_the_shared_expert_counts_once(student, gen):
    """The shared expert is not scaled, the routed ones are."""
    w, x, gates = layer_of(gen), normal(gen, 20, 5), normal(gen, 20, 3)
    indices = draws(gen, 20, 6, 3)
    shared = swiglu(x, *w["shared"])
    close(
        student.layer(x, 0 * gates, indices, w, 2.5),
        shared,
        "the layer with gates of 0 (only the shared expert speaks, with weight 1)",
    )
    once = student.layer(x, gates, indices, w, 1.0)
    close(list(once.shape), [20, 5], "the shape of the layer's output")
    close(
        student.layer(x, gates, indices, w, 2.5) - shared,
        2.5 * (once - shared),
        "the routed part at a scale of 2.5 beside the one at 1",
    )


@points(3, read='chapter 04, "By hand: a load of ten"')
def test_q4_load_counts_tokens(student, gen):
    """Without padding the load is the number of tokens, however they are weighed."""
    indices, gates = draws(gen, 50, 7, 2), normal(gen, 50, 2).softmax(1)
    found = student.count_load(gates, indices, torch.ones(50).bool(), 7)
    load = number(found, [7], "load")
    right = torch.bincount(indices.flatten(), minlength=7).double()
    close(
        load,
        right,
        "the load (an expert has the same work for any gate)",
        mistakes={
            "gates are added up": torch.zeros(7)
            .double()
            .index_add(0, indices.flatten(), gates.flatten())
        },
    )
