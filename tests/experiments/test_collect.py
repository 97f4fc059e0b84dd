"""Publishing runs: from the files of each run into the tables of the book."""

import pytest

from experiments import collect
from r1.train.records import read_origin, read_run, read_table, tables

HEAD = (
    "# command: python {}\n# commit: {}\n# device: CPU, 1 thread\n# date: 2026-01-02\n"
)


def leave(folder, name, table, command="it", commit="abc"):
    """Write the file of a run as a program does."""
    folder.mkdir(parents=True, exist_ok=True)
    text = HEAD.format(command, commit) + table
    (folder / f"{name}.csv").write_text(text)


@pytest.fixture
def runs(tmp_path):
    """Runs of an experiment: three with a log, two of which have answers as well."""
    folder = tmp_path / "runs/rl"
    grpo, ppo = (
        "step,reward,loss\n0,0.50,1\n1,0.75,0\n",
        "step,reward,value,loss\n0,1,7,9\n",
    )
    leave(folder, "zero_seed10", grpo)
    leave(folder, "zero_seed2", grpo)
    leave(folder, "zero_seed2_terms", "terms,accuracy\n3,0.90\n4,0.80\n")
    leave(folder, "ppo_seed0", ppo, "another")
    leave(folder, "ppo_seed0_terms", "terms,accuracy\n3,0.7\n", "another")
    leave(folder, "base_few_seed0", "step,loss,grad_norm,lr\n0,3,1,0.1\n")
    return folder


@pytest.fixture
def data(tmp_path):
    """An empty folder for tables."""
    return tmp_path / "data"


def text(data, name):
    """What a file of the published folder holds."""
    return (data / f"{name}.csv").read_text()


def everything(data):
    """All published files with what they hold."""
    return {p: p.read_bytes() for p in data.rglob("*") if p.is_file()}


def test_tables_hold_the_text_of_every_cell_run_by_run_in_the_order_of_seeds(
    runs, data
):
    collect.publish(runs, data)
    assert text(data, "rl/steps") == (
        "run,step,reward,value,loss\n"
        "ppo_seed0,0,1,7,9\n"
        "zero_seed2,0,0.50,,1\n"
        "zero_seed2,1,0.75,,0\n"
        "zero_seed10,0,0.50,,1\n"
        "zero_seed10,1,0.75,,0\n"
    )
    assert text(data, "rl/terms").splitlines()[1:] == [
        "ppo_seed0,3,0.7",
        "zero_seed2,3,0.90",
        "zero_seed2,4,0.80",
    ]
    assert read_run("rl/pretraining", "base_few_seed0", data)["lr"] == [0.1]


def test_the_list_of_runs_has_one_row_a_run_with_its_tables(runs, data):
    collect.publish(runs, data)
    rows = text(data, "runs").splitlines()
    assert rows[0] == "experiment,run,tables,command,commit,device,date"
    assert len(rows) == 5
    assert (
        rows[2]
        == 'rl,ppo_seed0,steps terms,python another,abc,"CPU, 1 thread",2026-01-02'
    )


def test_files_of_one_run_from_two_days_have_a_row_each(runs, data):
    path = runs / "ppo_seed0_terms.csv"
    path.write_text(path.read_text().replace("2026-01-02", "2026-01-03"))
    collect.publish(runs, data)
    assert read_origin("rl/steps", "ppo_seed0", data)["date"] == "2026-01-02"
    assert read_origin("rl/terms", "ppo_seed0", data)["date"] == "2026-01-03"


def test_publishing_twice_changes_no_byte_whatever_the_order(runs, data, tmp_path):
    collect.publish(runs, data)
    once = everything(data)
    collect.publish(runs, data)
    assert everything(data) == once
    other = tmp_path / "other"
    for path in sorted(runs.iterdir(), reverse=True):  # each in a folder of its own
        folder = tmp_path / path.stem / "rl"
        folder.mkdir(parents=True)
        (folder / path.name).write_bytes(path.read_bytes())
        collect.publish(folder, other, force=True)
    assert text(other, "rl/steps") == text(data, "rl/steps")
    assert text(other, "runs") == text(data, "runs")


