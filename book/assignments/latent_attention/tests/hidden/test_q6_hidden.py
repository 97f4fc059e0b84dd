import torch
import torch.nn.functional as F
from helpers import double, layer_of, normal

from coursekit.testing import close, points
from r1.model import apply_rotary, rotary_angles


def norm(x):
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def toeplitz(gram, what):
    """Fail unless the products [..., s, t] of one token with itself follow s - t."""
    off = (gram[..., 1:, 1:] - gram[..., :-1, :-1]).abs().max().item()
    assert off < 1e-9, (
        f"the same token at all places: the product of its {what} at two of them "
        f"changes by {off:.2g} if both move on by one. The turn has to come last: no "
        "gain and no projection may follow it"
    )


@points(3, read=('chapter 05, "Positions do not fit in"; handout, question 6'))
def test_q6_keys_are_scaled_before_they_turn(student, gen):
    """The gain belongs to the key that has not turned yet."""
    w, start = layer_of(gen), torch.zeros(2, dtype=torch.int64)
    x = normal(gen, 2, 1, 10).expand(2, 7, 10)
    latent, k_rope = student.remember(x, w, start)
    double(k_rope, [2, 7, 6], "k_rope")
    toeplitz(k_rope @ k_rope.mT, "rotary key")
    x = normal(gen, 2, 7, 10)
    latent, k_rope = student.remember(x, w, start)
    close(latent, norm(x @ w["dkv"].T), "the latents")
    key = norm(x @ w["kr"].T) * w["gain"]
    right = apply_rotary(key[:, :, None], rotary_angles(7, 6))[:, :, 0]
    turning = rotary_angles(7, 6)
    plain = norm(x @ w["kr"].T)[:, :, None]
    close(
        k_rope,
        right,
        "the rotary keys of rows that start at 0",
        mistakes={
            "the gain is left out": lambda: apply_rotary(plain, turning)[:, :, 0],
            "keys turn backward": lambda: apply_rotary(key[:, :, None], -turning)[
                :, :, 0
            ],
        },
    )


@points(3, read=('chapter 05, "Build it"; chapter 05, "Positions do not fit in"'))
def test_q6_queries_are_projected_before_they_turn(student, gen):
    """A query turns after its last projection, and every head alike."""
    w, start = layer_of(gen), torch.zeros(2, dtype=torch.int64)
    x = normal(gen, 2, 1, 10).expand(2, 7, 10)
    q_rope = student.ask(x, w, start)[1]
    double(q_rope, [2, 7, 3, 6], "q_rope")
    toeplitz(torch.einsum("bshr,bthr->bhst", q_rope, q_rope), "rotary query")
    x = normal(gen, 2, 7, 10)
    q_nope, q_rope = student.ask(x, w, start)
    hidden = norm(x @ w["dq"].T)
    close(q_nope, torch.einsum("bsq,hdq->bshd", hidden, w["uq"]), "q_nope")
    right = torch.einsum("bsq,hrq->bshr", hidden, w["qr"])
    right = apply_rotary(right, rotary_angles(7, 6))
    close(q_rope, right, "the rotary queries of rows that start at 0")
