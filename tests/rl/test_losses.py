"""From rewards to a loss: what every part is worth, by hand and at its limits."""

import math

import pytest
import torch
from torch.testing import assert_close

from r1.rl.losses import clipped_surrogate, grpo_loss, kl, ratio
from r1.rl.rewards import group_advantages
from r1.train.likelihood import aggregate, token_logprobs

P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
REF = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
QUADRANTS = pytest.mark.parametrize(
    ("rho", "advantage", "slope"),
    [
        (0.5, 1.0, 1.0),  # a good answer that became rarer: let it come back
        (1.5, 1.0, 0.0),  # a good answer, made likelier already
        (0.5, -1.0, 0.0),  # a bad answer, made rarer already
        (1.5, -1.0, -1.0),  # a bad answer that became likelier: push it down
    ],
)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def batch_2_by_7(seed=0):
    """Two answers of 3 and 7 tokens: log-probabilities with a gradient, and a mask."""
    generator = torch.Generator().manual_seed(seed)
    logp = -torch.rand(2, 7, generator=generator, dtype=torch.float64) - 0.1
    mask = torch.arange(7) < torch.tensor([[3], [7]])
    return logp.requires_grad_(), mask


def gradient(logp, mask, advantages, **options):
    """The gradient of the loss at the log-probabilities, with the old ones equal."""
    options.setdefault("logp_old", logp.detach())
    loss = grpo_loss(logp, advantages=advantages, mask=mask, **options).loss
    return torch.autograd.grad(loss, logp)[0]


# advantages


def test_one_right_answer_of_four_has_the_advantage_root_three():
    found = group_advantages(tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 3.0, 1.0, 2.0]]))
    root = math.sqrt(3)
    first = [root, -1 / root, -1 / root, -1 / root]
    second = [x / math.sqrt(1.25) for x in (-1.5, 1.5, -0.5, 0.5)]
    assert_close(found, tensor([first, second]))


@pytest.mark.parametrize("right", range(1, 16))
def test_k_right_of_sixteen_are_worth_root_of_wrong_over_right(right):
    rewards = tensor([[1.0] * right + [0.0] * (16 - right)])
    above, below = math.sqrt((16 - right) / right), -math.sqrt(right / (16 - right))
    expected = tensor([[above] * right + [below] * (16 - right)])
    assert_close(group_advantages(rewards), expected)


def test_advantages_of_a_group_have_mean_0_and_deviation_1():
    rewards = torch.rand(5, 8, generator=torch.Generator().manual_seed(0))
    found = group_advantages(rewards.double())
    assert_close(found.mean(1), torch.zeros(5).double(), rtol=0, atol=1e-12)
    assert_close(found.std(1, correction=0), torch.ones(5).double())


def test_advantages_do_not_see_a_shift_or_a_scale_of_the_rewards():
    rewards = torch.rand(3, 8, generator=torch.Generator().manual_seed(0)).double()
    assert_close(group_advantages(7 + 5 * rewards), group_advantages(rewards))
    plain = group_advantages(rewards, scale=False)
    assert_close(group_advantages(7 + 5 * rewards, scale=False), 5 * plain)


def test_groups_know_nothing_of_each_other():
    rewards = torch.rand(3, 8, generator=torch.Generator().manual_seed(0)).double()
    changed = rewards.clone()
    changed[2] = 100 * changed[2].flip(0)
    assert_close(group_advantages(changed)[:2], group_advantages(rewards)[:2])


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, 1.1, 1 / 3, -7.3, 1e30])
@pytest.mark.parametrize("group", [2, 3, 16, 64])
def test_a_group_of_equal_rewards_gives_exactly_0(group, reward, scale):
    found = group_advantages(torch.full((2, group), reward), scale)
    assert torch.equal(found, torch.zeros(2, group))


def test_the_rounding_of_a_mean_is_no_advantage():
    rewards = torch.full((1, 16), 0.1, dtype=torch.float64)
    mean = sum(rewards[0].tolist()) / 16  # added one after the other, not quite 0.1
    naive = (rewards - mean) / rewards.sub(mean).square().mean().sqrt()
    assert mean != 0.1
    assert naive.abs().min() > 0.9  # rounding alone, divided by itself
    assert group_advantages(rewards).abs().max() == 0
    assert group_advantages(rewards.float()).abs().max() == 0


