"""How fast is the whole model beside Transformers'? python tests/bench/peers.py

Both have the same weights and do the same work with the same threads, turn by turn in
one process: a training step (loss, gradients, clipping, AdamW), and sampling with a
cache at temperature 1, without an end. Times are medians; a ratio above 1 says that
ours is faster. Memory is what a fresh process adds to its peak for the same work. The
share of kernels is that part of our time in which matrices are multiplied or attention
is computed, by torch's own functions, which both call: the work would take that long if
all else cost nothing.
grpo_step.py, run at the end, says how a step of GRPO is beside TRL's.
"""

import multiprocessing
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch.profiler import profile
from torch.testing import assert_close
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from r1.model.config import ModelConfig
from r1.model.formats import to_hugging_face
from r1.model.sampling import pick
from r1.model.transformer import Model, cross_entropy
from r1.train.optimizer import new_optimizer
from r1.train.records import write_log

OUT = Path(__file__).parents[2] / "book/runs/bench/peers.csv"
BASE = replace(ModelConfig.tiny(), num_nextn_predict_layers=0)
LARGER = replace(
    BASE,
    vocab_size=512,
    dim=256,
    inter_dim=768,
    moe_inter_dim=128,
    n_layers=4,
    n_heads=8,
    n_kv_heads=8,
    qk_nope_head_dim=32,
    qk_rope_head_dim=16,
    v_head_dim=32,
    kv_lora_rank=96,
    q_lora_rank=128,
    n_routed_experts=16,
    max_seq_len=1024,
)
# configuration, rows x length of a training batch, prompt and new tokens of 32 texts
SIZES = [(BASE, (32, 128), (12, 64), 9), (LARGER, (8, 256), (512, 32), 3)]
IMPLEMENTATIONS = ("eager", "grouped_mm")  # batched_mm is 25 times slower in training


def new_pair(config, implementation):
    """Their model and ours, with the same weights."""
    torch.manual_seed(0)
    theirs = DeepseekV3ForCausalLM._from_config(
        DeepseekV3Config(**to_hugging_face(config)),
        experts_implementation=implementation,
    )
    return Model.from_transformers(theirs), theirs


def trainer(model, config, shape):
    """One training step, as a function to be timed."""
    generator = torch.Generator().manual_seed(0)
    rows, length = shape
    size = (rows, length + 1)
    batch = torch.randint(0, config.vocab_size, size, generator=generator)
    optimizer = new_optimizer(model, lr=1e-3)

    def step():
        model.train()
        logits = model(batch[:, :-1])
        loss = cross_entropy(getattr(logits, "logits", logits), batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def sampler(model, config, lengths):
    """32 texts written at once, as a function to be timed."""
    prompt, new = lengths
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(3, config.vocab_size, (32, prompt), generator=generator)

    @torch.no_grad()
    def ours():
        model.eval()
        tokens, caches = texts, model.new_caches(prompt + new)
        for _ in range(new):
            tokens = pick(model(tokens, caches)[:, -1])[:, None]

    def theirs():
        model.eval()
        model.generate(
            texts,
            attention_mask=torch.ones_like(texts),
            max_new_tokens=new,
            do_sample=True,
            top_k=0,
            eos_token_id=None,
            pad_token_id=0,
        )

    return ours if isinstance(model, Model) else theirs


def tasks(config, shape, lengths):
    """Both tasks, as functions of a model."""
    return {
        "train": lambda model: trainer(model, config, shape),
        "sample": lambda model: sampler(model, config, lengths),
    }


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def high_water():
    """Most memory that this process has held so far, in megabytes (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def peak(number, task, whose, implementation):
    """Megabytes that a process of its own adds to its peak for a task."""
    config, shape, lengths, _ = SIZES[number]
    model = new_pair(config, implementation)[whose]
    before = high_water()
    tasks(config, shape, lengths)[task](model)()
    return high_water() - before


def kernels_share(work):
    """The share of kernels in the time of a work that has been done before."""
    with profile() as measured:
        work()
    times = {e.key: e.self_cpu_time_total for e in measured.key_averages()}
    return sum(t for key, t in times.items() if is_kernel(key)) / sum(times.values())


def is_kernel(key):
    """Whether a function of torch multiplies matrices or computes attention."""
    return key in ("aten::mm", "aten::bmm", "aten::addmm") or "flash_attention" in key


def compare(number):
    """One row a task for a size."""
    config, shape, lengths, turns = SIZES[number]
    pairs = {name: new_pair(config, name) for name in IMPLEMENTATIONS}
    ours, theirs = pairs["eager"]
    tokens = torch.randint(0, config.vocab_size, (2, 64))
    with torch.no_grad():
        assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
    for task, make in tasks(config, shape, lengths).items():
        works = {"ours": make(ours)}
        works |= {name: make(pair[1]) for name, pair in pairs.items()}
        for work in works.values():
            work()
        times = {name: [] for name in works}
        for _ in range(turns):
            for name, work in works.items():
                times[name].append(seconds(work))
        middle = {name: median(values) for name, values in times.items()}
        best = min(IMPLEMENTATIONS, key=middle.get)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1, maxtasksperchild=1) as pool:
            jobs = [(number, task, whose, best) for whose in (0, 1)]
            memory = [pool.apply(peak, job) for job in jobs]
        yield {
            "size": number,
            "sampling": int(task == "sample"),
            "grouped": int(best == "grouped_mm"),
            "ours_s": middle["ours"],
            "theirs_s": middle[best],
            "ratio": middle[best] / middle["ours"],
            "ours_mb": memory[0],
            "theirs_mb": memory[1],
            "ours_kernels_share": kernels_share(works["ours"]),
        }


def grpo_ratio():
    """How many times as fast as TRL's step of GRPO ours is, as text."""
    import grpo_step  # it imports from here

    return f"{grpo_step.main():.2f}"


def main():
    rows = []
    print("size  task    ours      theirs    ratio  ours MB  theirs MB")
    for number in range(len(SIZES)):
        for row in compare(number):
            rows.append(row)
            task = "sample" if row["sampling"] else "train"
            print(
                f"{SIZES[number][0].dim:<5} {task:6} {row['ours_s']:8.3f} s "
                f"{row['theirs_s']:8.3f} s {row['ratio']:6.2f} {row['ours_mb']:8.0f} "
                f"{row['theirs_mb']:10.0f}"
            )
    write_log(OUT, rows, command="python tests/bench/peers.py")
    train, sample = (row["ratio"] for row in rows[:2])
    print(f"ratio train={train:.2f} sample={sample:.2f} grpo={grpo_ratio()}")


if __name__ == "__main__":
    main()
