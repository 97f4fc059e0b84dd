"""Recorded runs: written one file a run, read from tables of many."""

import csv
import subprocess
import sys

import pytest

from r1.train import records
from r1.train.records import read_log, read_origin, read_run, read_seeds, write_log

TABLE = """\
run,step,reward,value_error
grpo_seed10,0,0.5,
grpo_seed10,1,0.75,
grpo_seed2,0,0.25,
ppo_lam095,0,1e-3,2
warm,0,1,
"""
RUNS = """\
experiment,run,tables,command,commit,device,date
rl,grpo_seed2,steps terms,python -m experiments.rl grpo --seeds 2,abc,"a CPU, 1 thread",
rl,grpo_seed2,valid,another,abc,a CPU,
moe,grpo_seed2,steps,not this,abc,a CPU,
"""


@pytest.fixture
def data(tmp_path):
    """A folder of tables: one table with seeds 2 and 10, and one of a single run."""
    (tmp_path / "rl").mkdir()
    (tmp_path / "rl/steps.csv").write_text(TABLE)
    (tmp_path / "rl/terms.csv").write_text("run,terms\nzero,3\nzero,4\n")
    (tmp_path / "runs.csv").write_text(RUNS)
    return tmp_path


def test_a_run_of_a_table_has_its_own_rows_in_order_and_the_columns_that_it_has(data):
    assert read_run("rl/steps", "grpo_seed10", data) == {
        "step": [0.0, 1.0],
        "reward": [0.5, 0.75],
    }
    assert read_run("rl/steps", "ppo_lam095", data)["value_error"] == [2.0]


def test_a_table_of_one_run_needs_no_name(data):
    assert read_run("rl/terms", folder=data) == {"terms": [3.0, 4.0]}
    with pytest.raises(LookupError, match="no run None"):
        read_run("rl/steps", folder=data)


def test_seeds_are_in_the_order_of_numbers_and_of_this_run_alone(data):
    rewards = [log["reward"] for log in read_seeds("rl/steps", "grpo", folder=data)]
    assert rewards == [[0.25], [0.5, 0.75]]
    with pytest.raises(LookupError, match="no seeds of grp;"):
        read_seeds("rl/steps", "grp", folder=data)


def test_a_number_of_seeds_means_those_from_zero_and_one_that_is_missing_is_named(data):
    with pytest.raises(LookupError, match="no run grpo_seed0"):
        read_seeds("rl/steps", "grpo", 3, data)
    steps = read_seeds("rl/steps", "zero", 3)
    assert steps == [read_run("rl/steps", f"zero_seed{seed}") for seed in range(3)]
    assert len(read_seeds("rl/steps", "zero")) == 5


def test_what_is_missing_is_named_beside_what_is_there(data):
    there = r"rl/steps has no run grpo; there are: grpo_seed10\|2, ppo_lam095, warm$"
    with pytest.raises(LookupError, match=there):
        read_run("rl/steps", "grpo", data)
    with pytest.raises(FileNotFoundError, match=r"rl/step; .*: rl/steps, rl/terms$"):
        read_run("rl/step", "grpo", data)


def test_a_reader_may_change_what_was_read_and_a_table_that_changes_is_read_anew(data):
    read_run("rl/terms", "zero", data)["terms"].clear()
    assert read_run("rl/terms", "zero", data)["terms"] == [3.0, 4.0]
    (data / "rl/terms.csv").write_text("run,terms\nzero,5\n")
    assert read_run("rl/terms", "zero", data)["terms"] == [5.0]


def test_the_origin_is_that_of_the_run_in_this_table(data):
    origin = read_origin("rl/terms", "grpo_seed2", data)
    assert list(origin) == ["command", "commit", "device", "date"]
    assert origin["command"] == "python -m experiments.rl grpo --seeds 2"
    assert origin["device"] == "a CPU, 1 thread"
    assert read_origin("rl/valid", "grpo_seed2", data)["command"] == "another"
    with pytest.raises(LookupError, match="no run warm of rl/steps"):
        read_origin("rl/steps", "warm", data)


def test_a_file_of_one_run_says_where_it_comes_from_and_gives_back_its_numbers(
    tmp_path,
):
    path = tmp_path / "run.csv"
    write_log(path, [{"step": 0, "loss": 1 / 3}], "python it", "a: device")
    assert read_log(path) == {"step": [0.0], "loss": [0.33333]}
    cells = records.read_cells(path)
    assert cells.origin["command"] == "python it"
    assert cells.origin["device"].startswith("a: device, torch")
    assert (cells.columns, cells.rows) == (["step", "loss"], [["0", "0.33333"]])
    path.write_text("step,loss\n")
    with pytest.raises(ValueError, match="no row"):
        read_log(path)


def test_every_row_of_every_table_has_a_run_whose_origin_is_known():
    with (records.DATA / "runs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = {
        (f"{row['experiment']}/{kind}", row["run"])
        for row in rows
        for kind in row["tables"].split()
    }
    there = {
        (name, run) for name in records.tables() for run in records.read_table(name)
    }
    assert known == there
    assert all(row[name] for row in rows for name in records.ORIGIN)


def test_code_that_is_in_no_commit_is_told_wherever_it_is_changed(
    tmp_path, monkeypatch
):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    for folder in ("r1", "experiments", "text"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("one")
    monkeypatch.setattr(records, "BOOK", tmp_path)
    git("init")
    git("add", ".")
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    git(*name, "commit", "-m", "one")
    (tmp_path / "text/a").write_text("two")
    assert "+changes" not in records.provenance("python it")
    for folder in ("r1", "experiments"):
        (tmp_path / folder / "a").write_text("two")
        assert "+changes" in records.provenance("python it")
        git("checkout", folder)


def test_tables_are_read_without_torch():
    code = "import sys; from r1.train.records import read_run as r;"
    code += "r('rl/terms', 'zero_seed0'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=records.BOOK)


@pytest.mark.parametrize(
    ("notes", "wanted", "message"),
    [
        ({"lr": 1, "step": 5}, {"lr": 2}, "made with lr=1, not 2"),
        ({"lr": 1, "step": 5}, {"lr": 1, "base": "b"}, "made with base=None, not b"),
        ({"lr": 1, "dtype": "fp8"}, {"lr": 1}, "made with dtype=fp8, not None"),
    ],
)
def test_an_option_that_only_one_of_two_runs_has_differs_too(notes, wanted, message):
    with pytest.raises(SystemExit, match=message):
        records.check_notes("run", notes, wanted)
    records.check_notes("run", notes | {"step": 7, "finished": True}, notes)
