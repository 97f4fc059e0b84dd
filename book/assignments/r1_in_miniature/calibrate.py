"""Make what students get, train from it as they do, and write down what comes out.

Run in the folder of the book, one after the other:
python assignments/r1_in_miniature/calibrate.py pretrain
python assignments/r1_in_miniature/calibrate.py train
python assignments/r1_in_miniature/calibrate.py draw

The first makes the base model and the lists of problems (about ten minutes). The second
runs every plan below with the solution's functions and the notebook's loop, and keeps
one of the models as the reference. The third draws the handout's picture.
"""

import csv
import itertools
import json
import random
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "files"))

from puzzles import LEVELS, Problem, random_problem  # noqa: E402

from coursekit.assignment import load  # noqa: E402
from coursekit.notebooks import instructor, tags  # noqa: E402
from r1.config import ModelConfig  # noqa: E402
from r1.model import Model  # noqa: E402
from r1.pretrain import Balance, packed_batch, pretrain  # noqa: E402
from r1.records import write_log  # noqa: E402
from r1.tokenizer import EOS, VOCAB_SIZE  # noqa: E402

STEPS = 4000
CONFIG = replace(ModelConfig.tiny(VOCAB_SIZE), num_nextn_predict_layers=0)
THINKING = {  # the share of documents with a thought, level by level
    "clock": {3: 0.4, 4: 0.3, 5: 0.2, 6: 0.1},
    "sort": {5: 0.4, 6: 0.3, 7: 0.2, 8: 0.1},
    "target": {1: 0.3, 2: 0.3, 3: 0.3},
}
# Plans by name, the seeds that each is run with, and what differs from the starter's.
PLANS = {
    "starter": ((0,), {}),
    "better": ((0, 1, 2), {"lr": 1e-3, "group": 16, "steps": 60, "floor": 0.3}),
}
COLORS = {"clock": "#0072B2", "sort": "#E69F00", "target": "#009E73"}
REFERENCE = ("target", "better", 0)
EXAM = 1000  # problems
GIVE_UP = 0.3  # after a try that has failed, in the thoughts of "target"
OPERATIONS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


def steps_of(expression: str) -> list[str]:
    """Every step of an expression modulo 10, products first: 3*4=2, 7+2=9."""
    tokens, steps = list(expression), []
    while len(tokens) > 1:
        at = tokens.index("*") if "*" in tokens else 1
        a, sign, b = tokens[at - 1 : at + 2]
        result = str(OPERATIONS[sign](int(a), int(b)) % 10)
        steps.append(f"{a}{sign}{b}={result}")
        tokens[at - 1 : at + 2] = [result]
    return steps


def value(expression: str) -> str:
    """What an expression is worth modulo 10."""
    return steps_of(expression)[-1][-1]


def tries(digits: str) -> list[str]:
    """All nine expressions of three digits."""
    a, b, c = digits
    return [a + s + b + t + c for s, t in itertools.product("+-*", repeat=2)]


def write_targets() -> None:
    """List the questions of "target" that have an answer, by level."""
    found = {level: [] for level in LEVELS["target"]}
    for digits in itertools.product("23456789", repeat=3):
        values = [value(x) for x in tries("".join(digits))]
        for target in sorted(set(values)):
            level = max(1, 4 - values.count(target))
            found[level].append("".join(digits) + ";" + target)
    lines = [f"{level}:{','.join(names)}\n" for level, names in found.items()]
    (HERE / "files" / "targets.txt").write_text("".join(lines))


def solve(problem: Problem, thinks: bool, rng: random.Random) -> tuple[str, str]:
    """A thought, empty if there is none, and an answer."""
    question = problem.question
    if problem.kind == "clock":
        steps = steps_of(question)
        return ";".join(steps) if thinks else "", steps[-1][-1]
    if problem.kind == "sort":
        parts = ["".join(sorted(question[:n])) for n in range(1, len(question) + 1)]
        return ";".join(parts) if thinks else "", parts[-1]
    digits, target = question.split(";")
    order = tries(digits)
    rng.shuffle(order)
    if not thinks:
        return "", next(x for x in order if value(x) == target)
    thought = []
    for attempt in order:
        thought.append(f"{attempt}={value(attempt)}")
        if value(attempt) == target or rng.random() < GIVE_UP:
            break
    return ";".join(thought), attempt


