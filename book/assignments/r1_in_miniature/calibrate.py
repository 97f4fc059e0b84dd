"""Make what students get, train from it as they do, and write down what comes out.

Run in the folder of the book, one after the other:
python assignments/r1_in_miniature/calibrate.py pretrain
python assignments/r1_in_miniature/calibrate.py look
python assignments/r1_in_miniature/calibrate.py train
python assignments/r1_in_miniature/calibrate.py draw

The first makes the base model and the lists of problems: four minutes on the H200 that
made the file here, about half an hour on one core. The second prints what this model
does. The third runs every plan below with the solution's functions and the notebook's
loop, one to five minutes of a core each, and keeps one of the models as the reference.
The last draws the picture.
"""

import csv
import itertools
import json
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "files"))

from puzzles import LEVELS, LONGEST, Problem, random_problem  # noqa: E402

from coursekit.authoring.assignment import load  # noqa: E402
from coursekit.authoring.notebooks import EXPERIMENT, instructor, tags  # noqa: E402
from r1.model import Model, ModelConfig, sample  # noqa: E402
from r1.text import EOS, IDS, VOCAB_SIZE, decode, encode  # noqa: E402
from r1.train import (  # noqa: E402
    Balance,
    packed_batch,
    pretrain,
    write_log,
)

STEPS = 6000
CONFIG = replace(ModelConfig.tiny(VOCAB_SIZE), num_nextn_predict_layers=0)
THINKING = {  # the share of documents with a thought, level by level
    "clock": {3: 0.45, 4: 0.35, 5: 0.25, 6: 0.2},
    "cancel": {1: 0.45, 2: 0.35, 3: 0.25, 4: 0.2},
    "target": {1: 0.4, 2: 0.4, 3: 0.4},
}
# Plans by name: kinds, seeds, and what differs from the starter's plan.
ALL, HANDED_IN = ("clock", "cancel", "target"), ("clock", "cancel")
BETTER = {"lr": 2e-4, "group": 16, "steps": 100, "floor": 0.3}
SLOWER = BETTER | {"lr": 1e-4, "how": "token"}
PLANS = {
    "base": (ALL, (0,), {"steps": 0}),
    "starter": (HANDED_IN, (0, 1), {}),
    "better": (ALL, (0, 1, 2), BETTER),
    "even": (ALL, (0,), BETTER | {"floor": 1.0}),
    "token": (ALL, (0,), SLOWER),
    "faster": (ALL, (0,), BETTER | {"lr": 5e-4, "steps": 60}),
    "too fast": (ALL, (0, 1, 2), BETTER | {"lr": 1e-3, "steps": 60}),
    "thoughts": (("cancel",), (0,), SLOWER | {"steps": 300, "paid": "thoughts"}),
}
DRAWN = (  # kinds and plans of the picture, and how they are drawn
    ("clock", "better", "better", "#0072B2", "-"),
    ("clock", "too fast", "too fast", "#56B4E9", ":"),
    ("cancel", "better", "better", "#E69F00", "-"),
    ("cancel", "thoughts", "another pay", "#009E73", "-"),
)
REFERENCE = ("clock", "better", 0)
EXAM = 600  # problems
GIVE_UP = 0.3  # after a try that has failed, in the thoughts of "target"
OPERATIONS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


def rewritten(expression: str) -> list[str]:
    """An expression modulo 10, one operation after the other, products first.

    7-3*4 becomes 7-2 and 5; the first of them is the expression itself.
    """
    tokens, texts = list(expression), [expression]
    while len(tokens) > 1:
        at = tokens.index("*") if "*" in tokens else 1
        a, sign, b = tokens[at - 1 : at + 2]
        tokens[at - 1 : at + 2] = [str(OPERATIONS[sign](int(a), int(b)) % 10)]
        texts.append("".join(tokens))
    return texts


def cancelled(text: str) -> list[str]:
    """Letters, and what is left of them after each pair from the left that goes."""
    texts = [text]
    while pair := re.search(r"(.)\1", texts[-1]):
        texts.append(texts[-1][: pair.start()] + texts[-1][pair.end() :])
    return texts


