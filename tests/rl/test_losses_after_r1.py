"""What came after GRPO: every loss has two forms, and they agree."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from r1.rl.losses import grpo_loss
from r1.rl.losses_after_r1 import (
    PrintedLoss,
    cispo_loss,
    gspo_loss,
    gspo_token_loss,
    masked_loss,
    mean_ratio,
    mixed,
    overlong_penalty,
    product_loss,
    token_weights,
)

WIDE = (1e9, 1e9)
LOSSES = {
    "gspo": partial(gspo_loss, clip=(0.1, 0.1)),
    "gspo by tokens": partial(gspo_token_loss, clip=(0.1, 0.1)),
    "cispo": cispo_loss,
    "cispo low": partial(cispo_loss, lowest=0.8),
    "masked": masked_loss,
    "product": product_loss,
    "printed": partial(PrintedLoss(kl_weight=0.0), logp_ref=torch.zeros(6, 7)),
    "grpo": grpo_loss,
}
ALL = pytest.mark.parametrize("name", LOSSES)


def batch(spread=0.3, seed=0, answers=6, width=7):
    """Log-probabilities now and then, advantages, and answers of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(answers, width, generator=generator, dtype=torch.float64)
    change = torch.randn(answers, width, generator=generator, dtype=torch.float64)
    lengths = torch.arange(answers)[:, None] % width + 1
    mask = torch.arange(width) < lengths
    advantages = torch.tensor([1.0, -1.0, 2.0, -0.5, 0.0, -1.5], dtype=torch.float64)
    return old + spread * change, old, advantages[:answers], mask


def test_the_mean_ratio_is_the_root_of_the_product_of_the_ratios():
    logp, old, _, mask = batch()
    for i, row in enumerate(mask):
        rho = (logp - old)[i][row].exp()
        assert_close(mean_ratio(logp, old, mask)[i], rho.prod() ** (1 / len(rho)))


@pytest.mark.parametrize("seed", range(4))
def test_gspo_by_answers_and_by_tokens_has_one_gradient(seed):
    """Where all tokens of an answer share its advantage: GSPO, section 4.3."""
    whole, tokens = (
        token_weights(LOSSES[name], *batch(seed=seed))
        for name in ("gspo", "gspo by tokens")
    )
    assert_close(whole, tokens)
    assert whole.abs().max() > 0


def test_gspo_pushes_every_token_of_an_answer_alike():
    logp, old, advantages, mask = batch()
    weights = token_weights(partial(gspo_loss, clip=WIDE), logp, old, advantages, mask)
    s = mean_ratio(logp, old, mask)
    expected = (s * advantages / mask.sum(1))[:, None] * mask / len(mask)
    assert_close(weights, expected)


def test_gspo_silences_whole_answers_and_grpo_single_tokens():
    rows = batch(spread=0.4)
    mask = rows[-1]
    by_answer = (token_weights(LOSSES["gspo"], *rows) == 0) & mask
    by_token = (token_weights(grpo_loss, *rows) == 0) & mask
    speaks = rows[2] != 0
    for gone, row, some in zip(by_answer, mask, speaks, strict=True):
        assert gone.sum() in (0, row.sum()) or not some
    partly = (by_token.sum(1) > 0) & (by_token.sum(1) < mask.sum(1))
    assert (partly & speaks).any()


def test_cispo_is_the_sum_of_its_weights_times_the_slopes():
    logp, old, advantages, mask = batch(spread=1.0)
    weights = token_weights(
        partial(cispo_loss, highest=1.5), logp, old, advantages, mask
    )
    rho = (logp - old).exp().clamp(max=1.5)
    assert_close(weights, rho * advantages[:, None] * mask / mask.sum())


def test_cispo_gives_a_gradient_to_every_token_that_an_advantage_has():
    logp, old, advantages, mask = batch(spread=2.0)
    weights = token_weights(cispo_loss, logp, old, advantages, mask)
    assert ((weights != 0) == (mask & (advantages != 0)[:, None])).all()
    silent = token_weights(partial(grpo_loss, how="token"), logp, old, advantages, mask)
    assert ((silent == 0) & (weights != 0)).any()


def test_cispo_with_grpos_lower_clip_drops_what_that_drops():
    """And nothing else: with GRPO's upper clip away the two are one loss."""
    rows = batch(spread=1.0)
    low = partial(cispo_loss, highest=math.inf, lowest=0.8)
    clipped = partial(grpo_loss, how="token", clip=(0.2, 1e9))
    assert_close(token_weights(low, *rows), token_weights(clipped, *rows))
    assert_close(low(*rows).clipped, clipped(*rows).clipped)


@pytest.mark.parametrize("seed", range(4))
def test_the_product_pushes_every_token_by_its_share_of_the_answer(seed):
    """By hand: the product times the advantage over the length, 0 where clipped."""
    logp, old, advantages, mask = rows = batch(seed=seed)
    product = ((logp - old) * mask).sum(1).exp()
    gone = torch.where(advantages > 0, product > 1.2, product < 0.8)
    weight = product * advantages / mask.sum(1) / len(mask)
    weight = weight.masked_fill(gone, 0.0)[:, None] * mask
    assert_close(token_weights(product_loss, *rows), weight)
    assert weight.abs().max() > 0


def printed(logp, old, advantages, mask, shift=0.3, **changes):
    """R1's printed loss, with a reference that is `shift` away at each token."""
    return PrintedLoss(**changes)(logp, old, advantages, mask, old - shift)


