import torch
from helpers import normal, planted, wide

from coursekit.testing import changed, close, gradient, points

CURVED = """
a = torch.arange(1.0, len(b) + 1, dtype=b.dtype)
return 40 + a * b.roll(1) + (2 * b).exp() - 3 * a.flip(0) * b**3
"""


def curved(b):
    a = torch.arange(1.0, len(b) + 1, dtype=b.dtype)
    return 40 + a * b.roll(1) + (2 * b).exp() - 3 * a.flip(0) * b**3


def measured_by(bias, eye, over, way):
    """J as mistakes have it, from one side, of counts, or over one mean."""
    columns = []
    for step in eye:
        up, down = curved(bias + step), curved(bias - step)
        if way == "one side":
            down = curved(bias)
        if way == "one mean":
            up, down = up / curved(bias).mean(), down / curved(bias).mean()
        elif way != "counts":
            up, down = up / up.mean(), down / down.mean()
        columns.append((up - down) / over)
    return torch.stack(columns, dim=1)


@points(2, read='handout, question 6, "gradients flow to the bias"')
def test_q6_its_slope_is_the_error_of_the_load(student, gen):
    """The gradient by the bias is the share of tokens less the fair one."""
    for k in (1, 4):
        scores, bias = normal(gen, 50, 10).sigmoid(), 0.3 * normal(gen, 10)
        found = gradient(student.potential, scores, bias, k)
        top = (scores + bias).topk(k)
        value = top.values.sum() / 50 - k * bias.mean()
        close(found.value, value, f"the potential for k = {k}")
        assert found.inputs[1] is not None, "no gradient reaches the bias"
        load = torch.bincount(top.indices.flatten(), minlength=10)
        close(
            found.inputs[1],
            load.double() / 50 - k / 10,
            f"the gradient of the bias for k = {k} (load over tokens, less k / e)",
        )


@points(
    2,
    read=(
        'handout, question 6, "`response` measures"; '
        'handout, "Letters", "Functions leave"'
    ),
)
def test_q6_response_of_any_load(student, gen):
    """A load that answers in curves, differently in each direction."""
    loads_of, bias = planted(student, CURVED, "b"), 0.5 * normal(gen, 5)
    eye = 0.3 * torch.eye(5).double()
    right = torch.zeros(5, 5).double()
    for j in range(5):
        up, down = curved(bias + eye[j]), curved(bias - eye[j])
        right[:, j] = (up / up.mean() - down / down.mean()) / 0.6
    found, after = changed(student.response, loads_of, bias, 0.3)
    close(after[1], bias, "the argument bias after the call (the function changed it)")
    close(
        found,
        right,
        "J [i, j] (the answer of load i to bias j, from both sides; each load is "
        "divided by its own mean)",
        mistakes={
            "rows and columns are exchanged": right.T,
            "one side is measured": lambda: measured_by(bias, eye, 0.3, "one side"),
            "the change is divided by `nudge`, and not by twice that": 2 * right,
            "loads are not divided by their mean": lambda: measured_by(
                bias, eye, 0.6, "counts"
            ),
            "both loads are divided by the mean at the bias": lambda: measured_by(
                bias, eye, 0.6, "one mean"
            ),
        },
    )


@points(2, read='handout, question 6, "`limit` is the speed"')
def test_q6_speeds_of_many_experts(student, gen):
    """Errors of every kind: the fastest sets the limit, both ends the best speed."""
    for e in (3, 8):
        turn = torch.linalg.qr(torch.cat([wide([[1.0]] * e), normal(gen, e, e - 1)], 1))
        values = torch.rand(e, generator=gen, dtype=torch.float64) + 0.3
        values[0] = 0.0
        J = turn.Q @ values.diag() @ turn.Q.T
        J = (J + J.T) / 2
        low, high = values[1:].min().item(), values.max().item()
        close(
            student.speeds(J),
            (2 / high, 2 / (low + high)),
            "(limit, best) (an error is multiplied by 1 - speed * eigenvalue; the "
            "equal shift has the eigenvalue 0 and is left out)",
            rtol=1e-6,
            mistakes={
                "the limit is one over the largest eigenvalue": (
                    1 / high,
                    2 / (low + high),
                ),
                "the equal shift counts as an error": (2 / high, 2 / high),
                "`best` looks at the fastest error alone": (2 / high, 1 / high),
            },
        )
