"""Chapter 18: full attention beside sparse attention, from the same base models.

Every run goes on from one of the five bases of the second recipe, on new text of the
same kind, with the last learning rate of that recipe. "full" keeps its attention.
"sparse16" and "sparse8" first train an indexer in each layer to imitate the attention,
while the model is frozen and dense; then model and indexers learn while each query
attends to the 16 or 8 tokens that the indexer ranks highest. "last16" and "last8"
attend to the last 16 or 8 tokens and have no indexer.

Predictions, after a trial whose records were not kept (sparse16 within 0.002 nats of
full) and before these runs: the loss of sparse16 is less than 0.01 nats above that of
full; the loss of sparse8 is higher than that of full; last16 and last8 are worse than
sparse16 and sparse8, in loss and in right worked answers.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.pretrain import means
from experiments.runner import Job, run_grid
from experiments.runner import Row as Measured
from r1.model.indexer import make_sparse, sparse_layers
from r1.model.moe import routers
from r1.model.sampling import sample
from r1.model.transformer import Model
from r1.text.answers import is_right
from r1.text.problems import random_problem
from r1.text.tokenizer import decode, encode
from r1.train.checkpoint import load_checkpoint
from r1.train.evaluation import validate
from r1.train.optimizer import clip_gradient, new_optimizer
from r1.train.pretraining import packed_batch, train_step

READ = 2000  # steps of its text that a base has read; a run goes on behind them
TRIED = (2, 4, 8, 16, 32, 64, 128)  # numbers of tokens to attend to


@dataclass(frozen=True, kw_only=True)
class Continued:
    """How a base goes on: with all tokens, or with k that are chosen `by` a rule."""

    base: str = "base/steady_seed{seed}"
    k: int | None = None
    by: str = "indexer"
    warmup_steps: int = 0
    warmup_lr: float = 3e-3
    rows: int = 16
    steps: int = 150
    lr: float = 1e-4
    log_every: int = 10
    seeds: tuple[int | None, ...] = (0, 1, 2, 3, 4)


FULL = Continued()
SPARSE = replace(FULL, k=16, warmup_steps=100)
LAST = replace(FULL, k=16, by="last")
RUNS = {
    "full": FULL,
    "sparse16": SPARSE,
    "last16": LAST,
    "sparse8": replace(SPARSE, k=8),
    "last8": replace(LAST, k=8),
}


def held_out(seed: int, batches: int = 16) -> Iterator[Tensor]:
    """Text of a seed that no run reads."""
    return (packed_batch(-1 - seed, step) for step in range(batches))


@torch.no_grad()
def worked(model: Model, seed: int, terms: int = 5, problems: int = 512) -> float:
    """Share of right answers to held-out problems after a <think> that is given."""
    rng = random.Random(f"sparse/{seed}/{terms}")
    asked = [
        random_problem(rng, (terms, terms), held_out=True) for _ in range(problems)
    ]
    prompts = [encode(problem.prompt + "<think>") for problem in asked]
    generator = torch.Generator().manual_seed(seed)
    written = sample(model.eval(), prompts, 64, 1.0, generator)
    texts = ["<think>" + decode(ids) for ids in written]
    return sum(map(is_right, asked, texts)) / problems


def index_step(model: Model, optimizer: torch.optim.Optimizer) -> float:
    """One update of all indexers on the losses of the last pass; returns their mean."""
    losses = [attn.index_loss for attn in sparse_layers(model)]
    loss = sum(losses) / len(losses)
    optimizer.zero_grad()
    loss.backward()
    for attn in sparse_layers(model):
        clip_gradient(attn.indexer, "the indexers")
    optimizer.step()
    return loss.item()


def indexer_optimizer(model: Model, lr: float) -> torch.optim.AdamW:
    """AdamW for the indexers alone."""
    weights = [p for a in sparse_layers(model) for p in a.indexer.parameters()]
    return torch.optim.AdamW(weights, lr=lr, betas=(0.9, 0.95))


def warm_up(
    model: Model, seed: int, steps: int, lr: float, rows: int = 16
) -> Iterator[float]:
    """Train the indexers of a model that is frozen and looks at everything."""
    optimizer = indexer_optimizer(model, lr)
    wanted = [attn.k for attn in sparse_layers(model)]
    model.train().requires_grad_(False)
    for attn in sparse_layers(model):
        attn.k = None
        attn.indexer.requires_grad_(True)
    for step in range(steps):
        model.encode(packed_batch(1000 + seed, step, rows)[:, :-1])
        yield index_step(model, optimizer)
    model.requires_grad_(True)
    for attn, k in zip(sparse_layers(model), wanted, strict=True):
        attn.k = k
    for router in routers(model):
        router.take_load()  # of the warm-up, which moves no bias


def begin(row: Continued, job: Job) -> Model:
    """The base of the run's seed, with new indexers if it has any."""
    torch.manual_seed(job.seed)
    model = load_checkpoint(job.weights(row.base.format(seed=job.seed)))[0]
    return make_sparse(model, row.k, row.by) if row.k else model


def loop(row: Continued, job: Job, model: Model) -> Iterator[Measured]:
    """The steps after the warm-up: the model learns from text, indexers from it."""
    learns = row.by == "indexer" and row.k is not None
    optimizer = new_optimizer(model)
    indexing = indexer_optimizer(model, row.lr) if learns else None
    model.train()
    for step in range(row.steps):
        batch = packed_batch(job.seed, READ + step, row.rows)
        lr = row.lr * min(1, (step + 1) / 20)
        measured = train_step(model, optimizer, batch, lr, mtp_weight=0.1)
        if indexing:
            measured["divergence"] = index_step(model, indexing)
        yield {"step": step, **measured, "lr": lr}


def losses_by_k(model: Model, seed: int) -> list[Measured]:
    """The held-out loss with other numbers of tokens than the model learned with."""
    layers, found = sparse_layers(model), []
    wanted = [attn.k for attn in layers]
    for k in TRIED:
        for attn in layers:
            attn.k = k
        loss = validate(model, held_out(seed, 4))["loss"]
        found.append({"k": k, "loss": loss})
    for attn, k in zip(layers, wanted, strict=True):
        attn.k = k
    return found


def make(row: Continued, job: Job) -> Measured:
    """Make one run: warm up, test, train, test again."""
    model = begin(row, job)
    score, tests = {}, {}
    if row.warmup_steps:
        warm = list(warm_up(model, job.seed, row.warmup_steps, row.warmup_lr, row.rows))
        score |= {"divergence_first": warm[0], "divergence_last": warm[-1]}
    score["start"] = validate(model, held_out(job.seed))["loss"]
    if row.k:
        tests[0] = losses_by_k(model, job.seed)
    log = list(loop(row, job, model))
    windows = range(0, len(log), row.log_every)
    job.write([means(log[i : i + row.log_every]) for i in windows])
    if row.k:
        tests[row.steps] = losses_by_k(model, job.seed)
        rows = [{"trained": n} | test for n, found in tests.items() for test in found]
        job.write(rows, "chosen")
    score["loss"] = validate(model, held_out(job.seed))["loss"]
    score["worked"] = worked(model, job.seed)
    job.write([score], "valid")
    return score


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid(
        "sparse",
        RUNS,
        lambda job: make(RUNS[job.name], job),
        lambda job: job.path("valid").exists(),
        words,
    )


if __name__ == "__main__":
    main()