def write_practice() -> None:
    """Write questions for students to test with, and all right answers to each."""
    rng, found = random.Random("practice"), {}
    for kind, levels in LEVELS.items():
        drawn = {random_problem(rng, kind, n) for n in levels for _ in range(30)}
        ordered = sorted(drawn, key=lambda p: (p.level, p.question))
        found[kind] = [[p.question, answers_to(p)] for p in ordered]
    lines = (f'"{kind}": {json.dumps(rows)}' for kind, rows in found.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (HERE / "files" / "practice.json").write_text(text)


def answers_to(problem: Problem) -> list[str]:
    """All right answers."""
    if problem.kind != "target":
        return [solve(problem, False, random.Random(0))[1]]
    digits, target = problem.question.split(";")
    return [x for x in tries(digits) if value(x) == target]


def document(rng: random.Random) -> str:
    """A problem and how somebody answers it."""
    kind = rng.choice(list(LEVELS))
    problem = random_problem(rng, kind, rng.choice(LEVELS[kind]))
    thinks = rng.random() < THINKING[kind][problem.level]
    thought, answer = solve(problem, thinks, rng)
    thought = f"<think>{thought}</think>" if thought else ""
    return f"{problem.prompt}{thought}<answer>{answer}</answer>{EOS}"


def make_base() -> None:
    """Train the base model on documents of all kinds: about ten minutes."""
    torch.manual_seed(0)
    model, start = Model(CONFIG), time.process_time()
    batch = partial(packed_batch, document=document)
    for row in pretrain(model, STEPS, batch=batch, balance=Balance(0.001)):
        if row["step"] % 100 == 99:
            print(row["step"] + 1, f"{row['loss']:.3f}", flush=True)
    print(f"{time.process_time() - start:.0f} s")
    halves = {k: v.half() for k, v in model.state_dict().items()}
    save_file(halves, HERE / "files" / "base.safetensors")


def notebook() -> dict:
    """The names of the solution and of the notebook's loop."""
    names = {"__name__": "notebook"}
    cells = [c for c in instructor(load(HERE)).cells if c.cell_type == "code"]
    for cell in cells:
        loop = cell.source.startswith(("import csv", "@dataclass", "def run"))
        if loop or ("experiment" not in tags(cell) and "check(" not in cell.source):
            exec(cell.source.replace("from coursekit.checking import check", ""), names)
    return names


def examined(names: dict, model: Model, kind: str) -> dict:
    """Accuracy in all kinds, by level in its own, and tokens an answer there."""
    own = names["exam"](model, kind, EXAM, 1)
    every = {k: names["exam"](model, k, EXAM, 1)["accuracy"] for k in LEVELS}
    levels = [own[f"level_{n}"] for n in LEVELS[kind]]
    by_level = " ".join(f"{share:.3f}" for share in levels)
    return every | {"tokens": own["tokens"], "by_level": by_level}


def recorded(path: Path) -> list[dict]:
    """The rows that a file has so far."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(x for x in lines if not x.startswith("#")))


def train_all() -> None:
    """Run every plan for every kind; what calibrate.csv has already is not repeated."""
    names, base = notebook(), HERE / "files" / "base.safetensors"
    command = "python assignments/r1_in_miniature/calibrate.py train"
    table, curves = HERE / "calibrate.csv", HERE / "curves.csv"
    runs = [("base", (0,), {}), *((n, *found) for n, found in PLANS.items())]
    for (plan_name, seeds, given), kind in itertools.product(runs, LEVELS):
        for seed in seeds:
            done = recorded(table)
            this = {"kind": kind, "plan": plan_name, "seed": seed}
            if any(all(str(this[k]) == row[k] for k in this) for row in done):
                continue
            plan = names["Plan"](kind=kind, **given)
            policy, rows = names["new_model"](base), []
            if plan_name != "base":
                rows = list(names["train"](policy, plan, seed))
            seconds = rows[-1]["seconds"] if rows else 0.0
            this |= {"seconds": round(seconds), **examined(names, policy, kind)}
            print(this, flush=True)
            write_log(table, [*done, this], command)
            marks = {"kind": kind, "plan": plan_name, "seed": seed}
            if rows:
                log = [*recorded(curves), *(marks | row for row in rows)]
                write_log(curves, log, command)
            if (kind, plan_name, seed) == REFERENCE:
                names["hand_in"](policy, plan, seed, rows)
                made = Path("model.safetensors")
                made.replace(HERE / "reference" / "model.safetensors")


def smooth(rows: list[dict], column: str, width: int = 5) -> list[float]:
    """Means of the last few steps."""
    values = [float(row[column]) for row in rows]
    parts = (values[max(0, n - width + 1) : n + 1] for n in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def draw() -> None:
    """Accuracy and length against the seconds of one core, from curves.csv."""
    import matplotlib.pyplot as plt

    rows = recorded(HERE / "curves.csv")
    runs = {(row["kind"], row["plan"], row["seed"]) for row in rows}
    fig, panels = plt.subplots(1, 2, figsize=(6.4, 2.9), layout="constrained")
    for kind, plan, seed in sorted(runs):
        color, style = COLORS[kind], "-" if plan == "better" else ":"
        run = [
            r for r in rows if (r["kind"], r["plan"], r["seed"]) == (kind, plan, seed)
        ]
        seconds = [float(row["seconds"]) for row in run]
        for panel, column in zip(panels, ("accuracy", "tokens"), strict=True):
            label = kind if (plan, seed) == ("better", "0") else None
            panel.plot(seconds, smooth(run, column), style, color=color, label=label)
    panels[0].set(xlabel="seconds of one core", ylabel="right, while training")
    panels[0].set(ylim=(0, 1), title="TITLE")
    panels[1].set(xlabel="seconds of one core", ylabel="tokens an answer")
    panels[1].set(ylim=(0, None), title="TITLE")
    panels[0].legend(frameon=False, fontsize=8)
    for panel in panels:
        panel.title.set_fontsize(9)
    fig.savefig(HERE / "picture.png", dpi=150, facecolor="white")


def main() -> None:
    """Do what is asked for, on one core."""
    torch.set_num_threads(1)
    if sys.argv[1] == "pretrain":
        write_targets()
        write_practice()
        make_base()
    elif sys.argv[1] == "train":
        train_all()
    else:
        draw()


if __name__ == "__main__":
    main()
