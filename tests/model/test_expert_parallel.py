"""Two processes that share the experts compute what one process computes."""

import pytest
from several import printed, run_all

from r1.model.expert_parallel import launch

LIMITS = [2, 1]


@pytest.fixture(scope="module")
def runs():
    """Both layers, one after the other in the same two processes."""
    words = ["expert_parallel", "--groups", "2", "--limit"]
    return printed(run_all({2: [[*words, str(limit)] for limit in LIMITS]})[2])


@pytest.fixture(params=LIMITS, ids=["unlimited", "one group a token"])
def reports(request, runs):
    return runs[LIMITS.index(request.param)], request.param


def test_outputs_and_gradients_equal_those_of_one_process(reports):
    for report in reports[0]:
        assert report["difference"] < 1e-12
        # the data's gradient, the router's, three of the experts, three of the shared
        assert report["gradients"] == 8


def test_each_process_holds_half_of_the_experts(reports):
    held = [report["experts"] for report in reports[0]]
    assert held == [list(range(8)), list(range(8, 16))]
    assert len({report["parameters"] for report in reports[0]}) == 1


def test_loads_are_summed_over_processes_before_the_bias_moves(reports):
    one, two = reports[0]
    both = [a + b for a, b in zip(one["load"], two["load"], strict=True)]
    assert one["load_of_all"] == two["load_of_all"] == both
    assert one["load_agrees"]
    assert two["load_agrees"]
    assert one["bias"] == two["bias"]
    assert max(one["bias"]) == pytest.approx(0.001)


def test_a_token_travels_once_to_each_process_that_it_needs(reports):
    for report in reports[0]:
        limit = reports[1]
        assert report["tokens"] <= sum(report["sent"]) <= limit * report["tokens"]
        assert max(report["sent"]) <= report["tokens"]
        if limit == 1:
            assert sum(report["sent"]) == report["tokens"]


def test_bytes_are_those_of_the_tensors_that_leave_a_process(reports):
    """96 numbers of a token and 4 gates in float64, 4 choices in int64, and back."""
    for report, other in (reports[0], reports[0][::-1]):
        away, back = (r["sent"][1 - r["rank"]] for r in (report, other))
        sent = [tuple(parcel.values()) for parcel in report["parcels"]]
        assert sent == [
            ("row counts", "int64", 1, 8),
            ("tokens", "float64", away, away * 96 * 8),
            ("gates", "float64", away, away * 4 * 8),
            ("choices", "int64", away, away * 4 * 8),
            ("sums", "float64", back, back * 96 * 8),
            ("gradient of sums", "float64", away, away * 96 * 8),
            ("gradient of gates", "float64", back, back * 4 * 8),
            ("gradient of tokens", "float64", back, back * 96 * 8),
        ]


def test_each_process_also_keeps_the_whole_layer_to_compare(reports):
    for report in reports[0]:
        assert report["kept_to_compare"] == 2 * report["parameters"]


def test_a_single_process_is_started_without_torchrun(tmp_path, monkeypatch):
    lines = "import json, os, sys\nprint('Ready.')\n"
    lines += "print(json.dumps([{'rank': os.getenv('RANK'), 'words': sys.argv[1:]}]))"
    (tmp_path / "lonely.py").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    report = {"rank": None, "words": ["--rows", "3"]}
    assert launch("lonely", "--rows", "3", processes=1) == [report]


def test_what_cannot_be_shared_is_refused_by_every_process():
    with pytest.raises(RuntimeError, match="15 experts cannot be shared by 2"):
        launch("experiments.expert_parallel", "--experts", "15", "--chosen", "3")
