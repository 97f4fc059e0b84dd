"""Chances that one of k answers is right, and what a majority says."""

import itertools

import pytest
import torch

from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.train.evaluation import answer_often, evaluate, majority_right, pass_at_k


@pytest.mark.parametrize(("samples", "right", "k"), [(6, 2, 3), (5, 0, 2), (4, 4, 1)])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(samples, right, k):
    marks = [True] * right + [False] * (samples - right)
    subsets = list(itertools.combinations(marks, k))
    assert pass_at_k(samples, right, k) == pytest.approx(
        sum(map(any, subsets)) / len(subsets)
    )


def test_pass_at_1_is_accuracy_and_pass_at_all_is_whether_any_is_right():
    assert pass_at_k(256, 64, 1) == pytest.approx(0.25)
    assert pass_at_k(256, 1, 256) == 1.0
    assert pass_at_k(256, 0, 256) == 0.0


@pytest.mark.parametrize("k", [0, 9])
def test_a_k_that_cannot_be_drawn_is_refused(k):
    with pytest.raises(ValueError, match=f"k is {k}; choose between 1 and all 8"):
        pass_at_k(8, 3, k)


@pytest.mark.parametrize("right", [-1, 9])
def test_more_right_ones_than_samples_or_fewer_than_none_are_refused(right):
    with pytest.raises(ValueError, match=f"{right} are right; choose between 0 and 8"):
        pass_at_k(8, right, 1)


def test_an_evaluation_asks_something():
    with pytest.raises(ValueError, match="problems is 0; ask at least 1"):
        evaluate(Model(ModelConfig.dense()), 3, 0)


def test_a_majority_is_shared_where_votes_are_equal():
    assert majority_right({"3": 2, "5": 1}, "3") == 1.0
    assert majority_right({"3": 2, "5": 1}, "5") == 0.0
    assert majority_right({"3": 2, "5": 2}, "5") == 0.5
    assert majority_right({}, "5") == 0.0


def test_every_problem_is_answered_as_often_as_asked_and_again_the_same():
    torch.manual_seed(0)
    model = Model(ModelConfig.dense()).eval()
    first, again = (answer_often(model, 3, samples=4, problems=3) for _ in range(2))
    assert first == again
    assert [len(texts) for _, texts in first] == [4, 4, 4]
    assert all(problem.held_out for problem, _ in first)
