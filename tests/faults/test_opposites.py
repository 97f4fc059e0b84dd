"""The opposites can be planted, every finished chapter has some, and one is noticed."""

import traceback

import pytest
import torch
from opposites import Opposite, code_of, ending, read_opposites, try_opposite

ROWS = read_opposites()


def test_opposites_have_names_of_their_own():
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_an_opposite_can_be_planted_where_it_says(row):
    assert bool(row.plant) != bool(row.old)
    compile(row.plant, row.id, "exec")
    if row.old:
        assert code_of(row.chapter).count(row.old) == 1
        assert row.old != row.new


def test_the_end_of_a_run_names_the_exception_also_of_a_long_message():
    with pytest.raises(AssertionError) as caught:
        torch.testing.assert_close(torch.zeros(3), torch.ones(3))
    stderr = "a warning\n" + "".join(traceback.format_exception(caught.value))
    assert not stderr.strip().splitlines()[-1].startswith("AssertionError")
    assert ending(stderr).startswith("AssertionError")


def test_the_end_of_a_run_is_the_last_exception_of_a_chain():
    first = "Traceback (most recent call last):\n  here\nAssertionError: a\n"
    then = "\nDuring handling of the above exception, another occurred:\n\n"
    last = "Traceback (most recent call last):\n  there\nValueError: b\n  c\n"
    assert ending(first + then + last) == "ValueError: b"
    assert ending("killed") == "killed"
    assert ending("") == ""


@pytest.mark.slow
def test_a_page_is_green_as_it_is_and_red_under_its_opposite():
    page = "how_we_decide"
    plain = try_opposite(Opposite("nothing", page, ""))
    assert not plain.failed
    assert not plain.end
    assert plain.held
    exchanged = next(row for row in ROWS if row.id == "decide-exchanged")
    assert try_opposite(exchanged).failed
