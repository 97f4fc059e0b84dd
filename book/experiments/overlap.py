"""Chapter 09: exchanging tokens in turn with computing, and while computing.

`torchrun --standalone --nproc-per-node 2 -m experiments.overlap` lets two processes do
both, and prints what each measured.
"""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from experiments.runner import parse
from r1.model.expert_parallel import exchange


@dataclass(frozen=True)
class Options:
    """How much is computed, and how slow the wire is."""

    micros: int = 8
    """micro-batches"""
    rows: int = 512
    """tokens of a micro-batch"""
    width: int = 256
    """features of a token"""
    times: int = 8
    """products of a micro-batch"""
    slower: float = 2.0
    """time on the wire / time of computing"""
    repeats: int = 5
    """of each way; the two ways take turns"""


def slow_exchange(x: Float[Tensor, "rows width"], rate: float) -> Tensor:
    """Send one half of the rows to each of two ranks, over a wire of `rate` bytes/s.

    The time that such a wire takes for the half that leaves is slept before gloo sends
    it, and a process that sleeps leaves its core to others. A rate of 0 is gloo alone.
    """
    half = len(x) // 2
    if rate:
        time.sleep(half * x.shape[1] * x.itemsize / rate)
    return exchange(x, [half, half], [half, half])


def work(x: Float[Tensor, "rows width"], weight: Tensor, times: int) -> Tensor:
    """Something to compute: the same product again and again."""
    for _ in range(times):
        x = torch.tanh(x @ weight)
    return x


def compute(batches: list[Tensor], weight: Tensor, times: int, _: float) -> list:
    """Compute all micro-batches and exchange none."""
    return [work(x, weight, times) for x in batches]


def in_turn(batches: list[Tensor], weight: Tensor, times: int, rate: float) -> list:
    """Compute a micro-batch, exchange it, go on to the next."""
    return [slow_exchange(work(x, weight, times), rate) for x in batches]


def overlapped(batches: list[Tensor], weight: Tensor, times: int, rate: float) -> list:
    """Compute a micro-batch while the one before it travels."""
    # One worker: the exchanges must have the same order on all ranks.
    with ThreadPoolExecutor(max_workers=1) as wire:
        travelling = []
        for x in batches:
            y = work(x, weight, times)
            travelling.append(wire.submit(slow_exchange, y, rate))
        return [result.result() for result in travelling]


def measure(
    micros: int, rows: int, width: int, times: int, slower: float, repeats: int
) -> dict:
    """Seconds of each way on this process, and whether both give the same.

    The slow wire takes `slower` times as long as computing does. The two ways take
    turns, so that a busy moment of the machine hits both.
    """
    torch.manual_seed(dist.get_rank())
    weight = torch.randn(width, width) / width**0.5
    batches = [torch.randn(rows, width) for _ in range(micros)]
    size = micros * (rows // 2) * width * batches[0].itemsize
    seconds: dict[str, list[float]] = defaultdict(list)
    results: dict[str, list[Tensor]] = {}

    def clock(name, way, wire):
        # Ranks start together; otherwise one would measure its wait for others.
        dist.barrier()
        start = time.perf_counter()
        results[way.__name__] = way(batches, weight, times, wire)
        seconds[name].append(time.perf_counter() - start)

    for _ in range(repeats):
        clock("computing", compute, 0.0)
    # The minimum over repeats is the time with the least disturbance. The maximum over
    # ranks gives all of them the same rate.
    longest = torch.tensor(min(seconds["computing"]))
    dist.all_reduce(longest, dist.ReduceOp.MAX)
    rate = size / (slower * longest.item())
    for _ in range(repeats):
        clock("computing", compute, 0.0)
        for name, wire in (("gloo", 0.0), ("slow", rate)):
            for way in (in_turn, overlapped):
                clock(f"{name} {way.__name__}", way, wire)
    pairs = zip(results["in_turn"], results["overlapped"], strict=True)
    return {
        "rank": dist.get_rank(),
        "seconds": {name: min(measured) for name, measured in seconds.items()},
        "repeats": seconds,
        "bytes": size,
        "wire": size / rate,
        "same": all(torch.equal(a, b) for a, b in pairs),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure under torchrun; rank 0 prints the reports of all as one line of JSON."""
    options = parse(Options, words, "overlap")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    reports: list = [None] * dist.get_world_size()
    dist.all_gather_object(reports, measure(**asdict(options)))
    if dist.get_rank() == 0:
        print(json.dumps(reports), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
