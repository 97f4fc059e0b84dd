"""Chapter 19: what a process holds in a training step, and what it sends to others.

`torchrun --standalone --nproc-per-node 2 -m experiments.travels experts` trains for a
few steps and prints a report of each process as one line of JSON. Without torchrun it
is a single process, which sends nothing. `experiments.machines` records the reports.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from tyro.conf import Positional

from experiments.held import storage_bytes
from experiments.pretrain import read_config
from experiments.runner import join, parse
from r1.cost.machines import (
    KINDS,
    all_matrices,
    grpo_travels,
    other_ranks,
    pretraining_travels,
    share_out,
)
from r1.model.config import ModelConfig
from r1.model.moe import routers
from r1.model.transformer import Model
from r1.rl.grpo_loop import Environment, Settings, grpo, new_policy
from r1.rl.passes import positions
from r1.rl.rewards import rule_reward
from r1.rl.rollout import Sampling
from r1.text.problems import Problem
from r1.text.tokenizer import encode
from r1.train import distributed
from r1.train.checkpoint import load_checkpoint
from r1.train.collectives import Collectives
from r1.train.optimizer import new_optimizer, rl_optimizer
from r1.train.pretraining import Balance, packed_batch, pretrain
from r1.train.records import DATA

Report = dict[str, Any]
BASE = DATA / "base/base_seed1.safetensors"


@dataclass(frozen=True)
class Options:
    """A way to train, and how much of it."""

    way: Positional[Literal["rows", "experts", "grpo"]] = "rows"
    """pretraining with rows shared out, with experts too; GRPO from the base model"""
    config: str = "tiny"
    """of the model to pretrain: dense, tiny, or a file"""
    base: Path = BASE
    """checkpoint that GRPO begins with"""
    rows: int = 32
    """of a batch to pretrain on"""
    length: int = 128
    """tokens of a row"""
    prompts: int = 32
    """of a step of GRPO"""
    group: int = 16
    """answers to each prompt"""
    timed: int = 20
    """steps that are timed, after one to begin with and one that is counted"""
    device: Literal["cpu", "cuda"] | None = None
    """without, the CPU, or under torchrun a GPU for each process if there are"""


def whole_bytes(model: Model, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Bytes of weights, gradients and moments on this process."""
    states = optimizer.state.values()
    moments = [s[name] for s in states for name in ("exp_avg", "exp_avg_sq")]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return {
        "weights": storage_bytes(model.parameters()),
        "gradients": storage_bytes(gradients),
        "moments": storage_bytes(moments),
    }


def watch_copy(model: Model) -> Callable[[], int]:
    """Note the bytes of gathered weights; what it returns tells the most, and ends."""
    found = [0]

    def note(*_: object) -> None:
        # Within a pass the parameters are the gathered ones, but for experts that stay.
        gathered = [p for p in model.parameters() if not isinstance(p, DTensor)]
        if distributed.processes() > 1:
            found.append(storage_bytes(gathered))

    hook = model.norm.register_forward_hook(note)

    def most() -> int:
        hook.remove()  # steps that are timed do without it
        return max(found)

    return most


def held_by_formula(config: ModelConfig, processes: int, experts: bool) -> Report:
    """Bytes that `share_out` says of weights, gradients, moments and gathered copy."""
    rank, size = distributed.rank(), itemsize()
    shared = share_out(config, processes, experts, rank)
    numbers = {"weights": shared.own, "gradients": shared.own}
    numbers["moments"] = 2 * shared.moved
    numbers["copy"] = shared.gathered if processes > 1 else 0
    return {name: number * size for name, number in numbers.items()}


def itemsize() -> int:
    """Bytes of a number of the model."""
    return torch.get_default_dtype().itemsize


def count(steps: Iterator) -> Collectives:
    """What leaves this process in the next step."""
    with Collectives() as counted:
        next(steps)
    return counted


def clock(steps: Iterator, timed: int) -> list[tuple[float, float, int]]:
    """Of each of the next steps: seconds, seconds of the processor, bytes on loopback.

    The processes begin each step together. The bytes are those of all processes, and
    of whatever else uses the machine's loopback meanwhile.
    """
    seconds = []
    for _ in range(timed):
        if dist.is_initialized():
            dist.barrier()
        carried = loopback()
        start, worked = time.perf_counter(), time.process_time()
        next(steps)
        if torch.get_default_device().type == "cuda":
            torch.cuda.synchronize()
        took = time.perf_counter() - start
        worked = time.process_time() - worked
        if dist.is_initialized():
            dist.barrier()
        seconds.append((took, worked, loopback() - carried))
    return seconds


def loopback() -> int:
    """Bytes that the loopback of this machine has carried; 0 where Linux does not say.

    Through it gloo's processes of one machine talk.
    """
    statistics = Path("/sys/class/net/lo/statistics/rx_bytes")
    return int(statistics.read_text()) if statistics.exists() else 0


