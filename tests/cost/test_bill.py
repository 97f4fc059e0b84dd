"""Bills agree with the published ones, and operations with those torch counts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from r1.cost.bill import (
    PRICES,
    ServiceDay,
    TrainingBill,
    energy_mwh,
    mtp_flops,
    utilization,
    writing_flops,
)
from r1.cost.counting import (
    attention_flops,
    count_parameters,
    kv_cache_bytes,
    training_flops,
)
from r1.model.config import ModelConfig
from r1.model.mtp import mtp_losses
from r1.model.transformer import Model, cross_entropy

V3 = ModelConfig.deepseek_v3()
LITE = ModelConfig.from_json(
    Path(__file__).parents[2] / "book" / "data" / "config_16B.json"
)
TINY, DENSE = ModelConfig.tiny(), ModelConfig.dense()


def counted(compute):
    """The operations of a forward and a backward pass, as torch counts them.

    The kernel is decomposed into products; that of a CPU has no formula there.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        compute().backward()
    return counter.get_total_flops()


def numbers_that_only_scale(model):
    """Norm weights and routing biases: the formula counts them, no product does."""
    norms = sum(p.numel() for p in model.parameters() if p.ndim < 2)
    return norms + sum(b.numel() for name, b in model.named_buffers() if "bias" in name)


@pytest.mark.parametrize("config", [TINY, DENSE], ids=["tiny", "dense"])
@pytest.mark.parametrize("length", [80, 256])
def test_the_formula_counts_the_operations_that_torch_counts(config, length):
    config = replace(config, num_nextn_predict_layers=0)
    model, tokens = Model(config), torch.randint(0, config.vocab_size, (1, length))
    ours = training_flops(config, length, causal=False)
    ours -= 6 * numbers_that_only_scale(model)
    assert counted(lambda: model(tokens).sum()) == ours * length


def test_few_tokens_are_computed_with_more_operations_than_the_model_needs():
    """That is why utilization is defined by the model and not by the machine."""
    config = replace(TINY, num_nextn_predict_layers=0)
    model, tokens = Model(config), torch.randint(0, config.vocab_size, (1, 32))
    needed = 32 * training_flops(config, 32, causal=False)
    assert counted(lambda: model(tokens).sum()) > 1.9 * needed


def test_an_mtp_module_costs_what_torch_counts():
    """It works on one position fewer than the main model."""
    length, works = 120, 119
    model, tokens = Model(TINY), torch.randint(0, 32, (1, length + 1))

    def main(h):
        return cross_entropy(model.head(h), tokens[:, 1:])

    def both(h):
        return main(h) + sum(mtp_losses(model.mtp, model.embed, model.head, h, tokens))

    main_only = counted(lambda: main(model.encode(tokens[:, :-1])))
    with_module = counted(lambda: both(model.encode(tokens[:, :-1])))
    ours = mtp_flops(TINY, works, causal=False) - 6 * numbers_that_only_scale(model.mtp)
    assert with_module - main_only == ours * works


def test_the_module_adds_four_percent_to_v3():
    assert round(mtp_flops(V3) / 1e9, 2) == 10.19
    assert mtp_flops(replace(V3, num_nextn_predict_layers=0)) == 0
    two = replace(V3, num_nextn_predict_layers=2)
    assert mtp_flops(two) == 2 * mtp_flops(V3)


def test_writing_costs_a_third_of_training_where_there_is_no_context():
    count = count_parameters(V3)
    assert writing_flops(V3, 0.0) == 2 * count.active_without_embedding
    assert 3 * writing_flops(DENSE, 0.0) == training_flops(DENSE, seq_len=0)


def test_plain_attention_writes_at_a_third_of_what_training_without_a_mask_costs():
    context = 64
    attending = writing_flops(DENSE, float(context)) - writing_flops(DENSE, 0.0)
    assert 3 * attending == attention_flops(DENSE, context, causal=False)


def test_absorbed_attention_reads_each_number_of_the_cache_once_a_head_or_twice():
    """576 numbers for the score, 512 of them again for the mixture."""
    attending = writing_flops(V3, 1.0) - writing_flops(V3, 0.0)
    assert attending == 2 * 128 * (576 + 512) * 61
    assert attending > 2 * 128 * kv_cache_bytes(V3, itemsize=1)


