"""Schedules are valid for every size, and published bubbles hold where they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.pipelining import schedules as theirs

from r1.cost.schedule import (
    METHODS,
    Op,
    Span,
    Times,
    bubble_formula,
    bubbles,
    check,
    dualpipe,
    dualpipev,
    interleaved,
    makespan,
    one_f_one_b,
    peak_activations,
    simulate,
    zb1p,
)

UNIT = Times()
LENGTH = st.integers(1, 9)


@st.composite
def sizes(draw, method, most=12):
    """A number of stages, and one of micro-batches that the method takes."""
    if method in ("1F1B", "ZB1P"):
        return draw(st.integers(1, most)), draw(st.integers(1, 3 * most))
    stages = 2 * draw(st.integers(1, most // 2))
    if method == "DualPipeV":
        return stages, stages + draw(st.integers(0, most))
    return stages, 2 * stages + 2 * draw(st.integers(0, most))


@st.composite
def lengths(draw):
    """Any times in which a pair takes from its longer half to both together."""
    forward, split, weight = draw(LENGTH), draw(LENGTH), draw(LENGTH)
    longer = max(forward, split + weight)
    both = draw(st.integers(longer, forward + split + weight))
    return Times(forward, split + weight, weight, both, wire=draw(st.integers(0, 5)))


def run(method, stages, micros, times=UNIT):
    return bubbles(simulate(METHODS[method](stages, micros), times))


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
def test_a_schedule_of_any_size_and_times_is_valid(method, data):
    stages, micros = data.draw(sizes(method))
    times = data.draw(lengths())
    spans = simulate(METHODS[method](stages, micros), times)
    check(spans, times)
    assert {op.micro for row in spans for s in row for op in s.slot} == set(
        range(micros)
    )


@st.composite
def quick_weights(draw):
    """Lengths of F, I and W, of which W is not the longest."""
    f, i = draw(LENGTH), draw(LENGTH)
    return f, i, draw(st.integers(1, min(f, i)))


@given(sizes("1F1B"), LENGTH, LENGTH, LENGTH)
def test_the_formula_of_1f1b_holds_for_all_times_and_numbers(size, f, i, w):
    times = Times(f, i + w, w)
    assert set(run("1F1B", *size, times)) == {bubble_formula("1F1B", size[0], times)}


@given(st.integers(2, 12), st.integers(0, 24), LENGTH, LENGTH, LENGTH)
def test_the_formula_of_zb1p_holds_while_weights_are_no_longer_than_the_rest(
    stages, more, f, i, w
):
    times = Times(f, i + w, w)
    found = run("ZB1P", stages, stages + more, times)
    assert set(found) == {(stages - 1) * (f + i - min(f, i, w))}
    published = bubble_formula("ZB1P", stages, times)
    assert (found[0] == published) == (w <= min(f, i))


@given(st.integers(2, 12), st.data(), quick_weights())
def test_each_micro_batch_that_zb1p_lacks_costs_one_weights_part(stages, data, fiw):
    micros, (f, i, w) = data.draw(st.integers(1, stages - 1)), fiw
    times = Times(f, i + w, w)
    published = bubble_formula("ZB1P", stages, times)
    assert set(run("ZB1P", stages, micros, times)) == {
        published + (stages - micros) * w
    }


@given(sizes("DualPipe"), quick_weights(), LENGTH)
def test_the_formula_of_dualpipe_is_the_innermost_devices_bubble(size, fiw, gain):
    (stages, micros), (f, _, w) = size, fiw
    both = max(f + w, 2 * f + w - gain)
    times = Times(f, f + w, w, both)  # the input's part as long as forward
    found = run("DualPipe", stages, micros, times)
    published = bubble_formula("DualPipe", stages, times)
    assert max(found) == found[stages // 2 - 1] == published
    if both == 2 * f + w:
        assert set(found) == {published}


@given(sizes("DualPipe"), quick_weights())
def test_where_forward_and_the_inputs_part_differ_dualpipe_has_another_bubble(
    size, fiw
):
    """Found by trying, not proved; nothing is gained by overlap here."""
    f, i, w = fiw
    inner, times = size[0] // 2 - 1, Times(f, i + w, w)
    more, less = inner * max(0, f - i), min(f, inner * max(0, i - f))
    published = bubble_formula("DualPipe", size[0], times)
    assert set(run("DualPipe", *size, times)) == {published + more - less}


@pytest.mark.parametrize(
    ("stages", "expected"), [(8, (21, 7, 6, 6)), (16, (45, 15, 14, 14))]
)
def test_bubbles_of_8_and_16_stages_are_those_of_the_published_table(stages, expected):
    for method, bubble in zip(METHODS, expected, strict=True):
        assert bubble_formula(method, stages, UNIT) == bubble
        assert set(run(method, stages, 2 * stages)) == {bubble}


@pytest.mark.parametrize("stages", [2, 4, 8, 16])
def test_memory_in_flight_is_that_of_the_published_table(stages):
    micros = 3 * stages
    held = {m: peak_activations(build(stages, micros)) for m, build in METHODS.items()}
    assert held["1F1B"] == list(range(stages, 0, -1))
    assert held["ZB1P"] == [stages] * stages
    assert held["DualPipe"] == [stages + 1] * stages
    assert held["DualPipeV"] == [stages + 1] * (stages // 2)


@given(sizes("DualPipeV"), lengths())
def test_dualpipev_is_dualpipe_cut_in_half(size, times):
    stages, micros = size
    folded = simulate(dualpipev(stages, micros), times)
    whole = simulate(dualpipe(stages, 2 * micros), times)
    if times.wire == 0:  # at the fold nothing has to travel
        for row, upper, lower in zip(folded, whole, whole[::-1], strict=False):
            when = [(s.start, s.end, [op.kind for op in s.slot]) for s in row]
            for other in (upper, lower):
                assert when == [
                    (s.start, s.end, [op.kind for op in s.slot]) for s in other
                ]


@pytest.mark.parametrize("devices", [2, 4, 8, 16])
def test_on_as_many_devices_dualpipev_waits_as_long_as_zb1p(devices):
    """Twice the stages, each half as deep; forward, input and weights take the same."""
    halves = Times(0.5, 1.0, 0.5)
    assert set(run("DualPipeV", 2 * devices, 2 * devices, halves)) == {devices - 1}
    assert set(run("ZB1P", devices, 2 * devices)) == {devices - 1}


@st.composite
def interleavings(draw):
    """Devices, groups of micro-batches and chunks; sizes that the schedule takes."""
    return draw(st.integers(1, 8)), draw(st.integers(1, 4)), draw(st.integers(2, 4))


@given(interleavings(), lengths(), st.booleans())
def test_an_interleaved_schedule_of_any_size_and_times_is_valid(size, times, overlap):
    devices, groups, chunks = size
    rows = interleaved(chunks * devices, groups * devices, chunks, overlap)
    check(simulate(rows, times), times)
    for d, slots in enumerate(rows):
        stages = {op.stage for slot in slots for op in slot}
        assert stages == set(range(d, chunks * devices, devices))


@given(interleavings(), LENGTH, LENGTH, st.booleans())
def test_the_formula_of_interleaved_1f1b_holds_for_all_times(size, f, b, overlap):
    """Narayanan et al.: (D - 1)(F + B), with the times of one of a device's stages."""
    devices, groups, chunks = size
    times = Times(f, b + 1, 1)
    rows = interleaved(chunks * devices, groups * devices, chunks, overlap)
    found = set(bubbles(simulate(rows, times)))
    assert found == {(devices - 1) * (f + b + 1)}


