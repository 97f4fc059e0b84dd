"""The list of faults is one that can be planted, and a few of them are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from plant import ROOT, read_faults

FAULTS = read_faults()
SAMPLE = ("after-cispo-is-gspo", "share-fixed", "text-wrong-without-mistakes")


def test_there_are_fifty_faults_of_different_names():
    assert len(FAULTS) == len({fault.id for fault in FAULTS}) == 50
    assert len({(fault.file, fault.old) for fault in FAULTS}) == 50


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_can_be_planted_where_it_says(fault):
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.old) == 1
    assert fault.old != fault.new
    assert all((ROOT / test).exists() for test in fault.tests)


def test_a_fault_is_planted_and_taken_away_again(tmp_path):
    fault = FAULTS[0]
    copy = tmp_path / fault.file
    copy.parent.mkdir(parents=True)
    before = (ROOT / fault.file).read_text(encoding="utf-8")
    copy.write_text(before, encoding="utf-8")
    with fault.planted(tmp_path):
        now = copy.read_text(encoding="utf-8")
        assert now == before.replace(fault.old, fault.new) != before
        with pytest.raises(ValueError, match="has 0 times"), fault.planted(tmp_path):
            pass
    assert copy.read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_a_sample_of_the_faults_is_found_and_without_a_fault_the_tests_pass():
    """Else every fault would be found."""
    program = Path(__file__).with_name("plant.py")
    done = subprocess.run(
        [sys.executable, program, "--sound", *SAMPLE],
        env=os.environ | {"PYTHONPATH": str(ROOT / "book")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    marks = [line.split()[0] for line in done.stdout.splitlines()]
    assert marks == ["sound", *["found"] * len(SAMPLE), str(len(SAMPLE))]
