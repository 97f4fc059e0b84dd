"""What tokens cost on the way, as published, and two processes that hide it."""

import math
import time

import pytest
import torch
from several import printed, run_all

from experiments import overlap as wires
from r1.cost.wires import all_to_all_seconds, token_seconds
from r1.model.config import ModelConfig


def test_an_exchange_of_32_tokens_takes_the_published_120_96_microseconds():
    exchange = all_to_all_seconds(tokens=32, experts=9, width=7000, bandwidth=50e9)
    assert exchange * 1e6 == pytest.approx(120.96)
    assert 2 * exchange * 61 * 1e3 == pytest.approx(14.757, abs=1e-3)
    assert int(1 / (2 * exchange * 61)) == 67


def test_over_nvlink_of_72_gpus_it_takes_the_published_6_72_microseconds():
    exchange = all_to_all_seconds(tokens=32, experts=9, width=7000, bandwidth=900e9)
    assert exchange * 1e6 == pytest.approx(6.72)
    assert 1 / (2 * exchange * 61) == pytest.approx(1200, rel=0.02)


def test_four_nodes_leave_nvlink_time_for_the_published_thirteen_experts():
    v3 = ModelConfig.deepseek_v3()
    out, inside = token_seconds(4, 8, v3.dim, infiniband=50e9, nvlink=160e9)
    assert inside < out
    assert round(8 * out / inside, 1) == 12.8  # "13 experts"
    assert token_seconds(4, 13, v3.dim, 50e9, 160e9)[1] == pytest.approx(out, rel=0.02)


def test_a_wire_without_bandwidth_is_refused():
    with pytest.raises(ValueError, match="bandwidth is 0; choose"):
        all_to_all_seconds(1, 1, 1, 0)
    with pytest.raises(ValueError, match="bandwidth is nan; choose"):
        all_to_all_seconds(1, 1, 1, math.nan)
    with pytest.raises(ValueError, match="nvlink is 0; choose"):
        token_seconds(1, 1, 1, 50e9, 0)


class Wire:
    """A wire that notes when it is used, and takes some time."""

    def __init__(self, monkeypatch, seconds=0.05):
        self.events = []

        def travel(x, rate):
            self.events.append(("leaves", float(x[0, 0])))
            time.sleep(seconds)
            self.events.append(("arrives", float(x[0, 0])))
            return x

        def work(x, weight, times):
            self.events.append(("begins", float(x[0, 0])))
            time.sleep(seconds)
            self.events.append(("ends", float(x[0, 0])))
            return x

        monkeypatch.setattr(wires, "slow_exchange", travel)
        monkeypatch.setattr(wires, "work", work)

    def place(self, what, number):
        """When something happened to a micro-batch."""
        return self.events.index((what, float(number)))


def test_in_turn_nothing_is_computed_while_something_travels(monkeypatch):
    wire, batches = Wire(monkeypatch, 0.0), [torch.full((1, 1), i) for i in range(3)]
    wires.in_turn(batches, torch.ones(1, 1), 1, 1.0)
    for number in range(2):
        assert wire.place("arrives", number) < wire.place("begins", number + 1)


@pytest.mark.alone
def test_overlapped_the_next_is_computed_while_the_one_before_travels(monkeypatch):
    wire, batches = Wire(monkeypatch), [torch.full((1, 1), i) for i in range(3)]
    results = wires.overlapped(batches, torch.ones(1, 1), 1, 1.0)
    assert [float(r[0, 0]) for r in results] == [0, 1, 2]
    for number in range(2):
        assert wire.place("begins", number + 1) < wire.place("arrives", number)
        # one wire: the second does not leave before the first has arrived
        assert wire.place("arrives", number) < wire.place("leaves", number + 1)


def test_two_processes_get_the_same_numbers_in_turn_and_overlapped():
    sizes = "--micros 3 --rows 8 --width 16 --times 1 --slower 3 --repeats 1"
    (reports,) = printed(run_all({2: [["overlap", *sizes.split()]]}, "float32")[2])
    assert [r["rank"] for r in reports] == [0, 1]
    for report in reports:
        assert report["same"]
        assert report["bytes"] == 3 * 4 * 16 * 4
        waited = report["wire"]
        assert report["seconds"]["slow in_turn"] > waited
        assert report["seconds"]["slow overlapped"] > waited
