"""Record what real drafted steps hand to the rule of acceptance.

It goes to files/steps.safetensors. Run in the folder of the book:
python assignments/several_tokens/make_files.py
"""

import random
from pathlib import Path

import torch
from safetensors.torch import save_file

from r1.model import drafting
from r1.text import encode, random_problem
from r1.train import load_checkpoint

HERE = Path(__file__).parent
STEPS = 500


def loaded(name):
    """A model of the book, ready to write."""
    model, _, _ = load_checkpoint(f"data/base/{name}.safetensors")
    return model.eval()


def record(model, new_drafter):
    """Drafts, q and p of the first `STEPS` steps in thoughts at temperature 1."""
    recorded, rule = [], drafting.accept

    def listen(drafts, q, p, generator=None):
        recorded.append({"drafts": drafts, "q": q, "p": p})
        return rule(drafts, q, p, generator)

    drafting.accept = listen
    rng, generator = random.Random("several tokens"), torch.Generator().manual_seed(0)
    while len(recorded) < STEPS:
        problem = random_problem(rng, (5, 5), held_out=True)
        prompt = encode(problem.prompt + "<think>")
        drafting.sample_with_drafts(model, prompt, new_drafter(), 64, 1.0, generator)
    drafting.accept = rule
    steps = recorded[:STEPS]
    return {name: torch.cat([step[name] for step in steps]) for name in steps[0]}


def main():
    """Record a model with two modules, and one with a small model that drafts three."""
    torch.set_num_threads(1)
    two = loaded("mtp2_seed0")
    main_model, small = loaded("base_seed1"), loaded("draft_seed0")
    runs = {
        "modules": record(two, lambda: drafting.MTPDrafter(two)),
        "small": record(main_model, lambda: drafting.ModelDrafter(small, 3)),
    }
    tensors = {
        f"{run}.{name}": x.half() if x.is_floating_point() else x.to(torch.int8)
        for run, found in runs.items()
        for name, x in found.items()
    }
    path = HERE / "files" / "steps.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main()
