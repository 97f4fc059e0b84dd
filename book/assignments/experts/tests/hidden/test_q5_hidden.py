import itertools
import math

import torch
from helpers import draws, normal

from coursekit.testing import close, gradient, points


@points(1)
def test_q5_chances_of_any_size(student):
    """Counted one by one for small cases, and V3's eight of 256."""
    for size, nodes, k in [(2, 4, 3), (3, 3, 4), (1, 4, 2), (4, 2, 5), (3, 2, 0)]:
        counts = torch.zeros(nodes + 1).double()
        for team in itertools.combinations(range(size * nodes), k):
            counts[len({e // size for e in team})] += 1
        close(
            student.visit_chances(size, nodes, k),
            counts / counts.sum(),
            f"chances for {k} of {nodes} nodes with {size} experts each",
        )
    found = student.visit_chances(32, 8, 8)
    close(list(found.shape), [9], "the shape for V3")
    close(found.sum().item(), 1.0, "the sum of all chances for V3")
    mean = 8 * (1 - math.comb(224, 8) / math.comb(256, 8))
    close(found @ torch.arange(9).double(), torch.tensor(mean).double(), "V3's mean")


@points(1)
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
    close(student.traffic(indices, home, 5, 4), right, "sent [home, node]")


@points(3)
def test_q5_bytes_of_the_busiest_node(student, gen):
    """All bytes, and those of the node that sends or receives most."""
    for dim, scales in [(7168, 56), (128, 1), (200, 2), (64, 1)]:
        there, back = dim + 4 * scales, 2 * dim
        sent = torch.randint(0, 50, (5, 5), generator=gen)
        sent[int(torch.randint(0, 5, (), generator=gen))] *= 9
        rows, busiest, total = sent.tolist(), 0, 0
        for a in range(5):
            out = sum(rows[a][b] for b in range(5) if b != a)
            into = sum(rows[b][a] for b in range(5) if b != a)
            total += out * there + into * back
            busiest = max(busiest, out * there + into * back, into * there + out * back)
        found = student.exchange_bytes(sent, dim)
        close(
            found,
            (total, busiest),
            f"(total, busiest) for vectors of {dim} (there: {there} bytes, back: "
            f"{back}; the home sends the first and receives the second)",
        )
    one = torch.tensor([[5, 0], [3, 7]])
    close(student.exchange_bytes(one, 128), (3 * 388, 3 * 256), "one direction only")


@points(2)
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
    close(found, (share * p / tokens).sum(), "the loss with slots and tokens left out")
    none = torch.full((40, 3), -1)
    found = student.communication_loss(scores, none, 4, 2)
    close(found, torch.zeros(()).double(), "the loss where no token counts (0 / 0?)")


@points(1)
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
    close(found.inputs[0], leaf.grad, "the gradient of the scores (f has none)")
