import torch
from helpers import normal

from coursekit.testing import close, points


@points(3, read='handout, question 2, "`append` puts"')
def test_q2_each_row_grows_from_its_own_end(student, gen):
    """Tokens stand behind those that their own row held before."""
    cache = student.LatentCache(3, 9, 5, 4, torch.float64)
    close(cache.lengths, torch.zeros(3, dtype=torch.int64), "the lengths at the start")
    held = [[], [], []]
    for counts in ([3, 1, 0], [2, 4, 1], [1, 1, 2]):
        latent, k_rope = normal(gen, 3, 4, 5), normal(gen, 3, 4, 4)
        cache.append(latent, k_rope, torch.tensor(counts))
        for row, count in enumerate(counts):
            held[row].append((latent[row, :count], k_rope[row, :count]))
    close(
        cache.lengths,
        torch.tensor([6, 6, 3]),
        "the lengths after three appends",
        mistakes={
            "a row grows by all new tokens, also by those that do not count": (
                torch.tensor([12, 12, 12])
            )
        },
    )
    stored = (("latent", cache.latent), ("k_rope", cache.k_rope))
    for place, (name, got) in enumerate(stored):
        for row in range(3):
            right = torch.cat([both[place] for both in held[row]])
            where = f"{name} of row {row}"
            close(list(got.shape), [3, 9, right.shape[-1]], f"the shape of {name}")
            close(
                got[row, : len(right)],
                right,
                f"{where} (does every row begin at its own length, and does only the "
                "first counts[b] of its tokens count?)",
            )


@points(2, read='handout, question 2, "bytes of all slots"')
def test_q2_bytes_are_those_of_the_numbers(student, gen):
    """Used bytes count tokens, reserved bytes count slots; both depend on the type."""
    for dtype, size in ((torch.float32, 4), (torch.bfloat16, 2), (torch.float64, 8)):
        cache = student.LatentCache(2, 7, 6, 4, dtype)
        latent, k_rope = normal(gen, 2, 3, 6).to(dtype), normal(gen, 2, 3, 4).to(dtype)
        cache.append(latent, k_rope, torch.tensor([3, 1]))
        close(
            list(student.count_bytes(cache)),
            [4 * 10 * size, 14 * 10 * size],
            f"bytes of 4 tokens and of 14 slots in {dtype}, 6 + 4 numbers each",
            mistakes={
                "a number has two bytes, whatever its type": [4 * 10 * 2, 14 * 10 * 2],
                "every row is as long as the longest, or also grows by tokens that do "
                "not count": [6 * 10 * size, 14 * 10 * size],
            },
        )
