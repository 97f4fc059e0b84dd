"""Text goes in and out unchanged."""

import random

import pytest

from r1.text.problems import document
from r1.text.tokenizer import BOS_ID, EOS_ID, TOKENS, VOCAB_SIZE, decode, encode


def test_a_tag_is_one_token():
    assert len(encode("7*3=<answer>1</answer>")) == 7


def test_every_token_survives_the_round_trip():
    assert encode("".join(TOKENS)) == list(range(VOCAB_SIZE))
    assert decode(range(VOCAB_SIZE)) == "".join(TOKENS)


def test_documents_survive_the_round_trip():
    rng = random.Random(0)
    for _ in range(200):
        text = document(rng)
        ids = encode(text)
        assert decode(ids) == text
        assert (ids[0], ids[-1]) == (BOS_ID, EOS_ID)


@pytest.mark.parametrize("text", ["x", "7 * 3", "<thinking>", "٣", "\n"])
def test_an_unknown_character_is_named(text):
    with pytest.raises(ValueError, match="is not in the vocabulary"):
        encode(text)


@pytest.mark.parametrize("index", [-1, VOCAB_SIZE])
def test_an_id_outside_the_vocabulary_is_named(index):
    with pytest.raises(ValueError, match=f"id {index} "):
        decode([index])