@given(interleavings(), st.booleans())
def test_interleaving_costs_memory(size, overlap):
    """Device d holds (chunks + 1) D - 1 - 2d passes of a stage, and one to overlap."""
    devices, groups, chunks = size
    rows = interleaved(chunks * devices, groups * devices, chunks, overlap)
    most = chunks * groups * devices
    expected = [
        min(most, (chunks + 1) * devices - 1 - 2 * d + overlap) for d in range(devices)
    ]
    assert peak_activations(rows) == expected


# The picture in the README of the repository DualPipe, a letter for a unit of time:
# F forward, B backward or its input's part, W weights, a point for waiting. The other
# four devices mirror these.
PICTURE = [
    "FFFFFFFFBWFBWFBWFFBB...FBBFBBFBBFBBFBB.BBFBB.BBFBB.BBFBBBBBWBWBWBW",
    ".FFFFFFFFBWFBWFFBB..FBBFBBFBBFBBFBBFBBFBB.BBFBB.BBFBB.BBBBBBWBWBWW",
    "..FFFFFFFFBWFFBB.FBBFBBFBBFBBFBBFBBFBBFBBFBB.BBFBB.BB.BBBBBBBWBWWW",
    "...FFFFFFFFFBBFBBFBBFBBFBBFBBFBBFBBFBBFBBFBBFBB.BB.BB.BBBBBBBBWWWW",
]


def letters(row, end):
    line = ["."] * end
    for span in row:
        text = "".join({"B": "BB", "I": "B"}.get(op.kind, op.kind) for op in span.slot)
        line[int(span.start) : int(span.end)] = text
    return "".join(line)


@pytest.mark.parametrize(("build", "micros"), [(dualpipe, 20), (dualpipev, 10)])
def test_eight_stages_do_what_the_published_picture_shows(build, micros):
    """In the picture some passes start later than they could; nothing else differs."""
    spans = simulate(build(8, micros), UNIT)
    for row, drawn in zip(spans, PICTURE, strict=False):
        ours = letters(row, int(makespan(spans)))
        assert len(ours) == len(drawn) == 66
        assert ours.replace(".", "") == drawn.replace(".", "")
        assert ours.count(".") == drawn.count(".") == 6


