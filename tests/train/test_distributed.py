"""Two processes train the model that one would have trained."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from experiments.after import train
from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.train import distributed
from r1.train.checkpoint import load_checkpoint
from r1.train.records import read_log

BOOK = Path(__file__).parents[2] / "book"
CONFIG = replace(ModelConfig.tiny(), dim=16, inter_dim=32, n_layers=2, moe_inter_dim=16)
EACH = pytest.mark.parametrize("parallel", ["data", "experts"])


def options(folder, steps=12):
    """What all runs have in common, and where they write."""
    config = folder / "config.json"
    config.write_text(json.dumps(asdict(CONFIG)))
    command = f"pretrain --config {config} --out {folder}/run --steps {steps} --rows 4"
    command += " --bias-speed 0.01 --balance-loss sequence --alpha 0.01 --threads 1"
    return [*command.split(), "--save-every", "4", "--problems", "4"]


def torchrun(*arguments, **keywords):
    """Start two processes of `r1.train`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", "-m", "experiments.train", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(BOOK)}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments):
    """Run two processes to their end; returns what they said."""
    out, err = torchrun(*arguments).communicate(timeout=120)
    return out + err


def weights(folder):
    return load_checkpoint(folder / "run.safetensors")[0].state_dict()


def close_to(folder, single):
    """Logs and weights agree but for the order in which sums are taken."""
    ours, theirs = (read_log(f / "run.csv") for f in (folder, single))
    assert ours.keys() == theirs.keys()
    for column in ("loss", "mtp_loss", "balance_loss", "grad_norm", "max_vio"):
        assert_close(ours[column], theirs[column], rtol=1e-4, atol=1e-5)
    assert_close(weights(folder), weights(single), rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A run of one process from the beginning to the end."""
    folder = tmp_path_factory.mktemp("single")
    train.main(options(folder))
    return folder


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """What a run of one process leaves that is killed after step 4."""
    real = train.save_checkpoint

    def save_and_die(*arguments, **notes):
        real(*arguments, **notes)
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train.main(options(tmp_path))
    return tmp_path


@EACH
def test_two_processes_train_the_model_of_one(parallel, tmp_path, single):
    said = run(*options(tmp_path), "--parallel", parallel)
    assert said.count("run {") == 1, said  # only rank 0 reports
    close_to(tmp_path, single)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == sorted(path.name for path in single.iterdir())


@EACH
def test_a_run_of_one_process_is_resumed_by_two(parallel, killed, single):
    run(*options(killed), "--parallel", parallel, "--resume")
    close_to(killed, single)


def test_a_killed_run_of_two_is_resumed_by_two_to_the_bit_and_by_one(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    command = [*options(killed, steps=80), "--parallel", "experts"]
    process = torchrun(*command)
    while not (killed / "run.safetensors").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.terminate()  # torchrun ends its processes, wherever they are
    process.communicate()
    by_one = tmp_path / "by_one"
    shutil.copytree(killed, by_one)
    done = load_checkpoint(killed / "run.safetensors")[2]["step"]
    assert 4 <= done < 80
    run(*command, "--resume")
    run(*options(whole, steps=80), "--parallel", "experts")
    assert_close(weights(killed), weights(whole), rtol=0, atol=0)
    assert read_log(killed / "run.csv") == read_log(whole / "run.csv")
    train.main([*options(by_one, steps=80), "--resume"])
    ours, theirs = (read_log(f / "run.csv")["loss"] for f in (by_one, whole))
    assert_close(ours[: done + 4], theirs[: done + 4], rtol=1e-3, atol=1e-3)


def test_what_cannot_be_shared_is_said_by_all_processes(tmp_path):
    said = run(*options(tmp_path), "--parallel", "experts", "--rows", "3")
    assert "3 rows cannot be shared by 2 processes; choose a multiple of 2" in said
    said = run(*options(tmp_path), "--balance-loss", "expert", "--force")
    assert "use sequence" in said
    with pytest.raises(SystemExit, match="needs several processes; start torchrun"):
        train.main([*options(tmp_path), "--parallel", "experts", "--force"])
    model = Model(CONFIG)
    with pytest.raises(ValueError, match="start torchrun"):
        distributed.share_experts(model, torch.optim.AdamW(model.parameters()))


def test_without_torchrun_everything_is_one_process():
    assert distributed.start() == 0
    batch = torch.zeros(3, 5, dtype=torch.int64)
    assert distributed.own_rows(batch) is batch
    values = torch.tensor([1.0, 2.0])
    assert distributed.average(values) is values
    model = Model(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters())
    assert distributed.gather(model, optimizer) == (model, optimizer)
    distributed.stop()
