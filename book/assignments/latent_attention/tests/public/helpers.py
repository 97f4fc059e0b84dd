"""What several tests of this assignment use."""

import torch

from coursekit.testing import StudentError, close

V3 = {
    "n_layers": 61,
    "n_heads": 128,
    "n_kv_heads": 8,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "kv_lora_rank": 512,
}


def draw(gen, low, high):
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=gen))


def normal(gen, *shape):
    """Normal numbers in float64."""
    return torch.randn(*shape, generator=gen, dtype=torch.float64)


def config_of(gen):
    """A configuration in which no two widths that could be confused are equal."""
    groups = 2 ** draw(gen, 2, 3)
    return {
        "n_layers": draw(gen, 3, 40),
        "n_heads": groups * 4,
        "n_kv_heads": groups,
        "qk_nope_head_dim": 16 * draw(gen, 3, 5),
        "qk_rope_head_dim": 8 * draw(gen, 2, 3),
        "v_head_dim": 16 * draw(gen, 6, 8),
        "kv_lora_rank": 128 * draw(gen, 2, 5),
    }


def widths(config):
    """d, r, v and c of a configuration."""
    names = ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank")
    return [config[name] for name in names]


def step_of(gen, lengths, new, capacity, h=8, d=16, r=6, v=20, c=24):
    """What absorbed_decode takes, with numbers in every slot, free ones included."""
    b = len(lengths)
    return {
        "q_nope": normal(gen, b, new, h, d),
        "q_rope": normal(gen, b, new, h, r),
        "latent": normal(gen, b, capacity, c),
        "k_rope": normal(gen, b, capacity, r),
        "lengths": torch.tensor(lengths),
        "w_uk": normal(gen, h, d, c) / c**0.5,
        "w_uv": normal(gen, h, v, c) / c**0.5,
    }


def alone(step, sees=lambda length: length, width=None, rotary=True):
    """The right answer to a step, each row by itself, with keys and values.

    The rest are mistakes: the first new token sees the slots up to `sees(length)`,
    `width` is below the root of the scale, the rotary key takes no part.
    """
    rows, new = [], step["q_nope"].shape[1]
    for b, length in enumerate(step["lengths"].tolist()):
        latent = step["latent"][b, : length + new]
        k_rope = step["k_rope"][b, : length + new]
        keys = torch.einsum("tc,hdc->htd", latent, step["w_uk"])
        values = torch.einsum("tc,hvc->htv", latent, step["w_uv"])
        scores = torch.einsum("shd,htd->hst", step["q_nope"][b], keys)
        if rotary:
            scores = scores + torch.einsum("shr,tr->hst", step["q_rope"][b], k_rope)
        scores = scores / (width or keys.shape[-1] + k_rope.shape[-1]) ** 0.5
        past = torch.ones(scores.shape[1:], dtype=torch.bool).tril(sees(length))
        weights = scores.masked_fill(~past, -torch.inf).softmax(-1)
        rows.append(torch.einsum("hst,htv->shv", weights, values))
    return torch.stack(rows)


def cost_config(gen):
    """A small configuration and a length for the counts of question 4."""
    return config_of(gen), draw(gen, 30, 90)


def layer_of(gen, m=10, c=8, r=6, q=8, h=3, d=4):
    """Weights of the layer of question 6."""
    shapes = {
        "dkv": (c, m),
        "kr": (r, m),
        "dq": (q, m),
        "uq": (h, d, q),
        "qr": (h, r, q),
    }
    weights = {name: normal(gen, *shape) for name, shape in shapes.items()}
    gain = torch.rand(r, generator=gen, dtype=torch.float64) + 0.5
    return {**weights, "gain": gain * torch.arange(1, r + 1)}


def double(value, shape, what):
    """Fail unless a value is a tensor of float64 of a shape, as its inputs were."""
    close(list(value.shape), shape, f"the shape of {what}")
    assert value.dtype == torch.float64, (
        f"{what}: expected torch.float64, got {value.dtype} (keep the type of the "
        "numbers that the function is given)"
    )


def refused(call, *args):
    """What a call raised, by name; empty if it raised nothing."""
    try:
        call(*args)
    except StudentError as error:
        if error.kind == "todo":
            raise
        return str(error).partition(":")[0]
    return ""
