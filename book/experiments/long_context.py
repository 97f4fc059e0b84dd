"""Chapter 05: a fact that stands further back than the rows that a model learned on.

"short" learns on rows of 128 tokens to copy a fact. The other runs go on from its
weights on rows of 512 tokens, and differ in nothing but their positions: "plain" leaves
them as they are, "speeds" slows rotary pairs down as YaRN does, and "yarn" sharpens the
softmax as well, which is all of YaRN.

Prediction, after a pilot with seed 10 and before the runs: above 128 tokens plain
positions are right about as often as a guess, one time in ten. Both other arms are
better there, with and without the steps on rows of 512, and yarn is better than speeds.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.pretrain import means, read_config
from experiments.runner import Job, run_grid
from experiments.runner import Row as Measured
from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.text.corpus import LETTERS
from r1.text.tokenizer import BOS_ID, IDS
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.optimizer import apply_gradient, learning_rate, new_optimizer

NOISE = "+-*;"  # between a fact and its question
NEAREST = 4  # tokens from a fact to its answer, at least
HELD_OUT_SEED = -1  # of rows that no run is trained on
TESTED_ROWS = 256
# Distances from a fact to its answer, from and to.
RANGES = ((4, 32), (33, 128), (129, 256), (257, 511))


def document(rng: random.Random, distance: int) -> list[int]:
    """A fact, noise, a question and the answer: <bos>c+;*-=c.

    The fact is a letter, and the answer is the same letter, `distance` tokens later.
    """
    letter = IDS[rng.choice(LETTERS)]
    noise = (IDS[rng.choice(NOISE)] for _ in range(distance - 2))
    return [BOS_ID, letter, *noise, IDS["="], letter]


def fact_row(rng: random.Random, length: int) -> tuple[list[int], list[int]]:
    """A row of such documents, and for each answer the distance of its fact.

    The logarithms of distances are uniform, up to what still fits into the row, and the
    documents are shuffled. The second list is 0 but for answers. The first document is
    not asked, so that an older fact stands before each fact that is.
    """
    documents, room = [], length
    while room >= NEAREST + 2:
        farthest = math.log(room - 2)
        distance = round(math.exp(rng.uniform(math.log(NEAREST), farthest)))
        documents.append(document(rng, distance))
        room -= distance + 2
    rng.shuffle(documents)
    ids, back = [], []
    for text in documents:
        distance = len(text) - 2 if ids else 0
        ids += text
        back += [0] * (len(text) - 1) + [distance]
    ids += (IDS[rng.choice(NOISE)] for _ in range(room))
    return ids, back + [0] * room


def fact_batch(seed: int, step: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
    """One batch of such rows, (rows, length + 1), and their distances.

    It depends on these four numbers alone.
    """
    rng = random.Random(f"facts/{seed}/{step}/{length}")
    pairs = [fact_row(rng, length + 1) for _ in range(rows)]
    ids, back = zip(*pairs, strict=True)
    return torch.tensor(ids), torch.tensor(back)


def answers(model: Model, ids: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and letters at the answers of a batch."""
    asked = back[:, 1:] > 0
    return model(ids[:, :-1])[asked], ids[:, 1:][asked]


@torch.no_grad()
def recall(model: Model, length: int, rows: int = TESTED_ROWS) -> list[Measured]:
    """Answer the questions of new rows: a row for each range of distances.

    facts: how many. right: the share whose letter is the likeliest token. loss: their
    mean surprise in nats; ln 10 = 2.30 for one who knows only that it is a letter.
    """
    model.eval()
    hits, losses, distances = [], [], []
    for step in range(rows // 4):
        ids, back = fact_batch(HELD_OUT_SEED, step, 4, length)
        logits, letters = answers(model, ids, back)
        hits.append((logits.argmax(-1) == letters).double())
        losses.append(F.cross_entropy(logits, letters, reduction="none"))
        distances.append(back[:, 1:][back[:, 1:] > 0])
    hit, loss, distance = map(torch.cat, (hits, losses, distances))
    found = []
    for low, high in RANGES:
        inside = (distance >= low) & (distance <= high)
        if inside.any():
            row = {"low": low, "high": high, "facts": int(inside.sum())}
            row["right"] = hit[inside].mean().item()
            row["loss"] = loss[inside].mean().item()
            found.append(row)
    return found


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How a model learns: from nothing, or from the weights of another run.

    `factor` is YaRN's, and 1 leaves positions as they are; `mscale` 0 leaves the
    softmax as it is.
    """

    config: str = "data/latent/mla48.json"
    base: str | None = None
    factor: float = 1.0
    mscale: float = 1.0
    length: int = 128
    rows: int = 16
    steps: int = 700
    lr: float = 3e-3
    log_every: int = 10
    seeds: tuple[int | None, ...] = (0, 1, 2, 3, 4)


# The rate is the last one of "short", as in DeepSeek-V3, section 4.3.
LONGER = Reader(base="short", length=512, rows=4, steps=60, lr=3e-4)
RUNS = {
    "short": Reader(),
    "plain": LONGER,
    "speeds": replace(LONGER, factor=4.0, mscale=0.0),
    "yarn": replace(LONGER, factor=4.0),
}


def stretched(config: ModelConfig, row: Reader) -> ModelConfig:
    """The configuration for rows of the run's length."""
    positions = {"rope_factor": row.factor, "mscale": row.mscale}
    return replace(config, max_seq_len=row.length, **positions)


def begin(row: Reader, job: Job) -> Model:
    """The model before its first step."""
    torch.manual_seed(job.seed)
    if not row.base:
        return Model(stretched(read_config(row.config), row))
    base = f"{job.experiment}/{row.base}_seed{job.seed}"
    learned, _, _ = load_checkpoint(job.weights(base))
    model = Model(stretched(learned.config, row))
    model.load_state_dict(learned.state_dict())
    return model


def loop(row: Reader, job: Job, model: Model) -> Iterator[Measured]:
    """The steps of a run; only answers count."""
    optimizer = new_optimizer(model)
    model.train()
    for step in range(row.steps):
        batch = fact_batch(job.seed, step, row.rows, row.length)
        loss = F.cross_entropy(*answers(model, *batch))
        lr = learning_rate(step, row.steps, row.lr, warmup=row.steps // 10)
        for group in optimizer.param_groups:
            group["lr"] = lr
        norm = apply_gradient(model, optimizer, loss, f"step {step}")
        yield {"step": step, "loss": loss.item(), "grad_norm": norm, "lr": lr}


def make(row: Reader, job: Job) -> Measured:
    """Make one run: test it, train it, test it again."""
    model = begin(row, job)
    tests = {0: recall(model, row.length)} if row.base else {}
    log = list(loop(row, job, model))
    windows = range(0, len(log), row.log_every)
    job.write([means(log[i : i + row.log_every]) for i in windows])
    tests[row.steps] = recall(model, row.length)
    if not row.base:
        save_checkpoint(job.path(ending=".safetensors"), model, seed=job.seed)
    rows = [{"trained": n} | row for n, rows in tests.items() for row in rows]
    job.write(rows, "distances")
    return rows[-1]


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid(
        "long_context",
        RUNS,
        lambda job: make(RUNS[job.name], job),
        lambda job: job.path("distances").exists(),
        words,
    )


if __name__ == "__main__":
    main()
