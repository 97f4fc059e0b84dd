"""Chapter 05: attention with caches of different sizes."""

from collections.abc import Sequence

from experiments.pretrain import Grid, run_grid

KINDS = ("mha", "gqa", "mqa", "mla96", "mla48")
RUNS = {
    kind: Grid(
        config=f"data/latent/{kind}.json",
        text="kinds",
        rows=16,
        log_every=25,
        steps=2000,
        seeds=(0, 1, 2, 3, 4),
    )
    for kind in KINDS
}


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("latent", RUNS, words)


if __name__ == "__main__":
    main()