@pytest.mark.parametrize("seed", range(4))
def test_the_printed_objective_is_that_of_whole_answers(seed):
    """By hand: its two equations, answer by answer, and the slope of both terms."""
    logp, old, advantages, mask = rows = batch(seed=seed)
    found, gains, slopes = printed(*rows, clip=(0.5, 0.5), kl_weight=0.1), [], []
    for i, row in enumerate(mask):
        pi, was, ref = (x[i][row].sum().exp() for x in (logp, old, old - 0.3))
        A, ratio = advantages[i], pi / was
        surrogate = min(ratio * A, ratio.clamp(0.5, 1.5) * A)
        gains.append(surrogate - 0.1 * (ref / pi - (ref / pi).log() - 1))
        speaks = ratio <= 1.5 if A > 0 else ratio >= 0.5
        slopes.append(ratio * A * speaks - 0.1 * (1 - ref / pi))
    assert_close(found.loss, -torch.stack(gains).mean())
    weights = token_weights(partial(printed, clip=(0.5, 0.5), kl_weight=0.1), *rows)
    assert_close(weights, torch.stack(slopes)[:, None] * mask / len(mask))


def test_the_printed_objective_without_divergence_is_grpos_product():
    rows = batch(spread=0.4)
    ours = token_weights(partial(printed, kl_weight=0.0), *rows)
    theirs = partial(grpo_loss, level="sequence", clip=(10.0, 10.0))
    assert_close(ours, token_weights(theirs, *rows))
    assert_close(printed(*rows).clipped, theirs(*rows).clipped)


def test_cispo_without_a_bound_is_grpo_without_a_clip():
    rows = batch(spread=1.0)
    loose = partial(grpo_loss, clip=WIDE, how="token")
    tight = partial(cispo_loss, highest=math.inf)
    assert_close(token_weights(tight, *rows), token_weights(loose, *rows))


def test_masking_drops_bad_answers_that_are_far_behind_and_nothing_else():
    logp, old, advantages, mask = batch()
    logp = old.clone()
    logp[1], logp[2], logp[3] = old[1] - 0.2, old[2] - 0.2, old[3] + 0.2
    weights = token_weights(masked_loss, logp, old, advantages, mask)
    assert (weights[1] == 0).all()  # bad, and left behind
    assert (weights[2][mask[2]] != 0).all()  # good, and left behind
    kept = token_weights(grpo_loss, logp, old, advantages, mask)
    others = torch.tensor([0, 2, 3, 4, 5])
    assert_close(weights[others], kept[others])


def test_masking_with_an_endless_threshold_is_grpo():
    rows = batch(spread=1.0)
    endless = partial(masked_loss, furthest=math.inf)
    assert_close(token_weights(endless, *rows), token_weights(grpo_loss, *rows))


@ALL
def test_without_a_change_every_loss_is_the_plain_gradient(name):
    """Ratio 1: no clip works, and what is left is how answers are averaged."""
    logp, _, advantages, mask = batch()
    weights = token_weights(LOSSES[name], logp, logp, advantages, mask)
    by_answer = advantages[:, None] * mask / mask.sum(1, keepdim=True) / len(mask)
    by_token = advantages[:, None] * mask / mask.sum()
    whole = advantages[:, None] * mask / len(mask)
    others = {"cispo": by_token, "cispo low": by_token, "printed": whole}
    assert_close(weights, others.get(name, by_answer))
    found = LOSSES[name](logp, logp, advantages, mask)
    assert found.clipped == 0


@ALL
def test_padding_may_be_anything(name):
    logp, old, advantages, mask = batch()
    clean = LOSSES[name](logp, old, advantages, mask)
    dirty = LOSSES[name](
        logp.masked_fill(~mask, -300.0), old.masked_fill(~mask, 200.0), advantages, mask
    )
    assert_close(clean.loss, dirty.loss)
    assert_close(clean.clipped, dirty.clipped)


def test_the_penalty_falls_in_a_straight_line_and_stays_at_minus_one():
    """DAPO, equation 13, with its own numbers and a small case by hand."""
    paper = [overlong_penalty(n, 20_480, 4_096) for n in (100, 16_384, 18_432, 20_481)]
    assert paper == [0, 0, -0.5, -1]
    assert [overlong_penalty(n, 8, 4) for n in range(3, 10)] == [
        *(0, 0, -0.25, -0.5, -0.75),
        *(-1, -1),
    ]


@pytest.mark.parametrize("cache", [0, -1, 9])
def test_a_cache_that_does_not_fit_is_refused(cache):
    with pytest.raises(ValueError, match=f"cache is {cache}; choose"):
        overlong_penalty(3, 8, cache)


def test_only_groups_with_different_rewards_are_mixed():
    rewards = torch.tensor([[1.0, 1, 1], [0.1, 0.1, 0.1], [1, 0, 1], [0, 0, 0]])
    assert mixed(rewards).tolist() == [False, False, True, False]


def test_the_printed_objective_without_weight_needs_no_reference_and_fears_none():
    logp, old, advantages, mask = batch()
    far = torch.full_like(logp, 1000.0)
    without = PrintedLoss(kl_weight=0.0)
    plain, found = (without(logp, old, advantages, mask, ref) for ref in (None, far))
    assert plain.kl == 0
    assert found.kl == math.inf
    assert found.loss.isfinite()
    assert torch.equal(found.loss, plain.loss)
    with pytest.raises(ValueError, match=r"kl_weight is 0\.001 and logp_ref is None"):
        PrintedLoss()(logp, old, advantages, mask)
