import torch
from helpers import normal, wide

from coursekit.testing import close, points


def logit(p):
    return torch.log(p / (1 - p))


def wrong_weights(s, bias, chosen):
    """What known mistakes make of the weights of the chosen."""
    biased = (s + bias)[:, chosen]
    return {
        "the bias is in the weights": biased / biased.sum(),
        "they are a softmax of the logits": logit(s)[:, chosen].softmax(1),
    }


@points(3, read='handout, question 1, "A node counts for the sum"')
def test_q1_nodes_are_rated_by_as_many_as_they_may_give(student):
    """Eight experts on two nodes: one node, or two, three experts, or two."""
    s = wide([[0.9, 0.8, 0.1, 0.2, 0.6, 0.7, 0.5, 0.3]])
    bias = wide([0.0, -0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    three = (
        "three have to come from one node: 0.9 + 0.65 + 0.2 in node 0, "
        "0.7 + 0.6 + 0.5 in node 1"
    )
    rated = "nodes are rated by two experts each, or without the bias"
    for k, most, chosen, why, wrong in [
        (3, 1, [5, 4, 6], three, {rated: [0, 1, 3], "no node is dropped": [0, 5, 1]}),
        (3, 2, [0, 5, 1], "both nodes are kept", {}),
        (
            1,
            1,
            [0],
            "one expert: a node counts for its best one",
            {"a node counts for more than its best one": [5]},
        ),
    ]:
        weights, indices = student.route(logit(s), bias, k, 2, most)
        what = f"k = {k}, at most {most} of 2 nodes ({why})"
        close(
            indices,
            torch.tensor([chosen]),
            f"indices, {what}",
            mistakes={words: torch.tensor([row]) for words, row in wrong.items()}
            | {
                "the chosen stand in the order of their numbers": torch.tensor(
                    [sorted(chosen)]
                )
            },
        )
        right = s[:, chosen] / s[:, chosen].sum()
        close(
            weights, right, f"weights, {what}", mistakes=wrong_weights(s, bias, chosen)
        )


@points(3, read='chapter 04, "A bias that only chooses: auxiliary-loss-free balancing"')
def test_q1_a_bias_that_changes_no_choice_changes_no_weight(student, gen):
    """The same bias for all leaves everything as it is, even if it is far below 0."""
    logits = normal(gen, 30, 12)
    s = logits.sigmoid()
    right = s.topk(4).indices
    for shift in (0.0, 5.0, -5.0):
        bias = torch.full((12,), shift).double()
        weights, indices = student.route(logits, bias, 4, 3, 3, 2.5)
        what = f"a bias of {shift} for all experts, all nodes kept"
        close(indices, right, f"indices, {what}")
        chosen = s.gather(1, right)
        share = chosen / chosen.sum(1, keepdim=True)
        biased = chosen + shift
        close(
            weights,
            2.5 * share,
            f"weights, {what} (2.5 times shares of the affinity alone)",
            mistakes={
                "the scale is left out": share,
                "the bias is in the weights": (
                    2.5 * biased / biased.sum(1, keepdim=True)
                ),
                "they are a softmax of the logits": (
                    2.5 * logits.gather(1, right).softmax(1)
                ),
            },
        )
