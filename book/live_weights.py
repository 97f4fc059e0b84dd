"""Weights for the model that thinks in the page: python book/live_weights.py DIR

Writes for each model of MODELS a script DIR/NAME.js, which a page loads when its reader
first asks for the model, also from a disk. A script holds half-precision numbers: the
bits of the base model, and of each other model how many halves each number has moved
from the base's. The high bytes come first and then the low bytes, compressed by zlib
and spelled in base64. _static/live/weights.js reads it.

As an extension of Sphinx this writes the scripts when the website is built. `--record
NAME RUN.safetensors RUN.csv` puts a checkpoint that a run has left into data/live, in
half precision and with the command, commit, device and date of its table. The scripts
are made from there.

No module of several tokens was trained after the base, so all models have the base's.
"""

import argparse
import base64
import json
import zlib
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from r1.model.config import ModelConfig
from r1.model.files import write_atomically
from r1.model.transformer import Model
from r1.train.records import DATA, read_cells

FOLDER = "_static/live/weights"  # of a website
BASE = "base"


class Live(NamedTuple):
    """A model of the page: its checkpoint in data, and where that comes from."""

    checkpoint: str
    run: str


# In the order of training; all of them began with the same base model.
MODELS = {
    BASE: Live("base/steady_seed0", "base/steady_seed0"),
    "zero20": Live("live/zero20", "rl/watched_seed0 before step 20"),
    "zero50": Live("live/zero50", "rl/watched_seed0 before step 50"),
    "zero100": Live("live/zero100", "rl/watched_seed0 before step 100"),
    "r1": Live("live/r1", "pipeline/r1_seed0"),
}


def checkpoint(name, data=DATA):
    """The file of a model's weights."""
    return data / f"{MODELS[name].checkpoint}.safetensors"


@cache
def read(path):
    """The configuration and the weights of a checkpoint, in half precision.

    Raises ValueError for a weight that is too large for it.
    """
    with safe_open(path, "pt") as file:
        config, names = json.loads(file.metadata()["config"]), file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    halves = {
        name.removeprefix("model."): tensor.half()
        for name, tensor in tensors.items()
        if name.startswith("model.")
    }
    if wild := [name for name, half in halves.items() if not half.isfinite().all()]:
        raise ValueError(f"{wild[0]} has numbers beyond 65,504, the largest half")
    return ModelConfig.from_dict(config), halves


def is_module(name):
    """Whether a tensor belongs to the module of several tokens."""
    return name.startswith("mtp.")


def ordered(halves):
    """Tensors in the order of the files: by name, the module's behind all others."""
    return sorted(halves, key=lambda name: (is_module(name), name))


def bits(halves):
    """The bits of all weights, one behind the other."""
    flat = [halves[name].flatten().numpy() for name in ordered(halves)]
    return np.concatenate(flat).view(np.uint16)


def places(halves):
    """Numbers that grow with the halves: how many halves lie below, negative for -."""
    wide = halves.astype(np.int32)
    return np.where(wide & 0x8000, 0x8000 - wide, wide)


def moves(ours, base):
    """By how many halves each of ours is above the base: 0, -1, 1, -2 as 0, 1, 2, 3."""
    steps = places(ours) - places(base[: len(ours)])
    folded = np.where(steps < 0, -2 * steps - 1, 2 * steps)
    if folded.max(initial=0) > 0xFFFF:
        raise ValueError("a weight has moved too far from the base; write it whole")
    return folded.astype(np.uint16)


def spelled(numbers):
    """16-bit numbers as text: high bytes, low bytes, zlib, base64."""
    high, low = (numbers >> 8).astype(np.uint8), (numbers & 255).astype(np.uint8)
    packed = zlib.compress(high.tobytes() + low.tobytes())
    return base64.b64encode(packed).decode()


def script(name, data=DATA):
    """The script that hands the weights of a model to a page."""
    config, halves = read(checkpoint(name, data))
    if name == BASE:
        sizes = [[each, halves[each].numel()] for each in ordered(halves)]
        about = {"config": asdict(config), "tensors": sizes}
        about["data"] = spelled(bits(halves))
    else:
        _, base = read(checkpoint(BASE, data))
        mine = [each for each in ordered(base) if not is_module(each)]
        if ordered(halves) != mine:
            raise ValueError(f"{name} has not the tensors of the base model")
        about = {"from": BASE, "data": spelled(moves(bits(halves), bits(base)))}
    return f"R1.weights({json.dumps(name)}, {json.dumps(about)});\n"


def write(folder, data=DATA):
    """Write the scripts of all models into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        text = script(name, data)
        put = partial(Path.write_text, data=text, encoding="ascii")
        write_atomically(folder / f"{name}.js", put)


def model(name, data=DATA):
    """A model as the page has it, in PyTorch: halves, computed in single precision."""
    config, halves = read(checkpoint(name, data))
    base_config, base = read(checkpoint(BASE, data))
    modules = {each: half for each, half in base.items() if is_module(each)}
    depth = base_config.num_nextn_predict_layers
    made = Model(replace(config, num_nextn_predict_layers=depth))
    made.load_state_dict({each: t.float() for each, t in (modules | halves).items()})
    return made.eval()


def record(name, source, table, data=DATA):
    """Put a checkpoint that a run has left into data/live, in half precision.

    Raises ValueError for a run whose code is in no commit.
    """
    origin = read_cells(table).origin
    if origin["commit"].endswith(("unknown", "+changes")):
        raise ValueError(f"{source.name} was made by code that is in no commit")
    _, halves = read(source)
    with safe_open(source, "pt") as file:
        about = file.metadata()
    tensors = {f"model.{each}": half.contiguous() for each, half in halves.items()}
    notes = json.loads(about.get("notes", "{}"))
    about |= {"notes": json.dumps(notes | {"run": MODELS[name].run} | origin)}
    path = checkpoint(name, data)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, lambda empty: save_file(tensors, empty, about))


def setup(app):
    """Write the weights when the website is built."""

    def finished(app, error):
        if error is None and app.builder.name == "html":
            write(Path(app.outdir, FOLDER))

    app.connect("build-finished", finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main():
    """Write the scripts, or record a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="for the scripts")
    parser.add_argument("--record", nargs=3, metavar=("NAME", "WEIGHTS", "TABLE"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.record:
        name, source, table = options.record
        if name not in MODELS or name == BASE:
            raise SystemExit(f"no model {name!r} to record; there are {[*MODELS][1:]}")
        record(name, Path(source), Path(table))
    if options.folder:
        write(options.folder)


if __name__ == "__main__":
    main()
