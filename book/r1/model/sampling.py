"""Text from a model, one token at a time."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from r1.model.transformer import Model
from r1.text.tokenizer import EOS_ID, PAD_ID, decode, encode

Amend = Callable[[Tensor, Tensor], Tensor]  # see sample


def left_pad(prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Stack prompts so that all end at the same place; return tokens and pads.

    `pads[b]` is how many padding tokens stand before prompt b. A rotary position
    enters attention as a difference only, so shifting a prompt changes nothing.

    Raises ValueError when there is no prompt, or an empty one.
    """
    if not prompts or not all(prompts):
        raise ValueError("every prompt needs a token; start it with <bos>")
    # With the last tokens of all prompts in one column, all rows continue at the same
    # position, and one cache serves them.
    width = max(map(len, prompts))
    rows = [[PAD_ID] * (width - len(p)) + list(p) for p in prompts]
    return torch.tensor(rows), torch.tensor([width - len(p) for p in prompts])


def distribution(
    logits: Float[Tensor, "*batch vocab"], temperature: float = 1.0
) -> Float[Tensor, "*batch vocab"]:
    r"""$\mathrm{softmax}(z / \tau)$; all of it on the likeliest token at $\tau = 0$.

    Raises ValueError for a temperature that is negative or no number.
    """
    # not (t >= 0) and not t < 0: every comparison with nan is false.
    if not temperature >= 0:
        raise ValueError(f"temperature is {temperature}; it must be 0 or more")
    if temperature == 0:
        best = logits.argmax(-1)
        return F.one_hot(best, logits.shape[-1]).to(logits.dtype)
    return torch.softmax(logits / temperature, dim=-1)


def draw(
    p: Float[Tensor, "batch vocab"], generator: torch.Generator | None = None
) -> Int[Tensor, " batch"]:
    """One token from each row of probabilities; a row need not sum to 1.

    It is drawn where the generator is: on the CPU, a seed stands for the same random
    numbers whatever the device of the model is.
    """
    where = p.device if generator is None else generator.device
    chosen = torch.multinomial(p.to(where), 1, generator=generator)[:, 0]
    return chosen.to(p.device)


def pick(
    logits: Float[Tensor, "batch vocab"],
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Int[Tensor, " batch"]:
    """One token from each row of logits, as `distribution` and `draw` have it."""
    return draw(distribution(logits, temperature), generator)


@torch.no_grad()
def sample(
    model: Model,
    prompts: list[list[int]],
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    copies: int = 1,
    amend: Amend | None = None,
) -> list[list[int]]:
    """Continue every prompt until it ends or has `max_new_tokens` more.

    Returns the new tokens of each prompt, the end token included where it came; with
    several `copies`, that many continuations of each prompt one after the other, for
    which a prompt is read once. All rows advance together through one cache a layer;
    once half of them have ended, the others go on alone. `generator` fixes the draw.
    `amend` may replace tokens that were drawn: it is given those that a row has so far,
    "rows step", and the next one of each, " rows".

    Raises ValueError for fewer than one new token or copy.
    """
    if max_new_tokens < 1 or copies < 1:
        raise ValueError(
            f"{max_new_tokens} new tokens, {copies} copies: both must be at least 1"
        )
    tokens, pads = (x.to(model.device) for x in left_pad(prompts))
    caches = model.new_caches(tokens.shape[1] + max_new_tokens)
    # Without padding attention needs no mask, and the faster kernel is used.
    pads = pads if pads.any() else None
    logits = model(tokens, caches, pads)[:, -1]
    # Each prompt has been read once; the first step below copies its logits and caches.
    remaining = torch.arange(len(prompts), device=logits.device)
    remaining = remaining.repeat_interleave(copies)
    new_tokens = remaining.new_full((len(remaining), max_new_tokens), PAD_ID)
    rows = torch.arange(len(remaining), device=logits.device)
    ended = torch.zeros_like(rows, dtype=torch.bool)
    for step in range(max_new_tokens):
        if len(remaining) != len(logits):  # copies of the prompts, or half have ended
            caches = [cache[remaining] for cache in caches]
            pads = None if pads is None else pads[remaining]
            logits = logits[remaining]
        chosen = pick(logits, temperature, generator)
        if amend is not None:
            chosen = amend(new_tokens[rows, :step], chosen)
        # rows says which answer each remaining row of the batch belongs to. Rows that
        # have ended draw until the batch shrinks; padding replaces these tokens.
        new_tokens[rows, step] = torch.where(ended, PAD_ID, chosen)
        ended = ended | (chosen == EOS_ID)
        if ended.all() or step + 1 == max_new_tokens:
            break
        logits = model(chosen[:, None], caches, pads)[:, -1]
        # Dropping rows copies the caches. By halves, an answer's cache is copied at
        # most log2(batch) times.
        if 2 * ended.sum() >= len(ended):
            remaining = (~ended).nonzero()[:, 0]
            rows, ended = rows[remaining], ended[remaining]
    texts = new_tokens.tolist()
    return [row[: row.index(EOS_ID) + 1] if EOS_ID in row else row for row in texts]


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
    # together counts answers, and a chunk consists of whole problems, so that a group
    # is never divided between two calls.
    size = max(1, together // copies) if together else max(1, len(problems))
    for start in range(0, len(problems), size):
        prompts = [encode(p.prompt) for p in problems[start : start + size]]
        ids = sample(
            model.eval(), prompts, max_new_tokens, temperature, generator, copies, amend
        )
        written = [Answer(decode(answer), answer) for answer in ids]
        answers += [written[i : i + copies] for i in range(0, len(written), copies)]
    return answers