def of_pytorch(name, rank, stages, micros, local):
    """A device's slots by PyTorch's pipelining, made without its processes."""
    schedule = object.__new__(getattr(theirs, name))
    schedule.pp_group_size = stages // local
    schedule.n_local_stages = local
    schedule._n_microbatches = micros
    schedule.microbatches_per_round = micros // max(1, micros // schedule.pp_group_size)
    names = {"FORWARD": "F", "FULL_BACKWARD": "B"}
    names |= {"BACKWARD_INPUT": "I", "BACKWARD_WEIGHT": "W"}
    slots = []
    for action in schedule._calculate_single_rank_operations(rank):
        if action is not None:
            parts = action.sub_actions or (action,)
            slots.append(
                tuple(
                    Op(
                        names[a.computation_type.name],
                        a.stage_index,
                        a.microbatch_index,
                    )
                    for a in parts
                )
            )
    return slots


@pytest.mark.parametrize(("stages", "micros"), [(2, 4), (4, 8), (8, 20), (12, 24)])
def test_dualpipev_does_everything_in_pytorchs_order(stages, micros):
    for rank, row in enumerate(dualpipev(stages, micros)):
        assert row == of_pytorch("ScheduleDualPipeV", rank, stages, micros, 2)


@pytest.mark.parametrize(("stages", "micros"), [(2, 4), (3, 6), (4, 8), (8, 16)])
def test_zb1p_does_everything_in_pytorchs_order(stages, micros):
    for rank, row in enumerate(zb1p(stages, micros)):
        name = "ScheduleInterleavedZeroBubble"
        assert row == of_pytorch(name, rank, stages, micros, 1)


@pytest.mark.parametrize("chunks", [2, 3, 4])
@pytest.mark.parametrize(("devices", "micros"), [(2, 4), (4, 8), (8, 24)])
def test_interleaved_1f1b_does_everything_in_pytorchs_order(devices, micros, chunks):
    stages = chunks * devices
    for rank, row in enumerate(interleaved(stages, micros, chunks)):
        name = "ScheduleInterleaved1F1B"
        assert row == of_pytorch(name, rank, stages, micros, chunks)


def swapped(schedule, device, a, b):
    rows = [list(row) for row in schedule]
    rows[device][a], rows[device][b] = rows[device][b], rows[device][a]
    return rows


def test_devices_that_wait_for_each_other_are_named():
    stuck = swapped(one_f_one_b(2, 3), 0, 0, 2)  # a backward before its forward
    with pytest.raises(ValueError, match=r"device 0 waits before.*kind='B'.*earlier"):
        simulate(stuck, UNIT)


def spoiled(change):
    spans = simulate(one_f_one_b(2, 3), UNIT)
    return change([list(row) for row in spans])


def moved(row, place, by):
    start, end, slot = row[place]
    row[place] = Span(start + by, end + by, slot)


def without(spans):
    return [spans[0][:-1], spans[1]]


def twice(spans):
    return [spans[0], [*spans[1], Span(90.0, 92.0, spans[1][1].slot)]]


def early(spans):
    moved(spans[1], 0, -0.5)
    return spans


def crossing(spans):
    moved(spans[0], 1, -0.5)
    return spans


def longer(spans):
    start, end, slot = spans[0][-1]
    spans[0][-1] = Span(start, end + 1, slot)
    return spans


def elsewhere(spans):
    last = spans[1].pop()
    return [[*spans[0], Span(90.0, 92.0, last.slot)], spans[1]]


FAULTS = {
    "it needs F and B": without,
    "done twice": twice,
    "before .* has arrived": early,
    "before .* has ended": crossing,
    "does not last": longer,
    "changes devices": elsewhere,
}


@pytest.mark.parametrize(("message", "fault"), FAULTS.items(), ids=FAULTS)
def test_the_check_finds_each_kind_of_fault(message, fault):
    check(spoiled(lambda spans: spans), UNIT)
    with pytest.raises(ValueError, match=message):
        check(spoiled(fault), UNIT)


BAD = {
    "stages is 0; choose 1 or more": lambda: one_f_one_b(0, 3),
    "micros is 0; choose 1 or more": lambda: zb1p(2, 0),
    "stages is 7; choose an even number": lambda: dualpipe(7, 20),
    "micros is 21; choose an even number": lambda: dualpipe(8, 21),
    "micros is 14; choose 16 or more": lambda: dualpipe(8, 14),
    "micros is 7; choose 8 or more": lambda: dualpipev(8, 7),
    "chunks is 1; choose 2 or more": lambda: interleaved(4, 4, 1),
    "stages is 7; choose a multiple of 2": lambda: interleaved(7, 4),
    "micros is 6; choose a multiple of 4": lambda: interleaved(8, 6),
    "forward is 0 ": lambda: Times(forward=0),
    "wire -1; .* wire of 0 or more": lambda: Times(wire=-1),
    "forward is nan ": lambda: Times(forward=float("nan")),
    "wire nan; ": lambda: Times(wire=float("nan")),
    "both is nan; ": lambda: Times(both=float("nan")),
    "weight is 3 .* below backward": lambda: Times(weight=3),
    "both is 1; .* choose 2 or more": lambda: Times(both=1),
    "no method 'GPipe'; choose one of 1F1B": lambda: bubble_formula("GPipe", 4, UNIT),
}


@pytest.mark.parametrize(("message", "call"), BAD.items(), ids=BAD)
def test_bad_input_is_refused_with_its_value_and_a_remedy(message, call):
    with pytest.raises(ValueError, match=message):
        call()
