"""Bytes of weights, gradients, moments, activations, caches and buffers per device."""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from r1.cost.counting import count_parameters, kv_cache_bytes
from r1.cost.memory import (
    PRECISIONS,
    RECOMPUTE,
    Layout,
    count_memory,
    in_flight,
    kept_bytes,
    kept_tensors,
    layer_matrices,
    split_stages,
    stage_matrices,
    stage_parameters,
)
from r1.cost.schedule import METHODS
from r1.model.config import ModelConfig

V3 = ModelConfig.deepseek_v3()
TINY = ModelConfig.tiny()
PLAIN = ModelConfig.dense()
REAL = Layout.deepseek_v3()


# Stages


@pytest.mark.parametrize("stages", [1, 2, 3, 5, 8, 13, 16, 32, 61, 63])
def test_the_stages_of_v3_add_up_to_671_026_419_200(stages):
    sizes = [stage_parameters(V3, stage) for stage in split_stages(V3, stages)]
    count = count_parameters(V3)
    assert len(sizes) == stages
    assert sum(sizes) - count.mtp == count.total == 671_026_419_200


def test_sixteen_stages_of_v3_have_four_slots_each():
    """Embedding and 3 dense layers, 14 times 4 layers, 2 layers, MTP module, head."""
    stages = split_stages(V3, 16)
    assert [len(stage.layers) for stage in stages] == [3, *[4] * 14, 2]
    assert stages[0].layers == range(V3.n_dense_layers)
    first, *middle, last = (stage_parameters(V3, stage) for stage in stages)
    assert first == 926_679_040 + 3 * 583_483_392
    assert set(middle) == {4 * 11_507_286_272}
    assert last == 2 * 11_507_286_272 + 11_610_068_224 + 926_679_040 + 7168


def test_layers_may_be_given_to_stages():
    stages = split_stages(V3, 4, (15, 16, 16, 14))
    assert [stage.layers for stage in stages] == [
        range(15),
        range(15, 31),
        range(31, 47),
        range(47, 61),
    ]
    assert [stage.head for stage in stages] == [False, False, False, True]


@pytest.mark.parametrize("config", [TINY, PLAIN, replace(TINY, n_layers=9)])
def test_every_slot_is_in_exactly_one_stage(config):
    count = count_parameters(config)
    for number in range(1, config.n_layers + 3):
        stages = split_stages(config, number)
        layers = [layer for stage in stages for layer in stage.layers]
        assert layers == list(range(config.n_layers))
        sizes = [len(s.layers) + s.embedding + s.head + s.mtp for s in stages]
        *others, last = sizes
        assert max(others, default=last) - min(others, default=last) <= 1
        assert min(others, default=1) >= 1
        assert stages[-1].layers == range(0) or last in (max(sizes), max(sizes) - 1)
        assert sum(stage_parameters(config, s) for s in stages) == (
            count.total + count.mtp
        )


def test_matrices_are_those_of_the_published_files():
    """The formats of tensors on Hugging Face, to the unit (ledger: hub-v3-*).

    The files hold embedding and head once more for the MTP module. What is in float32
    are routing biases, and a scale for each block of 128 x 128 in FP8.
    """
    (whole,) = split_stages(V3, 1)
    matrices = [m for piece in stage_matrices(V3, whole) for m in piece]
    kinds = Counter()
    for matrix in matrices:
        kinds[matrix.kind] += matrix.parameters
    in_fp8 = kinds["linear"] + kinds["expert"]
    assert in_fp8 == 680_571_043_840
    assert kinds["plain"] + 2 * V3.vocab_size * V3.dim == 3_918_786_560
    stored = sum(m.size("FP8") * m.number for m in matrices)
    scales = (stored - in_fp8 - 2 * kinds["plain"] - 4 * kinds["bias"]) // 4
    assert scales + kinds["bias"] == 41_555_600


# The layout of DeepSeek-V3


