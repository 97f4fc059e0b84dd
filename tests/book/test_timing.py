"""A time is that of the call, with the threads that torch has, and its median."""

import time

import pytest
import torch

from r1.timing import median_seconds

pytestmark = pytest.mark.alone


def test_the_time_is_that_of_one_call_and_not_of_all():
    calls = []

    def wait():
        calls.append(time.perf_counter())
        time.sleep(0.02)

    seconds = median_seconds(wait, least=0.3)
    assert 0.02 <= seconds < 0.2  # all calls together take longer
    assert len(calls) > 3
    assert calls[-1] - calls[0] > seconds


def test_a_few_slow_calls_do_not_move_the_median():
    number = iter(range(10**9))

    def wait():
        time.sleep(0.2 if next(number) % 10 == 7 else 0.005)

    assert median_seconds(wait, least=0.5) < 0.05


@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_has_the_threads_that_torch_is_set_to(threads):
    before, seen = torch.get_num_threads(), set()
    torch.set_num_threads(threads)
    try:
        median_seconds(lambda: seen.add(torch.get_num_threads()), least=0.01)
    finally:
        torch.set_num_threads(before)
    assert seen == {threads}
