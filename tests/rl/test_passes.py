"""The passes of a step of GRPO, by hand; tests of several processes count them."""

from r1.rl.passes import positions, read_again, written_rows
from r1.text.tokenizer import encode

PROMPT = "<bos>1+2="
LEFT = len(encode(PROMPT))


def test_a_row_is_written_until_half_of_the_rows_have_ended():
    # Behind the first token all four go on, behind the second two have ended.
    assert list(written_rows([2, 2, 5, 4])) == [4, 4, 2, 2]
    assert list(written_rows([1, 5, 5, 5])) == [4, 4, 4, 4]  # one is no half
    assert list(written_rows([1, 1])) == []


def test_answers_are_read_in_pieces_of_similar_length_behind_their_prompts():
    answers = [(PROMPT, 3), (PROMPT, 20), (PROMPT, 4)]
    # Each answer but its last token, as wide as the longest of its piece.
    assert read_again(answers, LEFT) == [LEFT, 2 * 3, 1 * 19]
    other = [*answers, ("<bos>2+2=", 3)]
    assert read_again(other, LEFT)[0] == 2 * LEFT


def test_a_step_writes_watches_with_two_models_and_learns():
    answers = [(PROMPT, 3), (PROMPT, 3)]
    written, watched = [LEFT, 2, 2], [LEFT, 2]  # of the first of eight answers
    learned = [LEFT, 2 * 2]
    assert positions(answers, 2) == [*written, *watched, *watched, *learned]
