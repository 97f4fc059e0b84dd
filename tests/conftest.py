"""The site, built once for all tests that look at it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest
from beartype.claw import beartype_packages
from filelock import FileLock
from hypothesis import settings

ROOT = Path(__file__).parent.parent
settings.register_profile(
    "book", derandomize=True, database=None, deadline=None, max_examples=60
)
settings.load_profile("book")


def pytest_configure(config):
    """Check the types of rooms without shapes, too.

    To look for shapes at a call takes longer than most functions of theirs do.
    """
    shaped = (config.getoption("jaxtyping_packages") or "").split(",")
    rooms = {f"r1.{room.name}" for room in iter_modules([str(ROOT / "book/r1")])}
    beartype_packages(sorted(rooms.difference(shaped)))


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """The folder of the built pages; a warning of the build fails the test.

    The workers of a run share it: the first that asks builds it. With SITE it is
    what was built there just now.
    """
    if built := os.environ.get("SITE"):
        return Path(built)
    base = tmp_path_factory.getbasetemp()
    out = (base if worker_id == "master" else base.parent) / "site"
    html = out / "_build/html"
    with FileLock(f"{out}.lock"):
        if not html.exists():
            build_site(out)
    return html


def build_site(out):
    """Build the pages, outside of where readers build them."""
    builder = shutil.which("jupyter-book", path=Path(sys.executable).parent)
    command = [builder, "build", str(ROOT), "--path-output", str(out)]
    command += ["-W", "-n", "--keep-going"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        shutil.rmtree(out)
        pytest.fail(built.stdout + built.stderr)


@pytest.fixture(scope="session")
def address(site):
    """Where the built pages are served, on this machine only."""
    from visits import serve

    with serve(site) as address:
        yield address


@pytest.fixture(scope="session")
def walls():
    """Skipped where no sandbox can be made, except in CI."""
    from coursekit.walls.sandbox import missing

    if why := missing():
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; skipped where there is none, except in CI."""
    from visits import CHROMIUM, open_browser

    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: install the package chromium")
        pytest.skip("no Chromium on this machine: the pages were not looked at")
    with open_browser() as browser:
        yield browser
