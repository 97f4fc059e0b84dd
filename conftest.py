"""Turns of the tests, and the kernels of the notebooks, which are execute.py's.

Two workers test at the same time (pytest-xdist), each file by one of them and with one
thread. A test that is marked `alone` and a cell that prints what a clock said have the
machine for themselves. What takes long begins first, so that nobody waits for it to be
alone and both workers end together.
"""

import os
import re
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from execute import FIXED, IGNORED, kernel_environment
from filelock import FileLock
from forks import use_forks

FIRST = [
    "test_browser",
    "test_recorded",
    "13_r1_zero",
    "test_assignments",
    "test_publish",
    "test_distributed_grpo",
    "test_distributed",
]
CLOCK = re.compile(r"perf_counter|_seconds\(|clock\(|experiments.overlap")
THREADS = [name for name in FIXED if name.endswith("THREADS")]
FOLDER = pytest.StashKey[str]()
HELD = pytest.StashKey[ExitStack]()  # locks
ALONE = pytest.StashKey[bool]()  # whether they are all held for the next test


def pytest_configure(config):
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ |= kernel_environment(folder.name) | dict.fromkeys(THREADS, "1")
    config.stash[FOLDER] = folder.name
    use_forks()


def pytest_configure_node(node):
    """Tell a worker where the locks are."""
    node.workerinput["locks"] = node.config.stash[FOLDER]


def pytest_collection_modifyitems(items):
    def place(item):
        stem, chapter = item.path.stem, item.path.suffix == ".ipynb"
        return FIRST.index(stem) if stem in FIRST else len(FIRST), chapter

    items.sort(key=place)


def is_alone(item) -> bool:
    """Whether nothing else may run on the machine while a test or a cell does."""
    if item.path.suffix == ".ipynb":
        measures = IGNORED in item.cell.metadata.get("tags", [])
        return measures and CLOCK.search(item.cell.source) is not None
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Run a test when it is its turn: alone, or while no other one is alone.

    A worker holds its own lock while it tests, and those of all to be alone. Who waits
    for locks stands in the door, so that nobody else begins a test. Tests that follow
    each other alone have one turn.
    """
    # A kernel gets what stands in the environment when its first cell begins.
    os.environ |= FIXED if item.path.suffix == ".ipynb" else dict.fromkeys(THREADS, "1")
    held = item.config.stash.setdefault(HELD, ExitStack())
    alone, worker = is_alone(item), getattr(item.config, "workerinput", None)
    if worker and not item.config.stash.get(ALONE, False):
        names = [f"gw{i}" for i in range(worker["workercount"])]
        with FileLock(Path(worker["locks"], "door")):
            for name in names if alone else [worker["workerid"]]:
                held.enter_context(FileLock(Path(worker["locks"], name)))
    item.config.stash[ALONE] = alone and nextitem is not None and is_alone(nextitem)
    try:
        return (yield)
    finally:
        if not item.config.stash[ALONE]:
            held.close()


def pytest_collection_finish(session):
    if any(item.path.suffix == ".ipynb" for item in session.items):
        # The first import on a machine may take long and say so on stderr, which
        # in a notebook is an error.
        import matplotlib.font_manager  # noqa: F401
