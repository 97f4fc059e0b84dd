import torch

from coursekit.testing import points, weights

SHAPES = {"w": torch.zeros(1), "b": torch.zeros(1)}


@points(1, read='notebook, "Question 3: a line"')
def test_q3_the_line_is_close(files):
    """The line's slope is near that of the points."""
    line = weights(files, "line.safetensors", like=SHAPES).tensors
    w = line["w"].item()
    assert abs(w - 2) < 0.1, f"a slope of {w:.3f}: the points rise by about 2"