def report(
    held: Report, said: Report, counted: Collectives, formula: Report, seconds: list
) -> Report:
    """What is known of this process: held, sent, each beside its formula; seconds.

    On a GPU `peak` is the most that torch has allocated, activations included.
    """
    travels = {}
    for kind in KINDS:
        travels |= {
            kind: counted.leave[kind],
            f"{kind}_formula": formula[kind],
            f"{kind}_calls": counted.calls[kind],
        }
    beside = {}
    for name, size in held.items():
        beside |= {name: size, f"{name}_formula": said[name]}
    if torch.get_default_device().type == "cuda":
        beside["peak"] = torch.cuda.max_memory_allocated()
    return {"held": beside, "travels": travels, "seconds": seconds}


def pretraining(o: Options) -> Report:
    """Some steps of pretraining."""
    torch.manual_seed(0)
    config, experts = read_config(o.config), o.way == "experts"
    with torch.device("cpu"):
        model = Model(config)
    model = distributed.share(model.to(torch.get_default_device()), experts)
    copy, optimizer = watch_copy(model), new_optimizer(model)
    batch = partial(packed_batch, rows=o.rows, length=o.length)
    steps = pretrain(
        model,
        o.timed + 2,
        optimizer=optimizer,
        batch=batch,
        balance=Balance(0.001),
    )
    next(steps)
    counted, gathered = count(steps), copy()
    rows = rows_between(model) if experts else None
    seconds = clock(steps, o.timed)
    held = whole_bytes(model, optimizer) | {"copy": gathered}
    processes = distributed.processes()
    said = held_by_formula(config, processes, experts)
    formula = pretraining_travels(config, processes, rows, itemsize())
    found = report(held, said, counted, formula, seconds)
    if experts:
        random = pretraining_travels(config, processes, random_rows(o), itemsize())
        found["travels"]["all_to_all_random"] = random["all_to_all"]
    return found


def random_rows(o: Options) -> tuple[int, int]:
    """Rows that would leave a process, and come to it, if routers chose at random.

    An MTP module works on one position less than the module before it.
    """
    config, own = read_config(o.config), o.rows // distributed.processes()
    lengths = [o.length] * config.n_moe_layers
    lengths += [o.length - 1 - k for k in range(config.num_nextn_predict_layers)]
    away = other_ranks(config, distributed.processes())
    rows = round(own * sum(lengths) * away)
    return rows, rows


def rows_between(model: Model) -> tuple[int, int]:
    """Rows that left this process in the last pass, and that came from others.

    Counted from what the routers chose: a row goes once to every other process that has
    one of the experts of its token.
    """
    world, rank = distributed.processes(), distributed.rank()
    sent = torch.zeros(world, dtype=torch.int64)
    for gate in routers(model):
        of = gate.indices.flatten(0, -2) // (gate.config.n_routed_experts // world)
        sent += (of[..., None] == torch.arange(world)).any(1).sum(0)  # of each token
    sent[rank] = 0
    came = torch.empty_like(sent)
    dist.all_to_all_single(came, sent)
    return int(sent.sum()), int(came.sum())


def reinforcement(o: Options) -> Report:
    """Some steps of GRPO, with the settings of chapter 13, from the base model."""
    base = new_policy(load_checkpoint(o.base)[0])
    policy = distributed.share(new_policy(base))
    copy, optimizer = watch_copy(policy), rl_optimizer(policy, 1e-4)
    settings = Settings(prompts=o.prompts, sampling=Sampling(group=o.group))
    answers: list[tuple[str, int]] = []

    def reward(problem: Problem, text: str) -> float:
        answers.append((problem.prompt, len(encode(text))))
        return rule_reward(problem, text)

    models = distributed.apart(policy), distributed.apart(base)
    environment = Environment(reward=reward)
    steps = grpo(*models, o.timed + 2, settings, environment, optimizer=optimizer)
    next(steps)
    answers.clear()
    counted, gathered = count(steps), copy()
    passes = positions(answers, o.group)
    seconds = clock(steps, o.timed)
    held = whole_bytes(policy, optimizer) | {"copy": gathered}
    held["reference"] = storage_bytes(base.parameters())
    processes = distributed.processes()
    said = held_by_formula(base.config, processes, False)
    numbers = sum(matrix.parameters for matrix in all_matrices(base.config))
    said["reference"] = numbers * itemsize()
    formula = grpo_travels(base.config, processes, passes, itemsize())
    return report(held, said, counted, formula, seconds)


def main(words: Sequence[str] | None = None) -> None:
    """Measure; the first process prints the reports of all as one line of JSON."""
    o = parse(Options, words, "travels")
    join(o.device)
    torch.set_num_threads(1)
    own = reinforcement(o) if o.way == "grpo" else pretraining(o)
    reports: list = [own]
    if dist.is_initialized():
        reports = [None] * distributed.processes()
        dist.all_gather_object(reports, own)
    if distributed.rank() == 0:
        print(json.dumps(reports), flush=True)
    distributed.stop()


if __name__ == "__main__":
    main()
