import torch
from helpers import scores_of

from coursekit.testing import close, gradient, largest, points


@points(1, read='chapter 04, "A bias that only chooses: auxiliary-loss-free balancing"')
def test_q1_the_bias_leaves_the_weights_alone(student, gen):
    """A bias that changes no choice changes no weight."""
    scores = scores_of(gen)
    weights, indices = student.route(scores, torch.full((8,), 3.0), 2)
    right = scores.gather(-1, scores.topk(2).indices)
    biased = right + 3
    close(indices, scores.topk(2).indices, "indices")
    close(
        weights,
        right / right.sum(-1, keepdim=True),
        "weights",
        mistakes={
            "the bias is in the weights": biased / biased.sum(-1, keepdim=True),
            "the weights of a token do not sum to one": right,
        },
    )


@points(
    1,
    read=(
        'chapter 04, "A bias that only chooses: auxiliary-loss-free balancing"; '
        'chapter 03, "The mathematics", "Where a gradient flows"'
    ),
)
def test_q1_gradients_reach_scores_only(student, gen):
    """The weights have gradients by the scores, none by the bias, and little memory."""
    scores, bias = scores_of(gen, 64), torch.rand(8, generator=gen)
    (weights, _), made = largest(student.route, scores, bias, 2)
    close(weights.sum(-1), torch.ones(64), "the sum of a token's weights")
    assert made <= 64 * 8, f"a tensor of {made} numbers: none needs more than 512"
    found = gradient(student.route, scores, bias, 2, cotangent=weights)
    assert found.inputs[0] is not None, "no gradient reaches the scores"
    assert found.inputs[1] is None or not found.inputs[1].any(), (
        "the bias has a gradient: it must only choose"
    )
