"""The grader's own work, done in several processes at once.

A pool of pebble's or of the standard library's gives up all its tasks when a worker
dies at the wrong moment; here a process that dies takes its own item along, no other.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from coursekit.walls.processes import SET_DEATH_SIGNAL, prctl

FORK = multiprocessing.get_context("fork")


def each(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    jobs: int,
    seconds: float = float("inf"),
) -> Iterator[tuple[Any, Any, str]]:
    """Call a function with each item in a fork of its own, `jobs` at a time.

    Yields, as they end, an item, what the function has returned (by pickle), and why
    that is None: what it raised, its exit code, or the seconds after which it was
    killed. Closing the generator ends all that still run, and so does any end of this
    process, be it killed.

    Raises KeyboardInterrupt within a second of being asked to end.
    """
    waiting, running = list(items)[::-1], {}
    with _noted() as asked:
        try:
            while waiting or running:
                while waiting and len(running) < jobs and not asked:
                    pipe, process = _forked(function, waiting[-1])
                    running[pipe] = waiting.pop(), process, time.monotonic()
                if asked:
                    raise KeyboardInterrupt
                ready = wait(running, timeout=min(1, seconds))
                for pipe, (item, process, began) in list(running.items()):
                    late = time.monotonic() - began > seconds
                    if pipe in ready or late:
                        value, why = None, f"no result in {seconds:g} s"
                        if pipe in ready:
                            value, why = _result(pipe, process)
                        process.kill()
                        process.join()
                        del running[pipe]
                        yield item, value, why
        finally:
            for _, process, _ in running.values():
                process.kill()
                process.join()


def _forked(
    function: Callable, item: Any
) -> tuple[Connection, multiprocessing.Process]:
    ours, theirs = FORK.Pipe(duplex=False)
    parent = os.getpid()

    def work() -> None:
        prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before
            os._exit(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began it will end it
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        torch.set_num_threads(1)
        try:
            theirs.send((function(item), ""))
        except Exception as error:
            theirs.send((None, f"{type(error).__name__}: {error}"))

    process = FORK.Process(target=work, daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _result(pipe: Connection, process: multiprocessing.Process) -> tuple[Any, str]:
    try:
        return pipe.recv()
    except EOFError:
        process.join()
        return None, f"exit code {process.exitcode}"


@contextmanager
def _noted() -> Iterator[list[int]]:
    """Signals that ask for an end are noted in a list, and raise nothing meanwhile.

    Python calls hooks of its modules around a fork and drops what is raised in them, so
    an interrupt that falls there would be lost.
    """
    asked: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):
                handler = signal.signal(number, lambda n, frame: asked.append(n))
                before[number] = handler
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def spread(function: Callable[[list], list], items: list, jobs: int) -> list:
    """Call a function with parts of a list, each in a fork; joins what it returns.

    Raises RuntimeError with the text of what a fork has raised.
    """
    found: dict[int, list] = {}
    parts = [items[number::jobs] for number in range(min(jobs, len(items)))]
    with closing(each(lambda n: function(parts[n]), range(len(parts)), jobs)) as ended:
        for number, value, why in ended:
            if why:
                raise RuntimeError(why)
            found[number] = value
    return [one for number in range(len(parts)) for one in found[number]]
