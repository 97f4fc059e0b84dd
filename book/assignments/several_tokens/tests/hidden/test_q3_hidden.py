import torch
from helpers import tables, wide

from coursekit.testing import close, points


def pick(weights, u):
    """The first token whose summed weight is above a share u of all."""
    up_to = weights.cumsum(-1)
    return int((up_to <= u * up_to[-1]).sum())


def expected(drafts, q, p, u):
    """The same as accept, one row and one draft after the other."""
    tokens = torch.full(u.shape, -1)
    for r in range(len(u)):
        row = [x for x in drafts[r].tolist() if x >= 0]
        weights = p[r, len(row)]
        for i, x in enumerate(row):
            if u[r, i] * q[r, i, x] >= p[r, i, x]:
                weights = (p[r, i] - q[r, i]).clamp(min=0)
                break
            tokens[r, i] = x
        place = int((tokens[r] >= 0).sum())
        tokens[r, place] = pick(weights, u[r, -1])
    return tokens


def batch(gen, rows, guessed, vocab=5):
    """Tables, drafts that were drawn from q, and uniform numbers."""
    q, p = (tables(gen, rows, guessed + n, vocab) for n in (0, 1))
    drafts = torch.multinomial(q.flatten(0, 1), 1, generator=gen).view(rows, guessed)
    u = torch.rand(rows, guessed + 1, generator=gen, dtype=torch.float64)
    return drafts, q, p, u


@points(
    3,
    read=('chapter 06, "How to check a draft"; handout, question 3, "its weights are"'),
)
def test_q3_many_rows(student, gen):
    """Hundreds of rows, with one draft, three, and none."""
    for guessed in (3, 1):
        args = batch(gen, 300, guessed)
        close(
            student.accept(*args),
            expected(*args),
            f"tokens with {guessed} drafts a row (weights behind a rejected draft: "
            "max(0, p - q) of that place; one draw, with the last uniform)",
        )
    _, _, p, u = batch(gen, 300, 0)
    none = torch.empty(300, 0, dtype=torch.int64), torch.empty(300, 0, 5).double()
    close(
        student.accept(*none, p, u),
        expected(*none, p, u),
        "tokens of rows without any draft (a draw from p)",
    )


@points(3, read='handout, question 3, "less than in other rows"')
def test_q3_rows_with_fewer_drafts(student, gen):
    """Rows of one batch have no draft, one, two or three."""
    drafts, q, p, u = batch(gen, 300, 3)
    count = torch.randint(0, 4, (300, 1), generator=gen)
    drafts = drafts.where(torch.arange(3) < count, -1)
    drafts[:4], count[:4] = -1, 0
    found = student.accept(drafts, q, p, u)
    right = expected(drafts, q, p, u)
    close(
        found,
        right,
        "tokens of rows with fewer drafts (behind the last draft of a row comes a draw "
        "from p in that place, not a residual, and not from the last p of the batch)",
    )


@points(2, read='chapter 06, "Lossless: the sum over all paths"')
def test_q3_nothing_is_kept_behind_a_rejected_draft(student, gen):
    """A second draft that would be kept is worthless behind a first that is not."""
    _, q, p, u = batch(gen, 40, 2, 3)
    drafts = torch.tensor([[1, 2]]).expand(40, 2).contiguous()
    p[:, 0], q[:, 0] = wide([0.7, 0.2, 0.1]), wide([0.1, 0.8, 0.1])
    u[:, 0], u[:, 1] = 0.5, 0.0
    u[:20, 0] = 0.1
    close(
        student.accept(drafts, q, p, u),
        expected(drafts, q, p, u),
        "tokens (the first 20 rows keep both drafts; the others reject the first, and "
        "the second, which has u = 0, goes with it)",
    )


@points(2, read='handout, question 3, "which only rounding can do"')
def test_q3_edges_of_the_rule(student):
    """u = 0 keeps no impossible draft; where p - q is nowhere above 0, p is drawn."""
    q, p = wide([[0.5, 0.5, 0.0]]), wide([[0.0, 0.4, 0.6], [0.2, 0.3, 0.5]])
    found = student.accept(torch.tensor([[0]]), q[None], p[None], wide([[0.0, 0.5]]))
    close(
        found,
        torch.tensor([[2, -1]]),
        "tokens (the draft has p = 0 and u = 0: keep it if u q < p, not if u q <= p)",
    )
    p[0] = 0.999 * q[0]
    found = student.accept(torch.tensor([[1]]), q[None], p[None], wide([[0.9995, 0.7]]))
    close(
        found,
        torch.tensor([[1, -1]]),
        "tokens (p is a little below q everywhere, as after rounding, and the draft is "
        "rejected: draw from p)",
    )
