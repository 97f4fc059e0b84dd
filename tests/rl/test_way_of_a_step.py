"""How far a reader has to walk who follows one step of GRPO."""

import os
import sys
from pathlib import Path

import torch

import r1
from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.rl.grpo_loop import Settings, grpo, new_policy
from r1.rl.rollout import Sampling
from r1.text.problems import Problem

PACKAGE = f"{Path(r1.__file__).parent}{os.sep}"
# The model is a room of its own, and the alphabet is what every reader knows.
KNOWN = ("model", "text/tokenizer.py")


def files_entered(call):
    """Files of r1 that a call enters, in the order in which a reader opens them."""
    opened, inside_of_what_is_known = [], []

    def watch(frame, event, _):
        # Called at every call, also of torch's: it looks at text before paths.
        file = frame.f_code.co_filename
        if event not in ("call", "return") or not file.startswith(PACKAGE):
            return
        name = Path(file).relative_to(PACKAGE).as_posix()
        known = name.startswith(KNOWN)
        if event == "call":
            if known:
                inside_of_what_is_known.append(name)
            elif not inside_of_what_is_known and name not in opened:
                opened.append(name)
        elif event == "return" and known:
            inside_of_what_is_known.pop()

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return opened


def test_a_step_of_grpo_is_read_in_at_most_eight_files():
    torch.manual_seed(0)
    base = new_policy(Model(ModelConfig.tiny()))
    settings = Settings(prompts=2, sampling=Sampling(group=4, max_new_tokens=8))
    optimizer = torch.optim.SGD(base.parameters(), lr=0.1)
    policy = new_policy(base)
    step = grpo(policy, base, 1, settings, optimizer=optimizer)
    opened = files_entered(lambda: next(step))
    assert opened[0] == "rl/grpo_loop.py"
    assert opened[-1] == "train/optimizer.py"
    assert len(opened) <= 8, " -> ".join(opened)
    assert all(file.startswith(("rl/", "text/", "train/")) for file in opened)


def test_files_are_counted_once_and_the_model_is_not():
    problem = Problem((7, 3), "*")
    assert files_entered(lambda: (problem.answer, problem.prompt)) == [
        "text/problems.py"
    ]
    assert files_entered(lambda: Model(ModelConfig.tiny())) == []
