"""Chapters 06 and 07: the model part by part, its drafts, and the base model of R1."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.pretrain import Grid, run_grid

FIVE = (0, 1, 2, 3, 4)
PART = Grid(config="tiny", log_every=10, seeds=FIVE)

# Predictions, before the runs of seeds 3 and 4, of mha_split and of lambda_0.1:
# mha_split computes in every run, as mha does, so that what mla loses is the latent's;
# and the loss of the main model with a lambda of 0.1 cannot be told from that with 0.3.
RUNS = {
    # Every part of the model by itself, and all of them: mtp1 is the model `tiny`.
    # mha_split is mha with the split of latent attention: 8 of 24 features turn.
    "mha": replace(PART, config="data/base/mha.json"),
    "mha_split": replace(PART, config="data/base/mha_split.json"),
    "mla": replace(PART, config="data/base/mla.json"),
    "moe": replace(PART, config="data/base/moe.json", bias_speed=1e-3),
    "mtp1": replace(PART, bias_speed=1e-3),
    # Does the module hold the main model back? mtp1 begins with a lambda of 0.3.
    "lambda_0.1": replace(PART, bias_speed=1e-3, mtp_weight=0.1),
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
