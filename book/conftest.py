"""Let pytest run the notebooks in the same kernels as execute.py does, and last."""

import os
import tempfile

from execute import kernel_environment

SLOWER = ["test_hygiene", "test_imports", "test_twins", "test_site", "test_browser"]


def pytest_configure(config):
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    config.add_cleanup(profile.cleanup)
    os.environ |= kernel_environment(profile.name)


def pytest_collection_modifyitems(items):
    """Unit tests first, then what takes longer; chapters at the end, in order."""

    def rank(item):
        name = item.path.stem
        notebook = item.path.suffix == ".ipynb"
        return notebook, SLOWER.index(name) + 1 if name in SLOWER else 0

    items.sort(key=rank)


def pytest_collection_finish(session):
    if any(item.path.suffix == ".ipynb" for item in session.items):
        # The first import on a machine may take long and say so on stderr, which
        # in a notebook is an error.
        import matplotlib.font_manager  # noqa: F401
