"""A notebook from top to bottom in a fork of this process, which has torch already.

A kernel of its own takes seconds to begin, most of them for importing torch. What a
notebook imports from the book lies beside it, and is imported anew from there.
"""

import os
import sys
import tempfile
import traceback
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import torch
from beartype.claw._importlib.clawimpmain import remove_beartype_path_hook
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib_inline.config import InlineBackend

OURS = ("coursekit", "r1", "helpers", "puzzles")


class Shell(InteractiveShell):
    """IPython without a screen."""

    def enable_gui(self, gui=None):
        """Nothing: figures are drawn into the notebook."""


def wrong(path: Path) -> str:
    """What the first cell that raises has said; empty if all run, with strict checks.

    Raises RuntimeError for a notebook that ends its process.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        child = os.fork()
        if child == 0:
            try:
                said.write(_run(path))
                said.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc(file=said)
                said.flush()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        if status:
            raise RuntimeError(f"{path.name} has ended its process: {said.read()}")
        return said.read()


def _run(path: Path) -> str:
    for name in [n for n in sys.modules if n.partition(".")[0] in OURS]:
        del sys.modules[name]
    # r1 as students have it: without the types that this run of the tests checks
    sys.meta_path = [f for f in sys.meta_path if "jaxtyping" not in type(f).__module__]
    remove_beartype_path_hook()
    sys.path.insert(0, str(path.parent))
    os.chdir(path.parent)
    os.environ["COURSEKIT_STRICT"] = "1"
    torch.set_num_threads(1)
    plt.close("all")
    shell = Shell(history_load_length=0)
    shell.history_manager.enabled = False
    shell.configurables.append(InlineBackend.instance(parent=shell))
    shell.enable_matplotlib("inline")
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
        if cell.cell_type == "code":
            with capture_output() as captured:
                result = shell.run_cell(cell.source, silent=True)
            if not result.success:
                error = result.error_before_exec or result.error_in_exec
                text = "".join(traceback.format_exception(error))
                return f"cell {number}\n{cell.source}\n{captured.stdout}\n{text}"
    return ""
