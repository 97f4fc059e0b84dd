"""A plain notebook in JupyterLab, as it stands there before anything is run."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import execute
import nbformat
import pytest
import reader
from test_reader import FOLDER, MYST

NAME = "09_pipelines"  # it has all kinds of what a chapter can hold
SEEN = """() => ({
    text: [...document.querySelectorAll(".jp-Notebook .jp-RenderedMarkdown")]
        .map((x) => { const y = x.cloneNode(true);
            y.querySelectorAll("mjx-container").forEach((z) => z.remove());
            return y.innerText; }).join("\\n"),
    outputs: [...document.querySelectorAll(".jp-OutputArea-output img")]
        .filter((x) => x.naturalWidth > 100 && x.checkVisibility()).length,
    pictures: [...document.querySelectorAll(".jp-MarkdownOutput img")]
        .filter((x) => x.naturalWidth > 100 && x.checkVisibility()).length,
    formulas: document.querySelectorAll(".jp-MarkdownOutput mjx-container").length,
    broken: document.querySelectorAll("mjx-merror").length,
    cells: [...document.querySelectorAll(".jp-CodeCell")]
        .filter((x) => x.checkVisibility()).length,
})"""


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that renders all cells of a notebook at once."""
    command = shutil.which("jupyter-lab")
    if command is None:
        pytest.skip("no JupyterLab on this machine: the notebooks were not looked at")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = tmp_path / "settings/@jupyterlab/notebook-extension"
    settings.mkdir(parents=True)
    everything = json.dumps({"windowingMode": "none"})
    (settings / "tracker.jupyterlab-settings").write_text(everything)
    shutil.copy(FOLDER / f"{NAME}.ipynb", tmp_path)
    env = os.environ | {
        "HOME": str(tmp_path),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
    }
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--IdentityProvider.token=",
    ]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(
            [command, *options, f"--ServerApp.root_dir={tmp_path}"],
            env=env,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api", tmp_path / "log")
        yield address
    finally:
        server.terminate()
        server.wait()


def wait_for(address, log, seconds=60):
    """Wait until a server answers."""
    for _ in range(seconds * 2):
        try:
            urllib.request.urlopen(address).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail(Path(log).read_text())


def test_a_notebook_is_whole_before_anything_is_run(lab, browser):
    notebook = nbformat.read(FOLDER / f"{NAME}.ipynb", as_version=4)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{lab}/lab/tree/{NAME}.ipynb", wait_until="domcontentloaded")
    page.get_by_text(re.compile("cells? hidden")).last.wait_for(timeout=60_000)
    page.wait_for_function("document.querySelector('.jp-MarkdownOutput mjx-container')")
    page.wait_for_timeout(2000)
    seen = page.evaluate(SEEN)
    page.close()

    found = [
        what
        for what, rule in MYST.items()
        if re.search(rule, seen["text"], re.MULTILINE)
    ]
    assert not found
    assert "$" not in re.sub(r"\$\d", "", seen["text"])
    cells = execute.code_cells(notebook)
    figures = [o for c in cells for o in c.outputs if "image/png" in o.get("data", {})]
    assert seen["outputs"] == len(figures)
    text = "\n".join(reader.markdown_of(notebook))
    assert seen["pictures"] == text.count("](data:image/png")
    assert seen["formulas"] > 50
    assert not seen["broken"]
    assert 0 < seen["cells"] < len(cells)
