"""How sure a mean over seeds is."""

import numpy as np
import pytest

from r1.stats import half_width


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