def test_a_run_that_was_made_again_takes_the_place_of_the_old_one_alone(runs, data):
    collect.publish(runs, data)
    before = read_table("rl/steps", data)
    for path in runs.iterdir():
        path.unlink()
    leave(runs, "ppo_seed0", "step,reward,loss\n0,2,2\n", "a third", "def")
    leave(runs, "ppo_seed0_terms", "terms,accuracy\n3,0.1\n", "a third", "def")
    collect.publish(runs, data)
    after = read_table("rl/steps", data)
    assert after["ppo_seed0"].rows == [["0", "2", "2"]]
    assert {k: v for k, v in after.items() if k != "ppo_seed0"} == {
        k: v for k, v in before.items() if k != "ppo_seed0"
    }
    assert "value" not in text(data, "rl/steps")  # no run has the column any more
    assert read_origin("rl/steps", "ppo_seed0", data)["commit"] == "def"
    assert text(data, "runs").count("ppo_seed0") == 1


def test_other_experiments_stay_as_they_are(runs, data, tmp_path):
    moe = tmp_path / "runs/moe"
    leave(moe, "fine_seed0", "step,loss,grad_norm,lr\n0,3,1,0.1\n")
    collect.main(["--runs", str(moe.parent), "--data", str(data)])
    fine = text(data, "moe/steps")
    collect.main(["rl", "--runs", str(moe.parent), "--data", str(data)])
    assert text(data, "moe/steps") == fine
    assert read_origin("moe/steps", "fine_seed0", data)["commit"] == "abc"


@pytest.mark.parametrize("commit", ["abc+changes", "unknown"])
def test_code_that_is_in_no_commit_is_refused_unless_forced(runs, data, commit):
    leave(runs, "zero_seed2", "step,reward\n0,1\n", commit=commit)
    with pytest.raises(SystemExit, match=r"zero_seed2 \(steps\) .* in no commit"):
        collect.publish(runs, data)
    assert not data.exists()
    collect.publish(runs, data, force=True)
    assert read_origin("rl/steps", "zero_seed2", data)["commit"] == commit


def test_a_run_that_is_not_finished_does_not_replace_one_that_is(runs, data):
    collect.publish(runs, data)
    published = everything(data)
    (runs / "zero_seed2_terms.csv").unlink()
    with pytest.raises(SystemExit, match="zero_seed2 has no terms yet"):
        collect.publish(runs, data)
    assert everything(data) == published


def test_a_file_of_no_known_kind_is_refused_and_named(runs, data):
    leave(runs, "surprise", "height,width\n1,2\n")
    with pytest.raises(SystemExit, match=r"rl/surprise.csv begins .* height, width"):
        collect.publish(runs, data, force=True)
    assert not data.exists()


def test_no_runs_are_an_error(tmp_path):
    with pytest.raises(SystemExit, match="moe: there are no runs"):
        collect.main(["moe", "--runs", str(tmp_path), "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match="there are no runs"):
        collect.main(["--runs", str(tmp_path / "none"), "--data", str(tmp_path)])


def test_weights_that_the_book_has_are_renewed_and_none_are_added(runs, data, capsys):
    (data / "rl").mkdir(parents=True)
    (data / "rl/zero_seed2.safetensors").write_bytes(b"old")
    for seed in (2, 10):
        (runs / f"zero_seed{seed}.safetensors").write_bytes(b"new")
    collect.publish(runs, data)
    assert (data / "rl/zero_seed2.safetensors").read_bytes() == b"new"
    assert not (data / "rl/zero_seed10.safetensors").exists()
    assert "zero_seed2.safetensors is renewed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("experiment", "stem", "columns", "kind"),
    [
        ("base", "mtp1_seed0", "step,loss,grad_norm,lr", "steps"),
        ("rl", "base_unable", "step,loss,grad_norm,lr", "pretraining"),
        ("pipeline", "dev1_seed0", "step,loss,grad_norm,lr,seconds", "finetuning"),
        ("pipeline", "dev2_seed0", "step,reward,accuracy", "steps"),
        ("distill", "verifier_base", "step,loss,hits", "verifier"),
        ("distill", "r1_rl_dense4_seed0", "gflop,accuracy,thinking", "compute"),
        ("distill", "forced_zero", "terms,least,most,accuracy", "forced"),
        ("rl", "passk_zero_5", "k,pass,worked,majority", "passk"),
        ("distill", "votes_r1_7", "k,tokens,any", "votes"),
    ],
)
def test_the_columns_of_a_file_tell_its_kind(experiment, stem, columns, kind):
    assert collect.kind_of(experiment, stem, columns.split(",")) == (stem, kind)


def test_the_kinds_of_the_book_are_those_that_are_known():
    kinds = {name.partition("/")[2] for name in tables()}
    assert {"steps", "terms"} < kinds
    assert kinds <= set(collect.KINDS)
