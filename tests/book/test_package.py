"""The package without the book around it, as pip installs it."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
# In a Python of its own, which takes half a second: torch is not needed.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import r1.cost, r1.plotting
from r1.model.config import ModelConfig
from r1.train.ledger import published
from r1.train.records import read_run
assert r1.plotting.__file__.startswith(sys.argv[1])
r1.plotting.use_style()
print(r1.cost.count_parameters(ModelConfig.deepseek_v3()).total)
for read in (lambda: published("v3-gpu-hours"), lambda: read_run("rl/steps", "zero")):
    try:
        read()
    except FileNotFoundError as error:
        print(error)
"""


def installed():
    """Places of the files that a wheel has: the code, and what is named as its data."""
    book = ROOT / TOOL["package-dir"][""]
    for pattern in TOOL["packages"]["find"]["include"]:
        yield from (p for top in book.glob(pattern) for p in top.rglob("*.py"))
    for package, patterns in TOOL["package-data"].items():
        for pattern in patterns:
            yield from (book / package.replace(".", "/")).glob(pattern)


def test_an_installed_package_has_what_it_reads_and_says_what_it_has_not(tmp_path):
    for source in installed():
        place = tmp_path / source.relative_to(ROOT / "book")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.stderr == ""
    total, *missing = done.stdout.splitlines()
    assert total == "671026419200"
    assert missing[0].startswith("there is no published.csv; the book's data are not")
    assert missing[1].startswith("there is no table rl/steps; the book's data are not")
