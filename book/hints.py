"""Hints on links, also of pages that a later build does not write again.

sphinx-tippy learns the texts of hints while pages are written, so what it has learned
is kept beside Sphinx's own notes of a build for the next one.
"""

import pickle
from pathlib import Path


def setup(app):
    """Recall what earlier builds have learned, and keep it in the end."""

    def notes():
        return Path(app.doctreedir, "hints.pickle")

    def recall(app, env):
        if app.builder.name != "html" or not notes().exists():
            return
        learned = pickle.loads(notes().read_bytes())
        pages = {k: v for k, v in learned["pages"].items() if k in env.found_docs}
        env.tippy_data = learned | {"pages": pages}

    def keep(app, error):
        if error is None and app.builder.name == "html":
            notes().write_bytes(pickle.dumps(app.env.tippy_data))

    app.connect("env-updated", recall)
    app.connect("build-finished", keep, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
