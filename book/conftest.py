"""Let pytest run the notebooks in the same kernels as execute.py does."""

import os
import tempfile

from execute import kernel_environment


def pytest_configure(config):
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    config.add_cleanup(profile.cleanup)
    os.environ |= kernel_environment(profile.name)


def pytest_collection_finish(session):
    if any(item.path.suffix == ".ipynb" for item in session.items):
        # Its first import on a machine may take long and say so on stderr, which
        # in a notebook is an error.
        import matplotlib.font_manager  # noqa: F401