def test_a_group_of_equal_rewards_has_gradient_exactly_0_beside_one_that_teaches():
    logp, mask = torch.zeros(4, 3, requires_grad=True), torch.ones(4, 3).bool()
    advantages = group_advantages(torch.tensor([[0.1, 0.1], [1.0, 0.0]])).flatten()
    found = gradient(logp, mask, advantages)
    assert torch.equal(found[:2], torch.zeros(2, 3))
    assert found[2:].abs().min() > 0


@pytest.mark.parametrize("group", [2, 4, 16, 64])
def test_advantages_stand_in_an_exact_relation_to_those_of_trl(group):
    """TRL divides by the deviation over G - 1 and adds 1e-4: ours are larger."""
    rewards = torch.rand(5, group, generator=torch.Generator().manual_seed(1)).double()
    above = rewards - rewards.mean(1, keepdim=True)
    theirs = above / (rewards.std(1, keepdim=True) + 1e-4)  # std is Bessel's here
    deviation = rewards.std(1, correction=0, keepdim=True)
    bessel = math.sqrt(group / (group - 1))
    ours = group_advantages(rewards)
    assert_close(ours, theirs * (bessel + 1e-4 / deviation))
    assert (ours.abs() >= theirs.abs()).all()
    assert_close(group_advantages(rewards, scale=False), above)


def test_groups_of_one_and_rewards_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="group has 1 answer; sample at least 2"):
        group_advantages(torch.ones(4, 1))
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=f"a reward is {bad}; .* finite"):
            group_advantages(torch.tensor([[0.0, bad]]))


# ratios and clips


def test_token_logprobs_are_those_of_the_tokens():
    logits = torch.log(torch.stack([P, REF]))[None] + 5  # a shift changes nothing
    found = token_logprobs(logits, torch.tensor([[2, 0]]))
    assert_close(found, torch.log(tensor([[0.2, 0.2]])))


def test_the_ratio_of_a_sequence_is_the_product_of_those_of_its_tokens():
    logp, mask = batch_2_by_7()
    logp_old = logp.detach() + torch.linspace(-0.3, 0.4, 14).view(2, 7)
    tokens = ratio(logp, logp_old, mask)
    whole = ratio(logp, logp_old, mask, "sequence")
    assert_close(whole[0], tokens[0, :3].prod().expand(7))
    assert_close(whole[1], tokens[1].prod().expand(7))
    assert_close(tokens[0, 3:], torch.ones(4).double())


def test_what_stands_outside_the_mask_reaches_neither_loss_nor_gradient():
    logp, mask = batch_2_by_7()
    start = logp.detach()
    options = {"kl_weight": 0.1, "clip": (0.2, 0.3)}
    advantages = tensor([1.0, -0.5])
    for level in ("token", "sequence"):
        for wild in (-700.0, -1e4):  # e to the 1e4 is infinite, and 0 * inf is nan
            other = torch.where(mask, start, wild).requires_grad_()
            found = [
                grpo_loss(
                    x, start, advantages, mask, logp_ref=start, level=level, **options
                )
                for x in (logp, other)
            ]
            for a, b in zip(*found, strict=True):
                assert_close(a, b)
            here, there = (
                torch.autograd.grad(a.loss, x)[0]
                for a, x in zip(found, (logp, other), strict=True)
            )
            assert_close(here, there)
            assert here[~mask].abs().max() == 0


@QUADRANTS
def test_the_clip_takes_the_gradient_in_two_of_four_quadrants(rho, advantage, slope):
    at = tensor([rho]).requires_grad_()
    value = clipped_surrogate(at, tensor([advantage]))
    assert torch.autograd.grad(value.sum(), at)[0].item() == slope


@QUADRANTS
def test_the_loss_moves_a_token_only_where_the_clip_lets_it(rho, advantage, slope):
    logp = tensor([[math.log(0.3 * rho)]]).requires_grad_()
    old, mask = tensor([[math.log(0.3)]]), torch.ones(1, 1).bool()
    found = grpo_loss(logp, old, tensor([advantage]), mask)
    (got,) = torch.autograd.grad(found.loss, logp)
    assert_close(got, tensor([[-slope * rho]]))
    assert found.clipped.item() == (slope == 0)


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("rho", [0.85, 1.0, 1.15])
def test_within_the_range_the_surrogate_is_rho_times_the_advantage(rho, advantage):
    at = tensor([rho]).requires_grad_()
    value = clipped_surrogate(at, tensor([advantage]))
    assert_close(value.item(), rho * advantage)
    assert torch.autograd.grad(value.sum(), at)[0].item() == advantage


