import torch

from coursekit.testing import close, points


@points(1)
def test_q2_the_bias_follows_the_load(student):
    """One step lowers the bias of the busy and raises that of the idle."""
    balance = student.Balance(3, 0.1)
    close(balance.bias, torch.zeros(3), "the bias at the start")
    balance.update(torch.tensor([5, 1, 3]))
    close(balance.bias, torch.tensor([-0.1, 0.1, 0.0]), "the bias after one step")
