"""What a model of 31 GB takes that is read from disk: python tests/bench/real_size.py

Writes a folder with all names, shapes and shards of DeepSeek-V2-Lite, in BF16.
Embedding, norms and routers are random; every other matrix is a hole in a sparse file,
which reads as zeros. So the folder takes half a gigabyte of the disk, and tokens choose
different experts. A `StreamedModel` reads a prompt and then further tokens, one after
the other. The disk is not in the times, since holes are not read from it. Only Linux
says what is measured:

    held_gb      the most memory of the process that is no page of a file
    mapped_gb    the most pages of files that it had in memory; where memory is short,
                 the system takes such pages back
    layer_gb     the largest layer
"""

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import torch

from r1.cost.counting import count_parameters
from r1.cost.memory import layer_matrices
from r1.model.config import ModelConfig
from r1.model.folder import INDEX, parts_of
from r1.model.streamed import StreamedModel
from r1.model.transformer import Model
from r1.train.records import DATA, write_log

OUT = Path(__file__).parents[2] / "book/runs/bench/v2_lite.csv"
CONFIG = DATA / "configs/deepseek_v2_lite.json"
COMMAND = "python tests/bench/real_size.py"
REAL = ("embed_tokens.weight", "norm.weight", "gate.weight")  # what is no hole
SHARDS = 4


def shapes_of(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of the files, in the order of the layers."""
    with torch.device("meta"):
        state = Model(config).state_dict()
    found = {}
    for name, tensor in state.items():
        found |= dict(parts_of(name, tensor.shape, config.n_layers))
    return found


def write_shard(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file of BF16: 8 bytes, a header in JSON, and the numbers."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        first = file.tell()
        file.truncate(first + end)
        for name, shape in shapes.items():
            if name.endswith(REAL):
                file.seek(first + header[name]["data_offsets"][0])
                numbers = torch.ones(shape) if len(shape) == 1 else torch.randn(shape)
                file.write(numbers.bfloat16().view(torch.uint8).numpy().tobytes())


def write_folder(folder: Path) -> None:
    """V2-Lite's layout: its configuration, an index and four shards."""
    shapes = shapes_of(ModelConfig.from_json(CONFIG))
    names, places = list(shapes), {}
    each = -(-len(names) // SHARDS)
    for k in range(SHARDS):
        file = f"model-{k + 1:05}-of-{SHARDS:06}.safetensors"
        part = {name: shapes[name] for name in names[k * each : (k + 1) * each]}
        write_shard(folder / file, part)
        places |= dict.fromkeys(part, file)
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_bytes(CONFIG.read_bytes())


class Watch(threading.Thread):
    """Looks every ten milliseconds how much memory this process has."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.done = {"RssAnon": 0.0, "RssFile": 0.0}, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.01):
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self.most:
                    gigabytes = int(value.split()[0]) * 1024 / 1e9
                    self.most[name] = max(self.most[name], gigabytes)


@torch.no_grad()
def measure(folder: Path, prompt: int, new: int) -> dict[str, float]:
    """Seconds and gigabytes of a prompt and of the tokens after it."""
    watch = Watch()
    watch.start()
    model, seconds = StreamedModel(folder), []
    caches = model.new_caches(prompt + new)
    for length in [prompt, *[1] * new]:
        tokens = torch.randint(model.config.vocab_size, (1, length))
        start = time.perf_counter()
        model(tokens, caches)
        seconds.append(time.perf_counter() - start)
    watch.done.set()
    watch.join()
    config = model.config
    layers = [layer_matrices(config, layer) for layer in range(config.n_layers)]
    return {
        "prompt": prompt,
        "new": new,
        "folder_gb": sum(p.stat().st_size for p in folder.glob("*.safetensors")) / 1e9,
        "parameters": count_parameters(config).total,
        "layer_gb": max(sum(2 * m.parameters for m in ms) for ms in layers) / 1e9,
        "held_gb": watch.most["RssAnon"],
        "mapped_gb": watch.most["RssFile"],
        "prompt_s": seconds[0],
        "token_s": median(seconds[1:]),
    }


def main() -> None:
    """Print and record one measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompt", type=int, default=16, help="tokens of the prompt")
    parser.add_argument("--new", type=int, default=8, help="tokens after it")
    said = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder))
        row = measure(Path(folder), said.prompt, said.new)
    for name, value in row.items():
        print(f"{name:11}{value:,.4g}")
    write_log(OUT, [row], COMMAND)


if __name__ == "__main__":
    main()