def test_clips_may_differ_below_and_above():
    rho = tensor([0.75, 0.85, 1.25, 1.35]).requires_grad_()
    for sign, slopes in ((1.0, [1, 1, 1, 0]), (-1.0, [0, -1, -1, -1])):
        value = clipped_surrogate(rho, torch.full_like(rho, sign), (0.2, 0.28))
        (got,) = torch.autograd.grad(value.sum(), rho)
        assert got.tolist() == slopes


def test_with_a_clip_of_10_no_good_token_below_a_ratio_of_11_is_clipped():
    rho = tensor([0.0, 0.5, 5.0, 10.9, 11.1])
    for sign, free in ((1.0, [1, 1, 1, 1, 0]), (-1.0, [1, 1, 1, 1, 1])):
        inside = clipped_surrogate(rho, torch.full_like(rho, sign), (10.0, 10.0))
        assert (inside == rho * sign).tolist() == [bool(x) for x in free]


# divergence


@pytest.mark.parametrize(("estimator", "right"), [("k1", 1), ("k2", 0), ("k3", 1)])
def test_k1_and_k3_are_right_on_average_and_k2_is_not(estimator, right):
    exact = (P * (P / REF).log()).sum()
    expected = (P * kl(P.log(), REF.log(), estimator)).sum()
    if right:
        assert_close(expected, exact)
    else:
        assert (expected - exact).abs() > 0.02 * exact
    other_way = (REF * (REF / P).log()).sum()
    uneven = tensor([0.7, 0.2, 0.1])
    assert (other_way - exact).abs() < 1e-12  # P and REF mirror each other
    away = (uneven * kl(uneven.log(), REF.log(), estimator)).sum()
    back = (REF * (REF / uneven).log()).sum()
    assert (away - back).abs() > 0.01


def test_k2_and_k3_are_never_negative_and_k1_is():
    values = {name: kl(P.log(), REF.log(), name) for name in ("k1", "k2", "k3")}
    assert values["k1"].min() < 0
    assert min(values["k2"].min(), values["k3"].min()) >= 0
    for name in values:
        assert kl(P.log(), P.log(), name).abs().max() == 0


def policy():
    logits = tensor([0.7, -0.2, 0.1]).requires_grad_()
    return logits, logits.log_softmax(-1)


def divergence(a, b):
    return (a.exp() * (a - b)).sum()


def test_the_expectation_of_k3_has_the_gradient_of_the_divergence():
    """Where the probabilities that weigh the samples are differentiated as well."""
    logits, logp = policy()
    whole = (logp.exp() * kl(logp, REF.log())).sum()
    (found,) = torch.autograd.grad(whole, logits, retain_graph=True)
    (exact,) = torch.autograd.grad(divergence(logp, REF.log()), logits)
    assert_close(found, exact)


