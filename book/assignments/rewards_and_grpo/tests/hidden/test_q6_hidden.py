import torch
from helpers import DOUBLE, arrives, slope_of_logits, stays_away, wide

from coursekit.testing import close, gradient, points


def three(gen):
    """A policy, its reference and the policy that drew the tokens: five each."""
    found = torch.rand(3, 5, generator=gen, dtype=DOUBLE) + 0.1
    return found / found.sum(-1, keepdim=True)


@points(2, read=('chapter 11, "The same answers, several times"; handout, question 6'))
def test_q6_old_samples_give_the_right_mean(student, gen):
    """Over old samples, k1 and k3 with the ratio are the divergence on average."""
    p, ref, old = three(gen)
    logs = p.log()[None], ref.log()[None]
    mask = torch.ones(1, 5, dtype=torch.bool)
    divergence = (p * (p / ref).log()).sum()
    for kind in ("k1", "k3"):
        found = student.kl_tokens(*logs, mask, kind, old.log()[None])
        close(
            found,
            p / old * estimate(kind, p, ref),
            f"{kind} times the ratio (policy over old policy)",
            mistakes={
                "the ratio is left out": estimate(kind, p, ref),
                "the ratio is old over new": old / p * estimate(kind, p, ref),
            },
        )
        mean = (old * found[0]).sum()
        close(mean, divergence, f"the mean of {kind} over old samples")


def estimate(kind, p, ref):
    """The estimate itself, from probabilities."""
    above = (p / ref).log()[None]
    return above if kind == "k1" else (-above).exp() + above - 1


@points(
    3,
    read=(
        'chapter 11, "As a loss: two tokens, exactly"; '
        'handout, question 6, "the gradient goes through both"'
    ),
)
def test_q6_old_samples_give_the_right_slope(student, gen):
    """With a ratio that has a gradient, k1 and k3 have the divergence's own slope."""
    p, ref, old = three(gen)
    mask = torch.ones(1, 5, dtype=torch.bool)
    right = slope_of_logits(p * (p / ref).log(), p)
    for kind in ("k1", "k3"):
        args = p.log()[None], ref.log()[None], mask, kind, old.log()[None]
        found = gradient(student.kl_tokens, *args, cotangent=old[None])
        close(
            found.value,
            p / old * estimate(kind, p, ref),
            f"{kind} times the ratio (policy over old policy)",
        )
        told = arrives(found, 0, "logp")[0]
        what = f"the slope of {kind} over old samples (does the ratio have a gradient?)"
        close(slope_of_logits(told, p), right, what)
        stays_away(found, 1, "logp_ref")
        stays_away(found, 4, "logp_old")


@points(2, read='chapter 11, "What can go wrong"')
def test_q6_padding_has_no_divergence(student):
    """Whatever stands behind the mask, value and gradient there are 0."""
    inf, nan = float("inf"), float("nan")
    logp = wide([[-1.0, -900.0, -inf, nan]])
    ref = wide([[-1.5, 0.0, -inf, -1.0]])
    old = wide([[-1.2, -900.0, 3.0, nan]])
    mask = torch.tensor([[True, False, False, False]])
    ratio, away = wide([0.2]).exp().item(), 0.5
    spread = {
        "k1": (away, 1.0),
        "k2": (away**2 / 2, away),
        "k3": (wide([-away]).exp().item() + away - 1, 1 - wide([-away]).exp().item()),
    }
    for kind, (value, slope) in spread.items():
        for weighted in (False, True):
            before = old if weighted else None
            args = logp, ref, mask, kind, before
            ones = torch.ones_like(logp)
            found = gradient(student.kl_tokens, *args, cotangent=ones)
            number = value * ratio if weighted else value
            push = ratio * (slope + value) if weighted else slope
            what = f"{kind} with strange padding (clear it before exp)"
            close(found.value, wide([[number, 0.0, 0.0, 0.0]]), what)
            told = arrives(found, 0, "logp")
            right = wide([[push, 0.0, 0.0, 0.0]])
            close(told, right, f"the gradient of {what}")
