import torch
from helpers import DOUBLE, arrives, slope_of_logits, wide

from coursekit.testing import close, gradient, points


@points(2, read='chapter 11, "How far from the reference"')
def test_q6_three_estimates(student):
    """The three estimates of a token, without an old policy."""
    away = wide([[0.5, -1.0, 0.0, 2.0]])
    ref = wide([[-1.0, -2.0, -0.5, -3.0]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    right = {
        "k1": away,
        "k2": away**2 / 2,
        "k3": (-away).exp() + away - 1,
    }
    for kind, value in right.items():
        found = student.kl_tokens(ref + away, ref, mask, kind, None)
        hint = "the log-ratio is logp - logp_ref"
        close(
            found,
            value,
            f"{kind} ({hint})",
            mistakes={
                "the log-ratio has the other sign": (
                    -away if kind == "k1" else away.exp() - away - 1
                ),
                "the half is left out": away**2,
            },
        )


@points(3, read='chapter 11, "As a loss: two tokens, exactly"')
def test_q6_what_each_estimate_teaches(student, gen):
    """In a loss k1 teaches nothing, k2 and k3 pull along different divergences."""
    p, ref = torch.rand(2, 5, generator=gen, dtype=DOUBLE).add(0.1).unbind()
    p, ref = p / p.sum(), ref / ref.sum()
    mask = torch.ones(1, 5, dtype=torch.bool)
    away = (p / ref).log()
    values = {"k1": away, "k2": away**2 / 2, "k3": ref / p + away - 1}
    slopes = {
        "k1": torch.zeros(5, dtype=DOUBLE),
        "k2": slope_of_logits(p * away, p),
        "k3": p - ref,
    }
    for kind, right in slopes.items():
        args = p.log()[None], ref.log()[None], mask, kind, None
        found = gradient(student.kl_tokens, *args, cotangent=p[None])
        close(found.value, values[kind][None], f"{kind} of five tokens")
        told = arrives(found, 0, "logp")[0]
        what = f"the slope of {kind} by the logits, on average over five tokens"
        close(slope_of_logits(told, p), right, what)