def value(expression: str) -> str:
    """What an expression is worth modulo 10."""
    return rewritten(expression)[-1]


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
    if problem.kind != "target":
        change = rewritten if problem.kind == "clock" else cancelled
        texts = change(question)[1:]
        return "=".join(texts) if thinks else "", texts[-1]
    digits, target = question.split(";")
    order = tries(digits)
    if not thinks:
        return "", rng.choice([x for x in order if value(x) == target])
    start, thought = rng.randrange(9), []
    for attempt in order[start:] + order[:start]:
        thought.append("=".join(rewritten(attempt)))
        if value(attempt) == target or rng.random() < GIVE_UP:
            break
    return ";".join(thought), attempt


def write_practice() -> None:
    """Write questions for students to test with, and all right answers to each."""
    rng, found = random.Random("practice"), {}
    for kind, levels in LEVELS.items():
        drawn = {random_problem(rng, kind, n) for n in levels for _ in range(100)}
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
    """Train the base model on documents of all kinds, on a GPU if there is one."""
    torch.set_default_device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model, start = Model(CONFIG), time.time()
    batch = partial(packed_batch, document=document)
    for row in pretrain(model, STEPS, batch=batch, balance=Balance(0.001)):
        if row["step"] % 200 == 199:
            print(row["step"] + 1, f"{row['loss']:.3f}", flush=True)
    print(f"{time.time() - start:.0f} s")
    halves = {k: v.cpu().half() for k, v in model.state_dict().items()}
    path = HERE / "files" / "base.safetensors"
    save_file(halves, path)
    path.chmod(0o644)


def notebook() -> dict:
    """The names of the solution and of the notebook's loop."""
    names = {"__name__": "notebook"}
    cells = [c for c in instructor(load(HERE)).cells if c.cell_type == "code"]
    for cell in cells:
        source = cell.source.removeprefix(f"{EXPERIMENT}\n")
        loop = source.startswith(("import csv", "@dataclass", "def run"))
        if loop or ("experiment" not in tags(cell) and "check(" not in cell.source):
            exec(cell.source.replace("from coursekit.checking import check", ""), names)
    return names


def examined(names: dict, model: Model, kind: str) -> dict:
    """Accuracy, tokens an answer, and accuracy by level."""
    found = names["exam"](model, kind, EXAM, 7)
    by_level = " ".join(f"{found[f'level_{n}']:.3f}" for n in LEVELS[kind])
    numbers = {name: found[name] for name in ("accuracy", "tokens")}
    return numbers | {"by_level": by_level}


