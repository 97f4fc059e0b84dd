"""While it is tested, types are checked in every room of r1, and shapes where some are.

jaxtyping's check of a call that has no shape takes ten times as long as beartype's, so
rooms without shapes are left to beartype.
"""

from pathlib import Path
from pkgutil import iter_modules

import matplotlib.pyplot as plt
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

import r1
from r1 import plotting, stats, timing
from r1.cost.wires import token_seconds
from r1.model.moe import count_load
from r1.recipe.preference import preference_loss
from r1.rl.rewards import group_advantages
from r1.text.tokenizer import encode
from r1.train.likelihood import token_logprobs

R1 = Path(r1.__file__).parent
ROW = torch.zeros(3)
# A call of each room with something of a wrong type, or of a wrong shape.
CALLS = {
    "cost": lambda: token_seconds("4", 8, 7168, 50e9, 160e9),
    "plotting": lambda: plotting.canvas("6.4", 3.0),
    "stats": lambda: stats.half_width([1.0, 2.0], "0.95"),
    "text": lambda: encode(3),
    "timing": lambda: timing.median_seconds(3),
    "model": lambda: count_load(ROW, 3),
    "recipe": lambda: preference_loss(ROW, ROW),
    "rl": lambda: group_advantages(ROW),
    "train": lambda: token_logprobs(ROW, ROW),
}
ROOMS = {room.name for room in iter_modules(r1.__path__)}


def has_shapes(room):
    paths = [R1 / f"{room}.py", *(R1 / room).glob("*.py")]
    return any(
        "jaxtyping" in path.read_text("utf-8") for path in paths if path.exists()
    )


def test_every_room_has_its_call():
    assert set(CALLS) == ROOMS


@pytest.mark.parametrize("room", CALLS)
def test_a_call_with_a_wrong_type_is_refused(room):
    error = TypeCheckError if has_shapes(room) else BeartypeCallHintViolation
    with pytest.raises(error):
        CALLS[room]()
    plt.close("all")