def test_in_a_loss_k1_k2_and_k3_have_the_gradients_of_three_other_things():
    """Samples are fixed there: nothing, the divergence, and that the other way."""
    logits, logp = policy()

    def in_loss(name):
        value = (logp.exp().detach() * kl(logp, REF.log(), name)).sum()
        return torch.autograd.grad(value, logits, retain_graph=True)[0]

    def exact(value):
        return torch.autograd.grad(value, logits, retain_graph=True)[0]

    forward = exact(divergence(logp, REF.log()))
    backward = exact(divergence(REF.log(), logp))
    assert_close(in_loss("k1"), torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert_close(in_loss("k2"), forward)
    assert_close(in_loss("k3"), backward)
    assert (forward - backward).abs().max() > 0.01


def test_k1_in_the_reward_has_the_gradient_of_the_divergence():
    logits, logp = policy()
    reward = kl(logp, REF.log(), "k1").detach()
    loss = (logp.exp().detach() * reward * logp).sum()
    (found,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (exact,) = torch.autograd.grad(divergence(logp, REF.log()), logits)
    assert_close(found, exact)


# aggregation


def test_three_ways_to_make_one_number_of_a_2_by_7_batch():
    _, mask = batch_2_by_7()
    values = torch.tensor([[1.0, 2, 3, 9, 9, 9, 9], [1, 1, 1, 1, 1, 1, 8]])
    assert aggregate(values, mask, "sequence").item() == (6 / 3 + 14 / 7) / 2
    assert aggregate(values, mask, "token").item() == 20 / 10
    assert_close(aggregate(values, mask, "constant", 14.0).item(), 20 / 14)


def test_a_token_of_a_short_answer_weighs_more_only_if_answers_are_averaged():
    values, mask = batch_2_by_7()
    weights = {}
    for how, constant in (("sequence", None), ("token", None), ("constant", 14.0)):
        one = aggregate(values, mask, how, constant)
        (grad,) = torch.autograd.grad(one, values)
        weights[how] = (grad[0, 0].item(), grad[1, 0].item())
        assert grad[~mask].abs().max() == 0
        assert_close(grad[1], grad[1, :1].expand(7))
    assert_close(weights["sequence"], (1 / 6, 1 / 14))
    assert_close(weights["token"], (1 / 10, 1 / 10))
    assert_close(weights["constant"], (1 / 14, 1 / 14))


def test_answers_of_one_length_make_three_ways_one():
    values, mask = torch.rand(3, 5), torch.ones(3, 5).bool()
    found = [aggregate(values, mask, how) for how in ("sequence", "token")]
    found.append(aggregate(values, mask, "constant", 15.0))
    assert_close(torch.stack(found), values.mean().expand(3))


# the loss


def reinforce_gradient(logp, mask, advantages):
    loss = -(advantages[:, None] * logp * mask).sum(1) / mask.sum(1)
    return torch.autograd.grad(loss.mean(), logp)[0]


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_at_ratio_1_the_gradient_is_that_of_reinforce(level):
    logp, mask = batch_2_by_7()
    advantages = tensor([1.0, -0.5])
    found = gradient(logp, mask, advantages, level=level)
    if level == "token":
        assert_close(found, reinforce_gradient(logp, mask, advantages))
    else:  # every token carries the whole answer's: REINFORCE's without 1 / length
        loss = -(advantages * (logp * mask).sum(1)).mean()
        assert_close(found, torch.autograd.grad(loss, logp)[0])


def test_the_loss_is_0_at_the_first_step_and_its_gradient_is_not():
    rewards = tensor([[1.0, 0.0, 0.0, 0.1]])
    advantages = group_advantages(rewards).flatten()
    logp = torch.full((4, 5), -1.2).double().requires_grad_()
    mask = torch.arange(5) < torch.tensor([[5], [2], [3], [1]])
    found = grpo_loss(logp, logp.detach(), advantages, mask, logp_ref=logp.detach())
    assert_close(found.loss.item(), 0.0, rtol=0, atol=1e-12)
    assert found.clipped.item() == found.kl.item() == 0
    (grad,) = torch.autograd.grad(found.loss, logp)
    assert grad[mask].abs().min() > 0.01


def test_a_good_answer_becomes_likelier_and_a_bad_one_rarer():
    logp, mask = batch_2_by_7()
    step = -gradient(logp, mask, tensor([1.0, -1.0]))
    assert step[0][mask[0]].min() > 0 > step[1].max()


def test_with_beta_0_a_reference_changes_nothing_but_what_is_reported():
    logp, mask = batch_2_by_7()
    reference = logp.detach() - 0.5
    advantages = tensor([1.0, -0.5])
    with_one = grpo_loss(logp, logp.detach(), advantages, mask, logp_ref=reference)
    without = grpo_loss(logp, logp.detach(), advantages, mask)
    assert_close(with_one.loss, without.loss, rtol=0, atol=0)
    assert_close(with_one.kl.item(), math.exp(-0.5) + 0.5 - 1)
    assert without.kl.item() == 0


def test_after_one_update_a_rollout_the_coefficient_is_the_papers():
    """DeepSeekMath, equation 21: advantage plus beta (ref / policy - 1)."""
    logp, mask = batch_2_by_7()
    reference = logp.detach() + torch.linspace(-1, 1, 14).view(2, 7)
    advantages, beta = tensor([1.0, -0.5]), 0.3
    found = gradient(logp, mask, advantages, kl_weight=beta, logp_ref=reference)
    pull = beta * ((reference - logp.detach()).exp() - 1)
    expected = -(advantages[:, None] + pull) * mask / mask.sum(1, keepdim=True) / 2
    assert_close(found, expected)


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("how", ["sequence", "token", "constant"])
def test_the_loss_equals_that_of_trl_written_out(how, beta):
    """Its loss types grpo, bnpo and dr_grpo, once the advantages are the same."""
    logp, mask = batch_2_by_7()
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(2, 2, 7, generator=generator).double()
    old, reference = logp.detach() + 0.6 * noise
    advantages, low, high, longest = tensor([1.3, -0.7]), 0.2, 0.28, 9
    coef_1 = torch.exp(logp - old)
    coef_2 = torch.clamp(coef_1, 1 - low, 1 + high)
    first, second = coef_1 * advantages[:, None], coef_2 * advantages[:, None]
    theirs = -torch.min(first, second)
    theirs = theirs + beta * (torch.exp(reference - logp) - (reference - logp) - 1)
    if how == "sequence":
        theirs = ((theirs * mask).sum(-1) / mask.sum(-1)).mean()
    elif how == "token":
        theirs = (theirs * mask).sum() / mask.sum()
    else:
        theirs = (theirs * mask).sum() / (2 * longest)
    constant = 2.0 * longest if how == "constant" else None
    options = {"kl_weight": beta, "logp_ref": reference, "how": how}
    options |= {"clip": (low, high), "constant": constant}
    ours = grpo_loss(logp, old, advantages, mask, **options)
    assert_close(ours.loss, theirs)
    assert 0 < ours.clipped < 1
    found = [
        torch.autograd.grad(x, logp, retain_graph=True) for x in (ours.loss, theirs)
    ]
    assert_close(*found)


def test_neither_the_old_model_nor_the_reference_learns():
    logp, mask = batch_2_by_7()
    old, reference = (logp.detach().clone().requires_grad_() for _ in range(2))
    options = {"kl_weight": 0.1, "logp_ref": reference}
    grpo_loss(logp, old, tensor([1.0, -0.5]), mask, **options).loss.backward()
    assert old.grad is None
    assert reference.grad is None
    assert logp.grad.abs().max() > 0


def test_a_wrong_option_is_refused_with_its_value_and_a_remedy():
    logp, mask = batch_2_by_7()
    with pytest.raises(ValueError, match="level is 'word'; use 'token' or 'sequence'"):
        ratio(logp, logp, mask, "word")
    with pytest.raises(ValueError, match=r"estimator is 'k4'; use one of .*k3"):
        kl(logp, logp, "k4")
    with pytest.raises(ValueError, match=r"how is 'mean'; use one of .*sequence"):
        aggregate(logp, mask, "mean")
    with pytest.raises(ValueError, match="how is 'constant' and constant is None"):
        aggregate(logp, mask, "constant")
    with pytest.raises(ValueError, match=r"how is 'token' and constant is 14\.0"):
        aggregate(logp, mask, "token", 14.0)
    with pytest.raises(ValueError, match="an answer has no token; every row"):
        aggregate(logp, mask & torch.tensor([[True], [False]]))
    with pytest.raises(ValueError, match=r"kl_weight is 0\.1 and logp_ref is None"):
        grpo_loss(logp, logp.detach(), tensor([1.0, 1.0]), mask, kl_weight=0.1)


# learning


def learn(seed, groups, steps=150):
    """Three answers, of which the last and rarest is right: the chance of it."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.tensor([1.0, 1.0, -1.0]).requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=0.5)
    for _ in range(steps):
        p = logits.softmax(-1)
        drawn = torch.multinomial(
            p.detach().expand(groups, 3), 16, True, generator=generator
        )
        advantages = group_advantages((drawn == 2).float()).flatten()
        logp = logits.log_softmax(-1)[drawn.flatten()][:, None]
        found = grpo_loss(logp, logp.detach(), advantages, torch.ones_like(logp).bool())
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
    return logits.detach().softmax(-1)[2].item()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_group_finds_the_rare_right_answer(seed):
    assert learn(seed, groups=4) > 0.9


def test_a_divergence_without_weight_is_0_times_nothing_however_far_it_is():
    logp, mask = batch_2_by_7()
    far, advantages = torch.full((2, 7), 1000.0).double(), tensor([1.0, -1.0])
    found = grpo_loss(logp, logp.detach(), advantages, mask, logp_ref=far)
    plain = grpo_loss(logp, logp.detach(), advantages, mask)
    assert found.kl == math.inf
    slopes = [torch.autograd.grad(x.loss, logp)[0] for x in (found, plain)]
    assert torch.equal(found.loss, plain.loss)
    assert torch.equal(*slopes)


@pytest.mark.parametrize("kind", [torch.int64, torch.bool])
def test_marks_of_0_and_1_are_rewards_of_any_kind(kind):
    marks = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]])
    assert torch.equal(group_advantages(marks.to(kind)), group_advantages(marks))
