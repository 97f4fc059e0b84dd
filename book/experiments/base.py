"""Chapters 06 and 07: the model part by part, its drafts, and the base model of R1."""

from collections.abc import Sequence

from experiments.pretrain import Grid, run_grid

RUNS = {
    # Every part of the model by itself, and all of them: mtp1 is the model `tiny`.
    "mha": Grid(config="data/base/mha.json", log_every=10),
    "mla": Grid(config="data/base/mla.json", log_every=10),
    "moe": Grid(config="data/base/moe.json", log_every=10, bias_speed=1e-3),
    "mtp1": Grid(config="tiny", log_every=10, bias_speed=1e-3),
    "mtp2": Grid(config="data/base/mtp2.json", log_every=10, bias_speed=1e-3),
    # A smaller model that drafts for the larger one.
    "draft": Grid(config="data/base/draft.json", log_every=10, seeds=(0,)),
    # What chapters 11 to 16 begin with.
    "base": Grid(config="tiny", steps=3000, log_every=10, bias_speed=1e-3),
}


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("base", RUNS, words)


if __name__ == "__main__":
    main()
