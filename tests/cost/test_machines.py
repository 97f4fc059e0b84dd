"""What several GPUs hold and send, by hand; experiments.travels asks torch."""

from dataclasses import replace

import pytest

from r1.cost.bill import PEAK, mtp_flops
from r1.cost.counting import count_parameters, training_flops
from r1.cost.machines import (
    KINDS,
    Cluster,
    gpu_step,
    grpo_travels,
    leaves,
    other_ranks,
    pretraining_travels,
    row_bytes,
    share_out,
)
from r1.model.config import ModelConfig
from r1.train.records import read_run

TINY = ModelConfig.tiny()
PLAIN = ModelConfig(
    vocab_size=10,
    dim=4,
    inter_dim=6,
    n_layers=1,
    n_heads=2,
    qk_nope_head_dim=0,
    qk_rope_head_dim=2,
    v_head_dim=2,
)
EXPERTS = replace(
    PLAIN,
    n_dense_layers=0,
    moe_inter_dim=3,
    n_routed_experts=4,
    n_activated_experts=1,
    topk_method="greedy",
)


def biases(config):
    return config.n_routed_experts * (
        config.n_moe_layers + config.num_nextn_predict_layers
    )


def test_of_a_collective_no_process_sends_what_it_keeps():
    assert leaves("all_gather", 12, 4) == leaves("reduce_scatter", 12, 4) == 9
    assert leaves("all_reduce", 12, 4) == 18
    assert leaves("all_to_all", 12, 2) == 6
    assert leaves("all_reduce", 12, 1) == 0
    with pytest.raises(ValueError, match="kind is 'gather'"):
        leaves("gather", 12, 4)


