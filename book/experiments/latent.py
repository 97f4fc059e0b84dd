"""Chapter 05: attention with caches of different sizes."""

from collections.abc import Sequence

from experiments.pretrain import Grid, run_grid

# mha_split is mha with the split of latent attention: 8 of a head's 24 features turn.
# Between it and the two latents differ the latent with its norm, the one rotary key for
# all heads, and the width of the feed-forward layers, which keeps the parameters nearly
# equal.
# Prediction, before its runs: it cannot be told from mha in either loss, and both
# latents are behind it on all text.
KINDS = ("mha", "mha_split", "gqa", "mqa", "mla96", "mla48")
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
