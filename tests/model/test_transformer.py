"""The whole transformer: counted, causal, cached, and able to learn."""

import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

from r1.cost.counting import count_parameters
from r1.model.config import ModelConfig
from r1.model.transformer import Model, cross_entropy

CONFIG = ModelConfig.dense()
TIED = dataclasses.replace(CONFIG, tie_word_embeddings=True)


def new_model(config=CONFIG):
    torch.manual_seed(0)
    return Model(config).double()


@pytest.mark.parametrize("config", [CONFIG, TIED])
def test_a_model_has_the_parameters_that_are_counted(config):
    built = sum(p.numel() for p in new_model(config).parameters())
    assert built == count_parameters(config).total


def test_an_untrained_model_is_as_surprised_as_a_guess():
    tokens = torch.randint(0, 32, (4, 16))
    loss = cross_entropy(new_model()(tokens), tokens)
    assert_close(loss.item(), math.log(32), atol=0.1, rtol=0)


def test_the_future_changes_no_logit():
    model, tokens = new_model(), torch.randint(0, 32, (2, 9))
    before = model(tokens)
    tokens[:, 6:] = (tokens[:, 6:] + 1) % 32
    assert_close(model(tokens)[:, :6], before[:, :6], rtol=0, atol=0)


def test_one_token_at_a_time_equals_the_whole():
    model, tokens = new_model(), torch.randint(0, 32, (2, 9))
    caches = model.new_caches(9)
    parts = [model(tokens[:, i : i + 1], caches) for i in range(9)]
    assert_close(torch.cat(parts, dim=1), model(tokens))


def test_a_tied_head_is_the_embedding():
    model = new_model(TIED)
    assert model.head.weight is model.embed.weight


def test_cross_entropy_of_a_sure_model_is_zero():
    targets = torch.tensor([[1, 0]])
    logits = 1e3 * torch.nn.functional.one_hot(targets, 4).double()
    assert_close(cross_entropy(logits, targets), torch.tensor(0.0).double())


def test_the_wrong_number_of_caches_is_refused():
    model = new_model()
    with pytest.raises(ValueError, match="zip"):
        model(torch.zeros(1, 1, dtype=torch.int64), model.new_caches(4)[:1])
