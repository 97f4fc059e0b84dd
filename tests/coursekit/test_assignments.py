"""Every assignment: up to date, proved, and run from top to bottom as a notebook."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from from_top import wrong
from messages import EXAMPLE, FOLDERS

from coursekit.authoring.assignment import ASSIGNMENTS, load
from coursekit.authoring.build import release, solved, zipped
from coursekit.authoring.notebooks import MARKERS
from coursekit.authoring.proof import proved
from coursekit.authoring.prove import prove
from coursekit.walls.files import write

each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def run_notebook(path: Path) -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env"]
    call += ["-p", "no:cacheprovider", "--nbval-cell-timeout", "300", path.name]
    call += ["-p", "nbval.plugin"]  # and no other, which takes seconds
    environment = {**os.environ, "COURSEKIT_STRICT": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    return subprocess.run(
        call, cwd=path.parent, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("folder", FOLDERS[1:], ids=lambda folder: folder.name)
def test_the_site_has_the_zip_that_the_master_makes(folder, site):
    """Where the handout links it; the zip is made with the site."""
    page = site / f"book/assignments/{folder.name}/handout.html"
    links = re.findall(r'href="([^"]+\.zip)"', page.read_text(encoding="utf-8"))
    assert [Path(link).name for link in links] == [f"{folder.name}.zip"]
    assert (page.parent / links[0]).read_bytes() == zipped(release(load(folder)))


@each
def test_it_grades_itself(folder, walls):
    """With every mutant, unless a full proof of just this content is on record.

    Even then every test has to fail once, for one of the mutants that list it.
    """
    assignment = load(folder)
    quick = proved(assignment) and not os.environ.get("PROVE")
    wrong = prove(assignment, jobs=1, quick=quick)
    assert not wrong, "\n".join(wrong)


def test_a_solution_runs_in_a_kernel(tmp_path):
    """One of them, as students run theirs: with what lies beside it, and no more."""
    run = run_notebook(solved(load(EXAMPLE), tmp_path))
    assert run.returncode == 0, run.stdout[-3000:]


@each
def test_the_solution_runs_from_top_to_bottom(folder, tmp_path):
    assert wrong(solved(load(folder), tmp_path)) == ""


def test_the_starter_does_not_pass_for_a_solution(tmp_path):
    """As it is given out, with nothing but what its zip holds."""
    for name, data in release(load(EXAMPLE)).items():
        write(tmp_path / name, data)
    assert "not implemented yet" in wrong(tmp_path / "example" / "example.ipynb")


def test_a_notebook_has_what_lies_beside_it_and_no_other_kit(tmp_path):
    path = solved(load(EXAMPLE), tmp_path)
    assert (tmp_path / "coursekit" / "checking.py").is_file()
    (tmp_path / "coursekit" / "checking.py").write_text("raise OSError('this one')")
    assert "this one" in wrong(path)


def test_every_folder_is_an_assignment():
    strays = [
        path.name
        for path in ASSIGNMENTS.iterdir()
        if path.is_dir() and path not in FOLDERS and path.name != "__pycache__"
    ]
    assert not strays, f"{strays} have no mutants.toml"


def test_no_solution_is_in_the_site(site):
    """A page can only link a zip, whose content is compared above."""
    solutions = {f"{folder.name}.md" for folder in FOLDERS}
    for path in site.rglob("*"):
        assert "hidden" not in path.parts, path
        if path.suffix in {".html", ".ipynb", ".md", ".txt", ".js"}:
            text = path.read_text(encoding="utf-8")
            assert not [mark for mark in MARKERS if mark in text], path
            assert path.name not in solutions, path
