"""A time is that of the call."""

import time

from r1.timing import median_seconds


def test_a_call_that_waits_takes_at_least_as_long():
    calls = []

    def wait():
        calls.append(1)
        time.sleep(0.01)

    assert median_seconds(wait, least=0.05) >= 0.01
    assert len(calls) > 3
