from helpers import planted, tables, wide

from coursekit.testing import close, points

P = wide([[0.5, 0.5], [0.2, 0.8]])
Q = wide([[0.9, 0.1], [0.4, 0.6]])


@points(3, read='chapter 06, "Lossless: the sum over all paths"')
def test_q4_one_draft_by_hand(student):
    """Keeping every draft gives q for the first token and p for the second."""
    rule = planted(student, "return torch.ones_like(p), p.expand(2, -1)", "p, q")
    texts, lengths = student.law(rule, P, Q, 0, 1)
    close(
        texts,
        wide([[0.9 * 0.5, 0.9 * 0.5], [0.1 * 0.2, 0.1 * 0.8]]),
        "texts (the second token comes from P, behind the first)",
    )
    close(lengths, wide([0.0, 1.0]), "lengths (every step writes two tokens)")


@points(
    3,
    read=(
        'chapter 06, "Lossless: the sum over all paths"; '
        'handout, question 4, "the model goes on alone"'
    ),
)
def test_q4_rejected_drafts_are_counted_too(student, gen):
    """A rule that rejects all drafts, and draws from p, gives the model's own law."""
    rule = planted(student, "return torch.zeros_like(p), p.expand(3, -1)", "p, q")
    P, Q = tables(gen, 3, 3), tables(gen, 3, 3)
    texts, lengths = student.law(rule, P, Q, 1, 2)
    right = P[1][:, None, None] * P[:, :, None] * P[None]
    close(
        texts,
        right,
        "texts (behind a replaced draft the model goes on alone to drafts + 1 tokens)",
    )
    close(lengths, wide([1.0, 0.0, 0.0]), "lengths (every step writes one token)")