def test_a_middle_device_of_v3_by_hand():
    """Two stages of four layers with experts, of which a device has 4 of 256."""
    device = count_memory(V3, REAL)[5]
    assert device.stages == (5, 10)
    routed = 8 * 256 * 44_040_192 // 64
    rest = 8 * (11_507_286_272 - 256 * 44_040_192 - 256)
    assert device.parameters == routed + rest + 8 * 256
    assert device.weights == 2 * (routed + rest) + 4 * 8 * 256
    assert device.gradients == 4 * (routed + rest)
    # 256 devices hold the rest, 4 hold the same experts: two copies of each pipeline.
    assert device.master == 4 * (routed // 4 + rest // 256)
    assert device.moments == device.master
    token = (
        2 * 7168 * 2  # the stream before attention and before the experts
        + 2 * (1536 + 512 + 64)  # latents and rotary key
        + 16384 * 12 // 8  # output of attention in E5M6
        + 4 * 128  # and its scales
        + 4 * 128  # sums of 128 heads
        + 4 * (256 + 8 + 8)  # scores, weights, choices
        + 8 * (7168 + 4 * 56)  # sent to 8 experts in FP8
        + 9 * 2 * (2048 + 4 * 16)  # two inputs of nine SwiGLUs
    )
    assert token == 156_736
    # 11 micro-batches in stage 5 and 6 in stage 10.
    assert device.activations == (11 + 6) * 4 * 4096 * token
    assert device.cache == 0
    sent = 4096 * 8 * (7168 + 4 * 56 + 2 * 7168)
    anew = 4096 * (323_600 - 156_736)
    assert device.buffers == 2 * sent + anew


def test_all_middle_devices_of_v3_hold_the_same():
    devices = count_memory(V3, REAL)
    first, *middle, last = [device.kinds for device in devices]
    assert all(kinds == middle[0] for kinds in middle)
    assert first == last
    assert max(device.total for device in devices) < 80e9


def test_a_pipeline_of_v3_holds_the_model_twice():
    count = count_parameters(V3)
    routed = count.parts["routed experts"] + 256 * 44_040_192
    rest = count.total + count.mtp - routed
    devices = count_memory(V3, REAL)
    assert sum(device.parameters for device in devices) == 2 * (rest + routed // 64)


# The calculator of E. Yang (github.com/ezyang/scaling-deepseek-v3), whose numbers are
# those of its tests/goldens.json at commit f8fa8df. It counts no MTP module, no
# buffers, and routing biases as other weights.

WITHOUT_MTP = replace(V3, num_nextn_predict_layers=0)
KEPT = {  # bytes per token: with experts, dense
    ("BF16", "nothing"): (457_360, 340_496),
    ("BF16", "deepseek"): (256_640, 139_776),
    ("BF16", "layers"): (14_336, 14_336),
    ("FP8", "nothing"): (324_176, 262_864),
    ("FP8", "deepseek"): (157_184, 95_872),
    ("FP8", "layers"): (14_336, 14_336),
}
ROUTING = 4 * (2 * 256 + 4 * 8) - 4 * (256 + 2 * 8)  # it keeps logits and scores


@pytest.mark.parametrize(("precision", "recompute"), KEPT)
def test_a_layer_keeps_what_yangs_calculator_says_but_for_three_tensors(
    precision, recompute
):
    layout = Layout(precision=precision, recompute=recompute)
    for layer, theirs in zip((60, 0), KEPT[precision, recompute], strict=True):
        ours = kept_bytes(V3, layer, layout)
        if recompute != "layers":
            ours += ROUTING if layer else 0
            # The rotary key, which it leaves out where keys are made again.
            ours -= 2 * 64 if recompute == "deepseek" else 0
            ours -= 4 * 128 if precision == "FP8" else 0  # scales of E5M6
        assert ours == theirs


def yang(**changes):
    """Eight devices of DualPipeV: its way to have 16 stages."""
    return replace(
        REAL,
        pipeline=8,
        data=256,
        schedule="DualPipeV",
        micro_batches=None,
        **changes,
    )


@pytest.mark.parametrize(
    ("layout", "theirs"),
    [
        (yang(), (6_546_526_208, 13_093_052_416, 2_876_821_568, 43_780_145_152)),
        (REAL, (6_546_526_208, 13_093_052_416, 2_876_821_568, 43_780_145_152)),
        (
            yang(precision="BF16", recompute="nothing"),
            (6_546_526_208, 13_093_052_416, 2_876_821_568, 127_387_566_080),
        ),
    ],
)
def test_a_middle_device_is_that_of_yangs_calculator_to_the_byte(layout, theirs):
    device = count_memory(WITHOUT_MTP, layout)[1]
    weights, gradients, optimizer, activations = theirs
    biases = 8 * 256
    assert device.weights == weights + 2 * biases  # float32 instead of BF16
    assert device.gradients == gradients - 4 * biases
    assert device.master + device.moments == optimizer - 8 * biases // 256
    token = -ROUTING + (128 + 512 if layout.recompute == "deepseek" else 0)
    assert device.activations == activations + 68 * 4096 * token


def test_zero_3_is_that_of_yangs_calculator_but_for_biases():
    device = count_memory(WITHOUT_MTP, yang(zero=3))[1]
    biases = 8 * 256
    assert device.weights == 719_205_392 - 2 * biases // 256 + 4 * biases
    assert device.gradients == 1_438_410_784 - 4 * biases // 256


def test_the_first_device_differs_in_what_is_in_flight():
    """It counts 8.5 micro-batches of each stage; stage 0 has 16, stage 15 has 1.

    It also counts the embedding's output apart, which is the first layer's input, and
    not the input of the last norm.
    """
    device = count_memory(WITHOUT_MTP, yang())[0]
    assert device.weights == 8_844_262_400 + 2 * 2 * 256
    assert device.gradients == 17_688_524_800 - 4 * 2 * 256
    dense, experts = 95_872 + 128 + 512, 157_184 + 128 + 512 - ROUTING
    token = 16 * 3 * dense + 2 * experts + 2 * 7168 + 6 * 129_280
    assert device.activations == 4096 * token
    theirs = 4096 * (8.5 * (3 * 95_872 + 2 * 157_184) + 2 * 7168 + 6 * 129_280)
    assert theirs == 24_194_580_480


def test_one_device_without_parallelism():
    layout = Layout(zero=0, precision="FP8", recompute="deepseek")
    (device,) = count_memory(WITHOUT_MTP, layout)
    biases = 58 * 256
    assert device.weights == 1_342_052_838_400 + 2 * biases
    assert device.gradients == 2_684_105_676_800 - 4 * biases
    assert device.master + device.moments == 5_368_211_353_600 - 8 * biases
    # Its output of the embedding is as large as our input of the last norm.
    token = 61 * (128 + 512) - 58 * ROUTING
    assert device.activations == 41_755_869_184 + 4096 * token


# Layouts: 60 of V3 and of small models, each against a count that takes another way


def layouts():
    """Every schedule with every ZeRO stage, and the other choices in turn."""
    shapes = [(2, 8, 4), (4, 4, 2), (8, 64, 64), (16, 128, 16), (4, 6, 1)]
    others = list(product(("BF16", "FP8", "FP32"), RECOMPUTE))
    cases = []
    for number, (schedule, zero) in enumerate(product(METHODS, range(4))):
        for step in range(3):
            place = 3 * number + step
            pipeline, data, expert = shapes[place % len(shapes)]
            precision, recompute = others[place % len(others)]
            layout = Layout(
                pipeline=pipeline,
                data=data,
                expert=expert,
                schedule=schedule,
                zero=zero,
                precision=precision,
                recompute=recompute,
                micro_batch=1 + place % 3,
                sequence=1024 * (1 + place % 4),
                micro_batches=2 * pipeline + 2 * (place % 5),
            )
            cases.append((V3, layout))
    small = replace(TINY, n_layers=7, num_nextn_predict_layers=2)
    for schedule, precision, recompute in product(
        ("1F1B", "DualPipe", "DualPipeV"), ("BF16", "FP8"), ("nothing", "deepseek")
    ):
        layout = Layout(
            pipeline=4,
            data=4,
            expert=2,
            schedule=schedule,
            precision=precision,
            recompute=recompute,
            sequence=96,
            micro_batches=10,
        )
        cases.append((small, layout))
    return cases


LAYOUTS = layouts()


def walk(config, layout, device):
    """Activations of a device by its schedule, operation by operation; logits apart."""
    stages = split_stages(config, layout.stages, layout.stage_layers)
    sizes = []
    for stage in stages:
        layers = [*stage.layers, *[config.n_layers - 1] * stage.mtp]
        token = sum(kept_bytes(config, layer, layout) for layer in layers)
        if stage.head:
            stream = 4 if layout.precision == "FP32" else 2
            streams, scales = 1 + 2 * stage.mtp, 0
            if layout.recompute == "nothing":
                streams, scales = 2 + 5 * stage.mtp, 1 + 3 * stage.mtp
            token += streams * config.dim * stream + 4 * scales
        sizes.append(token * layout.tokens)
    micros = layout.micro_batches
    row = METHODS[layout.schedule](layout.stages, micros)[device]
    held = most = 0
    for op in (op for slot in row for op in slot):
        held += {"F": 1, "I": 0, "B": -1, "W": -1}[op.kind] * sizes[op.stage]
        most = max(most, held)
    return most


@pytest.mark.parametrize(("config", "layout"), LAYOUTS)
def test_a_layout_agrees_with_a_count_that_takes_another_way(config, layout):
    count = count_parameters(config)
    experts = config.n_moe_layers + config.num_nextn_predict_layers
    one = 3 * config.dim * config.moe_inter_dim
    routed = experts * config.n_routed_experts * one
    biases = experts * config.n_routed_experts
    # On a line of devices the last one has a copy of the embedding for MTP modules.
    copy = not layout.schedule.startswith("DualPipe")
    rest = count.total + count.mtp - routed - biases
    rest += copy * config.vocab_size * config.dim
    numbers = layout.copies * (rest + routed // layout.expert)
    devices = count_memory(config, layout)
    assert len(devices) == layout.pipeline
    assert sum(d.parameters for d in devices) == numbers + layout.copies * biases
    all_weights = layout.copies * rest, layout.copies * routed // layout.expert
    holders = layout.copies * layout.data
    precision = PRECISIONS[layout.precision]
    for kind, each, level in (
        ("weights", precision.weight, 3),
        ("gradients", precision.gradient, 2),
        ("master weights", precision.master, 1),
        ("moments", 2 * precision.moment, 1),
    ):
        found = sum(d.kinds[kind] for d in devices)
        found -= 4 * layout.copies * biases if kind == "weights" else 0
        if layout.zero < level:
            assert found == each * numbers
        else:
            plain, spread = all_weights
            exact = plain / holders + spread * layout.expert / holders
            # Each device rounds up its two parts.
            assert 0 <= found - each * exact <= 2 * each * len(devices)
    logits = (2 if layout.precision != "FP32" else 4) + 4
    logits *= config.vocab_size * (1 + config.num_nextn_predict_layers) * layout.tokens
    for d in devices:
        last = layout.stages - 1 in d.stages
        assert d.activations == walk(config, layout, d.device) + last * logits
        assert d.total == sum(d.kinds.values()) > 0


def test_at_least_42_layouts_are_counted():
    assert len(LAYOUTS) >= 42
    assert len(set(LAYOUTS)) == len(LAYOUTS)


@pytest.mark.parametrize("method", METHODS)
def test_in_flight_is_what_the_schedules_hold(method):
    for pipeline in (2, 4, 6):
        for micros in range(1, 30):
            try:
                layout = Layout(
                    pipeline=pipeline, schedule=method, micro_batches=micros
                )
            except ValueError:
                continue
            for row in METHODS[method](layout.stages, micros):
                held, most = Counter(), Counter()
                for op in (op for slot in row for op in slot):
                    held[op.stage] += {"F": 1, "I": 0, "B": -1, "W": -1}[op.kind]
                    most[op.stage] = max(most[op.stage], held[op.stage])
                assert most == {s: in_flight(layout, s) for s in most}


# What single choices change


def test_a_copy_of_the_embedding_is_what_a_line_of_devices_costs():
    """DeepSeek-V3, section 3.2.3: first and last layers share a device."""
    line = count_memory(V3, replace(REAL, schedule="1F1B"))
    folded = count_memory(V3, replace(REAL, schedule="DualPipeV", pipeline=8))
    table = V3.vocab_size * V3.dim
    own = [stage_parameters(V3, s) for s in split_stages(V3, 16)]
    routed = 3 * 256 * 44_040_192
    assert line[-1].parameters == own[-1] - routed + routed // 64 + table
    assert sum(d.parameters for d in line) == table + sum(d.parameters for d in folded)


def test_moments_in_float32_double_their_bytes_and_nothing_else():
    narrow, wide = (
        count_memory(V3, replace(REAL, moment_bytes=b))[3].kinds for b in (2, 4)
    )
    assert wide.pop("moments") == 2 * narrow.pop("moments")
    assert wide == narrow


def test_more_experts_per_group_change_neither_moments_nor_activations():
    """Fewer experts of a device, and as many fewer devices with the same ones."""
    found = [count_memory(V3, replace(REAL, expert=e))[4] for e in (8, 16, 32, 64, 128)]
    assert len({d.moments for d in found}) == 1
    assert len({d.activations for d in found}) == 1
    assert [d.weights for d in found] == sorted(
        (d.weights for d in found), reverse=True
    )


def test_doubling_a_micro_batch_doubles_activations_and_buffers():
    for one, two in zip(
        count_memory(V3, REAL),
        count_memory(V3, replace(REAL, micro_batch=2)),
        strict=True,
    ):
        assert two.activations == 2 * one.activations
        assert two.buffers == 2 * one.buffers
        assert (two.weights, two.master) == (one.weights, one.master)


def test_a_service_holds_weights_cache_and_buffers():
    """The published files on 8 devices, without their second embedding and head."""
    layout = Layout(
        data=8, expert=8, precision="FP8", train=False, cached_tokens=1000, sequence=1
    )
    (device,) = count_memory(V3, layout)
    kinds = device.kinds
    zero = ("gradients", "master weights", "moments", "activations")
    assert [kinds[kind] for kind in zero] == [0] * 4
    assert device.cache == kv_cache_bytes(V3, 1000) == 70_272_000
    assert device.buffers == 8 * (7168 + 4 * 56 + 2 * 7168)
    files = 680_571_043_840 + 2 * 3_918_786_560 + 4 * 41_555_600
    (matrix,) = [m for m in layer_matrices(V3, 9) if m.name == "experts w1"]
    expert = 59 * 3 * matrix.size("FP8") * 256
    assert matrix.size("FP8") == 2048 * 7168 + 4 * 16 * 56
    copies = 2 * 2 * V3.vocab_size * V3.dim
    assert device.weights == files - copies - expert + expert // 8


def test_caches_of_a_pipeline_add_up_to_that_of_the_model():
    layout = Layout(pipeline=4, train=False, cached_tokens=77)
    for config in (V3, TINY, PLAIN):
        devices = count_memory(config, layout)
        assert sum(d.cache for d in devices) == kv_cache_bytes(config, 77)


def test_a_layer_computed_again_waits_in_a_buffer():
    for recompute in RECOMPUTE:
        (device,) = count_memory(V3, Layout(recompute=recompute))
        saved = kept_bytes(V3, 60, Layout()) - kept_bytes(
            V3, 60, Layout(recompute=recompute)
        )
        assert device.buffers == 4096 * saved


def test_zero_3_gathers_two_layers_and_the_gradients_of_one():
    (device,) = count_memory(PLAIN, Layout(data=4, zero=3))
    layer = count_parameters(replace(PLAIN, n_layers=1, n_dense_layers=1)).total
    layer -= 2 * PLAIN.vocab_size * PLAIN.dim + PLAIN.dim
    assert device.buffers == (2 * 2 + 4) * layer
    (device,) = count_memory(PLAIN, Layout(data=4, zero=2))
    assert device.buffers == 4 * layer


def test_a_tensor_is_kept_either_itself_or_by_what_makes_it_again():
    """What "deepseek" drops are outputs of norms, up-projections and SwiGLU."""
    kept = {
        policy: {tensor.name for tensor in kept_tensors(V3, 60, policy)}
        for policy in RECOMPUTE
    }
    assert kept["nothing"] - kept["deepseek"] == {
        "latents, normalized",
        "inputs, normalized",
        "scales of norms",
        "queries",
        "keys",
        "values",
        "outputs of SwiGLU",
    }
    assert kept["deepseek"] - kept["nothing"] == {"rotary key"}
    assert kept["layers"] == {"layer input"}


def test_a_stage_may_have_no_layers():
    layout = Layout(pipeline=3, stage_layers=(3, 0, 0), zero=3)
    devices = count_memory(TINY, layout)
    assert devices[1].total == devices[1].parameters == 0
    assert devices[0].parameters + devices[2].parameters > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipeline": 0}, "pipeline is 0; choose 1 or more"),
        ({"sequence": -1}, "sequence is -1; choose 1 or more"),
        ({"schedule": "GPipe"}, "schedule is 'GPipe'; choose one of 1F1B, ZB1P"),
        ({"precision": "FP4"}, "choose one of FP32, BF16, FP8"),
        ({"recompute": "all"}, "choose one of nothing, deepseek, layers"),
        ({"zero": 4}, "zero is 4; choose one of 0, 1, 2, 3"),
        ({"expert": 3, "data": 8}, "choose a data that is a multiple of 3"),
        ({"schedule": "DualPipe", "pipeline": 3}, "choose an even number"),
        ({"schedule": "DualPipe", "pipeline": 4, "micro_batches": 6}, "8 or more"),
        ({"schedule": "DualPipe", "pipeline": 4, "micro_batches": 9}, "even number"),
        ({"schedule": "DualPipeV", "pipeline": 4, "micro_batches": 7}, "8 or more"),
        ({"micro_batches": 0}, "micro_batches is 0; choose 1 or more"),
        ({"cached_tokens": -5}, "cached_tokens is -5; choose 0 or more"),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Layout(**changes)


@pytest.mark.parametrize(
    ("config", "layout", "message"),
    [
        (V3, Layout(data=48, expert=48), "does not divide the 256 routed experts"),
        (PLAIN, Layout(data=2, expert=2), "no layer of the model has experts"),
        (V3, Layout(pipeline=65), "65 stages for 61 layers.* between 1 and 63"),
        (V3, Layout(pipeline=33, schedule="DualPipeV"), "66 stages for 61 layers"),
        (V3, Layout(pipeline=2, stage_layers=(30, 30)), "add up to 61"),
        (V3, Layout(pipeline=2, stage_layers=(61,)), "give 2 numbers of layers"),
        (V3, Layout(pipeline=2, stage_layers=(62, -1)), "give 2 numbers"),
    ],
)
def test_a_layout_that_the_model_does_not_allow_is_refused(config, layout, message):
    with pytest.raises(ValueError, match=message):
        count_memory(config, layout)
