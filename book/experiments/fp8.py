"""Chapter 08: one model, multiplied in 32, 16 and eight bits, changed one by one."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.pretrain import Grid, run_grid

EIGHT = Grid(
    config="data/base/moe.json",
    steps=400,
    rows=8,
    log_every=5,
    bias_speed=1e-3,
    problems=0,
    seeds=(0, 1, 2, 3, 4),
)
RUNS = {
    "float32": EIGHT,  # nothing is rounded
    "bf16": replace(EIGHT, dtype="bf16"),
    "fp8": replace(EIGHT, dtype="fp8"),  # V3's recipe
    # Each of the next six differs from fp8 in one thing.
    "block": replace(EIGHT, dtype="fp8-block"),  # tiles of the gradient in Dgrad
    "scale": replace(EIGHT, dtype="fp8-scale"),  # one scale a tensor
    "format": replace(EIGHT, dtype="fp8-format"),  # E5M2 for gradients
    "sum13": replace(EIGHT, dtype="fp8-sum13"),  # 13 bits in the register
    "sum4": replace(EIGHT, dtype="fp8-sum4"),  # 4 bits
    "sum1": replace(EIGHT, dtype="fp8-sum1"),  # 1 bit, added after runs of sum4
    # The last three differ in one thing from a run above.
    "promoted": replace(EIGHT, dtype="fp8-sum4-promoted"),  # from sum4
    "promoted1": replace(EIGHT, dtype="fp8-sum1-promoted"),  # from sum1
    "tensor": replace(EIGHT, dtype="fp8-tensor"),  # from scale, and from format
}


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("fp8", RUNS, words)


if __name__ == "__main__":
    main()