def test_the_two_utilizations_of_the_insights_paper():
    """Table 4: 15360 sequences of 4096 tokens in 19.926 s on 2048 GPUs."""
    hours = 2048 * 19.926 / 3600
    for causal, tflops, share in ((True, 385, 0.3894), (False, 432, 0.4373)):
        flops = 15360 * 4096 * training_flops(V3, causal=causal)
        assert flops / hours / 3600e12 == pytest.approx(tflops, rel=0.004)
        assert utilization(flops, hours) == pytest.approx(share, rel=0.004)


def test_the_step_time_of_a_second_paper_predicts_the_billed_hours():
    """Insights, table 4; the V3 report bills 2,664 thousand hours."""
    hours = 14.8e12 / (15360 * 4096) * 19.926 * 2048 / 3600
    assert hours == pytest.approx(2664e3, rel=0.002)


def test_nvidia_counts_causal_attention_and_the_module():
    """338 TFLOP and 1,297 tokens a second and GPU in Megatron Bridge's table of 25.09.

    The first of the two has three digits.
    """
    theirs = 338e12 / 1297
    assert theirs == pytest.approx(training_flops(V3) + mtp_flops(V3), rel=0.5 / 338)


def test_the_bill_implies_its_utilization():
    share = utilization(14.8e12 * training_flops(V3), 2664e3)
    assert round(share, 4) == 0.3906
    assert TrainingBill(training_flops(V3)).utilization == round(share, 4)


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan")])
def test_hours_that_are_none_are_refused(hours):
    with pytest.raises(ValueError, match="more than 0 GPU hours"):
        utilization(1e20, hours)


def test_defaults_give_the_bill_of_the_report():
    bill = TrainingBill(training_flops(V3))
    assert bill.pretraining_hours == 2_664_000
    assert bill.hours == 2_788_000
    assert bill.dollars == 5_576_000
    assert round(bill.megawatt_hours) == 1952


def test_each_factor_moves_the_bill_in_its_direction():
    bill = TrainingBill(training_flops(V3), other_hours=0.0)
    assert replace(bill, rent=4.0).dollars == 2 * bill.dollars
    for factor in ({"tokens": 29.6e12}, {"utilization": 0.1953}):
        more = replace(bill, **factor)
        assert more.dollars == pytest.approx(2 * bill.dollars, rel=1e-3)
        assert more.megawatt_hours == pytest.approx(2 * bill.megawatt_hours, rel=1e-3)


def test_energy_is_power_times_hours():
    assert energy_mwh(1e6, 1000.0) == 1000
    assert round(energy_mwh(147e3)) == 103
    assert energy_mwh(100.0, overhead=1.2) == pytest.approx(1.2 * energy_mwh(100.0))


def test_the_published_day():
    day = ServiceDay()
    assert day.cost == 87_072
    assert day.revenue(PRICES["R1"]) == pytest.approx(562_027, rel=2e-4)
    assert round(day.margin(PRICES["R1"]), 2) == 5.46  # 545 % from exact tokens
    assert round(562_027 / day.cost - 1, 2) == 5.45


def test_margins_fall_with_the_share_that_is_billed_and_vanish_at_break_even():
    day = ServiceDay()
    share = day.cost / day.revenue(PRICES["V3"])
    assert day.margin(PRICES["V3"], share) == pytest.approx(0.0)
    assert day.margin(PRICES["V3"], 0.0) == -1
    assert day.margin(PRICES["V3"]) < day.margin(PRICES["R1"])


def test_nodes_follow_from_tokens_and_throughput():
    """Two numbers of the same page that are not computed from each other."""
    nodes = 608e9 / 73.7e3 / 86400 + 168e9 / 14.8e3 / 86400
    assert nodes == pytest.approx(ServiceDay().nodes, rel=1e-3)


def test_a_day_with_fewer_experts_is_not_a_matter_of_prices():
    fewer = replace(V3, n_activated_experts=4)
    assert writing_flops(fewer, 0.0) < writing_flops(V3, 0.0)
    assert ServiceDay(rent=4.0).cost == 2 * ServiceDay().cost
    assert writing_flops(LITE, 0.0) < writing_flops(V3, 0.0)
