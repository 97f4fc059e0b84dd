"""Sampling: one row does not disturb another, and the draw is the right one."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from r1.model.config import ModelConfig
from r1.model.sampling import left_pad, pick, sample
from r1.model.transformer import Model
from r1.text.tokenizer import EOS_ID, encode
from r1.train.checkpoint import load_checkpoint

DATA = Path(__file__).parents[2] / "book/data"
PROMPTS = [encode("<bos>7*3+5="), encode("<bos>2+2*9-4*3=")]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model(ModelConfig.dense()).double()


def test_greedy_continuation_equals_recomputing_the_whole_text(model):
    greedy = sample(model, PROMPTS, max_new_tokens=12, temperature=0.0)
    for prompt, new in zip(PROMPTS, greedy, strict=True):
        text = list(prompt)
        while len(text) < len(prompt) + len(new):
            text.append(model(torch.tensor([text]))[0, -1].argmax().item())
        assert text[len(prompt) :] == new


def test_a_prompt_answers_alike_alone_and_in_company(model):
    together = sample(model, PROMPTS, max_new_tokens=12, temperature=0.0)
    alone = [sample(model, [p], max_new_tokens=12, temperature=0.0)[0] for p in PROMPTS]
    assert together == alone


@pytest.mark.parametrize("name", ["small_world/dense_seed0", "base/base_seed1"])
def test_rows_go_on_alone_when_half_of_them_have_ended(name):
    model, _, _ = load_checkpoint(DATA / f"{name}.safetensors")
    model = model.double().eval()
    thought = encode("<bos>7*3+5=<think>")
    bare = encode("<bos>2+2*9-4*3=<answer>")
    prompts = [bare, thought, bare, encode("<bos>9-4="), *[bare] * 4]
    together = sample(model, prompts, max_new_tokens=40, temperature=0.0)
    alone = [sample(model, [p], 40, temperature=0.0)[0] for p in prompts]
    assert together == alone
    assert len({len(text) for text in together}) > 1


def test_the_same_generator_draws_the_same_text(model):
    texts = [
        sample(model, PROMPTS, 8, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    ]
    assert texts[0] == texts[1]


def test_text_ends_with_the_end_token_or_at_the_limit(model):
    generator = torch.Generator().manual_seed(0)
    texts = sample(model, PROMPTS * 50, max_new_tokens=40, generator=generator)
    assert any(EOS_ID in text for text in texts)
    for text in texts:
        assert len(text) == 40 or text[-1] == EOS_ID
        assert EOS_ID not in text[:-1]


def test_draws_follow_the_probabilities():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(20000, 3)
    drawn = pick(logits, generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=3) / 20000
    assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.012, rtol=0)


def test_a_low_temperature_sharpens_and_zero_takes_the_likeliest():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(5000, 3)
    generator = torch.Generator().manual_seed(0)
    cold = (pick(logits, 0.5, generator) == 0).double().mean().item()
    assert_close(cold, 0.25 / (0.25 + 0.09 + 0.04), atol=0.03, rtol=0)
    assert (pick(logits, 0.0) == 0).all()


def test_prompts_are_padded_on_the_left():
    tokens, pads = left_pad([[5, 6], [7]])
    assert tokens.tolist() == [[5, 6], [2, 7]]
    assert pads.tolist() == [0, 1]


@pytest.mark.parametrize("prompts", [[], [[]], [[1], []]])
def test_a_prompt_without_tokens_is_refused(prompts):
    with pytest.raises(ValueError, match="needs a token"):
        left_pad(prompts)


def test_a_negative_temperature_is_named():
    with pytest.raises(ValueError, match="temperature is -1"):
        pick(torch.zeros(1, 3), -1.0)


def test_copies_are_continuations_of_each_prompt_in_order(model):
    greedy = sample(model, PROMPTS, 12, temperature=0.0)
    copies = sample(model, PROMPTS, 12, temperature=0.0, copies=3)
    assert copies == [text for text in greedy for _ in range(3)]
    generator = torch.Generator().manual_seed(0)
    drawn = sample(model, PROMPTS, 12, generator=generator, copies=3)
    assert len({tuple(text) for text in drawn}) > 1


def test_nothing_to_write_is_refused(model):
    with pytest.raises(ValueError, match="0 new tokens, 1 copies"):
        sample(model, PROMPTS, 0)
    with pytest.raises(ValueError, match="0 copies: both must be at least 1"):
        sample(model, PROMPTS, 4, copies=0)
