"""Advantages from a critic: the recursion, its two ends, and what is whitened."""

import pytest
import torch
from torch.testing import assert_close

from r1.rl.ppo_loop import gae, whiten

LAMBDAS = pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])


def answers(seed=0, padded=2):
    """Three answers of 1, 4 and 6 tokens behind a prompt of `padded` positions."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(3, padded + 6, generator=generator, dtype=torch.float64)
    place = torch.arange(padded + 6) - padded
    mask = (place >= 0) & (place < torch.tensor([[1], [4], [6]]))
    rewards = torch.tensor([1.0, 0.0, 1.1], dtype=torch.float64)
    return rewards, values, mask


def by_loops(rewards, values, mask, lam, gamma):
    """The two sums of the definition, one answer and one token at a time."""
    advantages = torch.zeros_like(values)
    for b in range(len(values)):
        places = mask[b].nonzero()[:, 0].tolist()
        deltas = []
        for t in places:
            last = t == places[-1]
            reward = rewards[b] if last else 0.0
            behind = 0.0 if last else values[b, t + 1]
            deltas.append(reward + gamma * behind - values[b, t])
        for i, t in enumerate(places):
            for j in range(i, len(places)):
                advantages[b, t] += (gamma * lam) ** (j - i) * deltas[j]
    return advantages


@LAMBDAS
@pytest.mark.parametrize("gamma", [0.9, 1.0])
@pytest.mark.parametrize("padded", [0, 2])
def test_the_recursion_equals_the_double_sum(lam, gamma, padded):
    rewards, values, mask = answers(padded=padded)
    advantages, returns = gae(rewards, values, mask, lam, gamma)
    assert_close(advantages, by_loops(rewards, values, mask, lam, gamma))
    assert_close(returns, (advantages + values) * mask)


def test_with_lambda_1_an_advantage_is_reward_less_value():
    rewards, values, mask = answers()
    advantages, returns = gae(rewards, values, mask, 1.0)
    assert_close(advantages, (rewards[:, None] - values) * mask)
    assert_close(returns, rewards[:, None] * mask)


def test_with_lambda_0_an_advantage_is_the_surprise_of_one_step():
    rewards, values, mask = answers()
    advantages, _ = gae(rewards, values, mask, 0.0)
    assert_close(advantages[1, 2:5], values[1, 3:6] - values[1, 2:5])
    assert_close(advantages[1, 5], rewards[1] - values[1, 5])


def test_four_tokens_by_hand():
    values, mask = torch.tensor([[0.5, 0.5, 0.25, 0.75]]), torch.ones(1, 4).bool()
    advantages, returns = gae(torch.ones(1), values, mask, lam=0.5)
    # surprises 0, -0.25, 0.5, 0.25, from the back
    expected = torch.tensor([[0.03125, 0.0625, 0.625, 0.25]])
    assert_close(advantages, expected)
    assert_close(returns, expected + values)


def test_behind_a_blind_critic_the_reward_fades_by_lambda_a_token():
    values, mask = torch.zeros(1, 30), torch.ones(1, 30).bool()
    advantages, _ = gae(torch.ones(1), values, mask, 0.95)
    assert_close(advantages[0], 0.95 ** torch.arange(29, -1, -1))
    advantages, _ = gae(torch.ones(1), values, mask, 1.0)
    assert_close(advantages, torch.ones(1, 30))


@LAMBDAS
def test_a_critic_that_is_right_at_every_token_leaves_nothing_to_learn(lam):
    rewards, _, mask = answers()
    values = rewards[:, None].expand(3, 8)
    advantages, returns = gae(rewards, values, mask, lam)
    assert_close(advantages, torch.zeros(3, 8).double(), rtol=0, atol=1e-12)
    assert_close(returns, values * mask)


@LAMBDAS
def test_values_outside_the_answer_are_not_looked_at(lam):
    rewards, values, mask = answers()
    wild = torch.where(mask, values, 1e6)
    assert_close(gae(rewards, wild, mask, lam)[0], gae(rewards, values, mask, lam)[0])


def test_lambda_and_gamma_outside_0_to_1_are_refused():
    rewards, values, mask = answers()
    for lam, gamma in ((1.1, 1.0), (-0.1, 1.0), (1.0, 1.1)):
        message = f"lam is {lam}, gamma is {gamma}; both must be from 0 to 1"
        with pytest.raises(ValueError, match=message):
            gae(rewards, values, mask, lam, gamma)


def test_whitened_tokens_have_mean_0_and_deviation_1_and_the_rest_is_0():
    _, values, mask = answers()
    white = whiten(5 + 3 * values, mask)
    zero, one = (
        torch.zeros((), dtype=torch.float64),
        torch.ones((), dtype=torch.float64),
    )
    assert_close(white[mask].mean(), zero, rtol=0, atol=1e-12)
    assert_close(white[mask].std(correction=0), one)
    assert white[~mask].abs().max() == 0
    assert_close(white, whiten(values, mask))


def test_whitening_keeps_the_order_and_equal_values_become_0():
    _, values, mask = answers()
    assert torch.equal(whiten(values, mask)[mask].argsort(), values[mask].argsort())
    for value in (0.0, 0.1, 1.1):  # the mean of many 0.1 is not quite 0.1
        same = whiten(torch.full((3, 8), value), mask)
        assert torch.equal(same, torch.zeros(3, 8))


def value_table(seed, lam, steps=200, length=6):
    """Learn the value of every place of answers that end well in one case of four."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.zeros(length, requires_grad=True)
    optimizer = torch.optim.SGD([table], lr=1.0)
    mask = torch.ones(64, length).bool()
    for _ in range(steps):
        rewards = (torch.rand(64, generator=generator) < 0.25).float()
        values = table.expand(64, length)
        _, returns = gae(rewards, values.detach(), mask, lam)
        loss = (values - returns).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return table.detach()


@pytest.mark.slow
@LAMBDAS
@pytest.mark.parametrize("seed", range(3))
def test_a_critic_learns_the_mean_reward_for_every_lambda(lam, seed):
    assert_close(value_table(seed, lam), torch.full((6,), 0.25), rtol=0, atol=0.07)
