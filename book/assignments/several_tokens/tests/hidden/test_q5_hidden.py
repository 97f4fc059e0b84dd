from helpers import judged

from coursekit.testing import close, points

# The textbook's rule in parts, so that each wrong rule differs in one of them.
RULE = """
rows, guessed = torch.arange(len(drafts)), drafts.shape[1]
real, x = drafts >= 0, drafts.clamp(min=0)[..., None]
qx, px = q.gather(-1, x)[..., 0], p[:, :-1].gather(-1, x)[..., 0]
good = {good} & real
kept = {kept}
count = real.sum(1)
full = kept == count
zero = torch.zeros_like(p[:, :1])
qs = torch.cat([q, zero], 1)
rest = {rest}
bonus = {bonus}
weights = torch.where(full[:, None], bonus, rest)
weights = torch.where(weights.sum(-1, keepdim=True) > 0, weights, p[rows, kept])
last = {last}
tokens = torch.cat([drafts, torch.full_like(drafts[:, :1], -1)], 1)
tokens[torch.arange(guessed + 1) >= kept[:, None]] = -1
tokens[rows, kept] = last
return tokens
"""
PARTS = {
    "good": "(u[:, :-1] * qx < px)",
    "kept": "good.long().cumprod(1).sum(1)",
    "rest": "(p[rows, kept] - qs[rows, kept]).clamp(min=0)",
    "bonus": "p[rows, kept]",
    "last": "draw(weights, u[:, -1])",
}


def rule(**parts):
    """The textbook's rule with other parts."""
    return RULE.format(**{**PARTS, **parts})


EXACT = (
    "the exact rule (do other uniform numbers draw the drafts than those that you hand "
    "to the rule? is what you compare with the model's own law, and the tolerance wide "
    "enough for the number of your samples?)"
)

TURNED = rule(last="p.shape[-1] - 1 - draw(weights.flip(-1), u[:, -1])")
ONE_DRAFT = rule(kept="good[:, 0].long()", bonus="p[rows, kept]").replace(
    "count = real.sum(1)", "count = real[:, 0].long()"
)


@points(
    3,
    seconds=30,
    read=(
        'chapter 06, "How to check a draft"; chapter 06, "Lossless: counting"; '
        'handout, question 5, "up to two drafts"'
    ),
)
def test_q5_what_is_drawn_behind_a_rejected_draft(student):
    """Right and wrong weights in place of a draft that is not kept."""
    close(judged(student, rule()), True, EXACT)
    for what, wrong in {
        "p": "p[rows, kept]",
        "the difference of p and q without its sign": (
            "(p[rows, kept] - qs[rows, kept]).abs()"
        ),
        "max(0, p - q) of the first place, wherever the rejected draft stands": (
            "(p[:, 0] - qs[:, 0]).clamp(min=0)"
        ),
    }.items():
        close(
            judged(student, rule(rest=wrong)),
            False,
            f"a rule that draws from {what} (a wrong replacement shows only in "
            "whole texts: does your test have steps with two drafts?)",
        )


@points(
    3,
    seconds=30,
    read=(
        'chapter 06, "Lossless: the sum over all paths"; '
        'chapter 06, "Lossless: counting"; handout, question 5, "up to two drafts"'
    ),
)
def test_q5_how_several_drafts_are_judged(student):
    """Rules that are exact for one draft, and go wrong with the second."""
    close(judged(student, ONE_DRAFT), True, "a rule that looks at the first draft only")
    for what, wrong in {
        "one uniform number for all drafts": {"good": "(u[:, :1] * qx < px)"},
        "the number of all drafts that pass, also behind one that does not": {
            "kept": "good.sum(1)"
        },
        "the uniform number that has rejected a draft to draw in its place": {
            "last": "draw(weights, u[rows, kept])"
        },
    }.items():
        close(
            judged(student, rule(**wrong)),
            False,
            f"a rule that takes {what} (does your test judge two drafts in one step, "
            "with a new uniform number in every column, and count whole texts? is its "
            "tolerance narrow enough?)",
        )


@points(
    2,
    seconds=30,
    read=(
        'chapter 06, "Lossless: the sum over all paths"; '
        'handout, question 3, "less than in other rows"'
    ),
)
def test_q5_what_comes_behind_the_last_draft(student):
    """Rules that go wrong where all drafts of a row are kept."""
    close(judged(student, TURNED), True, "the exact rule, drawing from the other end")
    for what, wrong in {
        "the drafter's last distribution": "q[rows, (kept - 1).clamp(min=0)]",
        "the batch's last p, also in rows with fewer drafts": "p[:, -1]",
        "max(0, p - q), as if the last draft had been rejected": (
            "(p[rows, kept] - qs[rows, kept]).clamp(min=0)"
        ),
    }.items():
        close(
            judged(student, rule(bonus=wrong)),
            False,
            f"a rule that draws the last token from {what} (did you try rows with "
            "fewer drafts than others, -1 in the last places?)",
        )


@points(
    2,
    seconds=30,
    read=('chapter 06, "How to check a draft"; chapter 06, "Lossless: counting"'),
)
def test_q5_which_drafts_are_kept(student):
    """Rules that keep too many, too few, or others than they should."""
    close(judged(student, rule()), True, EXACT)
    for what, wrong in {
        "q(x) < p(x), and never if not": "(qx < px)",
        "u p(x) < q(x), the ratio the other way round": "(u[:, :-1] * px < qx)",
        "u < p(x), without q": "(u[:, :-1] < px)",
        "p(x) above 0.3, if it is likely enough": "(px > 0.3)",
    }.items():
        close(
            judged(student, rule(good=wrong)),
            False,
            f"a rule that keeps a draft if {what}",
        )
