"""How the tests share the machine: what runs alone, what runs beside, in which order.

With `-n 2 --dist loadfile` two processes take the files one by one. The tests of a
file in ALONE, which measure time or load the machine, wait until they have it for
themselves, and nothing else begins meanwhile. Notebooks run in the same kernels as
execute.py has.
"""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from execute import kernel_environment
from filelock import FileLock, ReadWriteLock

# Files whose tests have the machine for themselves.
ALONE = {
    "02_small_world",
    "03_mixture_of_experts",
    "04_load_balance",
    "05_latent_attention",
    "06_multi_token_prediction",
    "07_model",
    "09_pipelines",
    "11_policy_gradients",
    "12_rules_as_rewards",
    "test_distributed",
    "test_distributed_grpo",
    "test_hostile",
    "test_other_tasks",
    "test_expert_parallel",
    "test_programs",
    "test_rehearsal",
    "test_rewards",
    "test_timing",
    "test_wires",
}


def pytest_configure(config):
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    config.add_cleanup(profile.cleanup)
    os.environ |= kernel_environment(profile.name)


def pytest_collection_modifyitems(items):
    """What runs alone after all else, and the chapters last.

    Pages of the site are visited in the background from the beginning on. The tests
    that wait for that come before those that need the machine for themselves.
    """

    def place(item):
        chapter = item.path.suffix == ".ipynb"
        visited = "visits" in getattr(item, "fixturenames", ())
        return chapter, item.path.stem in ALONE, visited

    items.sort(key=place)


def pytest_collection_finish(session):
    if any(item.path.suffix == ".ipynb" for item in session.items):
        # The first import on a machine may take long and say so on stderr, which
        # in a notebook is an error.
        import matplotlib.font_manager  # noqa: F401


@contextmanager
def the_machine(folder, alone):
    """Hold the machine alone or together with others.

    Who wants it alone stands in the door, so that nobody else comes in meanwhile.
    """
    door, room = FileLock(folder / "door"), ReadWriteLock(folder / "room")
    with door:
        held = room.write_lock() if alone else room.read_lock()
        held.__enter__()
    try:
        yield
    finally:
        held.__exit__(None, None, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    folder = getattr(item.config, "workerinput", {}).get("machine")
    if folder is None:
        return (yield)
    with the_machine(Path(folder), item.path.stem in ALONE):
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """Tell each process where the locks of this run lie."""
    if not hasattr(node.config, "machine"):
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        node.config.add_cleanup(folder.cleanup)
        node.config.machine = folder.name
    node.workerinput["machine"] = node.config.machine
