"""How sure a mean over seeds is, and whether two of them differ."""

import numpy as np
import pytest

from r1.stats import (
    Comparison,
    compare,
    compare_family,
    half_width,
    holm,
    permutation_test,
    wilson,
)


def test_five_seeds_have_2_776_standard_errors_on_each_side():
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    error = np.std(values, ddof=1) / np.sqrt(5)
    assert half_width(values) / error == pytest.approx(2.7764, abs=1e-4)
    assert half_width(values, 0.99) / error == pytest.approx(4.6041, abs=1e-4)


def test_the_interval_holds_the_true_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    hits = [abs(row.mean()) < half_width(row) for row in draws]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(("values", "level"), [([1.0], 0.95), ([1, 2], 1.0), ([], 0.5)])
def test_one_value_or_an_impossible_level_is_refused(values, level):
    with pytest.raises(ValueError, match="it takes two"):
        half_width(values, level)


def test_pairs_have_students_interval_of_their_differences():
    first, second = [1.0, 2.0, 4.0, 3.0, 6.0], [0.5, 1.5, 3.0, 3.5, 4.0]
    differences = np.subtract(first, second)
    line = compare("a - b", first, second, higher_is_better=True)
    assert line.difference == pytest.approx(differences.mean())
    assert line.high - line.difference == pytest.approx(half_width(differences))
    assert (line.low > 0) == (line.p < 0.05)


def test_five_pairs_and_five_against_five_have_these_smallest_exact_p_values():
    high, low = [6.0, 7.0, 8.0, 9.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0]
    assert permutation_test(high, low, paired=True) == pytest.approx(2 / 2**5)
    assert permutation_test(high, low, paired=False) == pytest.approx(2 / 252)


def test_an_exact_p_value_by_hand():
    """1, 3 against 2, 4: of six ways to deal, four are at least 1 from zero."""
    assert permutation_test([1, 3], [2, 4], paired=False) == pytest.approx(4 / 6)


def test_holm_by_hand():
    """Sorted .01 .02 .04: times 3, 2, 1 is .03 .04 .04."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])


def test_wilson_by_hand():
    """0 of n: the upper end is z^2 / (n + z^2)."""
    z2 = 1.959964**2
    assert wilson(0, 10) == pytest.approx((0, z2 / (10 + z2)), abs=1e-6)
    low, high = wilson(10, 10)
    assert (low, high) == pytest.approx((10 / (10 + z2), 1), abs=1e-6)


def test_a_verdict_says_which_way_is_better():
    up, down = [2.0, 2.1, 1.9, 2.0], [1.0, 1.0, 1.0, 1.1]
    assert compare("x", up, down, higher_is_better=True).verdict == "better"
    assert compare("x", up, down, higher_is_better=False).verdict == "worse"
    assert compare("x", up, up, higher_is_better=True).verdict == "cannot tell"
    assert compare("x", [2.0, 2.0], [1.0, 1.0], True).verdict == "better"


def test_a_line_of_a_comparison():
    line = Comparison("bias - none", 5, -0.0312, -0.05, -0.0124, 0.012, False)
    assert str(line) == ("bias - none: n 5, -0.031 [-0.050, -0.012], p 0.012: better")


@pytest.mark.parametrize("paired", [True, False])
def test_arms_that_are_the_same_get_a_verdict_at_most_one_time_in_twenty(paired):
    draws = np.random.default_rng(0).normal(size=(1000, 2, 5))
    lines = [compare("", a, b, True, paired) for a, b in draws]
    wrong = np.mean([line.verdict != "cannot tell" for line in lines])
    assert wrong == pytest.approx(0.05, abs=0.015)


def test_a_family_of_equal_arms_gets_any_verdict_at_most_one_time_in_twenty():
    draws = np.random.default_rng(1).normal(size=(400, 6, 2, 5))
    families = [
        compare_family({str(i): tuple(pair) for i, pair in enumerate(arms)}, True)
        for arms in draws
    ]
    wrong = [any(x.verdict != "cannot tell" for x in family) for family in families]
    assert np.mean(wrong) <= 0.07


@pytest.mark.parametrize(
    ("first", "second", "paired", "says"),
    [([1], [2], True, "takes two"), ([1, 2], [1, 2, 3], True, "no pairs")],
)
def test_arms_that_cannot_be_compared_are_refused(first, second, paired, says):
    with pytest.raises(ValueError, match=says):
        compare("x", first, second, True, paired)
    with pytest.raises(ValueError, match=says):
        permutation_test(first, second, paired)


def test_impossible_shares_are_refused():
    for hits, of in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="give 0 <= hits"):
            wilson(hits, of)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_verdict_is_drawn_from_what_is_no_number(bad):
    holed, whole = [bad, 1.0, 2.0], [1.0, 2.0, 3.0]
    calls = (
        lambda: compare("a - b", holed, whole, True),
        lambda: compare("a - b", whole, holed, True, paired=False),
        lambda: half_width(holed),
        lambda: permutation_test(holed, whole, True),
        lambda: holm([bad]),
    )
    for call in calls:
        with pytest.raises(ValueError, match=f"a value is {bad}; leave out"):
            call()
