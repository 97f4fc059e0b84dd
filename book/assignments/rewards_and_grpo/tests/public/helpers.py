"""What several tests of this assignment use."""

import csv
import time
from pathlib import Path

import torch

FAULTS = ("sign", "rate", "reward", "rows", "mask", "groups", "limit", "clip")
SEEDS = {"a": 3, "b": 1, "c": 2}
DOUBLE = torch.float64


def wide(numbers):
    """A tensor of float64."""
    return torch.tensor(numbers, dtype=DOUBLE)


def shown(text):
    """A text as a message can hold it: in ASCII, and not all of a megabyte."""
    return ascii(text if len(text) < 70 else text[:50] + " ... " + text[-12:])


def shown_right(right):
    """What a reader should have said, short enough for a message."""
    return shown(right) if isinstance(right, str) else repr(right)


def reads(function, cases, hint):
    """Fail unless a reader says what is expected of each text, None included."""
    for text, right in cases.items():
        found = function(text)
        if isinstance(found, list):
            found = tuple(found)
        kinds = (type(found), *(map(type, found) if type(found) is tuple else ()))
        wanted = (type(right), *(map(type, right) if type(right) is tuple else ()))
        said = shown(found) if isinstance(found, str) else repr(found)[:80]
        same = kinds == wanted and found == right
        assert same, f"{shown(text)} gave {said}, not {shown_right(right)} ({hint})"


def seconds(function, text, enough):
    """How long a call takes; if that is enough or more, the better of two tries."""
    taken = []
    while len(taken) < 2 and min(taken, default=enough) >= enough:
        start = time.perf_counter()
        function(text)
        taken.append(time.perf_counter() - start)
    return min(taken)


def arrives(gradients, index, name):
    """The gradient of an argument; fails where there is none."""
    found = gradients.inputs[index]
    assert isinstance(found, torch.Tensor), (
        f"no gradient reaches {name}: it must be computed from {name}, undetached"
    )
    return found


def stays_away(gradients, index, name):
    """Fail if an argument has a gradient other than 0."""
    found = gradients.inputs[index]
    assert found is None or not found.any(), (
        f"{name} has a gradient: to the loss it is a number, so detach it"
    )


def slope_of_logits(weights, p):
    """From one number for each log-probability to the slope by the logits.

    weights [vocab], p [vocab]: the policy; d log p_v / d z_j = [v = j] - p_j
    """
    return weights - p * weights.sum()


def read_log(name):
    """A recorded run, by column; it lies beside the notebook or in files/."""
    here = Path(__file__).resolve().parent
    folders = (here.parent, here.parents[1] / "files")
    path = next(f / name for f in folders if (f / name).is_file())
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(x for x in lines if not x.startswith("#")))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def decisive(name, column, step):
    """Whether a number of a sick run cannot be chance; as in the notebook."""
    run, healthy = read_log(f"run_{name}.csv"), read_log("healthy.csv")
    number = run[column][step]
    band = [healthy[column][40 * seed + step] for seed in range(5)]
    if step == 0:
        return abs(number - band[SEEDS[name]]) > 1e-3
    width = max(max(band) - min(band), 1e-3)
    return number < min(band) - width or number > max(band) + width


def finding(student, name):
    """What the notebook says of a run, in a form that can be judged."""
    found = student.diagnose(name)
    four = isinstance(found, tuple | list) and len(found) == 4
    assert four, f"diagnose({name!r}) returns (fault, column, step, number)"
    fault, column, step, number = found
    known = isinstance(fault, str) and fault in FAULTS
    assert known, f"run {name}: {fault!r} is no code of the table"
    there = isinstance(column, str) and column in read_log("run_a.csv")
    assert there, f"run {name}: {column!r} is no column of the log"
    inside = type(step) is int and 0 <= step < 40
    assert inside, f"run {name}: step is {step!r}; give a whole number from 0 to 39"
    assert type(number) in (int, float), f"run {name}: {number!r} is no number"
    return fault, column, step, number
