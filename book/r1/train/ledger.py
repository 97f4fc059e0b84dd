"""The ledger: numbers that others printed, each with its source and its place there."""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

from r1.train.records import DATA, NOT_INSTALLED

SURE = ("opened", "transcription", "second-hand", "computed")


class Published(NamedTuple):
    """One row of data/published.csv: a number that somebody else printed.

    `number` is as the source prints it, and `also` has other ways to write it, with |
    between them; `unit` and `what` say what it counts; `source` is a key of
    references.bib and `place` the table, equation or section there. `sure` says how we
    read it: "opened" (in the source itself), "transcription" (in somebody's full
    copy), "second-hand" (where somebody quotes it) or "computed" (by us, from numbers
    that the source prints).
    """

    id: str
    number: str
    also: str
    unit: str
    what: str
    source: str
    place: str
    sure: str

    @property
    def value(self) -> float:
        """The number to calculate with."""
        return float(self.number.replace(",", ""))


@cache
def read_ledger(path: Path = DATA / "published.csv") -> dict[str, Published]:
    """All rows of the ledger by their id.

    Raises ValueError for an id that stands there twice, and FileNotFoundError.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {path.name}; {NOT_INSTALLED}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = [Published(**row) for row in csv.DictReader(file)]
    ledger = {row.id: row for row in rows}
    if len(ledger) < len(rows):
        ids = [row.id for row in rows]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        raise ValueError(f"{path.name} has more than once: {', '.join(twice)}")
    return ledger


def published(name: str) -> float:
    """A published number to calculate with, by its id in the ledger.

    Raises LookupError for an id that the ledger lacks; the message says which begin
    alike.
    """
    ledger = read_ledger()
    if name not in ledger:
        alike = [other for other in ledger if other[:3] == name[:3]]
        raise LookupError(f"published.csv has no {name}; it has {', '.join(alike)}")
    return ledger[name].value
