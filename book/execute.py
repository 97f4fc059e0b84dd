"""Run the book's notebooks: python book/execute.py [NAME ...]

Each chapter is written as text, book/text/NAME.md, and read as the notebook
book/NAME.ipynb. This command turns the first into the second: it puts the text
into jupytext's and ruff's own form, runs every cell with fixed settings, and
writes the notebook in one step. If a cell raises, warns, writes to stderr or
prints a memory address or a path of this machine, the old notebook stays as it
was and the command says which cell it was.

Running it twice changes no byte. A cell tagged `nbval-ignore-output` prints
something that differs from run to run, such as a time; its stored output is
kept as long as its source and that of every code cell before it are unchanged.
After the first changed cell the new outputs are taken, since they may depend on
the change. `--refresh` takes them all, and is what you want after a change in r1.

After the chapters, their plain notebooks for readers are made (reader.py).
"""

import argparse
import difflib
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import jupytext
import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupytext.config import load_jupytext_config
from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal, DeadKernelError

BOOK = Path(__file__).resolve().parent
IGNORED = "nbval-ignore-output"
SECOND_EDITION = " in three lines\n:class: tip"  # of a chapter or an appendix
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
FIXED = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "2",
    "MKL_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits leaves its core to others
}
# An IPython profile of our own: a warning in a cell is an error, no history is
# kept, and nothing that readers have set up for themselves takes part. Only
# matplotlib-inline's own use of an old traitlets interface may warn.
PROFILE = """\
c.HistoryManager.enabled = False
c.InteractiveShellApp.exec_lines = [
    "import warnings",
    "warnings.simplefilter('error')",
    "warnings.filterwarnings('ignore', 'InlineBackend._figure_formats_changed')",
    "del warnings",
]
"""
COLOR = re.compile(r"\x1b\[[0-9;]*m")
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{8,}")
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(?:home|root|Users|tmp|opt|work|usr|var|mnt|private)/\w"
    r"|[A-Z]:\\+Users"
)


class Problem(Exception):
    """What the author has to put right, in words."""


class ThisPython(KernelSpecManager):
    """Starts the Python that runs this file, whichever kernels are installed."""

    def get_kernel_spec(self, kernel_name):
        return KernelSpec(resource_dir="", **get_kernel_dict())


def kernel_environment(profile):
    """The settings of every kernel; `profile` is an empty folder for IPython's."""
    config = Path(profile, "profile_default", "ipython_kernel_config.py")
    config.parent.mkdir(parents=True)
    config.write_text(PROFILE, encoding="utf-8")
    return FIXED | {"IPYTHONDIR": str(profile)}


def pair(name, book):
    """The two files of a chapter."""
    return book / "text" / f"{name}.md", book / f"{name}.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def flaws(outputs):
    """What no committed output may hold: one phrase for each fault found."""
    text = json.dumps([output.get("data", output) for output in outputs])
    found = {
        "writes to stderr": any(output.get("name") == "stderr" for output in outputs),
        "raises": any(output.output_type == "error" for output in outputs),
        "prints a memory address": ADDRESS.search(text),
        "prints a path of this machine": MACHINE_PATH.search(text),
    }
    return [phrase for phrase, present in found.items() if present]


def stable_ids(notebook):
    """Give each cell an id made from its content, so that a run changes none."""
    seen = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()
        seen[digest] = seen.get(digest, 0) + 1
        cell["id"] = digest[:8] + (f"-{seen[digest]}" if seen[digest] > 1 else "")


def read_twin(path):
    """The notebook that the text at `path` describes, not yet run."""
    try:
        text = path.read_text(encoding="utf-8")
        notebook = jupytext.reads(text, "md:myst", config=load_jupytext_config(path))
    except Exception as error:  # those of YAML and jupytext have no other common base
        raise Problem(f"{path} cannot be read as a twin: {error}") from error
    if "kernelspec" not in notebook.metadata:
        raise Problem(f"{path} does not begin with a header that has a kernelspec")
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata["language_info"] = dict(LANGUAGE)
    notebook.metadata["jupytext"] = {"default_lexer": "ipython3"}
    stable_ids(notebook)
    return nbformat.reads(nbformat.writes(notebook), as_version=4)


