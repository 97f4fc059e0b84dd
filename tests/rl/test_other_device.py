"""Training on a device that is not the CPU is training on the CPU.

Without a GPU the other device is a pretended one (elsewhere.py), which refuses what a
GPU refuses. What only a GPU has, its kernels and their rounding, is not tested.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from elsewhere import DEVICE, other_device
from torch.testing import assert_close

from r1.model.config import ModelConfig
from r1.model.sampling import draw
from r1.model.transformer import Model
from r1.recipe.at_test_time import train_verifier
from r1.rl.grpo_loop import Environment, Settings, Updates, grpo, new_policy
from r1.rl.losses import GRPOLoss
from r1.rl.ppo_loop import PPOSettings, new_critic, ppo
from r1.rl.rollout import Rollout, Sampling, join
from r1.text.problems import Problem
from r1.text.tokenizer import EOS
from r1.train.evaluation import evaluate, evaluate_kinds, validate
from r1.train.finetuning import Example, sft
from r1.train.pretraining import Balance, packed_batch, pretrain

CONFIG = replace(ModelConfig.tiny(), dim=16, inter_dim=32, n_layers=2, moe_inter_dim=16)
UPDATES = Updates(1e-3, minibatches=2)
FEW = {"prompts": 2, "sampling": Sampling(3, 6), "updates": UPDATES}


def share_of_digits(problem, text):
    """A reward of which answers of an untrained model have different ones."""
    return sum(c.isdigit() for c in text) / 6


def some(groups):
    """Every second group is kept, so that others are asked."""
    return torch.arange(len(groups), device=groups.device) % 2 == 0


def by_grpo(model):
    policy, loss = new_policy(model), GRPOLoss(kl_weight=0.05)
    settings = Settings(**FEW, loss=loss)
    environment = Environment(reward=share_of_digits, keep=some)
    return policy, list(grpo(policy, new_policy(model), 1, settings, environment))


def by_ppo(model):
    policy, environment = new_policy(model), Environment(reward=share_of_digits)
    models, settings = (policy, new_critic(model)), PPOSettings(**FEW)
    return policy, list(ppo(*models, new_policy(model), 1, settings, environment))


def by_documents(model):
    batch = partial(packed_batch, rows=2, length=16)
    balance = Balance(0.01, "sequence", 0.01)
    rows = list(pretrain(model, 2, batch=batch, balance=balance))
    rows += list(pretrain(model, 1, batch=batch))
    tested = [validate(model, [batch(1, 1)]), evaluate(model, 3, 2)]
    return model, [*rows, *tested, *evaluate_kinds(model, 1)]


def by_examples(model):
    examples = [Example("1+2=", f"<answer>{n}</answer>{EOS}") for n in range(3)]
    rows = list(sft(model, examples, 1, batch=2))
    marked = [(Problem((1, 2), "+"), text) for _, text in examples[1:]]
    verifier = new_policy(model)
    return verifier, [*rows, *train_verifier(verifier, marked, epochs=1)]


def learn(way, config, device=None):
    """The weights and the rows after training by a way, on the CPU or elsewhere."""
    torch.manual_seed(0)
    model = Model(config)
    if device:
        with torch.device(DEVICE):
            moved = Model(config)
        moved.load_state_dict(model.state_dict())
        model = moved
    trained, rows = way(model.eval())
    assert trained.device == (device or torch.device("cpu"))
    return {name: w.cpu() for name, w in trained.state_dict().items()}, rows


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("modules", [0, 1])
@pytest.mark.parametrize("way", [by_grpo, by_ppo, by_documents, by_examples])
def test_on_another_device_a_model_learns_what_it_learns_on_the_cpu(way, modules):
    config = replace(CONFIG, num_nextn_predict_layers=modules)
    weights, rows = learn(way, config)
    # As torchrun's processes do it, and with a model that was moved by hand.
    default = torch.device(DEVICE) if modules else nullcontext()
    with other_device(), default:
        found, found_rows = learn(way, config, DEVICE)
    assert_close(found, weights, rtol=1e-7, atol=1e-9)
    assert_close(found_rows, rows, rtol=1e-7, atol=1e-9, equal_nan=True)
    assert all(row.get("grad_norm", 1.0) > 0 for row in rows)


def test_a_token_is_drawn_where_the_generator_is():
    p = torch.rand(5, 7)
    numbers = [torch.Generator().manual_seed(3) for _ in range(2)]
    with other_device():
        chosen = draw(p.to(DEVICE), numbers[0])
        assert chosen.device == DEVICE
        assert torch.equal(chosen.cpu(), draw(p, numbers[1]))


def test_answers_to_prompts_of_two_lengths_are_joined_where_they_are():
    with other_device():
        parts = []
        for n in (3, 5):
            tokens = torch.ones(2, n + 1, dtype=torch.long, device=DEVICE)
            parts.append(Rollout([], [], tokens, None, tokens[:, 1:] > 0))
        parts[1].mask[:, :2] = False
        joined = join(parts)
        assert joined.pads.device == joined.tokens.device == DEVICE
        assert joined.pads.tolist() == [2, 2, 0, 0]


def test_the_pretended_device_refuses_what_a_gpu_refuses():
    ours, rows = torch.ones(3), torch.tensor([0, 2])
    with other_device():
        theirs, one = torch.ones(3, device=DEVICE), torch.tensor(2.0)
        assert (theirs * one)[rows].tolist() == [2.0, 2.0]
        for mixed in (
            lambda: theirs + ours,
            lambda: torch.stack((theirs[0], ours[0])),
            lambda: ours[rows.to(DEVICE)],
            lambda: theirs.index_select(0, rows),
        ):
            with pytest.raises(RuntimeError, match="tensors of the CPU and of lazy"):
                mixed()
        with pytest.raises(RuntimeError, match="generator is of the CPU"):
            torch.randperm(3, generator=torch.Generator(), device=DEVICE)
