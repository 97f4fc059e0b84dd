import torch
from helpers import normal, refused

from coursekit.testing import close, points


def filled(student, gen, counts, capacity):
    """A cache whose rows hold `counts` tokens, with numbers in all of its slots."""
    rows, most = len(counts), max(counts)
    cache = student.LatentCache(rows, capacity, 5, 4, torch.float64)
    full = torch.full((rows,), capacity)
    whole = normal(gen, rows, capacity, 5), normal(gen, rows, capacity, 4)
    kind = refused(cache.append, *whole, full)
    assert not kind, (
        f"append raised {kind} for {capacity} tokens where each row has {capacity} "
        "free slots: a row may become full"
    )
    cache.lengths = torch.zeros(rows, dtype=torch.int64)
    latent, k_rope = normal(gen, rows, most, 5), normal(gen, rows, most, 4)
    cache.append(latent, k_rope, torch.tensor(counts))
    return cache


@points(2, read='handout, question 2, "returns the lengths from before"')
def test_q2_append_returns_the_lengths_from_before(student, gen):
    """What append returns is where the new tokens begin."""
    cache = student.LatentCache(2, 9, 5, 4, torch.float64)
    total = torch.zeros(2, dtype=torch.int64)
    for counts in ([2, 1], [1, 3]):
        counts = torch.tensor(counts)
        got = cache.append(normal(gen, 2, 3, 5), normal(gen, 2, 3, 4), counts)
        close(
            got,
            total,
            "what append returns (a tensor that += changes later is no record of "
            "before: keep a copy)",
        )
        total = total + counts
    close(cache.lengths, total, "the lengths after two appends")


@points(2, read='handout, question 2, "touches no other slot"')
def test_q2_what_does_not_count_is_not_written(student, gen):
    """Tokens beyond counts[b] change no slot, not even in a row that is full."""
    cache = filled(student, gen, [6, 2, 3], 6)
    latent, k_rope = normal(gen, 3, 3, 5), normal(gen, 3, 3, 4)
    right = cache.latent.clone(), cache.k_rope.clone()
    right[0][2, 3:5], right[1][2, 3:5] = latent[2, :2], k_rope[2, :2]
    cache.append(latent, k_rope, torch.tensor([0, 0, 2]))
    what = "after an append of 0, 0 and 2 tokens to three rows, the first of them full"
    close(cache.lengths, torch.tensor([6, 2, 5]), f"the lengths {what}")
    close(cache.latent, right[0], f"all latents {what}")
    close(cache.k_rope, right[1], f"all rotary keys {what}")


@points(3, read='handout, question 2, "Both raise `ValueError`"')
def test_q2_a_refused_append_changes_nothing(student, gen):
    """If one row has too few slots left, ValueError, and no row has changed."""
    cache = filled(student, gen, [2, 5], 6)
    before = cache.latent.clone(), cache.k_rope.clone()
    new = normal(gen, 2, 2, 5), normal(gen, 2, 2, 4)
    kind = refused(cache.append, *new, torch.tensor([2, 2]))
    assert kind == "ValueError", (
        f"append raised {kind or 'nothing'} where row 1 holds 5 tokens of 6 and "
        "gets 2 more: raise ValueError"
    )
    close(cache.lengths, torch.tensor([2, 5]), "the lengths after a refused append")
    what = "after a refused append (look at all rows before you write the first)"
    close(cache.latent, before[0], f"all latents {what}")
    close(cache.k_rope, before[1], f"all rotary keys {what}")
    cache.append(*new, torch.tensor([2, 1]))
    close(cache.lengths, torch.tensor([4, 6]), "the lengths when a row is full")


@points(
    2,
    read=(
        'handout, question 2, "`rollback` forgets"; chapter 06, "What is thrown away"'
    ),
)
def test_q2_what_is_forgotten_is_written_over(student, gen):
    """After a rollback the next token takes the place of what was forgotten."""
    cache = filled(student, gen, [5, 3], 6)
    student.rollback(cache, torch.tensor([2, 0]))
    close(
        cache.lengths,
        torch.tensor([3, 3]),
        "the lengths after a rollback of 2 and 0",
        mistakes={"every row forgets the largest number": torch.tensor([3, 1])},
    )
    latent, k_rope = normal(gen, 2, 1, 5), normal(gen, 2, 1, 4)
    cache.append(latent, k_rope, torch.tensor([1, 1]))
    close(cache.latent[:, 3], latent[:, 0], "the latents behind what is left")
    kind = refused(student.rollback, cache, torch.tensor([1, 5]))
    assert kind == "ValueError", (
        f"rollback raised {kind or 'nothing'} where row 1 holds 4 tokens and is to "
        "forget 5: raise ValueError"
    )
    close(cache.lengths, torch.tensor([4, 4]), "the lengths after a refused rollback")
