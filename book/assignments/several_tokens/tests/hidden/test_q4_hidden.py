import itertools

import torch
from helpers import planted, tables, wide

from coursekit.testing import close, points

RULES = {
    "own draw": """
others = p.expand(len(p), -1) * (1 - torch.eye(len(p), dtype=p.dtype))
return p, others / others.sum(-1, keepdim=True)
""",
    "next token": """
keep = torch.minimum(p, 0.5 + 0 * p)
return keep, torch.roll(torch.eye(len(p), dtype=p.dtype), 1, 1) * 0.75 + 0.25 * p
""",
}


def here(name, p, q):
    """What the rules above say, computed on this side."""
    eye = torch.eye(len(p), dtype=p.dtype)
    if name == "own draw":
        others = p.expand(len(p), -1) * (1 - eye)
        return p, others / others.sum(-1, keepdim=True)
    return p.clamp(max=0.5), torch.roll(eye, 1, 1) * 0.75 + 0.25 * p


def expected(name, P, Q, last, drafts):
    """All paths, one after the other: drafts, what is kept, what is drawn."""
    vocab, size = range(len(P)), drafts + 1
    rules = [[x.tolist() for x in here(name, *row)] for row in zip(P, Q, strict=True)]
    P, Q = P.tolist(), Q.tolist()
    texts = torch.zeros([len(P)] * size, dtype=torch.float64)
    lengths = torch.zeros(size, dtype=torch.float64)
    for drafted in itertools.product(vocab, repeat=drafts):
        chance, before = 1.0, last
        steps = []  # (tokens written, chance)
        for i, x in enumerate(drafted):
            keep, instead = rules[before]
            chance *= Q[before][x]
            reject = chance * (1 - keep[x])
            # later drafts of this path are summed over elsewhere: count it once
            if all(y == 0 for y in drafted[i + 1 :]):
                steps += [((*drafted[:i], y), reject * instead[x][y]) for y in vocab]
            chance *= keep[x]
            before = x
        steps += [((*drafted, y), chance * P[before][y]) for y in vocab]
        for written, share in steps:
            lengths[len(written) - 1] += share
            for rest in itertools.product(vocab, repeat=size - len(written)):
                text, on = written + rest, share
                for i in range(len(written), size):
                    on *= P[text[i - 1]][text[i]]
                texts[text] += on
    return texts, lengths


def alone(P, last, count):
    """The model's own law of `count` tokens behind `last`."""
    if count == 0:
        return torch.ones((), dtype=P.dtype)
    parts = [P[last, x] * alone(P, x, count - 1) for x in range(len(P))]
    return torch.stack(parts)


def mistaken(name, P, Q, last, drafts, way):
    """Texts as known mistakes have them."""
    if drafts == 0:
        return Q[last] if way == "drafter" else P[last]
    keep, instead = here(name, P[last], Q[last])
    good, bad = Q[last] * keep, Q[last] * (1 - keep)
    drawn = bad.sum() * instead.mean(0) if way == "averaged" else bad @ instead
    texts = []
    for x in range(len(P)):
        further = mistaken(name, P, Q, x, drafts - 1, way)
        model = alone(P, last if way == "old" else x, drafts)
        model = further if way == "judged" else model
        texts.append(good[x] * further + drawn[x] * model)
    return torch.stack(texts)


@points(
    3,
    read=(
        'handout, question 4, "in the place of a rejected draft"; '
        'chapter 06, "Lossless: the sum over all paths"'
    ),
)
def test_q4_what_is_drawn_depends_on_the_draft(student, gen):
    """Another distribution in place of each rejected draft, two drafts."""
    for name, body in RULES.items():
        P, Q = tables(gen, 3, 3), tables(gen, 3, 3)
        texts = student.law(planted(student, body, "p, q"), P, Q, 1, 2)[0]
        right = expected(name, P, Q, 1, 2)[0]
        close(
            texts,
            right,
            "texts (the token in place of a rejected draft x is drawn from instead[x]; "
            "sum over the drafts that may have been rejected)",
            mistakes={
                "drafts are still judged after a rejected one": (
                    mistaken(name, P, Q, 1, 2, "judged")
                ),
                "a rejected draft's `instead` is averaged over all drafts": (
                    mistaken(name, P, Q, 1, 2, "averaged")
                ),
                "the model goes on behind the token before the step": (
                    mistaken(name, P, Q, 1, 2, "old")
                ),
                "the last token comes from the drafter": (
                    mistaken(name, P, Q, 1, 2, "drafter")
                ),
            },
        )


@points(3, read=('chapter 06, "Lossless: the sum over all paths"; handout, question 4'))
def test_q4_three_drafts_and_none(student, gen):
    """Texts of four tokens behind each token, and of one."""
    P, Q = tables(gen, 3, 3), tables(gen, 3, 3)
    rule = planted(student, RULES["next token"], "p, q")
    for last in range(3):
        texts = student.law(rule, P, Q, last, 3)[0]
        right = expected("next token", P, Q, last, 3)[0]
        close(texts, right, f"texts of three drafts behind token {last}")
    texts, lengths = student.law(rule, P, Q, 2, 0)
    close(texts, P[2], "texts without a draft")
    close(lengths, wide([1.0]), "lengths without a draft")


@points(2, read='handout, question 4, "`lengths[n]`"')
def test_q4_lengths(student, gen):
    """How many tokens a step writes: rejected at once, later, or never."""
    P, Q = tables(gen, 4, 4), tables(gen, 4, 4)
    rule = planted(student, RULES["own draw"], "p, q")
    lengths = student.law(rule, P, Q, 0, 3)[1]
    right = expected("own draw", P, Q, 0, 3)[1]
    close(
        lengths,
        right,
        "lengths (a step writes n + 1 tokens if n drafts are kept and the next one "
        "is not; all chances together are 1)",
    )
