import torch
from helpers import wide

from coursekit.testing import close, points


@points(2, read='handout, question 5, "`visit_chances` gives"')
def test_q5_chances_of_nodes_by_hand(student):
    """Two experts of six, on three nodes of two."""
    close(
        student.visit_chances(2, 3, 2),
        wide([0.0, 3 / 15, 12 / 15, 0.0]),
        "chances of 0, 1, 2, 3 nodes (of 15 pairs, 3 lie on one node)",
        mistakes={
            "the two experts may be the same one": wide([0.0, 1 / 3, 2 / 3, 0.0]),
            "pairs on one node count among those on two and three, too": (
                wide([0.0, 3 / 15, 18 / 15, 1.0])
            ),
        },
    )
    close(
        student.visit_chances(4, 3, 3),
        wide([0.0, 12 / 220, 144 / 220, 64 / 220]),
        "chances for three experts of twelve (of 220 triples, 64 lie on three nodes)",
    )


@points(
    2, read=('chapter 04, "Two processes"; handout, question 5, "`traffic` counts"')
)
def test_q5_a_vector_goes_once_to_a_node(student):
    """Four tokens, three nodes of two experts."""
    indices = torch.tensor([[0, 1, 2], [4, 5, -1], [3, 0, 4], [2, 3, 1]])
    found = student.traffic(indices, torch.tensor([0, 0, 2, 1]), 2, 3)
    right = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]])
    close(
        found,
        right,
        "sent [from, to] (two experts on one node need one vector; -1 needs none)",
        mistakes={
            "from and to are exchanged": right.T,
            "a vector goes to each expert, and not to each node": (
                torch.tensor([[2, 1, 2], [1, 2, 0], [1, 1, 1]])
            ),
            "expert e lies on node e % nodes": (
                torch.tensor([[1, 2, 2], [1, 1, 1], [1, 1, 0]])
            ),
            "a slot of -1 counts as expert 0": (
                torch.tensor([[2, 1, 1], [1, 1, 0], [1, 1, 1]])
            ),
        },
    )


@points(2, read='handout, question 5, "`communication_loss` is"')
def test_q5_uneven_nodes_cost_an_even_loss(student):
    """Scores that say nothing pay 1 wherever tokens go, if each goes to `most`."""
    flat = torch.full((4, 6), 0.5).double()
    on_one = torch.tensor([[0, 1]] * 4)
    close(
        student.communication_loss(flat, on_one, 3, 1),
        wide(1.0),
        "the loss of uniform scores, all tokens on node 0 (f is 3, 0, 0, P is 1/3)",
        mistakes={
            "f counts the experts on a node, and not the tokens": wide(2.0),
            "P is made of scores that are no shares": wide(3.0),
            "P is the mean over the experts of a node, and not their sum": wide(0.5),
        },
    )
    close(
        student.communication_loss(flat, on_one, 3, 2),
        wide(0.5),
        "the same where two nodes would have been allowed (f is divided by most)",
        mistakes={
            "f is not divided by `most`, or is by the visits that were made": wide(1.0)
        },
    )
    s = wide([[0.2, 0.2, 0.1, 0.1, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1, 0.1, 0.3]])
    found = student.communication_loss(s, torch.tensor([[0, 5], [4, 5]]), 3, 2)
    first, last = 1.5 / 2 * 1, 1.5 / 2 * 2
    right = first * (0.4 + 0.25) / 2 + last * (0.4 + 0.5) / 2
    close(found, wide(right), "the loss of two tokens (each row of scores sums to 1)")
