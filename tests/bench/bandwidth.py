"""What the wires between processes carry; tests/bench/gpu.py starts it by torchrun.

For each size of a tensor the shortest time of an all-reduce and of an even all-to-all,
and the billions of bytes a second that leave each process. In a world of one process
nothing travels, and the speeds are 0. Prints one line of JSON.
"""

import argparse
import json
import time

import torch
import torch.distributed as dist

from r1.cost.machines import leaves
from r1.train import distributed


def seconds(work, repeats: int) -> float:
    """The shortest time of a call, of the process that takes longest for it."""
    shortest = float("inf")
    for _ in range(repeats + 2):  # the first calls also connect the processes
        dist.barrier()
        start = time.perf_counter()
        work()
        if torch.get_default_device().type == "cuda":
            torch.cuda.synchronize()
        took = torch.tensor(time.perf_counter() - start)
        dist.all_reduce(took, dist.ReduceOp.MAX)
        shortest = min(shortest, took.item())
    return shortest


def carry(size: int, repeats: int) -> dict[str, float]:
    """Times and speeds with a tensor of `size` bytes, which the processes divide."""
    world = distributed.processes()
    x = torch.ones(size // 4 // world * world)
    y, row = torch.empty_like(x), {"processes": world, "bytes": size}
    ways = {
        "all_reduce": lambda: dist.all_reduce(x),
        "all_to_all": lambda: dist.all_to_all_single(y, x),
    }
    for kind, work in ways.items():
        row[f"{kind}_s"] = took = seconds(work, repeats)
        row[f"{kind}_gb_per_s"] = leaves(kind, size, world) / took / 1e9
    return row


def read_words(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("--largest", type=int, default=28, help="2 to this, in bytes")
    parser.add_argument("--repeats", type=int, default=20)
    return parser.parse_args(words)


def main() -> None:
    """Measure under torchrun."""
    said = read_words()
    distributed.start(said.device)
    exponents = range(min(16, said.largest), said.largest + 1, 4)
    rows = [carry(2**exponent, said.repeats) for exponent in exponents]
    if distributed.rank() == 0:
        print(json.dumps(rows), flush=True)
    distributed.stop()


if __name__ == "__main__":
    main()
