from helpers import judged

from coursekit.testing import close, points

# These rules are easy to tell apart. Others are not.
ONLY_P = """
tokens = torch.full_like(u, -1).long()
tokens[:, 0] = draw(p[:, 0], u[:, 0])
return tokens
"""

ALL_KEPT = """
rows = torch.arange(len(drafts))
count = (drafts >= 0).sum(1)
tokens = torch.cat([drafts, torch.full_like(drafts[:, :1], -1)], 1)
tokens[rows, count] = draw(p[rows, count], u[:, -1])
return tokens
"""

OWN_DRAW = """
rows = torch.arange(len(drafts))
tokens = torch.full_like(u, -1).long()
going = torch.ones(len(drafts)).bool()
for place in range(u.shape[1]):
    own = draw(p[:, place], u[:, place])
    tokens[going, place] = own[going]
    if place < drafts.shape[1]:
        going = going & (own == drafts[:, place])
return tokens
"""

AGREEMENT = """
rows = torch.arange(len(drafts))
same = drafts == p[:, :-1].argmax(-1)
kept = same.long().cumprod(1).sum(1)
tokens = torch.cat([drafts, torch.full_like(drafts[:, :1], -1)], 1)
tokens[torch.arange(u.shape[1]) >= kept[:, None]] = -1
tokens[rows, kept] = draw(p[rows, kept], u[:, -1])
return tokens
"""


@points(
    3,
    seconds=30,
    read=(
        'chapter 06, "Lossless: counting"; handout, question 5, "lossless all the same"'
    ),
)
def test_q5_a_rule_has_to_look_at_the_drafts(student):
    """One rule ignores the drafts, which is slow and lossless, one keeps them all."""
    close(
        judged(student, ONLY_P),
        True,
        "a rule that draws one token from p, which is lossless (is the tolerance wide "
        "enough for the number of samples? may a rule write less than the exact one?)",
    )
    close(
        judged(student, ALL_KEPT),
        False,
        "a rule that keeps every draft (do model and drafter differ in your test?)",
    )


@points(
    3,
    seconds=30,
    read=(
        'chapter 06, "How to check a draft"; '
        'handout, question 5, "lossless all the same"'
    ),
)
def test_q5_agreement_with_the_first_choice_is_not_enough(student):
    """One rule draws its own token and compares, one takes the likeliest token."""
    close(
        judged(student, OWN_DRAW),
        True,
        "a rule that keeps a draft if the model's own draw is the same (fewer are "
        "kept than could be, which is no loss)",
    )
    close(
        judged(student, AGREEMENT),
        False,
        "a rule that keeps a draft if it is the likeliest token of p",
    )
