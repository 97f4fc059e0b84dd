"""Several processes write the answers of one, and learn from them as one."""

import shutil
from pathlib import Path

import pytest
import torch
from several import reports_of, run_all
from torch.testing import assert_close

from experiments import reinforce
from r1.train.checkpoint import load_checkpoint
from r1.train.records import read_log

BASE = Path(__file__).parents[2] / "book" / "data" / "base" / "base_seed1.safetensors"
# Three problems and parts of three answers: for four processes, too few of both.
COMMON = "--steps 2 --save-every 1 --threads 1 --problems 1 --prompts 3 --group 3"
COMMON += " --max-new-tokens 24 --lr 3e-4 --epochs 2 --minibatches 3 --how token"
KINDS = {"grpo": "--kl-weight 0.05", "ppo": "--critic-lr 1e-3"}
EACH = pytest.mark.parametrize("kind", KINDS)


def words(kind, out):
    return [
        kind,
        "--base",
        str(BASE),
        "--out",
        str(out),
        *(COMMON + " " + KINDS[kind]).split(),
    ]


@pytest.fixture(scope="module", autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def single(folder):
    """Whole runs of one process, and what is left of runs killed after a step."""
    for kind in KINDS:
        reinforce.main(words(kind, folder / f"{kind}_1"))
    with pytest.MonkeyPatch.context() as patch:
        real = reinforce.save

        def save_and_die(*arguments):
            real(*arguments)
            raise KeyboardInterrupt

        patch.setattr(reinforce, "save", save_and_die)
        for kind in KINDS:
            with pytest.raises(KeyboardInterrupt):
                reinforce.main(words(kind, folder / f"{kind}_killed"))
    return folder


@pytest.fixture(scope="module")
def runs(single):
    """The same runs of several processes, from the start and from the middle."""
    commands = {2: [], 4: []}
    for processes, some in commands.items():
        for kind in KINDS:
            some.append(["reinforce", *words(kind, single / f"{kind}_{processes}")])
            out = f"{kind}_resumed_{processes}"
            for path in single.glob(f"{kind}_killed*"):
                shutil.copy(path, single / path.name.replace(f"{kind}_killed", out))
            some.append(["reinforce", *words(kind, single / out), "--resume"])
        measured = "grpo --prompts 3 --group 3 --timed 0"
        some.append(["travels", *measured.split()])
    said = run_all(commands)
    for text in said.values():
        assert text.count("Error: ") + text.count("Exit: ") == 0, text
    return said


@pytest.fixture(scope="module", params=[2, 4])
def several(request, runs):
    """A number of processes, and what they said."""
    return request.param, runs[request.param]


@EACH
@pytest.mark.parametrize("begun", ["", "resumed_"])
def test_the_answers_and_losses_of_several_processes_are_those_of_one(
    kind, begun, several, single
):
    out = f"{kind}_{begun}{several[0]}"
    ours, theirs = (read_log(single / f"{n}.csv") for n in (out, f"{kind}_1"))
    assert ours.keys() == theirs.keys()
    for column in ("accuracy", "thinking", "length", "no_signal"):  # of all answers
        assert ours[column] == theirs[column]
    for column in ours:
        assert_close(ours[column], theirs[column], rtol=1e-4, atol=1e-5, equal_nan=True)
    ours, theirs = (
        load_checkpoint(single / f"{n}.safetensors")[0].state_dict()
        for n in (out, f"{kind}_1")
    )
    assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_step_of_grpo_holds_and_sends_what_the_formulas_say(several):
    (reports,) = reports_of(several[1])
    assert len(reports) == several[0]
    for report in reports:
        assert report["held"]["copy"] == report["held"]["reference"]
        assert report["travels"]["all_gather_calls"] == 1


@EACH
def test_several_processes_leave_the_files_of_one(kind, several, single):
    ours = sorted(p.name for p in single.glob(f"{kind}_{several[0]}*"))
    theirs = sorted(p.name for p in single.glob(f"{kind}_1*"))
    assert [name.replace(f"_{several[0]}", "_1", 1) for name in ours] == theirs
    assert several[1].count(f"{kind}_{several[0]} {{") == 1  # one process reports
