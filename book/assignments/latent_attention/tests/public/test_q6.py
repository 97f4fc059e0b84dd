import torch
from helpers import double, draw, layer_of, normal

from coursekit.testing import close, points


def rotary_scores(student, x, w, start):
    """The part of the scores that knows of positions, [b, h, s, t]."""
    q_nope, q_rope = student.ask(x, w, start)
    latent, k_rope = student.remember(x, w, start)
    double(q_rope, [2, 7, 3, 6], "q_rope")
    double(k_rope, [2, 7, 6], "k_rope")
    return q_nope, latent, torch.einsum("bshr,btr->bhst", q_rope, k_rope)


@points(3, read=('chapter 05, "With a cache"; handout, question 6'))
def test_q6_what_is_remembered_does_not_depend_on_the_pieces(student, gen):
    """A row that is read in pieces remembers what it does when read in one go."""
    w, x, start = layer_of(gen), normal(gen, 2, 7, 10), torch.tensor([0, 11])
    whole = student.remember(x, w, start)
    close(list(whole[1].shape), [2, 7, 6], "the shape of k_rope")
    pieces, done = [], 0
    for size in (3, 1, 3):
        piece = x[:, done : done + size]
        pieces.append(student.remember(piece, w, start + done))
        done += size
    for place, name in enumerate(("latent", "k_rope")):
        close(
            torch.cat([piece[place] for piece in pieces], dim=1),
            whole[place],
            f"{name}, read in pieces of 3, 1 and 3 (does a piece begin at the position "
            "that start says?)",
        )
    alone = student.remember(x[1:], w, start[1:])[1]
    close(whole[1][1:], alone, "k_rope of a row, beside one that starts elsewhere")
    moved = student.remember(x, w, start + 1)[1]
    assert not torch.allclose(moved, whole[1]), (
        "k_rope is the same wherever the row starts: it has to turn"
    )


@points(3, read='chapter 05, "Positions do not fit in"; handout, question 6')
def test_q6_scores_depend_on_differences_alone(student, gen):
    """A text that stands elsewhere has the same scores."""
    w, x = layer_of(gen), normal(gen, 2, 7, 10)
    start = torch.tensor([0, 4])
    q_nope, latent, scores = rotary_scores(student, x, w, start)
    start = start + draw(gen, 5, 30)
    later_q, later_latent, later = rotary_scores(student, x, w, start)
    close(later_q, q_nope, "q_nope of the same text, moved (this part must not turn)")
    close(later_latent, latent, "the latent of the same text, moved (it must not turn)")
    close(
        later,
        scores,
        "rotary scores of the same text, moved (turning is the last thing that happens "
        "to a query and to a key: is anything done to one of them afterwards?)",
    )
    q_rope = student.ask(x, w, start + 1)[1]
    alone = student.ask(x[1:], w, start[1:] + 1)[1]
    close(q_rope[1:], alone, "q_rope of a row, beside one that starts elsewhere")
    k_rope = student.remember(x, w, start)[1]
    apart = torch.einsum("bshr,btr->bhst", q_rope, k_rope)
    assert not torch.allclose(apart, later), (
        "the scores stay the same if the queries alone are moved: positions are lost"
    )
