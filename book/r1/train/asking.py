"""The one way to ask a model: problems in, answers out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from r1.model.sampling import sample
from r1.model.transformer import Model
from r1.text.tokenizer import decode, encode

Amend = Callable[[Tensor, Tensor], Tensor]  # see r1.model.sampling.sample


@runtime_checkable
class Asked(Protocol):
    """Anything with a prompt."""

    @property
    def prompt(self) -> str:
        """What the model is given."""
        ...


class Answer(NamedTuple):
    """An answer as text and as its tokens, the end token included."""

    text: str
    ids: list[int]


def ask(
    model: Model,
    problems: Sequence[Asked],
    copies: int = 1,
    generator: torch.Generator | int = 0,
    temperature: float = 1.0,
    max_new_tokens: int = 96,
    together: int | None = None,
    amend: Amend | None = None,
) -> list[list[Answer]]:
    """For each problem `copies` answers.

    `generator` fixes the draws; a number begins one. As many problems are answered at
    once as have `together` answers, or all; that changes which draws an answer gets,
    and nothing else.
    """
    if isinstance(generator, int):
        generator = torch.Generator().manual_seed(generator)
    answers: list[list[Answer]] = []
    size = max(1, together // copies) if together else max(1, len(problems))
    for start in range(0, len(problems), size):
        prompts = [encode(p.prompt) for p in problems[start : start + size]]
        ids = sample(
            model.eval(), prompts, max_new_tokens, temperature, generator, copies, amend
        )
        written = [Answer(decode(answer), answer) for answer in ids]
        answers += [written[i : i + copies] for i in range(0, len(written), copies)]
    return answers
