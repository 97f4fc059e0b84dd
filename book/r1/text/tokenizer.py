"""Text to token ids and back: one id a character, one for each tag."""

import re

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
TOKENS = [BOS, EOS, PAD, *TAGS, *"0123456789", *"abcdefghij", *"+-*=;"]
IDS = {token: index for index, token in enumerate(TOKENS)}
BOS_ID, EOS_ID, PAD_ID = IDS[BOS], IDS[EOS], IDS[PAD]
VOCAB_SIZE = len(TOKENS)

# Alternatives are tried from left to right: a tag is found before the single character
# that it begins with. DOTALL lets a line break be an (unknown) character.
_PIECE = re.compile("|".join(map(re.escape, [BOS, EOS, PAD, *TAGS])) + "|.", re.DOTALL)


def encode(text: str) -> list[int]:
    """Split text into tokens and return their ids.

    `encode("7*3=<answer>1</answer>")` has 7 ids: a tag counts as one.

    Raises ValueError for a character that the vocabulary lacks.
    """
    pieces = _PIECE.findall(text)
    unknown = next((p for p in pieces if p not in IDS), None)
    if unknown is not None:
        raise ValueError(
            f"{unknown!r} is not in the vocabulary; it has {' '.join(TOKENS)}"
        )
    return [IDS[piece] for piece in pieces]


def decode(ids) -> str:
    """Join the tokens of a sequence of ids; encode(decode(ids)) == ids.

    Raises ValueError for an id outside 0 to VOCAB_SIZE - 1.
    """
    ids = [int(index) for index in ids]
    for index in ids:
        if not 0 <= index < VOCAB_SIZE:
            raise ValueError(f"id {index} is not in 0..{VOCAB_SIZE - 1}")
    return "".join(TOKENS[index] for index in ids)
