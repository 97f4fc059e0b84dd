"""At least thirty submissions made to go wrong get their points, and leave nothing."""

import os
import statistics
from pathlib import Path

import pytest

from coursekit import prove
from coursekit.assignment import load
from coursekit.hostile import hostile

EXAMPLE = load(Path(__file__).parent / "assignments" / "example")


def test_the_set_is_large_and_its_names_differ():
    found = hostile(EXAMPLE, 1)
    assert len(found) >= 30
    assert len({one.name for one in found}) == len(found)


@pytest.mark.slow
def test_hostile_submissions_get_what_they_deserve(walls):
    wrong, results = prove.prove_hostile(EXAMPLE, jobs=os.cpu_count() or 1)
    assert not wrong, "\n".join(wrong)
    seconds = [result["seconds"] for result in results if result["seconds"]]
    print(f"{len(results)} hostile submissions, {statistics.fmean(seconds):.1f} s each")


def test_a_connection_would_be_noticed():
    with prove.listening() as (port, heard):
        prove.socket.create_connection(("127.0.0.1", port)).close()
        sender = prove.socket.socket(prove.socket.AF_INET, prove.socket.SOCK_DGRAM)
        with sender:
            sender.sendto(b"x", ("127.0.0.1", port))
    assert sorted(heard) == ["a connection", "a datagram"]


def test_another_grade_than_the_due_one_would_be_noticed():
    one = hostile(EXAMPLE, 1)[0]
    result = {"status": "ok", "reason": "", "verdicts": []}
    full = {"q1": 4.0, "q2": 3.0, "q3": 2.0}
    assert not prove.misjudged(one, {**result, "questions": full}, EXAMPLE)
    less = {**full, "q2": 2.0}
    (said,) = prove.misjudged(one, {**result, "questions": less}, EXAMPLE)
    assert "q2 got 2.0, not 3.0" in said
    assert prove.misjudged(one, None, EXAMPLE) == [f"{one.name}: no result"]
