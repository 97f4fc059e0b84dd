"""Supervised fine-tuning learns answers, and nothing else."""

import pytest
import torch

from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.text.tokenizer import EOS, PAD_ID, VOCAB_SIZE, decode
from r1.train.finetuning import Example, sft, sft_loss, stack

EXAMPLES = [
    Example("<bos>7*3=", f"<answer>1</answer>{EOS}"),
    Example("<bos>7*3+5=", f"<think>7*3=1;1+5=6</think><answer>6</answer>{EOS}"),
]


def new_model(seed=0):
    torch.manual_seed(seed)
    return Model(ModelConfig.dense(VOCAB_SIZE)).eval()


def test_the_mask_has_the_answers_and_no_more():
    tokens, mask = stack(EXAMPLES)
    for row, keep, example in zip(tokens, mask, EXAMPLES, strict=True):
        assert decode(row[1:][keep]) == example.answer
    assert (tokens[0] == PAD_ID).sum() == 17 - 2


def test_the_loss_is_that_of_each_answer_alone():
    """Padding changes nothing; the mean is over tokens, not over answers."""
    model = new_model()
    both = sft_loss(model, *stack(EXAMPLES))
    losses = [sft_loss(model, *stack([example])) for example in EXAMPLES]
    sizes = [stack([example])[1].sum() for example in EXAMPLES]
    mean = sum(n * x for n, x in zip(sizes, losses, strict=True)) / sum(sizes)
    torch.testing.assert_close(both, mean)


def test_prompts_have_no_part_in_the_loss():
    model = new_model()
    model.embed.weight.requires_grad_(True)
    tokens, mask = stack(EXAMPLES[:1])
    logits = model(tokens[:, :-1])
    logits.retain_grad()
    logp = logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    (-logp[mask].mean()).backward()
    assert (logits.grad[~mask] == 0).all()
    torch.testing.assert_close(sft_loss(model, tokens, mask), -logp[mask].mean())


def test_it_learns_and_is_reproducible():
    runs = []
    for _ in range(2):
        model = new_model()
        runs.append([row["loss"] for row in sft(model, EXAMPLES * 4, 20, batch=4)])
    assert runs[0] == runs[1]
    assert len(runs[0]) == 40
    assert runs[0][-1] < 0.3 * runs[0][0]


@pytest.mark.parametrize(
    ("examples", "options", "message"),
    [
        ([], {"epochs": 1}, "no example"),
        ([Example("<bos>1=", "<answer>1</answer>")], {"epochs": 1}, "lacks <eos>"),
        (EXAMPLES, {"epochs": 0}, "epochs=0"),
        (EXAMPLES, {"epochs": 1, "batch": 0}, "batch=0"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(examples, options, message):
    with pytest.raises(ValueError, match=message):
        list(sft(new_model(), examples, **options))
