"""A policy whose answers are written by hand, for what measures answers."""

from dataclasses import dataclass, replace

import torch

from r1.model import sampling
from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.text.problems import TO_DIGITS, Problem
from r1.text.tokenizer import BOS, EOS, decode, encode

SMALL = replace(ModelConfig.dense(), n_layers=1, n_dense_layers=1)


def new_model(config=SMALL, seed=0):
    """A small model that is asked nothing, or whose answers do not matter."""
    torch.manual_seed(seed)
    return Model(config).eval()


def problem_of(prompt):
    """The problem that a prompt asks: <bos>7*3+5=."""
    text = prompt.removeprefix(BOS).removesuffix("=").translate(TO_DIGITS)
    return Problem(tuple(map(int, text[::2])), text[1::2])


def bare(digit):
    """An answer without a thought."""
    return f"<answer>{digit}</answer>{EOS}"


def thinking(thought, answer):
    """An answer with a thought before it."""
    return f"<think>{thought}</think><answer>{answer}</answer>{EOS}"


def wrong(problem):
    """A digit that is not the answer."""
    return str((int(problem.answer) + 1) % 10)


@dataclass
class Call:
    """What a model was asked at once, and how."""

    prompts: list
    limit: int
    temperature: float
    seed: int | None
    copies: int
    amend: object

    @property
    def problems(self):
        """The problems behind the prompts."""
        return [problem_of(prompt) for prompt in self.prompts]


def answering(monkeypatch, write):
    """Let `write` say what a model answers: of a prompt, its number and its copy.

    Returns a list that fills with what was asked.
    """
    calls, number = [], iter(range(10**9))

    def sample(
        model,
        prompts,
        max_new_tokens=64,
        temperature=1.0,
        generator=None,
        copies=1,
        amend=None,
    ):
        texts = [decode(ids) for ids in prompts]
        seed = None if generator is None else generator.initial_seed()
        calls.append(Call(texts, max_new_tokens, temperature, seed, copies, amend))
        return [
            encode(write(text, place, copy))
            for text, place in zip(texts, number, strict=False)
            for copy in range(copies)
        ]

    monkeypatch.setattr(sampling, "sample", sample)
    return calls
