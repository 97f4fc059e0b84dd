"""The family of DeepSeek-V3, counted, beside what its makers say."""

import csv
from pathlib import Path
from typing import NamedTuple

from r1.cost.counting import ParameterCount, count_parameters
from r1.model.config import ModelConfig


class Member(NamedTuple):
    """A published model: its parameters by `count_parameters`, and by its makers.

    `said_total` and `said_active` are in billions, and None where we found no number;
    `source` says where its fields were read, `said_in` where the makers' numbers.
    """

    model: str
    config: ModelConfig
    parameters: ParameterCount
    said_total: float | None
    said_active: float | None
    source: str
    said_in: str


def read_family(folder: Path | str) -> list[Member]:
    """Every configuration of a folder, in the order of its `sources.csv`."""
    with open(Path(folder) / "sources.csv", encoding="utf-8", newline="") as file:
        return [_member(Path(folder), row) for row in csv.DictReader(file)]


def _member(folder: Path, row: dict[str, str]) -> Member:
    config = ModelConfig.from_json(folder / f"{row['name']}.json")
    said = [float(row[key]) if row[key] else None for key in ("total", "active")]
    return Member(
        row["model"],
        config,
        count_parameters(config),
        *said,
        row["fields_from"],
        row["stated_in"],
    )


def family_table(members: list[Member]) -> str:
    """A table in Markdown: billions of parameters, counted and as the makers say.

    Two counts of active parameters are given, since makers mean one or the other: with
    the embedding, and without.
    """
    lines = [
        "| model | total | makers | active | without embedding | makers | MTP |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in members:
        counts = [f"{n / 1e9:.1f}" for n in (m.parameters.total, m.parameters.active)]
        said = ["" if n is None else f"{n:g}" for n in (m.said_total, m.said_active)]
        without = f"{m.parameters.active_without_embedding / 1e9:.1f}"
        mtp = f"{m.parameters.mtp / 1e9:.1f}" if m.parameters.mtp else ""
        cells = [m.model, counts[0], said[0], counts[1], without, said[1], mtp]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
