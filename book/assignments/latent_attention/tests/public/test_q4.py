from helpers import cost_config, draw, widths

from coursekit.testing import close, points


@points(3, read=('chapter 05, "When absorption pays"; handout, question 4, "absorbed"'))
def test_q4_absorbed_multiplies_once_for_each_query(student, gen):
    """One new token a row: the absorbed form's operations and bytes."""
    config, length = cost_config(gen)
    batch, h, t = draw(gen, 2, 9), config["n_heads"], length + 1
    d, r, v, c = widths(config)
    got = student.decode_cost(config, "absorbed", batch, length)
    close(len(got), 2, "the number of counts")
    operations = c * h * (d + v) + t * h * (c + r) + t * h * c
    close(
        got[0],
        2 * batch * operations,
        "operations, absorbed (up-projections once a query; a score is c + r wide, "
        "a mixture c)",
        mistakes={
            "a multiplication and an addition are one operation": batch * operations,
            "the up-projections work once a token of the cache": (
                2 * batch * (operations + (t - 1) * c * h * (d + v))
            ),
            "the new token is not in the cache": (
                2 * batch * (operations - h * (2 * c + r))
            ),
        },
    )
    weights, asked = c * h * (d + v), h * (d + r) + h * v
    close(
        got[1],
        2 * weights + 2 * batch * (t * (c + r) + asked),
        "bytes, absorbed (the weights once for all rows, the cache once a row)",
        mistakes={
            "the weights are read once a row": (
                2 * batch * (weights + t * (c + r) + asked)
            ),
            "the new token is not in the cache": (
                2 * weights + 2 * batch * ((t - 1) * (c + r) + asked)
            ),
        },
    )


@points(3, read=('chapter 05, "When absorption pays"; handout, question 4, "naive"'))
def test_q4_naive_makes_keys_of_every_token(student, gen):
    """One new token a row: the naive form's operations and bytes."""
    config, length = cost_config(gen)
    batch, h, t = draw(gen, 2, 9), config["n_heads"], length + 1
    d, r, v, c = widths(config)
    got = student.decode_cost(config, "naive", batch, length)
    close(len(got), 2, "the number of counts")
    operations = t * c * h * (d + v) + t * h * (d + r) + t * h * v
    close(
        got[0],
        2 * batch * operations,
        "operations, naive (a key and a value of every head for every token)",
        mistakes={
            "a multiplication and an addition are one operation": batch * operations,
            "keys and values are made once a query, and not of every token": (
                2 * batch * (operations - (t - 1) * c * h * (d + v))
            ),
        },
    )
    made, asked = t * h * (d + v), h * (d + r) + h * v
    right = c * h * (d + v) + batch * (t * (c + r) + asked + made + made)
    close(
        got[1],
        2 * right,
        "bytes, naive (what is made is written and read again, and the latents are "
        "read, too)",
        mistakes={
            "keys and values are written and not read again": (
                2 * (right - batch * made)
            ),
            "the weights are read once a row": (
                2 * (right + (batch - 1) * c * h * (d + v))
            ),
        },
    )


@points(
    1,
    read=(
        'chapter 05, "Operations per byte"; '
        'handout, question 4, "`least_seconds` gives"'
    ),
)
def test_q4_the_slower_of_two(student, gen):
    """A step takes at least as long as the slower of arithmetic and memory."""
    peak, bandwidth = float(draw(gen, 50, 90)), float(draw(gen, 2, 9))
    for operations, moved in ((9000, 10), (10, 9000)):
        right = max(operations / peak, moved / bandwidth)
        waits = "arithmetic" if operations > moved else "memory"
        close(
            list(student.least_seconds(operations, moved, peak, bandwidth)),
            [right, waits],
            "seconds and what is waited for (both go on at the same time)",
            mistakes={
                "both times are added up": [
                    operations / peak + moved / bandwidth,
                    waits,
                ]
            },
        )
    close(
        list(student.least_seconds(80, 20, 8.0, 2.0)),
        [10.0, "arithmetic"],
        "seconds and what is waited for at a tie",
    )
