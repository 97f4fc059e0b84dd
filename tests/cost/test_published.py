"""Published numbers that a line of arithmetic gives, and that no other test has."""

from pathlib import Path

import pytest

from r1.cost.bill import TrainingBill
from r1.cost.counting import kv_cache_bytes, training_flops
from r1.model.config import ModelConfig

V3 = ModelConfig.deepseek_v3()
V2 = ModelConfig.from_json(Path(__file__).parents[2] / "book/data/config_236B.json")
GPUS, TOKENS = 2048, 14.8e12
STEP = 15_360 * 4096  # tokens


def test_a_step_and_a_day_of_training():
    """V3, section 4.2, and table 4 of the Insights paper: 19.926 s a step."""
    assert STEP == 62_914_560
    for seconds, billions in ((19.926, 272.80), (19.946, 272.52)):
        day = STEP / seconds * 86_400 / 1e9
        assert day == pytest.approx(billions, abs=0.02)


def test_two_ways_to_the_operations_of_a_token():
    """385 TFLOPS on each of 2,048 GPUs, over the tokens of a second."""
    measured = 385e12 * GPUS / (STEP / 19.926)
    assert measured == pytest.approx(training_flops(V3, 4096), rel=0.004)
    assert training_flops(V3, 4096) * TOKENS == pytest.approx(3.71e24, rel=0.001)


def test_days_of_training():
    """V3, section 1: 3.7 days a trillion tokens, less than two months in all."""
    hours = TrainingBill(training_flops(V3, 4096)).pretraining_hours
    assert hours == pytest.approx(2.664e6, rel=0.001)
    for spent, days in ((180e3, 3.7), (hours, 54.2)):
        assert spent / GPUS / 24 == pytest.approx(days, abs=0.05)


def test_what_the_second_generation_saved():
    """V2's abstract: 42.5 % of the hours, 93.3 % of the cache of DeepSeek 67B.

    The cache is as deployed: six bits a number against grouped keys in sixteen.
    """
    hours = 172.8 / 300.6
    assert 1 - hours == pytest.approx(0.425, abs=0.0005)
    deployed = kv_cache_bytes(V2, itemsize=1) * 6 / 8
    assert deployed == 25_920
    assert 1 - deployed / (95 * 2 * 8 * 128 * 2) == pytest.approx(0.933, abs=0.0005)
