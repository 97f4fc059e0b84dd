import torch

from coursekit.testing import close, points


@points(3, read='chapter 06, "By hand: six tokens"')
def test_q1_each_depth_looks_one_token_further(student):
    """In a row of one document each depth is given and asked for one token more."""
    tokens = torch.tensor([[7, 10, 3, 12, 1, 13]])
    document = torch.zeros(1, 6, dtype=torch.int64)
    for depth, given, wanted in [
        (0, [7, 10, 3, 12, 1], [10, 3, 12, 1, 13]),
        (1, [10, 3, 12, 1], [3, 12, 1, 13]),
        (2, [3, 12, 1], [12, 1, 13]),
    ]:
        found = student.mtp_targets(tokens, document, depth)
        close(
            found,
            (torch.tensor([given]), torch.tensor([wanted])),
            f"(given, wanted) at depth {depth} (position i is given token i + depth)",
        )


@points(
    3,
    read=(
        'handout, question 1, "A target counts if"; '
        'handout, question 1, "holds every token as it is"'
    ),
)
def test_q1_targets_do_not_cross_a_boundary(student):
    """With two documents in a row, nobody is asked for another document's token."""
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]])
    document = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    for depth, wanted in [
        (0, [2, 3, 4, -100, 6, 7, 8]),
        (1, [3, 4, -100, -100, 7, 8]),
        (2, [4, -100, -100, -100, 8]),
    ]:
        found = student.mtp_targets(tokens, document, depth)
        given, wanted = tokens[:, depth:-1], torch.tensor([wanted])
        written = tokens.clone()
        written[:, depth + 1 :][wanted == -100] = -100
        close(
            found,
            (given, wanted),
            f"(given, wanted) at depth {depth} (compare the document of the token that "
            "is seen last, i, with that of the token asked for, i + depth + 1)",
            mistakes={
                "what is given is marked, too": (
                    given.where(wanted != -100, -100),
                    wanted,
                ),
                "-100 is written into a slice of tokens, which changes tokens itself": (
                    written[:, depth:-1],
                    wanted,
                ),
            },
        )
