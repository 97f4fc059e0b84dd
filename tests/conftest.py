"""The site, built once for all tests that look at it, and visited meanwhile."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
settings.register_profile(
    "book", derandomize=True, database=None, deadline=None, max_examples=60
)
settings.load_profile("book")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the built pages; a warning of the build fails the test."""
    out = tmp_path_factory.mktemp("site")
    builder = shutil.which("jupyter-book", path=Path(sys.executable).parent)
    command = [builder, "build", str(ROOT), "--path-output", str(out)]
    command += ["-W", "-n", "--keep-going"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return out / "_build/html"


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


def _need_chromium():
    from visits import CHROMIUM

    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: install the package chromium")
        pytest.skip("no Chromium on this machine: the pages were not looked at")


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; skipped where there is none, except in CI."""
    _need_chromium()
    from visits import open_browser

    with open_browser() as browser:
        yield browser


class Visits(dict):
    """What is wrong with each page that the tests of this run ask for.

    The pages are visited by a process of its own; who asks for one that it has not
    visited yet waits.
    """

    def __init__(self, process):
        super().__init__()
        self.process = process

    def __missing__(self, visit):
        for line in self.process.stdout:
            done, faults = json.loads(line)
            self[done] = faults
            if done == visit:
                return faults
        raise RuntimeError(f"{visit} was not visited:\n{self.process.stderr.read()}")


@pytest.fixture(scope="session")
def visits(request, site):
    """See Visits; start_visits asks for it."""
    _need_chromium()
    calls = [
        item.callspec.params
        for item in request.session.items
        if "visits" in getattr(item, "fixturenames", ())
    ]
    asked = [f"{call['mode']}/{call['name']}" for call in calls]
    program = str(ROOT / "tests/book/visits.py")
    with subprocess.Popen(
        [sys.executable, program, str(site), *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield Visits(process)
        process.kill()


@pytest.fixture(scope="session", autouse=True)
def start_visits(request):
    """Visit pages from the beginning on, if a test of this run asks for any."""
    items = request.session.items
    wanted = any("visits" in getattr(item, "fixturenames", ()) for item in items)
    if wanted:
        # A site that cannot be built, or no browser: the tests that need them say so.
        with suppress(AssertionError, pytest.skip.Exception, pytest.fail.Exception):
            request.getfixturevalue("visits")
