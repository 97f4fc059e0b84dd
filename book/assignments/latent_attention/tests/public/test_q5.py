import torch
from helpers import double, draw, normal

from coursekit.testing import close, points


def turned(x, position):
    """x [width] turned by one position, by way of complex numbers."""
    half = torch.arange(0, len(x), 2, dtype=torch.float64) / len(x)
    angles = position * 10_000.0**-half
    pairs = torch.view_as_complex(x.view(-1, 2).contiguous())
    pairs = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(pairs).flatten()


@points(4, read='chapter 05, "Positions do not fit in"')
def test_q5_the_matrix_gives_the_true_score(student, gen):
    """One matrix for each distance gives the scores of keys that turn."""
    w_uk = normal(gen, 8, 5)
    for distance in (0, 1, 7, draw(gen, 20, 90)):
        matrix = student.up_then_turn(w_uk, distance)
        double(matrix, [8, 5], "the matrix")
        for key in (0, draw(gen, 3, 40)):
            q, latent = normal(gen, 8), normal(gen, 5)
            right = turned(q, key + distance) @ turned(w_uk @ latent, key)
            close(
                q @ matrix @ latent,
                right,
                f"the score of a query at {key + distance} and a key at {key} (the "
                "score depends on the two positions only by their difference: what is "
                "the sign of the angle by which the key turns?)",
                mistakes={
                    "the key turns the other way": (
                        q @ turned(w_uk @ latent, distance)
                    ),
                    "the distance is left out": q @ w_uk @ latent,
                },
            )


@points(2, read='handout, question 5, "`best_single` gives"')
def test_q5_the_best_matrix_is_nearest(student, gen):
    """No other matrix is as near to all the given ones."""
    each = normal(gen, 6, 4, 3)
    best = student.best_single(each)[0]
    double(best, [4, 3], "the best matrix")
    error = (each - best).square().sum()
    for place in range(6):
        other = best + 0.05 * (each[place] - best)
        assert error < (each - other).square().sum(), (
            f"a matrix nearer to number {place} has a smaller sum of squares"
        )
