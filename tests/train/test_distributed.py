"""Several processes train the model that one would have trained."""

import json
import shutil
import time
from dataclasses import asdict, replace

import pytest
import torch
from several import reports_of, run_all, start
from torch.testing import assert_close

from experiments import pretrain
from r1.model.config import ModelConfig
from r1.model.sampling import sample
from r1.model.transformer import Model
from r1.train import distributed
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.optimizer import new_optimizer, rl_optimizer
from r1.train.records import read_log

CONFIG = replace(ModelConfig.tiny(), dim=16, inter_dim=32, n_layers=2, moe_inter_dim=16)
UNEVEN = replace(CONFIG, q_lora_rank=50)  # a first axis that four do not divide
STEPS, LONG = 8, 24
EACH = pytest.mark.parametrize("parallel", ["data", "experts"])
MANY = pytest.mark.parametrize("processes", [2, 4])


def options(folder, steps=STEPS):
    """What all runs have in common, and where they write."""
    folder.mkdir(exist_ok=True)
    config = folder / "config.json"
    config.write_text(json.dumps(asdict(CONFIG)))
    command = f"--config {config} --out {folder}/run --steps {steps} --rows 4"
    command += " --bias-speed 0.01 --balance-loss sequence --alpha 0.01 --threads 1"
    return [*command.split(), "--save-every", "4", "--problems", "4"]


def weights(folder):
    return load_checkpoint(folder / "run.safetensors")[0].state_dict()


