"""Submissions made to go wrong get their points, and leave nothing.

There are more than seventy, each in a sandbox of its own, as in a class. Twenty seconds
on two cores are mostly those that loop or fill the memory until their limits end them.
"""

import os
import statistics
from dataclasses import replace
from pathlib import Path

import hostile
import pytest

from coursekit.authoring.assignment import load
from coursekit.grading.results import Result
from coursekit.walls.sandbox import WALLS

pytestmark = pytest.mark.alone

EXAMPLE = load(Path(__file__).parent.parent / "assignments" / "example")


def test_the_set_is_large_and_its_names_differ():
    found = hostile.hostile(EXAMPLE, 1)
    assert len(found) > 70
    assert len({one.name for one in found}) == len(found)


@pytest.mark.slow
def test_hostile_submissions_get_what_they_deserve(walls):
    wrong, results = hostile.prove_hostile(EXAMPLE, jobs=os.cpu_count() or 1)
    assert not wrong, "\n".join(wrong)
    seconds = [result.seconds for result in results if result.seconds]
    print(f"{len(results)} hostile submissions, {statistics.fmean(seconds):.1f} s each")


def test_a_connection_would_be_noticed():
    with hostile.listening() as (port, heard):
        hostile.socket.create_connection(("127.0.0.1", port)).close()
        sender = hostile.socket.socket(
            hostile.socket.AF_INET, hostile.socket.SOCK_DGRAM
        )
        with sender:
            sender.sendto(b"x", ("127.0.0.1", port))
    assert sorted(heard) == ["a connection", "a datagram"]


def test_another_grade_than_the_due_one_would_be_noticed():
    one = hostile.hostile(EXAMPLE, 1)[0]
    full = {"q1": 4.0, "q2": 3.0, "q3": 2.0}
    result = Result(one.name, "example", "ok", "", WALLS, full)
    assert not hostile.misjudged(one, result, EXAMPLE)
    less = replace(result, questions={**full, "q2": 2.0})
    (said,) = hostile.misjudged(one, less, EXAMPLE)
    assert "q2 got 2.0, not 3.0" in said
    assert hostile.misjudged(one, None, EXAMPLE) == [f"{one.name}: no result"]
