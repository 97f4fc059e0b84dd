from helpers import V3, config_of, widths

from coursekit.testing import close, points


@points(2, read=('chapter 05, "What a cache costs"; handout, question 1'))
def test_q1_deepseek_v3_has_its_numbers(student):
    """With DeepSeek-V3's sizes a token takes 70,272 bytes, and 57 times that as MHA."""
    wrong = {
        "the latent is counted as a key and as a value": 61 * 2 * (2 * 512 + 64),
        "plain keys have a rotary part": 61 * 2 * 128 * (128 + 64 + 128),
    }
    for kind, right in (("mla", 70_272), ("mha", 3_997_696), ("mqa", 31_232)):
        close(
            student.bytes_per_token(V3, kind),
            right,
            f"bytes a token of V3 as {kind!r} (all layers, two bytes a number; "
            "a latent is key and value in one, and all heads have one rotary key)",
            mistakes=wrong,
        )


@points(2, read=('chapter 05, "What a cache costs"; handout, question 1'))
def test_q1_plain_kinds_keep_keys_and_values(student, gen):
    """Plain attention keeps a key and a value for each head that has its own."""
    config = config_of(gen)
    d, r, v, _ = widths(config)
    for kind, heads in (
        ("mha", config["n_heads"]),
        ("gqa", config["n_kv_heads"]),
        ("mqa", 1),
    ):
        close(
            student.bytes_per_token(config, kind),
            2 * heads * (d + v) * config["n_layers"],
            f"bytes a token as {kind!r} (a key is qk_nope_head_dim wide, a value "
            "v_head_dim: they may differ)",
            mistakes={
                "keys are as wide as values": 4 * heads * v * config["n_layers"],
                "plain keys have a rotary part": (
                    2 * heads * (d + r + v) * config["n_layers"]
                ),
            },
        )
