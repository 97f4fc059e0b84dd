"""What several tests of this assignment use."""

import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import torch

from coursekit.testing import weights
from r1.model import Model, ModelConfig, sample
from r1.text import decode, encode

HERE = Path(__file__).parent
PLACES = (HERE.parent, HERE.parents[1] / "files")  # of a student, of the book
FILES = next(place for place in PLACES if (place / "puzzles.py").exists())
sys.path.append(str(FILES))

from puzzles import LEVELS, LONGEST, random_problem  # noqa: E402

KINDS = ("clock", "cancel")  # that can be handed in
BUDGET = 1200  # seconds of one core


def practice(kind):
    """Questions of a kind, none of them held out, and all right answers to each."""
    text = (FILES / "practice.json").read_text(encoding="utf-8")
    return json.loads(text)[kind]


def drawn(gen, kind, count):
    """As many problems of each level, from the side of the split for exams."""
    rng = random.Random(int(torch.randint(2**31, (), generator=gen)))
    levels = LEVELS[kind]
    turns = [levels[n % len(levels)] for n in range(count)]
    return [random_problem(rng, kind, level, held_out=True) for level in turns]


def policy_of(files):
    """The reference model with the weights that were handed in."""
    model = Model(replace(ModelConfig.tiny(), num_nextn_predict_layers=0)).eval()
    found = weights(files, "model.safetensors", like=model.state_dict(), limit=4 << 20)
    try:
        seconds = float(found.metadata["seconds"])
    except (KeyError, ValueError):
        seconds = float("inf")
    assert 0 < seconds <= BUDGET, (
        "model.safetensors does not say that it took at most 1200 seconds: `hand_in` "
        "has not written it, or the run took longer (it puts seconds, seed and plan "
        "beside the weights)"
    )
    model.load_state_dict(found.tensors)
    return model


def kind_of(student):
    """The kind of problems that the notebook has chosen."""
    kind = student["KIND"]
    assert kind in KINDS, (
        f"KIND must be one of {', '.join(KINDS)}: the problems your model was trained "
        "to solve"
    )
    return kind


@torch.no_grad()
def answers(model, questions):
    """What a model answers greedily, and its tokens an answer."""
    prompts = [encode(f"<bos>{question}=") for question in questions]
    found = sample(model, prompts, LONGEST, temperature=0.0)
    return [decode(a) for a in found], sum(map(len, found)) / len(found)
