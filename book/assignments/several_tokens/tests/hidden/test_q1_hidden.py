import torch

from coursekit.testing import changed, close, points


def packed(gen, rows=5, length=12):
    """Tokens, and documents of one to five tokens side by side, numbered anyhow."""
    tokens = torch.randint(0, 32, (rows, length), generator=gen)
    document = torch.empty(rows, length, dtype=torch.int64)
    for row in document:
        sizes = torch.randint(1, 6, (length,), generator=gen)
        numbers = torch.randperm(length, generator=gen)
        row[:] = numbers.repeat_interleave(sizes)[:length]
    return tokens, document


def expected(tokens, document, depth):
    """The same as mtp_targets, one position after the other."""
    rows, length = tokens.shape
    width = max(0, length - depth - 1)
    given = torch.zeros(rows, width, dtype=torch.int64)
    wanted = torch.full((rows, width), -100)
    for r in range(rows):
        for i in range(width):
            given[r, i] = tokens[r, i + depth]
            part = document[r, i : i + depth + 2]
            if (part == part[0]).all() and part[0] >= 0:
                wanted[r, i] = tokens[r, i + depth + 1]
    return given, wanted


@points(
    4,
    read=(
        'chapter 06, "By hand: six tokens"; handout, question 1, "A target counts if"'
    ),
)
def test_q1_rows_packed_with_many_documents(student, gen):
    """Rows of short documents, down to one token, at depths 0 to 3."""
    tokens, document = packed(gen)
    for depth in range(4):
        found = student.mtp_targets(tokens, document, depth)
        close(
            found,
            expected(tokens, document, depth),
            f"(given, wanted) at depth {depth} of a packed row (all tokens from i to "
            "i + depth + 1 have to be of one document; given holds every token)",
        )


@points(2, read='handout, question 1, "padding belongs to none"')
def test_q1_padding_is_no_document(student, gen):
    """Padding at the end of a row is asked for by nobody."""
    tokens, document = packed(gen, 3, 10)
    document[0, 6:], document[2, 3:] = -1, -1
    for depth in (0, 2):
        found = student.mtp_targets(tokens, document, depth)
        close(
            found,
            expected(tokens, document, depth),
            f"(given, wanted) at depth {depth} with padding (document -1 is no "
            "document: its tokens do not count, not even among themselves)",
        )


@points(2, read='handout, question 1, "A row that is too short"')
def test_q1_short_rows_and_arguments(student, gen):
    """Rows too short for a depth give no positions, and arguments are left alone."""
    tokens, document = packed(gen, 4, 4)
    for depth in (1, 3, 4, 5):
        right = expected(tokens, document, depth)
        found, after = changed(student.mtp_targets, tokens, document, depth)
        close(
            after[:2],
            [tokens, document],
            "tokens and document after the call (a slice is a view: writing -100 into "
            "it writes into tokens)",
        )
        close(found, right, f"(given, wanted) of rows of 4 tokens at depth {depth}")
