import torch

from coursekit.testing import close, points


@points(2, read='chapter 04, "A bias that only chooses: auxiliary-loss-free balancing"')
def test_q2_steps_add_up(student, gen):
    """Many steps add up, each of the same size, and update returns the bias."""
    balance, bias = student.Balance(4, 0.01), torch.zeros(4)
    for _ in range(5):
        load = torch.randint(1, 100, (4,), generator=gen)
        bias = bias + 0.01 * (load.float().mean() - load).sign()
        last = balance.update(load)
    one = 0.01 * (load.float().mean() - load).sign()
    close(
        last,
        bias,
        "what update returns",
        mistakes={"every update begins anew, from 0": one},
    )
    close(balance.bias, bias, "the bias after five steps")
