"""Commands one after the other in processes that torchrun starts once.

A start takes longer than most commands, so that tests share it. They compute in
float64: Adam divides a gradient by its own size, so where it should be 0 the rounding
of float32 alone would move weights, another way for another number of processes.
"""

import importlib
import json
import os
import subprocess
import sys
from itertools import count
from pathlib import Path

BOOK = Path(__file__).parents[2] / "book"


def start(processes: int, commands: list[list[str]]) -> subprocess.Popen:
    """Start commands, each the name of a module of experiments and its words."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(BOOK)}
    command += [f"--nproc-per-node={processes}", __file__, json.dumps(commands)]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_all(processes: int, commands: list[list[str]]) -> str:
    """Run commands to their end; returns what all processes said.

    Of a command that fails that is its error, and the next one is run.
    """
    process = start(processes, commands)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def main(commands: list[list[str]]) -> None:
    import torch
    import torch.distributed as dist

    from r1.train import distributed

    # Processes find one another by what they write into a store. Groups that follow
    # one another in the same processes need a part of it each.
    store, rank, world = next(dist.rendezvous("env://"))
    numbers, join = count(), dist.init_process_group

    def join_again(backend: str) -> None:
        part = dist.PrefixStore(str(next(numbers)), store)
        join(backend, store=part, rank=rank, world_size=world)

    dist.init_process_group = join_again
    torch.set_default_dtype(torch.float64)
    for module, *words in commands:
        try:
            importlib.import_module(f"experiments.{module}").main(words)
        except (Exception, SystemExit) as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            distributed.stop()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
