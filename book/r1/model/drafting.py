"""Guess several tokens cheaply, check them all at once, and change no distribution."""

from collections.abc import Callable, Container, Iterator
from itertools import chain
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from r1.model.cache import KVCache
from r1.model.sampling import distribution, draw
from r1.model.transformer import Model
from r1.text.tokenizer import EOS_ID


def accept(
    drafts: Int[Tensor, "batch guessed"],
    q: Float[Tensor, "batch guessed vocab"],
    p: Float[Tensor, "batch guessed+1 vocab"],
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    r"""How many drafts of each row are kept, and the token that comes behind them.

    Draft x, drawn from q, is kept with probability $\min(1, p(x) / q(x))$; at the first
    that is not, the token comes from $\max(0, p - q)$, normalized, and after the last
    draft from p. What comes out is distributed as p, whatever q is. `p` holds what the
    model says at every draft and behind the last.

    Source: Leviathan et al., 2023, algorithm 1.
    """
    p, q = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (p, q))
    uniform = torch.rand(drafts.shape, generator=generator, dtype=p.dtype)
    p_draft, q_draft = (x.gather(-1, drafts[..., None])[..., 0] for x in (p[:, :-1], q))
    # u < p/q is written u q < p, which needs no division by a tiny q. cumprod turns all
    # behind the first rejection into 0, so the sum counts the drafts before it.
    kept = (uniform * q_draft < p_draft).long().cumprod(1).sum(1)
    rows = torch.arange(len(p))
    # Behind the last draft there is no q. With q = 0 there the residual is p itself,
    # and one formula serves both cases.
    no_draft = torch.zeros_like(p[:, :1])
    # x comes from an accepted draft with probability q min(1, p / q) = min(p, q). What
    # is missing to p is max(0, p - q), and its sum is the probability of a rejection:
    # drawing from it fills the gap exactly.
    residual = p[rows, kept] - torch.cat([q, no_draft], dim=1)[rows, kept]
    residual = residual.clamp(min=0)
    # p = q is never rejected in exact arithmetic. With rounding it can be, and then
    # multinomial must not get a row of zeros.
    same = residual.sum(-1, keepdim=True) == 0
    return kept, draw(torch.where(same, p[rows, kept], residual), generator)


# What makes a token and its distribution (1 vocab) of logits (1 vocab).
Choose = Callable[[Tensor], tuple[int, Tensor]]
# Tokens (1 guessed) and the distributions that they were drawn from (1 guessed vocab).
Drafts = tuple[Tensor, Tensor]


@runtime_checkable
class Drafter(Protocol):
    """Anything that guesses: at most `most` tokens behind `text`, from what is known.

    `hidden` has the main model's states at the positions that are new since the last
    call: text has one token more than there are states so far. `choose` draws tokens.
    `most` is `count`, or fewer at the end of a text. It may guess fewer, or nothing.
    """

    count: int

    def draft(
        self, text: list[int], hidden: Tensor, choose: Choose, most: int
    ) -> Drafts: ...


class MTPDrafter:
    """Guesses with the model's MTP modules, one token each.

    Module k stands at the positions of the text with the token k further on. Where
    that token was a guess, cache and states are forgotten at the next call and made
    anew from what the text became; with one module there is no such position.

    Raises ValueError for a model without MTP modules.
    """

    def __init__(self, model: Model):
        if not len(model.mtp):
            raise ValueError(
                "num_nextn_predict_layers is 0; train a model with MTP modules, or "
                "draft with another Drafter"
            )
        self.model, self.count = model, len(model.mtp)
        self.caches = [KVCache(model.config.max_seq_len) for _ in model.mtp]
        self.states = [torch.empty(1, 0, model.config.dim)] * (self.count + 1)

    def draft(
        self, text: list[int], hidden: Tensor, choose: Choose, most: int
    ) -> Drafts:
        """See Drafter."""
        text, states, drawn_from = list(text), self.states, []
        states[0] = torch.cat([states[0].to(hidden), hidden], dim=1)
        end = states[0].shape[1]
        before = end - hidden.shape[1]
        for k, module in enumerate(self.model.mtp[:most], start=1):
            cache = self.caches[k - 1]
            # Module k at position i reads token i + k. At the last k - 1 old positions
            # that token was a draft. It may have been rejected: compute them again.
            confirmed = min(cache.length, max(0, before - (k - 1)))
            cache.rollback(cache.length - confirmed)
            next_tokens = torch.tensor([text[confirmed + k : end + k]])
            new_states = module(
                states[k - 1][:, confirmed:end], self.model.embed(next_tokens), cache
            )
            states[k] = torch.cat(
                [states[k][:, :confirmed].to(new_states), new_states], dim=1
            )
            token, q = choose(self.model.head(new_states[:, -1]))
            text.append(token)
            drawn_from.append(q)
        return torch.tensor([text[-most:]]), torch.stack(drawn_from, dim=1)


