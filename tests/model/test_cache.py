"""The cache writes behind its past, forgets on demand, and refuses what cannot fit."""

import pytest
import torch
from torch.testing import assert_close

from r1.model.cache import KVCache


def filled(length, capacity=8, batch=2):
    cache, x = KVCache(capacity), torch.randn(batch, length, 3)
    cache.append(x)
    return cache, x


def test_appending_leaves_the_past_where_it_is():
    cache, x = filled(3)
    address = cache.stored[0].data_ptr()
    (seen,) = cache.append(torch.ones(2, 2, 3))
    assert cache.stored[0].data_ptr() == seen.data_ptr() == address
    assert_close(seen, torch.cat([x, torch.ones(2, 2, 3)], dim=1))
    assert cache.length == 5
    assert cache.nbytes == 2 * 5 * 3 * 4


def test_what_is_rolled_back_is_written_over():
    cache, x = filled(5)
    cache.rollback(2)
    assert cache.length == 3
    (seen,) = cache.append(torch.zeros(2, 1, 3))
    assert_close(seen[:, :3], x[:, :3])
    assert_close(seen[:, 3], torch.zeros(2, 3))
    cache.rollback(4)
    assert cache.nbytes == cache.length == 0


@pytest.mark.parametrize("tokens", [-1, 6])
def test_a_rollback_beyond_the_past_names_the_limits(tokens):
    with pytest.raises(ValueError, match=f"{tokens} tokens of 5; give a number from"):
        filled(5)[0].rollback(tokens)


@pytest.mark.parametrize("rows", [slice(1, 3), [3, 0], torch.tensor([2])])
def test_rows_of_a_cache_are_a_cache_of_their_own(rows):
    cache, x = filled(4, batch=4)
    some = cache[rows]
    assert_close(some.used[0], x[rows])
    some.append(torch.ones(len(x[rows]), 1, 3))
    assert (cache.length, some.length, some.capacity) == (4, 5, 8)
    assert_close(cache.used[0], x)


def test_caches_of_equal_length_can_be_joined():
    (one, x), (two, y) = filled(4, batch=1), filled(4, batch=2)
    assert_close(KVCache.join([one, two]).used[0], torch.cat([x, y]))
    with pytest.raises(ValueError, match=r"\(4, 8\), \(5, 8\)\] cannot be joined"):
        KVCache.join([one, filled(5)[0]])


def test_what_does_not_fit_is_refused_and_nothing_is_lost():
    cache, x = filled(4)
    with pytest.raises(ValueError, match="holds 8 tokens and 9 are needed"):
        cache.append(torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match=r"begin a new cache, or pick rows"):
        cache.append(torch.zeros(3, 1, 3))
    with pytest.raises(ValueError, match="begin a new cache"):
        cache.append(torch.zeros(2, 1, 3), torch.zeros(2, 1, 3))
    with pytest.raises(ValueError, match=r"have \[1, 2\] tokens"):
        cache.append(torch.zeros(2, 1, 3), torch.zeros(2, 2, 3))
    with pytest.raises(ValueError, match="capacity is 0"):
        KVCache(0)
    assert_close(cache.used[0], x)
