import torch
from helpers import cost_config, draw, widths

from coursekit.testing import close, points


def counted(config, form, length, new, ranks):
    """Operations, fixed bytes and a row's bytes, each pair of tokens by itself."""
    d, r, v, c = widths(config)
    h, t = config["n_heads"] // ranks, length + new
    pairs = int(torch.ones(new, t).tril(length).sum())
    pair = {"mha": d + v, "naive": d + r + v, "absorbed": c + r + c}[form]
    up = {"mha": 0, "naive": t, "absorbed": new}[form] * c * h * (d + v)
    fixed = 0 if form == "mha" else c * h * (d + v)
    cache = t * h * (d + v) if form == "mha" else t * (c + r)
    asked = new * h * (d + v + (0 if form == "mha" else r))
    made = 2 * t * h * (d + v) if form == "naive" else 0
    return 2 * (up + pairs * h * pair), 2 * fixed, 2 * (cache + asked + made)


def whole(counts, batch):
    """Operations and bytes of all rows."""
    done, fixed, moved = counts
    return [batch * done, fixed + batch * moved]


def unseen(config, form, new):
    """Operations for the pairs of new tokens with those behind them."""
    d, r, v, c = widths(config)
    pair = {"mha": d + v, "naive": d + r + v, "absorbed": c + r + c}[form]
    return 2 * (new * (new - 1) // 2) * config["n_heads"] * pair


def again(config, length, new):
    """Bytes of a row's latents, read once more by each new token but the first."""
    _, r, _, c = widths(config)
    return 2 * (new - 1) * (length + new) * (c + r)


@points(2, read=('chapter 05, "When absorption pays"; handout, question 4, "mha"'))
def test_q4_a_key_for_every_head(student, gen):
    """Plain attention: every number of the cache is used once for each query."""
    config, length = cost_config(gen)
    batch = draw(gen, 2, 9)
    done, _, moved = counted(config, "mha", length, 1, 1)
    (d, r, v, _), h = widths(config), config["n_heads"]
    close(
        list(student.decode_cost(config, "mha", batch, length)),
        [batch * done, batch * moved],
        "operations and bytes, mha (keys of width d, values of width v, no weights)",
        mistakes={
            "plain keys and queries have a rotary part": [
                batch * done,
                batch * (moved + 2 * (length + 2) * h * r),
            ],
            "the new token is not in the cache": [
                batch * done,
                batch * (moved - 2 * h * (d + v)),
            ],
        },
    )


@points(2, read='handout, question 4, "New tokens see only"')
def test_q4_several_new_tokens_share_the_cache(student, gen):
    """New tokens see only what stands before them, and read the cache together."""
    config, length = cost_config(gen)
    batch, new = draw(gen, 2, 9), draw(gen, 3, 6)
    for form in ("absorbed", "naive", "mha"):
        done, fixed, moved = counted(config, form, length, new, 1)
        close(
            list(student.decode_cost(config, form, batch, length, new)),
            [batch * done, fixed + batch * moved],
            f"operations and bytes, {form}, {new} new tokens (token i sees length + i, "
            "counted from 1; the cache is read once for all of them)",
            mistakes={
                "new tokens see those behind them": [
                    batch * (done + unseen(config, form, new)),
                    fixed + batch * moved,
                ],
                "every new token reads the cache for itself": [
                    batch * done,
                    fixed + batch * (moved + again(config, length, new)),
                ],
            },
        )


@points(2, read='handout, question 4, "on one GPU"; handout, question 1, "both, whole"')
def test_q4_gpus_share_heads_and_not_the_latent(student, gen):
    """On one of four GPUs there are a fourth of the heads and all of the latents."""
    config, length = cost_config(gen)
    batch = draw(gen, 2, 9)
    for form in ("absorbed", "naive", "mha"):
        done, fixed, moved = counted(config, form, length, 1, 4)
        close(
            list(student.decode_cost(config, form, batch, length, ranks=4)),
            [batch * done, fixed + batch * moved],
            f"operations and bytes, {form}, on one of 4 GPUs (what belongs to heads is "
            "a fourth, the latents of a row are read by every GPU)",
            mistakes={
                "the latents are divided among the GPUs, too": whole(
                    counted(
                        {**config, "kv_lora_rank": config["kv_lora_rank"] // 4},
                        form,
                        length,
                        1,
                        4,
                    ),
                    batch,
                ),
                "every GPU works on all heads": whole(
                    counted(config, form, length, 1, 1), batch
                ),
            },
        )


@points(
    3,
    read=(
        'chapter 05, "Operations per byte"; '
        'handout, question 4, "`turning_batch` gives"'
    ),
)
def test_q4_the_batch_that_turns_the_balance(student, gen):
    """The smallest batch for which arithmetic takes as long as memory, or None."""
    fixed, done, moved = draw(gen, 500, 900), draw(gen, 80, 120), draw(gen, 2, 4)
    peak, bandwidth = 16.0, 1.0
    right = 1
    while right * done / peak < (fixed + right * moved) / bandwidth:
        right += 1
    turn = student.turning_batch
    close(turn(fixed, done, moved, peak, bandwidth), right, "the batch (round up)")
    close(turn(61, 7, 2, 2.0, 1.0), 41, "the batch (40 is too small: round up)")
    close(turn(60, 5, 2, 2.0, 1.0), 120, "the batch where the two tie")
    close(turn(0, 9, 2, 2.0, 1.0), 1, "the batch without anything fixed")
    close(
        turn(fixed, 3, moved, peak, bandwidth),
        None,
        "the batch where each row moves more than it computes, and no batch helps",
    )
