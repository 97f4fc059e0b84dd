import torch
from helpers import scores_of

from coursekit.testing import close, points


@points(1, read='chapter 03, "By hand: three tokens, four experts"')
def test_q1_without_bias_the_highest_scores_win(student, gen):
    """Without a bias the k highest scores are chosen, the highest first."""
    scores = scores_of(gen)
    weights, indices = student.route(scores, torch.zeros(8), 2)
    close(indices, scores.topk(2).indices, "indices")
    close(weights.sum(-1), torch.ones(6), "the sum of a token's weights")


@points(1, read='chapter 04, "A bias that only chooses: auxiliary-loss-free balancing"')
def test_q1_the_bias_chooses(student, gen):
    """A large bias brings its expert into every token's choice."""
    scores, bias = scores_of(gen), torch.zeros(8)
    bias[3] = 10
    _, indices = student.route(scores, bias, 2)
    assert (indices == 3).any(-1).all(), (
        "expert 3 has a bias of 10 and is not chosen: add the bias before choosing"
    )
