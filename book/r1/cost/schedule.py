"""Pipeline schedules: who computes what when, and how long everybody waits.

A schedule is a list of slots for each device, in the order in which it works on them.
A slot is one operation, or a forward and a backward pass that overlap. Nothing in here
computes a model; `simulate` finds when each slot can run.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

Number = float | int


class Op(NamedTuple):
    """One pass of a micro-batch through a stage.

    `kind` is F (forward), B (backward), I (the part of B that makes the gradient of
    the input) or W (the part that makes the gradient of the weights).
    """

    kind: str
    stage: int
    micro: int


class Span(NamedTuple):
    """A slot of a schedule with the times at which it starts and ends."""

    start: Number
    end: Number
    slot: tuple[Op, ...]


@dataclass(frozen=True)
class Times:
    """How long one stage takes for one micro-batch, in any unit.

    `backward` is the whole backward pass, of which `weight` can be put off; `both` is
    a forward and a backward pass that overlap, by default as long as one after the
    other; `wire` is what a result needs to get to another device.

    Raises ValueError for times that cannot be.
    """

    forward: Number = 1
    backward: Number = 2
    weight: Number = 1
    both: Number | None = None
    wire: Number = 0

    def __post_init__(self):
        # Written with not, so that nan is refused: no comparison with it holds.
        if not (self.forward > 0 and self.wire >= 0):
            raise ValueError(
                f"forward is {self.forward} and wire {self.wire}; choose a forward "
                "above 0 and a wire of 0 or more"
            )
        if not 0 < self.weight < self.backward:
            raise ValueError(
                f"weight is {self.weight} and backward {self.backward}; weight is a "
                "part of backward, choose it above 0 and below backward"
            )
        if not self.pair >= max(self.forward, self.backward):
            raise ValueError(
                f"both is {self.both}; two passes that overlap take as long as the "
                f"longer one or more, choose {max(self.forward, self.backward)} or more"
            )

    @property
    def pair(self) -> Number:
        """A forward and a backward pass in one slot."""
        return self.forward + self.backward if self.both is None else self.both

    def of(self, slot: tuple[Op, ...]) -> Number:
        """How long a slot takes."""
        if len(slot) == 2:
            return self.pair
        # B is I and W in one operation, so I takes what W leaves.
        split = self.backward - self.weight
        times = {"F": self.forward, "B": self.backward, "I": split, "W": self.weight}
        return times[slot[0].kind]


Schedule = list[list[tuple[Op, ...]]]


def one_f_one_b(stages: int, micros: int) -> Schedule:
    """1F1B: fill the pipeline, then one forward and one backward in turn.

    Stage s lets `stages - 1 - s` micro-batches pass before its first pair.

    Raises ValueError for less than one stage or micro-batch.
    """
    _at_least(stages=(stages, 1), micros=(micros, 1))
    rows = []
    for s in range(stages):
        # Warm-up: micro-batch 0 must reach the last stage and its gradient must come
        # back. Until then stage s can only compute forward passes.
        ahead = min(stages - 1 - s, micros)
        row = [Op("F", s, i) for i in range(ahead)]
        for i in range(micros):
            row += [Op("F", s, ahead + i)] if ahead + i < micros else []
            row += [Op("B", s, i)]
        rows.append([(op,) for op in row])
    return rows


def zb1p(stages: int, micros: int) -> Schedule:
    """ZB1P, or ZB-H1: 1F1B with backward passes cut in two.

    Stage s puts the weights' part off until s more inputs' parts are done, so that
    every stage remembers as many micro-batches as the first one does.

    Raises ValueError for less than one stage or micro-batch.
    Source: Qi et al., Zero bubble pipeline parallelism, section 2.
    """
    _at_least(stages=(stages, 1), micros=(micros, 1))
    rows = []
    for s in range(stages):
        ahead = min(stages - 1 - s, micros)
        row = [Op("F", s, i) for i in range(ahead)]
        for i in range(micros):
            row += [Op("F", s, ahead + i)] if ahead + i < micros else []
            row += [Op("I", s, i)]
            # No other stage waits for W. So I comes first, and what is put off fills
            # the time at the end in which later stages would wait.
            row += [Op("W", s, i - s)] if i >= s else []
        row += [Op("W", s, i) for i in range(max(0, micros - s), micros)]
        rows.append([(op,) for op in row])
    return rows


def _both_ways(depth: int, place: int, micros: int) -> Iterator[str]:
    """The slots of a device that has two stages, in eight phases.

    `depth` devices make a V; this one is `place` steps from its open end. Way 0 leads
    to the tip, way 1 away from it; "F0 B1" is a pair, W belongs to the oldest I.
    """
    # Devices between this one and the tip of the V: a micro-batch takes that many steps
    # to the tip and as many back.
    inner = depth - 1 - place
    # 1: forward passes, until the first micro-batch has been at the tip and is back.
    yield from ["F0"] * (2 * inner)
    # 2: forward passes of both ways, until the first gradient can be there.
    yield from ["F0", "F1"] * (place + 1)
    # 3: the first gradients. Only I is urgent, because the next device waits for it; W
    # and one more forward pass fill the time.
    yield from ["I1", "W", "F1"] * inner
    # 4: the steady state. A forward pass of one way overlaps a backward pass of the
    # other. The device at the tip runs its first two passes one after the other, as
    # DeepSeek's code does. Here the result of F0 then leaves at once; there after B1.
    pairs = ["F0 B1", "F1 B0"] * (micros - 2 * depth + place + 1)
    yield from pairs if inner else ["F0", "B1", *pairs[1:]]
    # 5: way 0 has no forward passes left, way 1 still has.
    yield from ["B1", "F1 B0"] * inner
    # 6: backward passes of both ways. In the second half W is put off, so that the
    # gradients reach the other devices earlier.
    yield from [("B1", "B0")[i % 2] for i in range(place + 1)]
    yield from [("I1", "I0")[i % 2] for i in range(place + 1, 2 * place + 2)]
    # 7: the last gradients of way 0, and between them what was put off.
    yield from ["W", "I0"] * inner
    # 8: what is left of W. Nobody waits for it.
    yield from ["W"] * (place + 1)


def _numbered(slots: Iterator[str], ways: list[tuple[int, int]]) -> list:
    """Slots such as "F0 B1" as operations.

    `ways` has the stage of each way and the number of its first micro-batch.
    """
    passed: Counter[str] = Counter()
    # A W names no micro-batch. First in, first out: the oldest one holds its
    # activations longest, so its memory is freed first.
    waiting: deque[Op] = deque()
    row = []
    for slot in slots:
        ops = []
        for name in slot.split():
            if name == "W":
                ops.append(waiting.popleft())
                continue
            kind, (stage, offset) = name[0], ways[int(name[1])]
            # I and B count together: each is the backward pass of the next micro-batch.
            direction = ("F" if kind == "F" else "B") + name[1]
            micro = offset + passed[direction]
            ops.append(Op(kind, stage, micro))
            passed[direction] += 1
            if kind == "I":
                waiting.append(Op("W", stage, micro))
        row.append(tuple(ops))
    return row


def dualpipe(stages: int, micros: int) -> Schedule:
    """DualPipe: micro-batches enter at both ends of the pipeline.

    Device d has stage d for the first half of the micro-batches, which enter at device
    0, and stage `stages - 1 - d` for the others. A forward pass of one half and a
    backward pass of the other overlap.

    Raises ValueError for odd numbers and for less than `2 * stages` micro-batches.
    Source: DeepSeek-V3, section 3.2.1, and the repository DualPipe.
    """
    _even(stages=stages, micros=micros)
    _at_least(stages=(stages, 2), micros=(micros, 2 * stages))
    half = micros // 2
    rows = []
    for d in range(stages):
        # Both halves of the micro-batches meet on every device, one in stage d and one
        # in the opposite stage. Each device therefore stores two stages.
        ways = [(d, 0), (stages - 1 - d, half)]
        place = min(d, stages - 1 - d)
        # From the second half of the devices the other way leads to the middle.
        ways = ways if d < stages // 2 else ways[::-1]
        rows.append(_numbered(_both_ways(stages // 2, place, half), ways))
    return rows


def dualpipev(stages: int, micros: int) -> Schedule:
    """DualPipeV: DualPipe cut in half, the pipeline folded over `stages / 2` devices.

    Device d has stages d and `stages - 1 - d` of the same pipeline.

    Raises ValueError for an odd number of stages or less than `stages` micro-batches.
    Source: the repository DualPipe, after an idea of Sea AI Lab ("cut in half").
    """
    _even(stages=stages)
    _at_least(stages=(stages, 2), micros=(micros, stages))
    rows = []
    for d in range(stages // 2):
        # All micro-batches take both ways: down the V in stage d, and up again.
        ways = [(d, 0), (stages - 1 - d, 0)]
        rows.append(_numbered(_both_ways(stages // 2, d, micros), ways))
    return rows


def interleaved(
    stages: int, micros: int, chunks: int = 2, overlap: bool = False
) -> Schedule:
    """Interleaved 1F1B: every device has `chunks` stages that lie far apart.

    With D = stages / chunks devices, device d has stages d, d + D, d + 2D and so on.
    Micro-batches go in groups of D, and a group passes a stage of the device before it
    passes the next one. With `overlap` each device starts with one more forward pass,
    so that it can overlap the next one with a backward pass of another micro-batch.

    Raises ValueError for less than two chunks, for a number of stages that chunks do
    not divide, and for one of micro-batches that D does not divide.
    Source: Narayanan et al., section 2.2, and the repository Megatron-LM.
    """
    _at_least(stages=(stages, 1), micros=(micros, 1), chunks=(chunks, 2))
    _multiple(chunks, stages=stages)
    devices = stages // chunks
    _multiple(devices, micros=micros)
    order = [
        (start + i, chunk)
        for start in range(0, micros, devices)
        for chunk in range(chunks)
        for i in range(devices)
    ]
    rows = []
    for d in range(devices):
        forward = [Op("F", chunk * devices + d, i) for i, chunk in order]
        # Gradients come back through the chunks in the opposite order.
        back = [Op("B", (chunks - 1 - chunk) * devices + d, i) for i, chunk in order]
        # The first group must pass all chunks but the last, and a micro-batch needs two
        # passes for each device between this one and the last: out and back.
        ahead = (chunks - 1) * devices + 2 * (devices - 1 - d) + overlap
        row = [(op,) for op in forward[:ahead]]
        for i, op in enumerate(back):
            together = (*forward[ahead + i : ahead + i + 1], op)
            row += [together] if overlap else [(one,) for one in together]
        rows.append(row)
    return rows


METHODS = {
    "1F1B": one_f_one_b,
    "ZB1P": zb1p,
    "DualPipe": dualpipe,
    "DualPipeV": dualpipev,
}


def needs(op: Op, stages: int) -> list[tuple[str, int, int]]:
    """Results that must be there before an operation can start.

    ("F", s, i) is what stage s makes of micro-batch i, ("I", s, i) the gradient of
    its input, which a B makes as well.
    """
    kind, s, i = op
    if kind == "F":
        return [("F", s - 1, i)] if s else []
    if kind == "W":
        return [("I", s, i)]
    # A backward pass needs its own activations, and the gradient from the stage behind.
    # The last stage makes that gradient itself, from the loss.
    return [("F", s, i)] + ([("I", s + 1, i)] if s + 1 < stages else [])


def simulate(schedule: Schedule, times: Times) -> list[list[Span]]:
    """Find when each slot runs: as soon as its device is free and its inputs are there.

    start = max(end of the device's slot before, end of every input + wire if it comes
    from another device), in the unit of `times`.

    Raises ValueError where devices wait for one another for ever.
    """
    stages = 1 + max(op.stage for row in schedule for slot in row for op in slot)
    results: dict[tuple[str, int, int], tuple[Number, int]] = {}
    spans: list[list[Span]] = [[] for _ in schedule]
    progressed = True
    # Go around the devices and let each run as far as its inputs exist, until a whole
    # round changes nothing. Start times do not depend on the order of visits.
    while progressed:
        progressed = False
        for device, row in enumerate(schedule):
            for slot in row[len(spans[device]) :]:
                inputs = [key for op in slot for key in needs(op, stages)]
                if not all(key in results for key in inputs):
                    break
                start = spans[device][-1].end if spans[device] else 0
                for key in inputs:
                    end, maker = results[key]
                    # A result on the same device needs no wire: False counts as 0.
                    start = max(start, end + times.wire * (maker != device))
                span = Span(start, start + times.of(slot), slot)
                spans[device].append(span)
                for op in slot:
                    kind = "I" if op.kind == "B" else op.kind
                    results[kind, op.stage, op.micro] = span.end, device
                progressed = True
    for device, row in enumerate(schedule):
        if len(spans[device]) < len(row):
            stuck = row[len(spans[device])]
            raise ValueError(
                f"the schedule stands still: device {device} waits before {stuck}; "
                "put what it needs earlier in the rows of the devices that make it"
            )
    return spans


def check(spans: list[list[Span]], times: Times) -> None:
    """Prove that spans are a valid run, without trusting what made them.

    Every micro-batch passes every stage once forward and once backward on one device,
    a device does one thing at a time, and everything starts after what it needs.

    Raises ValueError with the first fault found.
    """
    flat = [(d, span) for d, row in enumerate(spans) for span in row]
    done = {op: (d, span) for d, span in flat for op in span.slot}
    stages, micros = (1 + max(op[field] for op in done) for field in (1, 2))
    if len(done) != sum(len(span.slot) for _, span in flat):
        raise ValueError("an operation is done twice; remove one of the two")
    for row in spans:
        for before, span in pairwise(row):
            # Times may be fractions, whose float sums are off in the last digit.
            if span.start < before.end - 1e-9:
                raise ValueError(f"{span} starts before {before} has ended")
    for s in range(stages):
        for i in range(micros):
            kinds = [kind for kind in "FBIW" if (kind, s, i) in done]
            if kinds not in (["F", "B"], ["F", "I", "W"]):
                raise ValueError(f"{kinds} at {s, i}; it needs F and B, or F, I and W")
            if len({done[Op(kind, s, i)][0] for kind in kinds}) > 1:
                raise ValueError(f"stage {s} changes devices in micro-batch {i}")
    for op, (device, span) in done.items():
        if abs(span.end - span.start - times.of(span.slot)) > 1e-9:
            raise ValueError(f"{span} does not last {times.of(span.slot)}")
        for kind, s, i in needs(op, stages):
            # needs asks for I; where backward passes are not split, B makes it.
            split = Op(kind, s, i)
            maker, source = done[split if split in done else Op("B", s, i)]
            if span.start < source.end + times.wire * (maker != device) - 1e-9:
                raise ValueError(f"{op} starts before {source.slot} has arrived")


def makespan(spans: list[list[Span]]) -> Number:
    """When the last device has done its work."""
    return max(row[-1].end for row in spans)


def bubbles(spans: list[list[Span]]) -> list[Number]:
    """Time in which each device does nothing: the makespan less its slots."""
    end = makespan(spans)
    return [end - sum(span.end - span.start for span in row) for row in spans]


def bubble_formula(method: str, stages: int, times: Times) -> Number:
    r"""Published bubble of a device, in the unit of `times`.

    1F1B $(P-1)(F+B)$, ZB1P $(P-1)(F+B-2W)$, DualPipe and DualPipeV
    $(P/2-1)(F\&B+B-3W)$, with P = `stages` and B the whole backward pass. Chapter 09
    says for which times the last two hold.

    Raises ValueError for an unknown method.
    Source: DeepSeek-V3, table 2, and the README of the repository DualPipe.
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; choose one of {', '.join(METHODS)}")
    if method == "1F1B":
        return (stages - 1) * (times.forward + times.backward)
    if method == "ZB1P":
        return (stages - 1) * (times.forward + times.backward - 2 * times.weight)
    return (stages / 2 - 1) * (times.pair + times.backward - 3 * times.weight)


def peak_activations(schedule: Schedule) -> list[int]:
    """Most micro-batches whose activations each device holds at once.

    One is taken by F and given back by B or W; in a pair the forward pass comes first.
    The unit is what one stage remembers of one micro-batch.
    """
    peaks = []
    for row in schedule:
        stored = peak = 0
        for op in (op for slot in row for op in slot):
            stored += {"F": 1, "I": 0, "B": -1, "W": -1}[op.kind]
            peak = max(peak, stored)
        peaks.append(peak)
    return peaks


def _at_least(**limits: tuple[int, int]) -> None:
    for name, (value, least) in limits.items():
        if value < least:
            raise ValueError(f"{name} is {value}; choose {least} or more")


def _multiple(of: int, **values: int) -> None:
    for name, value in values.items():
        if value % of:
            raise ValueError(f"{name} is {value}; choose a multiple of {of}")


def _even(**values: int) -> None:
    for name, value in values.items():
        if value % 2:
            raise ValueError(f"{name} is {value}; choose an even number")
