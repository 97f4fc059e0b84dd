"""Chapter 02: the plain transformer, the first model that the book trains."""

from collections.abc import Sequence

from experiments.pretrain import Grid, run_grid

RUNS = {"dense": Grid(config="dense", steps=2000)}


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("small_world", RUNS, words, threads=2)


if __name__ == "__main__":
    main()
