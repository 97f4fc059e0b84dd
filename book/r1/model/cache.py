"""What attention remembers of the tokens seen so far."""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """The past of one attention layer: one or more tensors (batch seq ...).

    Room for `capacity` tokens is set aside at the first append, and later tokens
    are written behind the earlier ones, which are never copied. `cache[rows]` picks
    sequences, `KVCache.join` puts sequences together, `rollback` forgets tokens.
    `nbytes` counts the numbers in use, which is what kv_cache_bytes predicts.

    Raises ValueError when more than `capacity` tokens are appended, and when what
    is appended does not fit what is stored.
    """

    def __init__(self, capacity: int):
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; make room for at least 1 token")
        self.capacity, self.length = capacity, 0
        self.stored: tuple[Tensor, ...] = ()

    def append(self, *new: Tensor) -> tuple[Tensor, ...]:
        """Write `new` behind what is stored; return views of all that is stored."""
        lengths = {x.shape[1] for x in new}
        if len(lengths) != 1:
            raise ValueError(
                f"the tensors to append have {sorted(lengths)} tokens; "
                "every tensor needs a row for each token"
            )
        end = self.length + lengths.pop()
        if end > self.capacity:
            raise ValueError(
                f"the cache holds {self.capacity} tokens and {end} are needed; "
                "make it with a larger capacity"
            )
        if not self.stored:
            self.stored = tuple(
                x.new_empty(x.shape[0], self.capacity, *x.shape[2:]) for x in new
            )
        ours, theirs = _features(self.stored), _features(new)
        if ours != theirs:
            raise ValueError(
                f"the cache holds tensors of batch and features {ours} and cannot "
                f"take {theirs}; begin a new cache, or pick rows with cache[rows]"
            )
        for old, x in zip(self.stored, new, strict=True):
            # Written in place: concatenating would copy the whole past each time.
            old[:, self.length : end] = x
        self.length = end
        return self.used

    @property
    def used(self) -> tuple[Tensor, ...]:
        """Views of what is stored, without the room that is still free."""
        return tuple(x[:, : self.length] for x in self.stored)

    @property
    def nbytes(self) -> int:
        """Bytes in use, over the whole batch."""
        return sum(x.numel() * x.element_size() for x in self.used)

    def rollback(self, tokens: int) -> None:
        """Forget the last `tokens` tokens: the next append writes over them.

        Raises ValueError when there are fewer.
        """
        if not 0 <= tokens <= self.length:
            raise ValueError(
                f"cannot forget {tokens} tokens of {self.length}; "
                f"give a number from 0 to {self.length}"
            )
        # The numbers stay in memory, but nothing reads behind length. So a rollback
        # costs nothing, whatever the length of the text is.
        self.length -= tokens

    def __getitem__(self, rows: slice | list[int] | Tensor) -> KVCache:
        """Return a cache of its own for some sequences: a slice, or their numbers."""
        return self._like(tuple(x[rows] for x in self.used))

    @classmethod
    def join(cls, caches: list[KVCache]) -> KVCache:
        """Return one cache for the sequences of all `caches`, one below the other.

        Raises ValueError when they differ in length or capacity.
        """
        sizes = {(cache.length, cache.capacity) for cache in caches}
        if len(sizes) != 1:
            raise ValueError(
                f"caches of (length, capacity) {sorted(sizes)} cannot be joined; "
                "roll the longer ones back, or pad their prompts on the left"
            )
        used = zip(*(cache.used for cache in caches), strict=True)
        return caches[0]._like(tuple(torch.cat(tensors) for tensors in used))

    def _like(self, used: tuple[Tensor, ...]) -> KVCache:
        cache = KVCache(self.capacity)
        if used:
            # Into memory of its own: a slice of rows is a view of ours. Only what is in
            # use is copied, not the room that is still free.
            cache.append(*used)
        return cache


def _features(tensors: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    """Shapes without the axis of tokens."""
    return [(x.shape[0], *x.shape[2:]) for x in tensors]
