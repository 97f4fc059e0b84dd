from helpers import config_of, widths

from coursekit.testing import close, points


@points(2, read='handout, question 1, "on each of several GPUs"')
def test_q1_heads_are_shared_out(student, gen):
    """Each of several GPUs keeps the keys and values of its own heads."""
    config = config_of(gen)
    d, _, v, _ = widths(config)
    for kind, heads in (("mha", config["n_heads"]), ("gqa", config["n_kv_heads"])):
        close(
            student.bytes_per_token(config, kind, 4),
            2 * (heads // 4) * (d + v) * config["n_layers"],
            f"bytes on one of 4 GPUs as {kind!r} (each keeps what its own heads need)",
            mistakes={
                "every GPU keeps all heads": 2 * heads * (d + v) * config["n_layers"]
            },
        )


@points(2, read='handout, question 1, "on each of several GPUs"')
def test_q1_what_cannot_be_shared_out_is_on_every_gpu(student, gen):
    """A latent is on every GPU, and so is a key when there are fewer keys than GPUs."""
    config = config_of(gen)
    d, r, v, c = widths(config)
    ranks = 2 * config["n_kv_heads"]
    for kind, numbers in (("gqa", d + v), ("mqa", d + v), ("mla", c + r)):
        close(
            student.bytes_per_token(config, kind, ranks),
            2 * numbers * config["n_layers"],
            f"bytes on one of {ranks} GPUs as {kind!r} (half a key is of no use, and "
            "every head needs the whole latent)",
            mistakes={
                "it is shared out among the GPUs, whose heads need all of it": (
                    2 * numbers * config["n_layers"] // ranks
                ),
                "the latent is counted as a key and as a value": (
                    2 * (2 * c + r) * config["n_layers"]
                ),
            },
        )


@points(2, read='handout, question 1, "one scale of four bytes"')
def test_q1_eight_bits_need_scales(student, gen):
    """In eight bits a latent has a scale for 128 numbers; the rotary key keeps 16."""
    config = config_of(gen)
    _, r, _, c = widths(config)
    right = (c + 4 * (c // 128) + 2 * r) * config["n_layers"]
    for ranks in (1, 2):
        close(
            student.bytes_per_token(config, "mla_fp8", ranks),
            right,
            f"bytes a token as 'mla_fp8' with ranks={ranks} (one byte a number of the "
            "latent, four for each 128 of them, two for a number of the rotary key)",
            mistakes={
                "there are no scales": (c + 2 * r) * config["n_layers"],
                "the rotary key has eight bits, too": right - r * config["n_layers"],
            },
        )
