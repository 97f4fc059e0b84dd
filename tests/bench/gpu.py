"""What the book does on GPUs, in one command: python tests/bench/gpu.py

For a machine with one GPU by NVIDIA or several, of which torch has the CUDA build. No
GPU has been at hand for it: here it has run as `--device cpu --small`, which tries
every part but the first in two processes of a few steps. Its parts, in this order:

    hopper     what a tensor core adds up (tests/bench/hopper.py), on a Hopper only
    bandwidth  all-reduce and all-to-all between all GPUs over NCCL
    rows       pretraining with rows shared by all GPUs: bytes held and sent, seconds
    experts    the same with experts shared, on several GPUs
    base       pretraining a base model a hundred times as large as the book's
    zero       GRPO from this base model, by the rules of chapter 13
    grpo       bytes held and sent, and seconds, of steps of GRPO from this base model

Every part leaves its tables in book/runs/gpu, with command, commit, device and date. A
part whose table is there is not done again, and training goes on from its last
checkpoint, so that the same command goes on where it was cut off. With a single GPU
the parts run in a world of one process, in which nothing travels: columns of bytes sent
are 0. Rates are scaled from the book's by hand and are not tuned.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.machines import tables_of
from r1.train.records import BOOK, write_log

HERE = Path(__file__).parent
COMMAND = "python tests/bench/gpu.py"
NO_GPU = (
    "torch {} finds no GPU here. Install its CUDA build on a machine with a GPU by "
    "NVIDIA, or see all parts run in small with --device cpu --small"
)


@dataclass(frozen=True)
class Sizes:
    """The words of each part's command."""

    pretrain: str
    grpo: str
    steps: str
    answers: str
    bandwidth: str


FULL = Sizes(
    pretrain="--config data/machines/large.json --steps 2000 --lr 1e-3 --rows 32"
    " --bias-speed 0.001 --save-every 500",
    grpo="--steps 100 --lr 3e-5 --save-every 20",
    steps="--config data/machines/large.json --rows 32 --timed 20",
    answers="--timed 10",
    bandwidth="--largest 28",
)
SMALL = Sizes(
    pretrain="--config tiny --steps 4 --rows 4 --save-every 2 --problems 2 --threads 1",
    grpo="--steps 2 --save-every 1 --prompts 2 --group 2 --max-new-tokens 8"
    " --problems 2 --threads 1",
    steps="--config tiny --rows 4 --length 16 --timed 1",
    answers="--prompts 2 --group 2 --timed 1",
    bandwidth="--largest 16 --repeats 1",
)


@dataclass(frozen=True)
class Machine:
    """Where the parts run, and where their tables go."""

    device: str
    processes: int
    sizes: Sizes
    out: Path

    def python(self, *words: object) -> str:
        """Run a program of the book by torchrun; returns what it printed last."""
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={self.processes}", *map(str, words)]
        command += ["--device", self.device]
        print("$ torchrun", *command[3:], flush=True)
        path = os.pathsep.join([str(BOOK), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=environment, cwd=BOOK
        )
        if done.returncode:
            raise SystemExit(
                f"this part ended with {done.returncode}; see the error above. Give "
                "the same command again to go on"
            )
        return done.stdout.splitlines()[-1]

    def weights(self, name: str) -> Path:
        """A checkpoint, from the folder in which programs are started."""
        path = self.out / f"{name}.safetensors"
        return path.relative_to(BOOK) if path.is_relative_to(BOOK) else path

    def write(self, name: str, rows: list[dict]) -> None:
        """Write a table that says on what it was measured."""
        device = f"{self.processes} processes, {platform.machine()} CPU"
        if self.device == "cuda":
            device = f"{self.processes} x {torch.cuda.get_device_name()}"
        write_log(self.out / f"{name}.csv", rows, self.command, device)

    @property
    def command(self) -> str:
        """What was typed."""
        small = " --small" if self.sizes == SMALL else ""
        return COMMAND + (" --device cpu" if self.device == "cpu" else "") + small


def hopper(m: Machine) -> None:
    """A Hopper GPU adds up, beside the simulation of chapter 08."""
    words = [str(HERE / "hopper.py"), "--out", str(m.out)]
    subprocess.run([sys.executable, *words], check=True)


def bandwidth(m: Machine) -> None:
    """The wires between the GPUs."""
    words = m.sizes.bandwidth.split()
    m.write("bandwidth", json.loads(m.python(HERE / "bandwidth.py", *words)))


def travels(m: Machine, way: str, *words: object) -> None:
    """What the processes hold, send and take in steps of a way to train."""
    reports = json.loads(m.python("-m", "experiments.travels", way, *words))
    for kind, rows in tables_of(reports).items():
        m.write(f"{way}_{kind}", rows)


def train(m: Machine, name: str, *words: object) -> None:
    """Train, or go on; the program writes its own tables."""
    again = "--resume" if (m.out / f"{name}.safetensors").exists() else "--force"
    m.python("-m", *words, "--out", m.weights(name), again)


def base(m: Machine) -> None:
    """A base model to begin with."""
    train(m, "base", "experiments.pretrain", *m.sizes.pretrain.split())


def zero(m: Machine) -> None:
    """R1-Zero, from the base model."""
    begin = ["--base", m.weights("base")]
    train(m, "zero", "experiments.reinforce", "grpo", *begin, *m.sizes.grpo.split())


def grpo(m: Machine) -> None:
    """Steps of GRPO from the base model."""
    begin = ["--base", m.weights("base")]
    travels(m, "grpo", *begin, *m.sizes.answers.split())


def parts_of(m: Machine) -> dict[str, tuple[Callable[[Machine], None], str]]:
    """The parts that can be done here, each with the table that it writes last."""
    steps = m.sizes.steps.split()
    parts = {
        "bandwidth": (bandwidth, "bandwidth"),
        "rows": (lambda m: travels(m, "rows", *steps), "rows_seconds"),
        "experts": (lambda m: travels(m, "experts", *steps), "experts_seconds"),
        "base": (base, "base_valid"),
        "zero": (zero, "zero_terms"),
        "grpo": (grpo, "grpo_seconds"),
    }
    if m.processes == 1:
        print("a world of one process: nothing travels, no experts are shared")
        del parts["experts"]
    if m.device == "cuda" and torch.cuda.get_device_capability() == (9, 0):
        return {"hopper": (hopper, "hopper_speed")} | parts
    print("no Hopper GPU: the part hopper is left out")
    return parts


def main(words: list[str] | None = None) -> None:
    """Do what is not done yet."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--small", action="store_true", help="a few steps of each part")
    parser.add_argument("--out", type=Path, default=BOOK / "runs/gpu")
    said = parser.parse_args(words)
    gpus = torch.cuda.device_count()
    if said.device == "cuda" and not gpus:
        raise SystemExit(NO_GPU.format(torch.__version__))
    if said.device == "cpu" and not said.small:
        raise SystemExit("on the CPU the parts would take days; add --small")
    # Rows and experts come out even for 1, 2, 4 and 8 processes.
    processes = max(p for p in (1, 2, 4, 8) if p <= gpus or p == 1)
    if said.device == "cpu":
        processes = 2
    sizes = SMALL if said.small else FULL
    machine = Machine(said.device, processes, sizes, said.out.resolve())
    machine.out.mkdir(parents=True, exist_ok=True)
    for name, (work, last) in parts_of(machine).items():
        if (machine.out / f"{last}.csv").exists():
            print(name, "is finished", flush=True)
            continue
        work(machine)
        print(name, "is done", flush=True)
    print(f"the tables are in {machine.out}")


if __name__ == "__main__":
    main()
