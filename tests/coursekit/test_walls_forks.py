"""Several processes at once: each gives its own result, and its end ends no other."""

import os
import time
from contextlib import closing

import psutil
import pytest

from coursekit.walls.forks import each, spread


@pytest.fixture
def started():
    """The processes that a test has started and that still run."""
    others = psutil.Process().children()  # a browser of tests before this one, say
    return lambda: [p for p in psutil.Process().children() if p not in others]


def work(item):
    if item == "exits":
        os._exit(5)
    if item == "hangs":
        time.sleep(1000)
    if item == "raises":
        raise ValueError("no")
    return [item] * 10**5  # more than a pipe holds


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_what_dies_hangs_or_raises_costs_no_other_item(jobs, started):
    items = ["a", "exits", "b", "hangs", "c", "raises", "exits", "d"]
    found = list(each(work, items, jobs, seconds=1))
    assert sorted(item for item, _, _ in found) == sorted(items)
    assert {item: why for item, _, why in found if why} == {
        "exits": "exit code 5",
        "hangs": "no result in 1 s",
        "raises": "ValueError: no",
    }
    assert all(value == [item] * 10**5 for item, value, why in found if not why)
    assert not started()


def test_who_stops_asking_ends_what_still_runs(started):
    with closing(each(work, ["a", "hangs", "hangs"], 3)) as ended:
        assert next(ended)[0] == "a"
        assert len(started()) == 2
    assert not started()


def test_work_is_spread_and_joined_in_order_and_errors_come_back():
    def double(part):
        time.sleep(0.2 if 1 in part else 0)
        return [2 * x for x in part]

    assert spread(double, [1, 2, 3], 2) == [2, 6, 4]
    assert spread(double, [], 2) == []
    with pytest.raises(RuntimeError, match="ZeroDivisionError: division by zero"):
        spread(lambda part: [1 / 0], [1, 2], 2)
