"""The list of faults is one that can be planted, and a few of them are."""

import pytest
from plant import ROOT, Fault, read_faults, run_tests, try_all

FAULTS = read_faults()
SAMPLE = (
    "after-cispo-is-gspo",
    "teacher-is-free",
    "share-fixed",
    "clip-sides-swapped",
    "text-wrong-without-mistakes",
)


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
    fault.remove(tmp_path)
    before = copy.read_text()
    fault.plant(tmp_path)
    assert copy.read_text() == before.replace(fault.old, fault.new) != before
    with pytest.raises(ValueError, match="has 0 times"):
        fault.plant(tmp_path)
    fault.remove(tmp_path)
    assert copy.read_text() == before


@pytest.mark.slow
def test_a_sample_of_the_faults_is_found():
    assert try_all([f for f in FAULTS if f.id in SAMPLE]) == len(SAMPLE)


@pytest.mark.slow
def test_no_fault_is_found_where_none_is(capsys):
    harmless = Fault(
        *("none", "README.md", "# ", "# ", "nothing", ["tests/text/test_corpus.py"])
    )
    assert run_tests(ROOT, harmless.tests)[0] == 0
