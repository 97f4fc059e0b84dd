import torch
from helpers import normal, wide

from coursekit.testing import changed, close, points


def expected(bias, loads, speed, chance, longest):
    """The same as update_bias, one expert after the other."""
    load = [sum(column) for column in loads.T.tolist()]
    mean, moved = sum(load) / len(load), bias.tolist()
    for i, c in enumerate(load):
        if mean and abs(c - mean) > chance * mean**0.5:
            moved[i] += max(-longest, min(longest, speed * (1 - c / mean)))
    return wide(moved) - sum(moved) / len(moved)


def each_rank(bias, loads, *rest):
    """A step after the load of each rank: a mistake."""
    for load in loads:
        bias = expected(bias, load[None], *rest)
    return bias


@points(2, read='handout, question 2, "The step of expert"')
def test_q2_many_experts(student, gen):
    """Loads of every size, one rank, several speeds."""
    for chance, longest in [(0.0, 1.0), (1.0, 0.02), (2.0, 0.05)]:
        loads = torch.randint(0, 60, (1, 32), generator=gen)
        args = normal(gen, 32), loads, 0.1, chance, longest
        close(
            student.update_bias(*args),
            expected(*args),
            f"the bias of 32 experts, chance {chance}, longest {longest}",
        )


@points(2, read='handout, question 2, "the load of expert $i$ over all ranks"')
def test_q2_ranks_are_counted_together(student, gen):
    """What looks uneven on each rank can be even in all, and the other way round."""
    part = torch.randint(0, 40, (1, 8), generator=gen)
    even = torch.cat([part, 40 - part, part.roll(1), 40 - part.roll(1)])
    uneven = torch.randint(0, 40, (4, 8), generator=gen)
    uneven[:, 0] = 0  # so that some step is cut, whatever was drawn
    slightly = torch.tensor([[28, 36, 32, 32]]).expand(9, 4)
    within = torch.tensor([[30, 34, 32, 32]]).expand(2, 4)
    for loads, chance, what in [
        (even, 0.0, "even over all ranks"),
        (uneven, 1.0, "four ranks"),
        (slightly, 1.0, "nine ranks, on each of which the error is within chance"),
        (within, 1.0, "two ranks, and an error that is within chance in all"),
    ]:
        args = normal(gen, loads.shape[1]), loads, 0.1, chance, 0.05
        mean = loads.double().mean(0, keepdim=True)
        close(
            student.update_bias(*args),
            expected(*args),
            f"the bias, {what} (add the loads of all ranks first, then find the error)",
            mistakes={
                "the loads of the ranks are averaged": lambda a=args, m=mean: expected(
                    a[0], m, *a[2:]
                ),
                "only the first rank is counted": lambda a=args: expected(
                    a[0], a[1][:1], *a[2:]
                ),
                "each rank makes a step of its own": lambda a=args: each_rank(*a),
            },
        )


@points(2, read='handout, question 2, "If no token was counted"')
def test_q2_no_token_no_step(student, gen):
    """A batch without a token only centers; the arguments are left alone."""
    bias = normal(gen, 6).float()
    none = torch.zeros(2, 6, dtype=torch.int64)
    args = bias, none, 0.1, 1.0, 1.0
    right = bias.double() - bias.double().mean()
    found, after = changed(student.update_bias, *args)
    close(
        found,
        right.float(),
        "the bias after a batch without a token (0 / 0?)",
        mistakes={"the bias comes back as it was, and its mean is not 0": bias},
    )
    assert found.dtype == torch.float32, "the new bias is not of the type of the bias"
    loads = torch.randint(0, 60, (2, 6), generator=gen)
    found, after = changed(student.update_bias, bias, loads, 0.1, 0.0, 1.0)
    right = expected(bias.double(), loads, 0.1, 0.0, 1.0)
    close(found, right.float(), "the bias after a step")
    close(after[:2], [bias, loads], "bias and loads after the call (they are changed)")