def twin_text(notebook, path):
    """The text that jupytext writes at `path` when it pairs this notebook."""
    copy = deepcopy(notebook)  # jupytext writes its settings into what it is given
    return jupytext.writes(copy, "md:myst", config=load_jupytext_config(path))


def formatted(notebook, path):
    """The same notebook, its code sorted and laid out by ruff.

    At 72 columns where the chapter has its second edition, else at 80.
    """
    second = any(SECOND_EDITION in cell.source for cell in notebook.cells)
    width = f"--line-length={72 if second else 80}"
    text, name = nbformat.writes(notebook), path.resolve().with_suffix(".ipynb")
    for command in (["check", "--select=I", "--fix-only"], ["format"]):
        options = ["--quiet", width, "--stdin-filename"]
        ruff = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *options, name],
            input=text.encode(),
            capture_output=True,
        )
        if ruff.returncode:
            raise Problem(f"{path}: ruff cannot read the code\n{ruff.stderr.decode()}")
        text = ruff.stdout.decode()
    notebook = nbformat.reads(text, as_version=4)
    stable_ids(notebook)
    return notebook


def complaint(name, number, cell, what, detail):
    """The error for one cell: its number, its source and what went wrong."""
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    return Problem(f"{name}: code cell {number} {what}\n\n{source}\n\n{detail}")


def run_cell(client, index, name, number):
    """Run one code cell; raise Problem if it fails or its output may not stay."""
    cell = client.nb.cells[index]
    try:
        client.execute_cell(cell, index, number)
    except (CellControlSignal, DeadKernelError) as error:
        told = [o.traceback for o in cell.outputs if o.output_type == "error"]
        detail = "\n".join(told[0]) if told else str(error)
        raise complaint(name, number, cell, "fails", detail) from error
    if found := flaws(cell.outputs):
        detail = "\n".join(
            o.get("text", "") or str(o.data)[:1000] for o in cell.outputs
        )
        raise complaint(name, number, cell, " and ".join(found), detail)


def run(notebook, name, book, timeout):
    """Run the code cells in a kernel of their own."""
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_spec_manager=ThisPython()),
        timeout=timeout,
        record_timing=False,
        coalesce_streams=True,
        shutdown_kernel="immediate",
        force_raise_errors=True,
        skip_cells_with_tag="",
        resources={"metadata": {"path": str(book)}},
    )
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        env = os.environ | kernel_environment(profile)
        with client.setup_kernel(cleanup_kc=True, env=env, stderr=subprocess.DEVNULL):
            for number, index in enumerate(code, 1):
                if sys.stdout.isatty():
                    print(f"\r{name}  cell {number}/{len(code)} ", end="", flush=True)
                run_cell(client, index, name, number)


def keep_outputs(new, old):
    """Copy the stored outputs of tagged cells up to the first changed source."""
    for cell, stored in zip(code_cells(new), code_cells(old), strict=False):
        if cell.source != stored.source:
            return
        if IGNORED in cell.metadata.get("tags", []) and stored.execution_count:
            cell.outputs = stored.outputs


