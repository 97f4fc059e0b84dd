import torch

from coursekit.testing import close, points


@points(1, read='chapter 04, "A bias that only chooses: auxiliary-loss-free balancing"')
def test_q2_the_bias_follows_the_load(student):
    """One step lowers the bias of the busy and raises that of the idle."""
    balance = student.Balance(3, 0.1)
    close(balance.bias, torch.zeros(3), "the bias at the start")
    balance.update(torch.tensor([5, 1, 3]))
    right = torch.tensor([-0.1, 0.1, 0.0])
    close(
        balance.bias,
        right,
        "the bias after one step",
        mistakes={"the busy are raised, and the idle lowered": -right},
    )
