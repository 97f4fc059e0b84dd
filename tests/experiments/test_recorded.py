"""The grids are those that the records were made with: names, seeds, first numbers."""

import csv
import math
from functools import cache
from itertools import islice

import pytest
from once import once

from experiments import (
    after,
    at_test_time,
    base,
    beside_trl,
    beyond,
    distill,
    fp8,
    hacking,
    latent,
    long_context,
    machines,
    moe,
    pipeline,
    pretrain,
    reinforce,
    rl,
    small_world,
    sparse,
)
from experiments.runner import Job
from r1.model.fp8 import RECIPES, lower_precision
from r1.recipe.curation import cold_start
from r1.rl import grpo_loop, ppo_loop
from r1.rl.grpo_loop import new_policy
from r1.train.checkpoint import load_checkpoint
from r1.train.finetuning import sft
from r1.train.records import DATA, read_run

GRIDS = {
    "small_world": small_world.RUNS,
    "moe": moe.RUNS,
    "latent": latent.RUNS,
    "long_context": long_context.RUNS,
    "base": base.RUNS,
    "fp8": fp8.RUNS,
    "rl": rl.RUNS,
    "beyond": beyond.RUNS,
    "hacking": hacking.RUNS,
    "distill": distill.RUNS,
    "at_test_time": at_test_time.RUNS,
    "after": after.RUNS,
    "pipeline": pipeline.RUNS,
    "sparse": sparse.RUNS,
    "machines": machines.RUNS,
    "beside_trl": beside_trl.RUNS,
}


def recorded():
    """The names of the runs in runs.csv, for each experiment."""
    runs = {}
    with (DATA / "runs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            runs.setdefault(row["experiment"], set()).add(row["run"])
    return runs


@pytest.mark.parametrize("experiment", GRIDS)
def test_every_run_of_a_grid_is_recorded_and_every_record_is_of_a_run(
    experiment, tmp_path
):
    stems = set()
    for name, row in GRIDS[experiment].items():
        for seed in row.seeds:
            job = Job(experiment, name, seed, tmp_path)
            if not isinstance(row, pipeline.Recipe):
                stems.add(job.stem)
                continue
            stages = row.plan.stages()
            for stage in stages[: stages.index(row.until) + 1]:
                if stage not in row.shared and stage != "prefer":  # it has no table
                    stems.add(pipeline.run_of(job).path(stage, "").name)
    assert stems == recorded()[experiment]


def pretraining(job):
    """The first row of a run: the means of its first steps."""
    row = GRIDS[job.experiment][job.name]
    o = pretrain.options_of(row, job)
    model, optimizer, *_ = pretrain.begin(o, o.out)
    if o.dtype in RECIPES:
        lower_precision(model, RECIPES[o.dtype])
    return pretrain.means(list(islice(pretrain.loop(o, model, optimizer), o.log_every)))


def far_facts(job):
    """The first row of "short": the means of its first steps."""
    row = long_context.RUNS[job.name]
    model = long_context.begin(row, job)
    return pretrain.means(
        list(islice(long_context.loop(row, job, model), row.log_every))
    )


def policy(job):
    """The first step of a run of chapters 11 and 13."""
    o = rl.options_of(rl.RUNS[job.name], job)
    model = new_policy(load_checkpoint(o.base)[0])
    return next(reinforce.loop(o, reinforce.begin(o, o.out, model), model))


def hack(job):
    """The first step of a run of chapter 12."""
    _, steps = hacking.loop(job)
    return next(steps)


def variant(job):
    """The first step of a run of chapter 17, with its loss."""
    row = after.RUNS[job.name]
    return next(after.loop(row, job.seed, after.base_of(row, job)))


def continued(job):
    """The first row of a run of chapter 18 without a warm-up: means of its steps."""
    row = sparse.RUNS[job.name]
    model = sparse.begin(row, job)
    return pretrain.means(list(islice(sparse.loop(row, job, model), row.log_every)))


def zero(job):
    """The first step of R1-Zero in chapter 14."""
    model = new_policy(load_checkpoint(pipeline.base_of(job))[0])
    return next(pipeline.zero_loop(job, new_policy(model), model))


def imitation(job):
    """The first step of Dev1."""
    run = pipeline.run_of(Job("pipeline", "main", job.seed, job.out))
    plan, seed = run.plan, job.seed
    examples = cold_start(plan.cold, seed, longest=plan.longest)
    model = run.begin("cold-start")
    return next(sft(model, examples, plan.epochs, plan.rate, seed=seed))


POLICIES = [
    name
    for name, row in rl.RUNS.items()
    if isinstance(row, rl.Policy) and row.base in ("base/base_seed1", rl.OWN)
]
CASES = [
    *(("moe", name, "steps", pretraining) for name in moe.RUNS),
    *(("latent", name, "steps", pretraining) for name in latent.RUNS),
    ("long_context", "short", "steps", far_facts),
    *(("base", name, "steps", pretraining) for name in base.RUNS),
    *(("fp8", name, "steps", pretraining) for name in fp8.RUNS),
    ("small_world", "dense", "steps", pretraining),
    *(("rl", name, "steps", policy) for name in POLICIES),
    *(("hacking", name, "steps", hack) for name in hacking.RUNS),
    *(("after", name, "steps", variant) for name in after.RUNS),
    *(("sparse", name, "steps", continued) for name in ("full", "last8")),
    ("pipeline", "zero", "steps", zero),
    ("pipeline", "dev1", "finetuning", imitation),
]


@pytest.fixture(scope="module")
def shared():
    """Texts, answers and what a reference says of them, for all runs that have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "packed_batch", cache(pretrain.packed_batch))
        for name in ("roll_out", "logprobs", "watch"):
            function = once(getattr(grpo_loop, name))
            for loop in (grpo_loop, ppo_loop):
                patch.setattr(loop, name, function)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("experiment", "name", "kind", "make"),
    CASES,
    ids=[f"{experiment}-{name}" for experiment, name, _, _ in CASES],
)
def test_a_run_begins_as_it_is_recorded(experiment, name, kind, make, tmp_path):
    """Not to the last digit: processors round in ways of their own."""
    seeds = GRIDS[experiment][name].seeds if name != "dev1" else (0,)
    job = Job(experiment, name, seeds[0], tmp_path)
    row = make(job)
    log = read_run(f"{experiment}/{kind}", job.stem)
    for column in set(log) & set(row) - {"seconds"}:
        ours, theirs = float(row[column]), log[column][0]
        assert math.isclose(ours, theirs, rel_tol=0.01, abs_tol=1e-3), column
    assert {"step"} < set(log) & set(row)