def write(path, text):
    """Replace the file in one step, or leave it alone; True if it changed."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def guard_edits(notebook, twin, path):
    """Refuse to overwrite what was edited in the notebook and not in the twin."""
    if not path.exists() or path.stat().st_mtime <= twin.stat().st_mtime:
        return
    stored = nbformat.read(path, as_version=4)
    if [cell.source for cell in stored.cells] != [c.source for c in notebook.cells]:
        raise Problem(
            f"{path} is newer than {twin} and differs from it. To keep the edits made "
            f"in the notebook: jupytext --sync {path}; to drop them: touch {twin}"
        )


def writable(*folders):
    """Refuse before a cell is run what could not be written afterwards."""
    for folder in folders:
        if not os.access(folder, os.W_OK):
            raise Problem(
                f"{folder} is not to be written into; copy the book to a folder that "
                "is, or compare only, with --check"
            )


def execute(name, book, timeout, refresh):
    """Format the twin, run the notebook and write it; a line says how it went."""
    start = time.time()
    twin, path = pair(name, book)
    writable(twin.parent, path.parent)
    notebook = read_twin(twin)
    guard_edits(notebook, twin, path)
    notebook = formatted(notebook, twin)
    if write(twin, twin_text(notebook, twin)):
        print(f"{name}: put {twin} into its normal form")
    written = twin.stat().st_mtime
    run(notebook, name, book, timeout)
    if path.exists() and not refresh:
        keep_outputs(notebook, nbformat.read(path, as_version=4))
    changed = write(path, nbformat.writes(notebook) + "\n")
    os.utime(path, (written, written))  # so that guard_edits sees only later edits
    clear = "\r" if sys.stdout.isatty() else ""
    state = "written" if changed else "unchanged"
    print(f"{clear}{name}  {time.time() - start:.1f} s  {state}", flush=True)


def disagreements(name, book):
    """Where twin and notebook differ: one sentence for each difference."""
    twin, path = pair(name, book)
    for file in (twin, path):
        if not file.exists():
            return [f"{name}: {file} is missing"]
    new, old = read_twin(twin), nbformat.read(path, as_version=4)
    found = []
    if twin.read_text(encoding="utf-8") != twin_text(formatted(new, twin), twin):
        found.append(f"{name}: the twin is not in the form of jupytext and ruff")
    sizes = len(new.cells), len(old.cells)
    if sizes[0] != sizes[1]:
        return [
            *found,
            f"{name}: {sizes[0]} cells in the twin, {sizes[1]} in the other",
        ]
    for number, (cell, stored) in enumerate(zip(new.cells, old.cells, strict=True), 1):
        for key in ("cell_type", "source", "metadata", "id"):
            if cell[key] != stored.get(key):
                found.append(f"{name}: cell {number} has another {key} in the notebook")
    counts = [cell.execution_count for cell in code_cells(old)]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"{name}: the notebook was not run from top to bottom: {counts}")
    if new.metadata != old.metadata:
        found.append(f"{name}: the notebook's own metadata differ")
    return found


def names(book):
    """Every chapter that has a twin or a notebook, in order."""
    return sorted({p.stem for p in (*book.glob("*.ipynb"), *book.glob("text/*.md"))})


def chosen(arguments, book):
    """The names meant by the arguments, which may also be paths."""
    known = names(book)
    for argument in arguments:
        name = Path(argument).name.removesuffix(".md").removesuffix(".ipynb")
        if name not in known:
            close = difflib.get_close_matches(name, known, cutoff=0.3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise Problem(f"no chapter is called {argument}{hint}")
        yield name
    if not arguments:
        yield from known


def reader():
    """The program of the plain notebooks, which itself imports this one."""
    return importlib.import_module("reader")


def main(arguments=None, book=BOOK):
    parser = argparse.ArgumentParser(
        prog="python book/execute.py",
        description=__doc__.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="such as 01_claims; default: all")
    add("--check", action="store_true", help="run nothing, say where the two disagree")
    add("--refresh", action="store_true", help=f"new outputs of {IGNORED} cells too")
    add("--timeout", type=int, default=600, metavar="S", help="seconds a cell (600)")
    options = parser.parse_args(arguments)
    try:
        selected = list(chosen(options.names, book))
        if options.check:
            found = [line for name in selected for line in disagreements(name, book)]
            print("\n".join(found) or f"{len(selected)} twins and notebooks agree")
            return bool(found)
        for name in selected:
            execute(name, book, options.timeout, options.refresh)
        for name in reader().renew(book)[0]:
            print(f"{name}: plain notebook written")
    except (Problem, OSError) as problem:
        text = str(problem)
        print(text if sys.stderr.isatty() else COLOR.sub("", text), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
