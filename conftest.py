"""The order of the tests, and the kernels of the notebooks, which are execute.py's.

While most tests use one core, a browser visits the pages of the site on the other
(tests/conftest.py). The files of ALONE, which measure time or use both cores, come when
it has visited all, and the chapters last.
"""

import os
import tempfile

from execute import kernel_environment

# Files whose tests have the machine for themselves.
ALONE = {
    "test_assignments",
    "test_distributed",
    "test_distributed_grpo",
    "test_expert_parallel",
    "test_held",
    "test_hostile",
    "test_other_tasks",
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
