"""The command for machines with a GPU, where there is none: what it would start."""

import json
from pathlib import Path

import pytest
import torch

from experiments import pretrain, reinforce, travels
from experiments.machines import tables_of
from experiments.runner import parse
from r1.cost.counting import count_parameters
from r1.model.config import ModelConfig
from r1.train.records import BOOK, DATA, read_cells

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gpu(monkeypatch):
    """tests/bench/gpu.py."""
    monkeypatch.syspath_prepend(str(ROOT / "tests/bench"))
    import gpu

    return gpu


@pytest.fixture
def started(gpu, monkeypatch):
    """The words of all programs that were started; none of them runs."""
    words = []

    def python(machine, *program):
        program = [str(word) for word in program] + ["--device", machine.device]
        words.append(program)
        if "--out" in program:  # as the program itself leaves them
            out = Path(program[program.index("--out") + 1])
            out.touch()
            for ending in ("_valid.csv", "_terms.csv"):
                out.with_name(out.stem + ending).touch()
        report = {"held": {"weights": 1}, "travels": {"all_gather": 1}}
        return json.dumps([report | {"seconds": [[0.5, 0.4, 9]]}])

    monkeypatch.setattr(gpu.Machine, "python", python)
    return words


def options_of(words):
    """What a program would make of its words; an error where it would refuse them."""
    if words[0] == "-m":
        program, words = words[1].removeprefix("experiments."), words[2:]
        if program == "reinforce":
            assert words[0] == "grpo"
            return parse(reinforce.Grpo, words[1:], program)
        kinds = {"pretrain": pretrain.Options, "travels": travels.Options}
        return parse(kinds[program], words, program)
    import bandwidth

    assert Path(words[0]).samefile(bandwidth.__file__)
    return bandwidth.read_words(words[1:])


@pytest.mark.parametrize("size", ["FULL", "SMALL"])
def test_every_part_starts_a_program_with_words_that_it_knows(
    size, gpu, started, tmp_path, monkeypatch
):
    monkeypatch.chdir(BOOK)  # as the programs are started
    machine = gpu.Machine("cpu", 2, getattr(gpu, size), tmp_path)
    for work, _ in gpu.parts_of(machine).values():
        work(machine)
    found = [options_of(words) for words in started]
    assert [type(o) for o in found[1:3]] == [travels.Options] * 2
    base, zero, answers = found[3:]
    assert zero.base == answers.base == base.out
    for o in found[1:4]:
        pretrain.read_config(o.config)
        assert o.rows % 8 == 0 or size == "SMALL"
    pretrain.check(base)
    reinforce.check(zero)


def test_a_step_takes_as_long_as_the_process_that_takes_longest():
    clocks = [[[3.0, 1.0, 70], [4.0, 1.5, 80]], [[5.0, 2.0, 60], [2.0, 0.5, 90]]]
    reports = [
        {"held": {"weights": i}, "travels": {"all_gather": 10 * i}, "seconds": steps}
        for i, steps in enumerate(clocks)
    ]
    tables = tables_of(reports)
    assert tables["held"] == [{"process": i, "weights": i} for i in range(2)]
    assert tables["travels"] == [{"process": i, "all_gather": 10 * i} for i in range(2)]
    assert tables["seconds"] == [
        {"step": 0, "seconds": 5.0, "worked": 3.0, "loopback": 60},
        {"step": 1, "seconds": 4.0, "worked": 2.0, "loopback": 80},
    ]


def test_the_large_model_is_a_hundred_times_the_books():
    large = ModelConfig.from_json(DATA / "machines/large.json")
    times = count_parameters(large).total / count_parameters(ModelConfig.tiny()).total
    assert 99 < times < 101


def test_what_is_finished_is_not_done_again_and_tables_say_the_device(
    gpu, started, tmp_path, capsys
):
    words = ["--device", "cpu", "--small", "--out", str(tmp_path)]
    gpu.main(words)
    assert len(started) == 6
    assert [w[w.index("--out") + 2] for w in started if "--out" in w] == ["--force"] * 2
    origin = read_cells(tmp_path / "grpo_held.csv").origin
    assert origin["device"].startswith("2 processes, ")
    assert origin["command"] == "python tests/bench/gpu.py --device cpu --small"
    (tmp_path / "base_valid.csv").unlink()  # cut off before the model was measured
    gpu.main(words)
    assert len(started) == 7
    assert started[-1][1] == "experiments.pretrain"
    assert "--resume" in started[-1]
    assert capsys.readouterr().out.count("is finished") == 5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_what_to_do(gpu, tmp_path):
    with pytest.raises(SystemExit, match=r"no GPU here.*--device cpu --small"):
        gpu.main(["--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="add --small"):
        gpu.main(["--device", "cpu", "--out", str(tmp_path)])
    words = ["--out", str(tmp_path / "run"), "--device", "cuda"]
    with pytest.raises(SystemExit, match="--device cuda: this machine has 0 GPUs"):
        pretrain.main(words)
    with pytest.raises(SystemExit, match=r"1 are needed.*use the device cpu"):
        reinforce.main(["grpo", "--base", "base", *words])