def close_to(folder, single):
    """Logs and weights agree but for the order in which sums are taken."""
    ours, theirs = (read_log(f / "run.csv") for f in (folder, single))
    assert ours.keys() == theirs.keys()
    for column in ours:
        assert_close(ours[column], theirs[column], rtol=1e-4, atol=1e-5)
    assert_close(weights(folder), weights(single), rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module", autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where every run has a folder of its own."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def single(folder):
    """A run of one process from the beginning to the end."""
    pretrain.main(options(folder / "single"))
    return folder / "single"


@pytest.fixture(scope="module")
def killed(folder):
    """What a run of one process leaves that is killed after step 4."""
    with pytest.MonkeyPatch.context() as patch:
        real = pretrain.save_checkpoint

        def save_and_die(*arguments, **notes):
            real(*arguments, **notes)
            raise KeyboardInterrupt

        patch.setattr(pretrain, "save_checkpoint", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            pretrain.main(options(folder / "killed"))
    return folder / "killed"


@pytest.fixture(scope="module")
def killed_two(folder):
    """What two processes that share the experts leave when they are killed."""
    where = folder / "killed_two"
    command = ["pretrain", *options(where, LONG), "--parallel", "experts"]
    process = start(2, [command])
    while not (where / "run.safetensors").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.terminate()  # torchrun ends its processes, wherever they are
    process.communicate()
    assert 4 <= load_checkpoint(where / "run.safetensors")[2]["step"] < LONG
    return where


@pytest.fixture(scope="module")
def runs(folder, killed, killed_two):
    """All runs of two and of four processes, and what the processes said."""
    commands = {2: [], 4: []}

    def add(processes, name, *words, begun=None, steps=STEPS):
        where = folder / f"{name}_{processes}"
        if begun:
            shutil.copytree(begun, where)
            words += ("--resume",)
        commands[processes].append(["pretrain", *options(where, steps), *words])

    for processes in commands:
        for parallel in ("data", "experts"):
            add(processes, parallel, "--parallel", parallel)
        experts = ("--parallel", "experts")
        add(processes, "by_many", *experts, begun=killed_two, steps=LONG)
    add(2, "whole", *experts, steps=LONG)
    for parallel in ("data", "experts"):
        add(2, f"begun_{parallel}", "--parallel", parallel, begun=killed)
    add(2, "rows", *experts, "--rows", "3")
    add(2, "balance", "--balance-loss", "expert")
    config = folder / "uneven.json"
    config.write_text(json.dumps(asdict(UNEVEN)))
    measured = f"--config {config} --rows 4 --length 8 --timed 0".split()
    for some in commands.values():
        some += [["travels", way, *measured] for way in ("rows", "experts")]
    return run_all(commands)


@EACH
@MANY
def test_several_processes_train_the_model_of_one(
    parallel, processes, runs, folder, single
):
    where = folder / f"{parallel}_{processes}"
    close_to(where, single)
    files = sorted(path.name for path in where.iterdir())
    assert files == sorted(path.name for path in single.iterdir())


def test_only_the_first_process_reports(runs):
    assert runs[4].count("run {") == 3, runs[4]  # of three runs


@EACH
def test_a_run_of_one_process_is_resumed_by_two(parallel, runs, folder, single):
    close_to(folder / f"begun_{parallel}_2", single)


def test_a_killed_run_of_two_is_resumed_by_two_to_the_bit(runs, folder):
    killed, whole = folder / "by_many_2", folder / "whole_2"
    assert_close(weights(killed), weights(whole), rtol=0, atol=0)
    assert read_log(killed / "run.csv") == read_log(whole / "run.csv")


def test_a_killed_run_of_two_is_resumed_by_one_and_by_four(runs, folder, killed_two):
    by_one = folder / "by_one"
    shutil.copytree(killed_two, by_one)
    pretrain.main([*options(by_one, LONG), "--resume"])
    for where in (by_one, folder / "by_many_4"):
        close_to(where, folder / "whole_2")


@MANY
def test_processes_hold_and_send_what_the_formulas_say(processes, runs):
    rows, experts = reports_of(runs[processes])
    assert len(rows) == len(experts) == processes
    assert rows[0]["held"]["copy"] > experts[0]["held"]["copy"] > 0
    assert not rows[0]["travels"]["all_to_all"]
    assert all(report["travels"]["all_to_all"] for report in experts)


def test_what_cannot_be_shared_is_said_by_all_processes(runs, tmp_path):
    what = "3 rows cannot be shared by 2 processes; choose a multiple of 2"
    assert runs[2].count(what) == 2
    assert runs[2].count("several processes do not have; use sequence") == 2
    with pytest.raises(SystemExit, match="needs several processes; start torchrun"):
        pretrain.main([*options(tmp_path), "--parallel", "experts"])
    with pytest.raises(ValueError, match="start torchrun"):
        distributed.share(Model(CONFIG), experts=True)


def test_without_torchrun_everything_is_one_process():
    assert distributed.start() == distributed.rank() == 0
    assert distributed.processes() == 1
    batch = torch.zeros(3, 5, dtype=torch.int64)
    assert distributed.own_rows(batch) is batch
    values = torch.tensor([1.0, 2.0])
    assert distributed.add_up(values) is values
    model = Model(CONFIG)
    for change in (distributed.share, distributed.gather, distributed.apart):
        assert change(model) is model
    distributed.stop()


def test_rows_that_are_all_of_one_process_are_continued_as_without_it():
    torch.manual_seed(0)
    model, prompts = Model(CONFIG).eval(), [[1, 2, 3], [1, 4], [1, 5, 6, 7]]
    apart = distributed.RowsApart(model)
    texts = [
        sample(m, prompts, 20, generator=torch.Generator().manual_seed(0), copies=4)
        for m in (model, apart)
    ]
    assert texts[0] == texts[1]
    assert len({len(text) for text in texts[0]}) > 3  # rows were left out on the way


def test_an_optimizer_that_is_loaded_goes_on_with_its_own_settings(tmp_path):
    model = Model(CONFIG)
    optimizer = new_optimizer(model, lr=1e-3)
    for row in pretrain.pretrain(model, 2, optimizer=optimizer):
        assert row["step"] < 2
    save_checkpoint(tmp_path / "run", model, optimizer)
    loaded, other, _ = load_checkpoint(
        tmp_path / "run", lambda model: rl_optimizer(model, 1e-5)
    )
    assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    group = other.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (1e-5, 0.0)
    states = (o.state_dict()["state"] for o in (optimizer, other))
    assert_close(*states, rtol=0, atol=0)
