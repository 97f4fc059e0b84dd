import itertools
import math

import torch
from helpers import draws, normal

from coursekit.testing import close, gradient, points


@points(1, read='handout, question 5, "`visit_chances` gives"')
def test_q5_chances_of_any_size(student):
    """Counted one by one for small cases, and V3's eight of 256."""
    for size, nodes, k in [(2, 4, 3), (3, 3, 4), (1, 4, 2), (4, 2, 5), (3, 2, 0)]:
        counts = torch.zeros(nodes + 1).double()
        for team in itertools.combinations(range(size * nodes), k):
            counts[len({e // size for e in team})] += 1
        close(
            student.visit_chances(size, nodes, k),
            counts / counts.sum(),
            f"chances for {k} experts, {nodes} nodes with {size} experts each"
            + " (who has no expert is on no node)" * (k == 0),
        )
    found = student.visit_chances(32, 8, 8)
    close(list(found.shape), [9], "the shape for V3")
    close(found.sum().item(), 1.0, "the sum of all chances for V3")
    mean = 8 * (1 - math.comb(224, 8) / math.comb(256, 8))
    close(found @ torch.arange(9).double(), torch.tensor(mean).double(), "V3's mean")


@points(
    1, read=('chapter 04, "Two processes"; handout, question 5, "`traffic` counts"')
)
def test_q5_traffic_of_many_tokens(student, gen):
    """Hundreds of tokens on four nodes, some slots left out, some tokens without."""
    indices = draws(gen, 300, 20, 4)
    indices = indices.masked_fill(torch.rand(300, 4, generator=gen) < 0.3, -1)
    indices[:5] = -1
    home = torch.randint(0, 4, (300,), generator=gen)
    home[home == 1] = 3
    right = torch.zeros(4, 4, dtype=torch.int64)
    for a, row in zip(home.tolist(), indices.tolist(), strict=True):
        for b in {e // 5 for e in row if e >= 0}:
            right[a, b] += 1
    close(
        student.traffic(indices, home, 5, 4),
        right,
        "sent [home, node]",
        mistakes={"from and to are exchanged": right.T},
    )


def loads(out, into, there, back):
    """The most bytes that any node sends, or receives, by vectors out and into it."""
    sends, receives = there * out + back * into, there * into + back * out
    return int(torch.maximum(sends, receives).max())


@points(
    3,
    read=(
        'handout, question 5, "`exchange_bytes` turns"; '
        'handout, question 5, "is the largest number of bytes"'
    ),
)
def test_q5_bytes_of_the_busiest_node(student, gen):
    """All bytes, and those of the node that sends or receives most."""
    for dim, scales in [(7168, 56), (128, 1), (200, 2), (64, 1)]:
        there, back = dim + 4 * scales, 2 * dim
        sent = torch.randint(0, 50, (5, 5), generator=gen)
        sent[int(torch.randint(0, 5, (), generator=gen))] *= 9
        out, into = sent.sum(1) - sent.diag(), sent.sum(0) - sent.diag()
        busiest = loads(out, into, there, back)
        total = int(out.sum()) * (there + back)
        whole = loads(sent.sum(1), sent.sum(0), there, back)
        found = student.exchange_bytes(sent, dim)
        close(
            found,
            (total, busiest),
            f"(total, busiest) for vectors of {dim} (a token's home node sends "
            f"{there} bytes for a vector and receives {back})",
            mistakes={
                "what stays at home is counted": (
                    int(sent.sum()) * (there + back),
                    whole,
                ),
                "there are no scales": (
                    int(out.sum()) * (dim + back),
                    loads(out, into, dim, back),
                ),
                "a block that is not full has no scale": (
                    int(out.sum()) * (dim + 4 * (dim // 128) + back),
                    loads(out, into, dim + 4 * (dim // 128), back),
                ),
                "for `busiest` nothing comes back": (total, loads(out, into, there, 0)),
                "sending and receiving are added up": (
                    total,
                    int((out + into).max()) * (there + back),
                ),
                "`busiest` looks at what is sent alone": (
                    total,
                    int((there * out + back * into).max()),
                ),
            },
        )
    one = torch.tensor([[5, 0], [3, 7]])
    close(
        student.exchange_bytes(one, 128),
        (3 * 388, 3 * 256),
        "(total, busiest) where three vectors of 128 go from node 1 to node 0 (132 "
        "bytes there, 256 back, by another node)",
    )


@points(2, read='handout, question 5, "Tokens without any expert"')
def test_q5_tokens_without_an_expert_do_not_count(student, gen):
    """Slots and tokens that are left out, and a batch of nothing else."""
    scores = normal(gen, 40, 12).sigmoid()
    indices = draws(gen, 40, 12, 3)
    indices = indices.masked_fill(torch.rand(40, 3, generator=gen) < 0.4, -1)
    indices[:6] = -1
    indices[6:] = indices[6:].sort(1).values  # a slot is left out, the last is not
    f, p, tokens = [0.0] * 4, torch.zeros(4).double(), 0
    for s, row in zip(scores, indices.tolist(), strict=True):
        visited = {e // 3 for e in row if e >= 0}
        if visited:
            tokens += 1
            p += s.view(4, 3).sum(1) / s.sum()
            f = [x + (n in visited) for n, x in enumerate(f)]
    share = torch.tensor(f).double() * 4 / (2 * tokens)
    found = student.communication_loss(scores, indices, 4, 2)
    every = (scores.view(40, 4, 3).sum(2) / scores.sum(1, keepdim=True)).mean(0)
    close(
        found,
        (share * p / tokens).sum(),
        "the loss with slots and tokens left out",
        mistakes={
            "tokens without any expert are counted": (share * tokens / 40 * every).sum()
        },
    )
    none = torch.full((40, 3), -1)
    found = student.communication_loss(scores, none, 4, 2)
    close(found, torch.zeros(()).double(), "the loss where no token counts (0 / 0?)")


@points(
    1,
    read=(
        'chapter 04, "A balance loss and its price"; '
        'handout, question 5, "`communication_loss` is"'
    ),
)
def test_q5_the_loss_pushes_scores(student, gen):
    """Its gradient by the scores: that of P, weighed by f."""
    scores, indices = normal(gen, 30, 8).sigmoid(), draws(gen, 30, 8, 2)
    leaf = scores.clone().requires_grad_()
    visits = torch.stack([(indices.div(2).long() == n).any(1) for n in range(4)], 1)
    f = 4 / 3 * visits.double().mean(0)
    shares = (leaf / leaf.sum(1, keepdim=True)).mean(0).view(4, 2).sum(1)
    right = (f * shares).sum()
    right.backward()
    found = gradient(student.communication_loss, scores, indices, 4, 3)
    close(found.value, right.detach(), "the loss")
    assert found.inputs[0] is not None, "no gradient reaches the scores"
    total = scores.sum(1, keepdim=True)
    close(
        found.inputs[0],
        leaf.grad,
        "the gradient of the scores (f has none)",
        mistakes={
            "the sum that makes shares of scores is detached": (
                f.repeat_interleave(2) / total / 30
            )
        },
    )
