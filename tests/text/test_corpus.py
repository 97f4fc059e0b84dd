"""Text of several kinds: answers that follow, facts that stay, no kind forgotten."""

import random

import pytest

from r1.text import corpus, problems
from r1.text.tokenizer import encode


def parts(text):
    question, answer = text.removeprefix("<bos>").split("=<answer>")
    return question, answer.removesuffix("</answer><eos>")


@pytest.mark.parametrize("kind", corpus.KINDS)
def test_every_kind_is_made_of_tokens_and_ends(kind):
    rng = random.Random(0)
    for _ in range(100):
        text = corpus.document(rng, kind)
        question, answer = parts(text)
        assert question
        assert answer
        assert len(encode(text)) < 60


@pytest.mark.parametrize("kind", corpus.KINDS)
def test_an_answer_follows_from_its_question(kind):
    """The same question never has two answers."""
    rng, answers = random.Random(0), {}
    for _ in range(3000):
        question, answer = parts(corpus.document(rng, kind))
        assert answers.setdefault(question, answer) == answer


def test_answers_are_right():
    rng = random.Random(0)
    for _ in range(100):
        question, answer = parts(corpus.document(rng, "sorting"))
        assert answer == "".join(sorted(question))
        question, answer = parts(corpus.document(rng, "reversing"))
        assert answer == question[::-1]
        question, answer = parts(corpus.document(rng, "digit sums"))
        terms = tuple(map(int, question[::2]))
        problem = problems.Problem(terms, question[1::2])
        assert answer == problems.worked_solution(problem)


def test_letter_sums_are_digit_sums_in_letters():
    digits = corpus.document(random.Random(3), "digit sums")
    letters = corpus.document(random.Random(3), "letter sums")
    assert parts(letters) == tuple(
        p.translate(problems.TO_LETTERS) for p in parts(digits)
    )


@pytest.mark.parametrize("kind", ["digit facts", "letter facts"])
def test_there_are_as_many_facts_as_are_said(kind):
    rng = random.Random(0)
    keys = {parts(corpus.document(rng, kind))[0] for _ in range(3000)}
    assert corpus.FACTS - 4 <= len(keys) <= corpus.FACTS


def test_a_mixed_text_has_every_kind():
    rng = random.Random(0)
    texts = [corpus.document(rng) for _ in range(200)]
    assert any("+" in text for text in texts)
    with pytest.raises(ValueError, match="use one of digit facts, letter facts"):
        corpus.document(rng, "poems")
