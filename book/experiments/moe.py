"""Chapters 03 and 04: experts of different sizes, and ways to balance their load."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.pretrain import Grid, run_grid

FIVE = (0, 1, 2, 3, 4)
# Chapter 03: the same numbers of parameters at work on a token, cut up differently.
SIZES = Grid(text="kinds", rows=16, log_every=25, steps=1500, seeds=FIVE)
# Chapter 04: 16 experts, of which 4 work on a token.
BALANCE = replace(SIZES, steps=1000, config="data/moe/balance.json")
# Chapter 04: one of 16 experts works on a token, and its gate is not normalized.
COLLAPSE = replace(BALANCE, steps=600, config="data/moe/collapse.json")

RUNS = {
    "dense": replace(SIZES, config="data/moe/dense.json"),
    "large": replace(SIZES, config="data/moe/large.json", bias_speed=1e-3),
    "fine": replace(SIZES, config="data/moe/fine.json", bias_speed=1e-3),
    "shared": replace(SIZES, config="data/moe/shared.json", bias_speed=1e-3),
    "balance_none": BALANCE,
    "balance_bias_1e-4": replace(BALANCE, bias_speed=1e-4),
    "balance_bias_1e-3": replace(BALANCE, bias_speed=1e-3),
    "balance_bias_1e-2": replace(BALANCE, bias_speed=1e-2),
    "balance_expert_1e-3": replace(BALANCE, balance_loss="expert", alpha=1e-3),
    "balance_expert_1e-2": replace(BALANCE, balance_loss="expert", alpha=1e-2),
    "balance_expert_1e-1": replace(BALANCE, balance_loss="expert", alpha=1e-1),
    "balance_sequence_1e-2": replace(BALANCE, balance_loss="sequence", alpha=1e-2),
    "balance_v3": replace(
        BALANCE, bias_speed=1e-3, balance_loss="sequence", alpha=1e-4
    ),
    "balance_groups": replace(
        BALANCE, config="data/moe/balance_groups.json", bias_speed=1e-3
    ),
    "collapse_none": COLLAPSE,
    "collapse_expert": replace(COLLAPSE, balance_loss="expert", alpha=1e-2),
    "collapse_bias": replace(COLLAPSE, bias_speed=1e-3),
}


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("moe", RUNS, words)


if __name__ == "__main__":
    main()
