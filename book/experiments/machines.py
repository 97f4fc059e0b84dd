"""Chapter 19: what one, two and four processes hold, send and take for a step.

`python -m experiments.machines` starts experiments.travels in so many processes on this
machine, each with one thread, and records what each of them reports:

    held      bytes of weights, gradients and moments, of the gathered copy in a pass,
              and for GRPO of the reference model
    travels   bytes that leave the process in one step, by kind of collective, and how
              many collectives there were
    seconds   of each step that was timed, of the process that took longest; `worked`,
              the seconds that the cores worked on it for all processes; `loopback`, the
              bytes that Linux counts on the way between them

Beside each number of bytes stands what r1.cost.machines computes from the
configuration. With more processes than cores the seconds say nothing of a speed-up.
Other programs on the machine make steps longer: the shortest is the least disturbed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments import runner
from experiments.runner import Job, Row
from r1.model.expert_parallel import launch


@dataclass(frozen=True)
class Way:
    """A way to train in some processes; see experiments.travels."""

    way: str
    processes: int
    seeds: tuple[None, ...] = (None,)


RUNS = {
    f"{way}_on_{processes}": Way(way, processes)
    for way in ("rows", "experts", "grpo")
    for processes in (1, 2, 4)
    if way != "experts" or processes > 1
}


def make(job: Job) -> Row:
    """Start the processes of a run, and write down what they report."""
    run = RUNS[job.name]
    found = launch("experiments.travels", run.way, processes=run.processes)
    tables = tables_of(found)
    for kind, rows in tables.items():
        job.write(rows, kind)
    return {"seconds": min(row["seconds"] for row in tables["seconds"])}


def tables_of(reports: list[dict]) -> dict[str, list[Row]]:
    """The tables of a run: a row for each process, and for the seconds each step.

    A step takes as long as the process that takes longest.
    """
    tables = {
        kind: [{"process": i, **report[kind]} for i, report in enumerate(reports)]
        for kind in ("held", "travels")
    }
    rows = []
    for step, clocks in enumerate(zip(*(r["seconds"] for r in reports), strict=True)):
        took, worked, carried = zip(*clocks, strict=True)
        row = {"step": step, "seconds": max(took), "worked": sum(worked)}
        rows.append(row | {"loopback": min(carried)})
    return tables | {"seconds": rows}


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    runner.run_grid(
        *("machines", RUNS, make, lambda job: job.path("seconds").exists(), words)
    )


if __name__ == "__main__":
    main()
