"""Chapter 08: the same model, multiplied in eight bits, in sixteen and in 32."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.pretrain import Grid, run_grid

EIGHT = Grid(
    config="data/base/moe.json",
    steps=600,
    rows=8,
    log_every=5,
    bias_speed=1e-3,
    problems=0,
)
RUNS = {
    "float32": EIGHT,
    "bf16": replace(EIGHT, dtype="bf16"),
    "fp8": replace(EIGHT, dtype="fp8"),
    "block": replace(EIGHT, dtype="fp8-block"),
    "tensor": replace(EIGHT, dtype="fp8-tensor"),
}


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("fp8", RUNS, words)


if __name__ == "__main__":
    main()