def test_one_process_has_all_weights_and_two_have_half():
    count = count_parameters(TINY)
    weights = count.total + count.mtp - biases(TINY)
    assert share_out(TINY, 1) == (weights, weights, weights)
    assert share_out(TINY, 2) == (weights, weights // 2, weights // 2)
    experts = 3 * 3 * 8 * 96 * 96  # two layers and a module, 8 experts, 3 matrices
    assert share_out(TINY, 4, experts=True)[:2] == (weights - experts, weights // 4)


def test_a_tensor_that_does_not_divide_is_padded():
    # Two matrices of 10 x 4 (4 rows each), three norms of 4 (2 numbers), four matrices
    # of 4 x 4 (2 rows), and of 6 x 4, 4 x 6, 6 x 4 (2 rows).
    own = 2 * 4 * 4 + 3 * 2 + 4 * 2 * 4 + 2 * 4 + 2 * 6 + 2 * 4
    assert share_out(PLAIN, 3) == (3 * own, own, own)
    # The last process has 2 rows of 10, 2 of 6, and none of 4.
    assert share_out(PLAIN, 3, rank=2).moved == 2 * 2 * 4 + 2 * 2 * 4
    with pytest.raises(ValueError, match="4 experts cannot be shared by 3 processes"):
        share_out(EXPERTS, 3, experts=True)


def test_a_token_goes_to_as_many_processes_as_have_one_of_its_experts():
    assert other_ranks(TINY, 1) == 0
    assert other_ranks(TINY, 2) == pytest.approx(1 - 6 / 28)
    assert other_ranks(TINY, 8) == pytest.approx(2 * 7 / 8)  # an expert each


def test_a_row_travels_there_and_back_twice():
    # Vector, sum and their gradients of 4 numbers, a gate and its gradient, a choice.
    assert row_bytes(EXPERTS) == (2 * 4 * 4 + 4 + 8, 2 * 4 * 4 + 4)
    assert row_bytes(EXPERTS, itemsize=2) == (2 * 4 * 2 + 2 + 8, 2 * 4 * 2 + 2)


def test_a_step_sends_weights_gradients_and_a_few_sums():
    gathered = share_out(EXPERTS, 2).gathered
    # Losses, lengths of the gradients of 13 tensors, load of four experts.
    sums = 3 * 4 + 13 * 4 + 4 * 8
    assert pretraining_travels(EXPERTS, 2) == {
        "all_gather": 2 * gathered,
        "reduce_scatter": 2 * gathered,
        "all_reduce": sums,
        "all_to_all": 0,
    }
    stay = 3 * 4 * 3 * 4
    found = pretraining_travels(EXPERTS, 2, rows=(5, 7))
    assert found["all_gather"] == 2 * (gathered - stay)
    assert found["all_to_all"] == 5 * 44 + 7 * 36 + 8


def test_a_step_of_grpo_sends_its_logits():
    found = grpo_travels(PLAIN, 2, passes=[6, 3])
    assert found["all_reduce"] == 4 * (6 + 3) * 10 + 4 * 12
    assert found["all_gather"] == 2 * share_out(PLAIN, 2).gathered


def test_the_slower_of_two_wires_decides():
    alone, node, nodes = Cluster(1), Cluster(8), Cluster(16, infiniband=10e9)
    assert alone.gather_seconds(1e9) == alone.exchange_seconds(1e9, 1) == 0
    assert node.gather_seconds(8 / 7 * 450e9) == pytest.approx(1)
    assert node.exchange_seconds(450e9, 8) == pytest.approx(1)
    assert nodes.exchange_seconds(450e9, 8) == pytest.approx(1)
    # Half of the bytes enters a node by the InfiniBand of its eight GPUs.
    assert nodes.gather_seconds(160e9) == pytest.approx(1)
    assert Cluster(16).gather_seconds(480e9) == pytest.approx(1)  # NVLink decides
    # Of 63 other GPUs 56 are in other nodes.
    assert Cluster(64).exchange_seconds(9 / 8 * 50e9, 64) == pytest.approx(1)


def test_a_gpu_alone_computes_at_its_peak_and_sends_nothing():
    step = gpu_step(TINY, Cluster(1), sequences=4, length=128)
    assert step.gathered == step.sent == step.wires == 0
    flops = training_flops(TINY, 128) + mtp_flops(TINY, 128)
    assert step.tokens_per_second == pytest.approx(PEAK / flops)
    numbers = share_out(TINY, 1).own
    # In BF16: 2 bytes of a weight, 4 of a gradient, 4 of a master weight, 2 moments.
    held = step.held
    assert held.weights == 2 * numbers + 4 * biases(TINY)
    assert held.gradients == held.master == held.moments == 4 * numbers


def test_eight_gpus_gather_twice_and_reduce_once():
    numbers = share_out(TINY, 1).gathered
    step = gpu_step(TINY, Cluster(8), sequences=4, length=128)
    assert step.gathered == 7 / 8 * numbers * (2 + 2 + 4)
    assert step.wires == pytest.approx(step.gathered / 450e9)
    assert step.tokens_per_second == pytest.approx(8 * 512 / step.wires)
    assert step.products < step.wires  # the model is small for so many GPUs
    again = gpu_step(TINY, Cluster(8), 4, 128, recompute="layers")
    assert again.products == pytest.approx(4 / 3 * step.products)
    assert again.held.activations < step.held.activations


def test_experts_that_stay_are_not_gathered_and_tokens_travel():
    shared, step = (gpu_step(TINY, Cluster(8), 4, 128, experts) for experts in (1, 8))
    experts = 3 * 3 * 8 * 96 * 96
    assert shared.gathered - step.gathered == 7 * experts
    rows = 512 * 3 * 2 * 7 / 8  # tokens, layers with experts, other GPUs
    assert step.sent == pytest.approx(rows * 4 * 96 * 2)
    assert step.held.weights < shared.held.weights * 1.01
    with pytest.raises(ValueError, match="4 of 8 GPUs share experts; choose 1, the 8"):
        gpu_step(TINY, Cluster(8), 4, 128, experts=4)
    with pytest.raises(ValueError, match="does not divide the 8 routed experts"):
        gpu_step(TINY, Cluster(64), 4, 128, experts=64)


def test_nodes_that_share_experts_inside_gather_those_of_other_nodes():
    node, nodes = (gpu_step(TINY, Cluster(gpus), 4, 128, 8) for gpus in (8, 16))
    assert nodes.sent == node.sent
    experts, count = 3 * 3 * 96 * 96, share_out(TINY, 1).own  # of a GPU; of the model
    others = count - 8 * experts
    # One of two nodes has the other half of the same experts.
    assert nodes.gathered == pytest.approx(8 * (experts / 2 + others * 15 / 16))
    assert nodes.wires - node.wires == pytest.approx(
        8 * experts / 2 / 50e9 + 8 * others * (15 / 16 - 7 / 8) / 450e9
    )


@pytest.mark.parametrize("run", ["rows_on_2", "rows_on_4", "experts_on_2", "grpo_on_4"])
def test_the_recorded_processes_held_and_sent_what_is_computed_now(run):
    way, _, processes = run.split("_")
    without_module = replace(TINY, num_nextn_predict_layers=0)
    config = without_module if way == "grpo" else TINY
    shared = share_out(config, int(processes), way == "experts")
    held, travels = (read_run(f"machines/{kind}", run) for kind in ("held", "travels"))
    assert set(held["weights"]) == {4 * shared.own}
    assert set(held["moments"]) == {8 * shared.moved}
    assert set(held["copy"]) == {4 * shared.gathered}
    sent = leaves("all_gather", 4 * shared.gathered, int(processes))
    assert set(travels["all_gather"] + travels["reduce_scatter"]) == {sent}
    for kind in KINDS:
        assert travels[kind] == travels[f"{kind}_formula"]