class ModelDrafter:
    """Guesses `count` tokens with a smaller model of the same vocabulary.

    Where the text has outgrown the smaller model's `max_seq_len`, it is silent.
    """

    def __init__(self, model: Model, count: int):
        self.model, self.count = model, count
        self.caches = model.new_caches(model.config.max_seq_len)
        self.read: list[int] = []

    def draft(
        self, text: list[int], hidden: Tensor, choose: Choose, most: int
    ) -> Drafts:
        """See Drafter."""
        # To guess one token it reads the whole text, and for each further one a guess.
        most = min(most, self.model.config.max_seq_len - len(text) + 1)
        if most < 1:
            return _silent(self.model.config.vocab_size, hidden)
        pairs = zip(self.read, text[:-1], strict=False)
        # What both texts begin with is in the caches already. The last token is left
        # out, because at least one token must be read to get logits.
        shared = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        shared = min(len(self.read), len(text) - 1) if shared is None else shared
        for cache in self.caches:
            cache.rollback(len(self.read) - shared)
        text, drawn_from = list(text), []
        for _ in range(most):
            logits = self.model(torch.tensor([text[shared:]]), self.caches)[:, -1]
            shared = len(text)
            token, q = choose(logits)
            text.append(token)
            drawn_from.append(q)
        # The last draft was drawn, but the small model has not read it.
        self.read = text[:-1]
        return torch.tensor([text[-most:]]), torch.stack(drawn_from, dim=1)


def _silent(vocab_size: int, like: Tensor) -> Drafts:
    return torch.empty(1, 0, dtype=torch.int64), like.new_empty(1, 0, vocab_size)


class LookupDrafter:
    """Guesses that what followed the last `ngram` tokens before will follow again.

    It needs no model, is sure of every guess, and is silent where nothing repeats.
    Source: prompt lookup decoding (Saxena, 2023).
    """

    def __init__(self, vocab_size: int, count: int = 4, ngram: int = 2):
        self.vocab_size, self.count, self.ngram = vocab_size, count, ngram

    def draft(
        self, text: list[int], hidden: Tensor, choose: Choose, most: int
    ) -> Drafts:
        """See Drafter."""
        guess, last = [], text[-self.ngram :]
        # From the end to the start: the most recent occurrence is the best guess.
        for start in range(len(text) - self.ngram - 1, -1, -1):
            if text[start : start + self.ngram] == last:
                after = start + self.ngram
                guess = text[after : after + most]
                break
        drafts = torch.tensor([guess], dtype=torch.int64)
        # A guess without a distribution is one with all of q on the guess. Then p/q =
        # p, and the draft is accepted with probability p(x).
        return drafts, F.one_hot(drafts, self.vocab_size).to(hidden.dtype)


class Drafted(NamedTuple):
    """What came of a drafted continuation: new tokens, and the work behind them.

    `guessed` counts drafts, `judged` those of them that were looked at (behind the
    first that is rejected, and behind the end, none is), `kept` those that are in the
    text, `passes` the main model's checks; the pass that reads the prompt is not among
    them.
    """

    tokens: list[int]
    guessed: int
    judged: int
    kept: int
    passes: int

    @property
    def per_pass(self) -> float:
        """Tokens that each check brought: all but the first, which the prompt's did."""
        return (len(self.tokens) - 1) / max(1, self.passes)


@torch.no_grad()
def drafted_steps(
    model: Model,
    prompt: list[int],
    drafter: Drafter | None,
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    ends: Container[int] = (EOS_ID,),
) -> Iterator[Drafted]:
    """Continue one prompt pass by pass: what each brings, the prompt's first.

    Each pass of the model reads the last token and the drafts behind it at once, keeps
    a part of them by `accept`, and rolls its caches back behind the rest. Drafters
    remember a text: make a new one for every prompt. Without a drafter a pass brings
    one token. A token of `ends` is the last.

    Raises ValueError for a prompt without a token, and for fewer than 1 new token.
    """
    if not prompt or max_new_tokens < 1:
        raise ValueError(
            f"{len(prompt)} tokens of prompt, {max_new_tokens} new tokens: both must "
            "be at least 1; start a prompt with <bos>"
        )
    end = len(prompt) + max_new_tokens
    caches = model.new_caches(end)
    text, count = list(prompt), drafter.count if drafter else 0
    hidden = model.encode(torch.tensor([prompt]), caches)

    def choose(logits: Tensor) -> tuple[int, Tensor]:
        q = distribution(logits, temperature)
        return draw(q, generator).item(), q

    text.append(choose(model.head(hidden[:, -1]))[0])
    yield Drafted(text[-1:], 0, 0, 0, 0)
    while len(text) < end and text[-1] not in ends:
        # A pass adds one token to its drafts, so there must be room for that one.
        most = min(count, end - len(text) - 1)
        drafts, q = torch.empty(1, 0, dtype=torch.int64), None
        if most:
            drafts, q = drafter.draft(text, hidden, choose, most)
        # The last token of the text has not been read yet. With it in front, position j
        # judges draft j, and the last position tells what follows all of them.
        hidden = model.encode(torch.cat([torch.tensor([text[-1:]]), drafts], 1), caches)
        p = distribution(model.head(hidden), temperature)
        q = p[:, :0] if q is None else q
        (accepted,), (token,) = (x.tolist() for x in accept(drafts, q, p, generator))
        new = [*drafts[0, :accepted].tolist(), token]
        last = next((i for i, token in enumerate(new) if token in ends), len(new))
        new = new[: last + 1]
        for cache in caches:
            cache.rollback(drafts.shape[1] - accepted)
        hidden, text = hidden[:, : accepted + 1], text + new
        guessed = drafts.shape[1]
        yield Drafted(new, guessed, min(len(new), guessed), min(accepted, len(new)), 1)


def sample_with_drafts(
    model: Model,
    prompt: list[int],
    drafter: Drafter,
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Drafted:
    """Continue one prompt as `sample` does, in distribution, in fewer passes.

    See `drafted_steps`, which gives the same text as it comes.
    """
    steps = drafted_steps(
        model, prompt, drafter, max_new_tokens, temperature, generator
    )
    tokens, *counts = zip(*steps, strict=True)
    return Drafted([*chain(*tokens)], *map(sum, counts))