def recorded(path: Path) -> list[dict]:
    """The rows that a file has so far."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(x for x in lines if not x.startswith("#")))


def thoughtful(pay: Callable) -> Callable:
    """The same pay for answers with a thought, and nothing for others."""
    return lambda p, text, plan: text.startswith("<think>") * pay(p, text, plan)


def train_all() -> None:
    """Run every plan; what calibrate.csv has already is not repeated."""
    names, table, curves = notebook(), HERE / "calibrate.csv", HERE / "curves.csv"
    command, pay = "python assignments/r1_in_miniature/calibrate.py train", names["pay"]
    every = [
        ({"kind": kind, "plan": name, "seed": seed}, changes)
        for name, (kinds, seeds, changes) in PLANS.items()
        for kind in kinds
        for seed in seeds
    ]
    for this, changes in every:
        if any(all(str(this[k]) == row[k] for k in this) for row in recorded(table)):
            continue
        plain = {k: v for k, v in changes.items() if k != "paid"}
        names["pay"] = pay if plain == changes else thoughtful(pay)
        plan = names["Plan"](kind=this["kind"], **plain)
        policy = names["new_model"](HERE / "files" / "base.safetensors")
        rows = list(names["train"](policy, plan, this["seed"]))
        seconds = round(rows[-1]["seconds"]) if rows else 0
        result = this | {"seconds": seconds} | examined(names, policy, this["kind"])
        print(result, flush=True)
        write_log(table, [*recorded(table), result], command)
        if rows:
            write_log(curves, [*recorded(curves), *(this | r for r in rows)], command)
        if tuple(this.values()) == REFERENCE:
            names["hand_in"](policy, plan, this["seed"], rows)
            Path("model.safetensors").replace(HERE / "reference" / "model.safetensors")


def look(count: int = 200) -> None:
    """Say what the base model's habits are worth, and when its thoughts stop."""
    names = notebook()
    base = names["new_model"](HERE / "files" / "base.safetensors")
    for kind, level in ((k, n) for k in LEVELS for n in LEVELS[k]):
        rng, gen = random.Random(3), torch.Generator().manual_seed(0)
        asked = [random_problem(rng, kind, level, held_out=True) for _ in range(count)]
        prompts = [encode(problem.prompt) for problem in asked]
        with torch.no_grad():
            answers = sample(base, prompts, LONGEST, 1.0, gen)
        habits = {True: [], False: []}
        for problem, text in zip(asked, map(decode, answers), strict=True):
            good = names["right"](kind, problem.question, text)
            habits[text.startswith("<think>")].append(good)
        rates = [sum(hits) / len(hits) for hits in habits.values()]
        share = len(habits[True]) / count
        print(f"{kind} {level}: thinks {share:.2f}, then right {rates[0]:.2f}", end="")
        print(f", else {rates[1]:.2f}")
    stops = {True: [], False: []}
    rng = random.Random(5)
    for _ in range(count):
        problem = random_problem(rng, "target", rng.choice(LEVELS["target"]))
        digits, target = problem.question.split(";")
        text, start = problem.prompt + "<think>", rng.randrange(9)
        for attempt in (tries(digits) * 2)[start : start + 9]:
            text += "=".join(rewritten(attempt))
            with torch.no_grad():
                logits = base(torch.tensor([encode(text)]))[0, -1]
            hit = value(attempt) == target
            stops[hit].append(logits.softmax(-1)[IDS["</think>"]].item())
            if hit:
                break
            text += ";"
    hit, miss = (sum(stops[x]) / len(stops[x]) for x in (True, False))
    print(f"target: a thought stops behind a hit {hit:.2f}, behind a miss {miss:.2f}")


def smooth(rows: list[dict], column: str, width: int = 8) -> list[float]:
    """Means of the last few steps."""
    values = [float(row[column]) for row in rows]
    parts = (values[max(0, n - width + 1) : n + 1] for n in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def draw() -> None:
    """Accuracy and length against the seconds of one core, from curves.csv."""
    import matplotlib.pyplot as plt

    rows = recorded(HERE / "curves.csv")
    fig, panels = plt.subplots(1, 2, figsize=(6.4, 2.9), layout="constrained")
    for kind, plan, name, color, style in DRAWN:
        for seed in map(str, PLANS[plan][1]):
            wanted = [kind, plan, seed]
            run = [r for r in rows if [r["kind"], r["plan"], r["seed"]] == wanted]
            seconds = [float(row["seconds"]) for row in run]
            label = f"{kind}, {name}" if seed == "0" else None
            for panel, column in zip(panels, ("accuracy", "tokens"), strict=True):
                values = smooth(run, column)
                panel.plot(seconds, values, style, color=color, label=label, lw=1)
    labels = ("right, while training", "tokens an answer")
    titles = ("A rate that fits ends near 1,\n", "Answers grow as long as\n")
    ends = ("one too high unlearns", "thoughts are, and no longer")
    for panel, label, title, end in zip(panels, labels, titles, ends, strict=True):
        panel.set(xlabel="seconds of one core", ylabel=label, ylim=(0, None))
        panel.set_title(title + end, fontsize=9)
    panels[1].legend(frameon=False, fontsize=7)
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
    elif sys.argv[1] == "look":
        look()
    else:
        draw()


if __name__ == "__main__":
    main()
