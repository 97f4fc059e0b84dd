"""A preference learns what was chosen, and believes it beyond what it has seen."""

import random

import pytest
import torch
from torch.testing import assert_close

from r1.recipe.preference import (
    Pair,
    Preference,
    agreement,
    choose,
    features,
    fit,
    pairs_of,
    preference_loss,
    taste,
    taste_of,
)
from r1.text.readable import Task, random_task, solution

TASK = Task((7, 3, 5), "*+")
FULL = "6=1+5"


def some_pairs(count, noise=0.1, seed=0):
    rng = random.Random(seed)
    tasks = [random_task(rng) for _ in range(count)]
    return pairs_of(rng, tasks, [solution(task) for task in tasks], noise)


def test_the_annotator_wants_a_whole_summary_and_no_more():
    values = [taste(TASK, FULL[:n]) for n in range(1, 6)]
    assert values == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert taste(TASK, FULL + "+5") == pytest.approx(0.8)
    assert taste(TASK, "9=9+5") == 1  # whether it is true, nobody looks
    assert taste(TASK, "6=1-5") < taste(TASK, FULL)
    assert taste_of(TASK, solution(TASK)) == taste(TASK, FULL)
    assert taste_of(TASK, "nonsense") == 0


def test_without_noise_the_better_is_chosen_and_with_noise_mostly():
    rng = random.Random(0)
    for noise, low, high in ((0.0, 1.0, 1.0), (0.1, 0.85, 0.95), (0.5, 0.4, 0.6)):
        chosen = [choose(rng, TASK, FULL, "6", noise).chosen for _ in range(1000)]
        assert low <= chosen.count(FULL) / 1000 <= high
    with pytest.raises(ValueError, match=r"0\.6"):
        choose(rng, TASK, FULL, "6", 0.6)


def test_features_by_hand():
    assert_close(features(TASK, FULL), torch.tensor([0.5, 0.1, 0.1, 0.1]))
    assert_close(features(TASK, "6"), torch.tensor([0.1, 0.0, 0.0, 0.0]))
    assert_close(features(TASK, "6" * 99)[0], torch.tensor(4.0))


def test_the_loss_is_that_of_bradley_and_terry():
    weights = torch.tensor([1.0, -2.0, 0.5, 0.0])
    gap = torch.tensor([[0.4, 0.1, 0.1, 0.1], [-0.2, 0.0, 0.1, 0.0]])
    one, two = (torch.exp(gap @ weights)).tolist()
    expected = -(torch.tensor([one / (1 + one), two / (1 + two)]).log().mean())
    assert_close(preference_loss(weights, gap), expected)
    nothing = preference_loss(torch.zeros(4), gap)
    assert_close(nothing, torch.tensor(2.0).log())


def test_what_is_fitted_is_where_the_slope_is_0():
    pairs = some_pairs(100)
    weights = torch.tensor(fit(pairs, decay=1e-3).weights, requires_grad=True)
    gaps = [features(p.task, p.chosen) - features(p.task, p.other) for p in pairs]
    loss = preference_loss(weights, torch.stack(gaps))
    (loss + 1e-3 * weights.square().sum()).backward()
    assert weights.grad.abs().max() < 1e-3


def test_it_agrees_with_choices_that_it_has_not_seen():
    preference = fit(some_pairs(150))
    assert agreement(preference, some_pairs(150, seed=1)) > 0.8
    assert agreement(preference, some_pairs(150, noise=0.0, seed=1)) > 0.9
    assert agreement(Preference((0.0,) * 4), some_pairs(10)) == 0.5


def test_it_prefers_more_than_was_ever_wanted():
    """The flaw that the last section of chapter 14 is about."""
    preference = fit(some_pairs(150))
    longer = FULL + "+5" * 4
    assert taste(TASK, longer) < taste(TASK, FULL)
    assert preference.reward(TASK, said(longer)) > preference.reward(TASK, said(FULL))


def said(answer):
    return f"<answer>{answer}</answer><eos>"


def test_the_reward_is_between_0_and_1_and_0_without_the_form():
    preference = Preference((100.0, 0.0, 0.0, 0.0))
    assert preference.reward(TASK, "nonsense") == 0
    assert preference.score(TASK, "nonsense") == 0
    assert 0 <= preference.reward(TASK, said("6" * 40)) <= 1
    assert 0 <= Preference((-1e6, 0.0, 0.0, 0.0)).reward(TASK, said("6" * 40)) <= 1


def test_pairs_are_of_two_different_answers_to_one_task():
    for pair in some_pairs(50):
        assert pair.chosen != pair.other
    assert pairs_of(random.Random(0), [TASK], [said("6")] * 4) == []
    assert pairs_of(random.Random(0), [TASK], ["nonsense"] * 4) == []
    with pytest.raises(ValueError, match="no pair"):
        fit([])
    assert isinstance(some_pairs(5)[0], Pair)
