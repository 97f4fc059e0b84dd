"""The ledger of published numbers is complete, and every row can be found again."""

import re

import pytest

from r1.train import published, read_ledger
from r1.train.ledger import SURE
from r1.train.records import BOOK

ROWS = read_ledger().values()
KEYS = set(re.findall(r"@\w+\{([^,]+),", (BOOK / "references.bib").read_text("utf-8")))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_row_says_what_it_counts_and_where_it_was_read(row):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.id)
    assert isinstance(row.value, float)
    assert all((row.unit, row.what, row.place))
    assert row.source in KEYS, f"references.bib has no {row.source}"
    assert row.sure in SURE
    for form in filter(None, row.also.split("|")):
        float(form)  # other ways to write it, with | between them


def test_no_number_stands_twice_under_the_same_place():
    places = [(row.source, row.place, row.number, row.what) for row in ROWS]
    assert len(set(places)) == len(places)


def test_a_published_number_is_read_by_its_id():
    assert published("v3-gpu-hours") == 2788
    with pytest.raises(LookupError, match=r"it has .*v3-gpu-hours"):
        published("v3-gpu-minutes")


def test_an_id_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "published.csv"
    path.write_text(
        "id,number,also,unit,what,source,place,sure\n"
        "a,1,,u,w,s,p,opened\na,2,,u,w,s,p,opened\n"
    )
    with pytest.raises(ValueError, match="more than once: a"):
        read_ledger(path)
