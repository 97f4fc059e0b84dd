"""What a tensor core of a Hopper GPU adds up: python tests/bench/hopper.py

Chapter 08 simulates the short sums of FP8 products; this asks the hardware. It needs an
H100, H200 or H800, and nothing that a reader or a test runs needs it. (No such GPU has
been at hand for it yet: it has run with a stand-in for `product` only.) The products
are PyTorch's `_scaled_mm` with scales of 1, once with `use_fast_accum`, which leaves
all of the inner axis to the tensor cores' register, and once without, where cuBLAS
promotes in between. Each row is one pair of random E4M3 matrices:

    same_fast       share of the entries that `limited_matmul` has bit for bit
    same_promoted   the same for slices of 128 terms, added in float32
    *_error         largest error, as a share of the typical (root mean square) entry
    *_bias          mean error, likewise, taken toward zero where it is negative

and the second file has the speed of products of two square matrices.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from r1.model.fp8 import limited_matmul, quantize
from r1.train.records import write_log

COMMAND = "python tests/bench/hopper.py"
KINDS = {"normal": torch.randn, "uniform": torch.rand}
ONE = torch.ones(())


def product(a: Tensor, b: Tensor, fast: bool) -> Tensor:
    """a @ b of two matrices of E4M3 numbers, in float32, by the tensor cores."""
    left = a.cuda().to(torch.float8_e4m3fn)
    right = b.T.contiguous().cuda().to(torch.float8_e4m3fn).T
    one = ONE.cuda()
    return torch._scaled_mm(
        left, right, one, one, out_dtype=torch.float32, use_fast_accum=fast
    )


def compare(kind: str, size: int, inner: int, seed: int) -> dict[str, float]:
    """One pair of matrices, as chapter 08 makes them, by hardware and by simulation."""
    generator = torch.manual_seed(seed)
    shapes = (size, inner), (inner, size)
    a, b = (quantize(KINDS[kind](*s, generator=generator))[0] for s in shapes)
    exact = a.double() @ b.double()
    typical = exact.square().mean().sqrt()
    parts = [slice(i, i + 128) for i in range(0, inner, 128)]
    promoted = torch.zeros(size, size)
    for part in parts:
        promoted += product(a[:, part], b[part], fast=True).cpu()
    found = {
        "fast": product(a, b, fast=True).cpu(),
        "slow": product(a, b, fast=False).cpu(),
        "promoted": promoted,
    }
    row = {"uniform": float(kind == "uniform"), "size": size, "inner": inner}
    row["seed"] = seed
    for name, promote in (("fast", None), ("promoted", 128)):
        simulated = limited_matmul(a, b, promote=promote)
        row[f"same_{name}"] = (simulated == found[name]).double().mean().item()
    for name, value in found.items():
        error = (value - exact) / typical
        row[f"{name}_error"] = error.abs().max().item()
        row[f"{name}_bias"] = (error * exact.sign()).mean().item()
    return row


def seconds(work, repeat: int = 30) -> float:
    """Time of one call, after some to warm up."""
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeat):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeat


def speed(size: int) -> dict[str, float]:
    """Teraflops of a product of two square matrices, in BF16 and both ways in FP8."""
    a, b = (torch.randn(size, size, device="cuda") for _ in range(2))
    small = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).T
    a, b, one = a.bfloat16(), b.bfloat16(), ONE.cuda()
    options = {"out_dtype": torch.bfloat16}
    ways = {
        "bf16": lambda: a @ b,
        "fast": lambda: torch._scaled_mm(
            *small, one, one, use_fast_accum=True, **options
        ),
        "slow": lambda: torch._scaled_mm(
            *small, one, one, use_fast_accum=False, **options
        ),
    }
    rates = {name: 2e-12 * size**3 / seconds(work) for name, work in ways.items()}
    return {"size": size, **rates}


def main() -> None:
    """Compare, print, and write both files."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("book/runs/fp8"))
    parser.add_argument("--seeds", type=int, default=4)
    args = parser.parse_args()
    rows, device = [], torch.cuda.get_device_name()
    for kind in KINDS:
        for size, inner, seeds in (
            (96, 128, args.seeds),
            (96, 1024, args.seeds),
            (96, 4096, args.seeds),
            (512, 4096, 1),
        ):
            for seed in range(seeds):
                rows.append(compare(kind, size, inner, seed))
                print(kind, {k: f"{v:.4g}" for k, v in rows[-1].items()}, flush=True)
    write_log(args.out / "hopper.csv", rows, COMMAND, device)
    rates = [speed(size) for size in (1024, 2048, 4096, 8192)]
    print(rates)
    write_log(args.out / "hopper_speed.csv", rates, COMMAND, device)


if __name__ == "__main__":
    main()
