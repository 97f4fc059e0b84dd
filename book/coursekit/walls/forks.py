"""The grader's own work, done in several processes at once."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from typing import Any

import torch
from pebble import ProcessFuture, ProcessPool

FORK = multiprocessing.get_context("fork")


class _Held:
    """What a fork inherits: tests are functions that cannot be sent to a process."""

    function: Callable[[Any], Any]
    items: list


def _begin(function: Callable[[Any], Any], items: list) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # its end; an interrupt is ignored
    torch.set_num_threads(1)
    _Held.function, _Held.items = function, items


def _call(index: int) -> Any:
    return _Held.function(_Held.items[index])


def each(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    jobs: int,
    seconds: float | None = None,
) -> Iterator[tuple[Any, ProcessFuture]]:
    """Call a function with each item in a fork of its own, `jobs` at a time.

    Yields an item and its future as they end. The future holds what the function has
    returned, which is sent by pickle; what it raised; TimeoutError, where it was killed
    after so many seconds; or ProcessExpired. Who stops asking ends all that still run.
    """
    items = list(items)
    if not items:
        return
    pool = ProcessPool(min(jobs, len(items)), 1, _begin, (function, items), FORK)
    try:
        futures = {
            pool.schedule(_call, (number,), timeout=seconds): item
            for number, item in enumerate(items)
        }
        for future in as_completed(futures):
            yield futures[future], future
    finally:
        pool.stop()
        pool.join()


def spread(function: Callable[[list], list], items: list, jobs: int) -> list:
    """Call a function with parts of a list, each in a fork; joins what it returns.

    Raises what the function has raised.
    """
    parts = [items[number::jobs] for number in range(min(jobs, len(items)))]
    return [one for _, done in each(function, parts, jobs) for one in done.result()]
