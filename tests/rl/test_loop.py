"""Rollouts and the loops of GRPO and PPO, on a model too small to be clever."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.rl import grpo_loop, ppo_loop
from r1.rl.grpo_loop import (
    ROUNDS,
    Environment,
    Settings,
    Updates,
    answer_logits,
    by_length,
    describe,
    entropy,
    grpo,
    logprobs,
    new_policy,
    problems_of,
    refill,
    similar,
)
from r1.rl.losses import GRPOLoss, grpo_loss
from r1.rl.losses_after_r1 import gspo_loss, mixed
from r1.rl.ppo_loop import PPOSettings, new_critic, ppo, values_of
from r1.rl.rewards import score
from r1.rl.rollout import Sampling, join, roll_out
from r1.text.problems import Problem
from r1.text.tokenizer import EOS, EOS_ID, PAD_ID, encode
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.likelihood import token_logprobs

SMALL = replace(
    ModelConfig.tiny(), dim=32, n_layers=2, n_dense_layers=1, moe_inter_dim=16
)
FEW = Sampling(group=4, max_new_tokens=6)
UNEVEN = [Problem((7, 3, 5), "*+"), Problem((2, 2, 9, 4, 3), "+*-*")]


def new_model(seed=0):
    torch.manual_seed(seed)
    return new_policy(Model(SMALL))


def rolled(model=None, sampling=FEW, seed=0, problems=UNEVEN):
    generator = torch.Generator().manual_seed(seed)
    return roll_out(model or new_model(), problems, sampling, generator)


def even(problem, text):
    """A reward that any model gets now and then: the first token's id is even."""
    return float(encode(text)[0] % 2 == 0)


def chance_of_even(model, problems):
    """The exact probability of a rewarded answer, by its first token."""
    chances = []
    for problem in problems:
        logits = model(torch.tensor([encode(problem.prompt)]))[0, -1]
        chances.append(logits.softmax(-1)[::2].sum())
    return torch.stack(chances).mean().item()


def loop(name, model, steps, reward=even, keep=None, base=None, seed=0, **settings):
    """Run a loop to its end on problems of 3 to 5 terms; return the rows."""
    base, ask = base or new_policy(model), partial(problems_of, terms=(3, 5))
    env = Environment(ask, reward, keep)
    settings = {"prompts": 3, "sampling": FEW} | settings
    if name == "grpo":
        return list(grpo(model, base, steps, Settings(**settings), env, seed))
    chosen = PPOSettings(**settings)
    return list(ppo(model, new_critic(base), base, steps, chosen, env, seed))


MORE = {"prompts": 8, "sampling": Sampling(group=8, max_new_tokens=6)}


LOOPS = pytest.mark.parametrize("name", ["grpo", "ppo"])


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# rollouts


def test_the_mask_marks_exactly_the_tokens_of_the_answers():
    rollout = rolled()
    assert rollout.mask.sum(1).unique().numel() > 1  # some end before others
    for row, text in enumerate(rollout.texts):
        following = rollout.tokens[row, 1:]
        assert following[rollout.mask[row]].tolist() == encode(text)
        assert (rollout.mask[row].diff().sum() <= 2).item()  # one piece
        behind = rollout.mask[row].nonzero().max() + 1
        assert (following[behind:] == PAD_ID).all()


def test_prompts_stand_behind_their_padding_and_answers_end_where_they_ended():
    rollout = rolled()
    asked = [problem for problem in UNEVEN for _ in range(4)]
    assert rollout.problems == asked
    for row, problem in enumerate(asked):
        first = rollout.mask[row].nonzero().min()
        ids = rollout.tokens[row, : first + 1].tolist()
        assert ids == [PAD_ID] * int(rollout.pads[row]) + encode(problem.prompt)
        answer = encode(rollout.texts[row])
        assert EOS_ID not in answer[:-1]
        assert len(answer) == FEW.max_new_tokens or rollout.texts[row].endswith(EOS)


def test_logprobs_under_left_padding_equal_those_of_each_row_alone():
    model = new_model().double()
    rollout = rolled(model)
    assert rollout.pads.max() > 0
    together = logprobs(model, rollout, temperature=0.7)
    for row in range(len(rollout.tokens)):
        pad = int(rollout.pads[row])
        ids = rollout.tokens[row : row + 1, pad:]
        logp = (model(ids[:, :-1]) / 0.7).log_softmax(-1)[0]
        alone = logp.gather(-1, ids[0, 1:, None])[:, 0]
        mask = rollout.mask[row]
        assert_close(together[row][mask], alone[mask[pad:]])


@pytest.mark.parametrize("together", [1, 3, 8])
def test_answers_computed_by_length_are_those_computed_all_at_once(together):
    model = new_model().double()
    rollout = rolled(model)
    assert rollout.mask.sum(1).unique().numel() > 1

    def compute(part):
        return answer_logits(model, part).log_softmax(-1)[..., 5]

    slopes = []
    whole, apart = compute(rollout), by_length(rollout, compute, together)
    for values in (whole, apart):
        model.zero_grad()
        values[rollout.mask].square().sum().backward()
        slopes.append([p.grad.clone() for p in model.parameters()])
    assert apart.shape == whole.shape
    assert_close(apart[rollout.mask], whole[rollout.mask])
    assert_close(slopes[0], slopes[1])


def whole_rows(model, rollout, temperature=1.0):
    """Log-probabilities from whole rows, each with its prompt, all at once."""
    logits = answer_logits(model, rollout) / temperature
    return token_logprobs(logits, rollout.tokens[:, 1:])


def whole_rows_values(critic, rollout):
    return answer_logits(critic, rollout)[..., 0]


SHARED_AND_WHOLE = pytest.mark.parametrize(
    ("shared", "whole"),
    [(logprobs, whole_rows), (values_of, whole_rows_values)],
    ids=["policy", "critic"],
)


@SHARED_AND_WHOLE
@pytest.mark.parametrize("config", [SMALL, ModelConfig.dense()], ids=["latent", "mha"])
@pytest.mark.parametrize("length", [1, 6, 24])
def test_a_prompt_that_is_read_once_gives_values_and_gradients_of_whole_rows(
    shared, whole, config, length
):
    torch.manual_seed(0)
    model = new_policy(Model(config)).double()
    sampling = Sampling(group=4, max_new_tokens=length)
    rollout = rolled(model, sampling, problems=UNEVEN + UNEVEN[:1])
    assert rollout.pads.max() > 0
    part = rollout.rows(torch.tensor([9, 4, 0, 5, 2]))  # some of each group, mixed
    values, slopes = [], []
    for of_tokens in (shared, whole):
        model.zero_grad()
        values.append(of_tokens(model, part))
        values[-1][part.mask].square().sum().backward()
        slopes.append([p.grad for p in model.parameters()])
    assert values[0].shape == part.mask.shape
    assert (values[0][:, :5] == 0).all()  # nothing is said of prompts
    assert_close(values[0][part.mask], values[1][part.mask], atol=1e-5, rtol=1e-5)
    assert_close(*slopes, atol=1e-5, rtol=1e-5)


@LOOPS
@pytest.mark.parametrize("updates", [Updates(1e-2), Updates(1e-2, 2, 2)])
def test_a_step_is_the_step_that_reads_whole_rows(name, updates, monkeypatch):
    ours, theirs = new_model().double(), new_model().double()
    first = loop(name, ours, 1, updates=updates)
    for module in (grpo_loop, ppo_loop):
        monkeypatch.setattr(module, "logprobs", whole_rows)
    monkeypatch.setattr(ppo_loop, "values_of", whole_rows_values)
    second = loop(name, theirs, 1, updates=updates)
    assert_close(weights(ours), weights(theirs), atol=1e-5, rtol=1e-5)
    assert first[0] == pytest.approx(second[0], rel=1e-5, abs=1e-9, nan_ok=True)
    assert first[0]["grad_norm"] > 0


def test_pieces_hold_lengths_that_differ_by_a_quarter_at_most():
    assert similar([4, 4, 5, 6, 6, 29, 36, 37], 512) == [3, 2, 2, 1]
    assert similar([4] * 5, 2) == [2, 2, 1]
    assert similar([], 2) == []


def test_the_same_seed_gives_the_same_rollout_and_another_does_not():
    a, b, c = rolled(seed=1), rolled(seed=1), rolled(seed=2)
    assert a.texts == b.texts
    assert torch.equal(a.tokens, b.tokens)
    assert torch.equal(a.mask, b.mask)
    assert a.texts != c.texts


def test_prompts_of_one_length_need_no_padding():
    rollout = rolled(problems=UNEVEN[:1] * 3)
    assert rollout.pads is None
    assert rollout.rows(slice(2)).pads is None
    assert rollout.rows(torch.tensor([3, 0])).tokens.shape[0] == 2


def test_the_problems_of_a_step_depend_on_seed_and_step_alone():
    a = problems_of(0, 3, 8, (3, 5))
    assert a == problems_of(0, 3, 8, (3, 5))
    assert a != problems_of(0, 4, 8, (3, 5))
    assert a != problems_of(1, 3, 8, (3, 5))
    assert not any(problem.held_out for problem in a)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_stops_with_step_prompt_and_value(bad):
    rollout = rolled()
    chosen = rollout.texts[5]

    def broken(problem, text):
        return bad if text == chosen else 0.0

    with pytest.raises(FloatingPointError) as caught:
        score(rollout, broken, step=7)
    said = str(caught.value)
    assert "step 7:" in said
    assert repr(UNEVEN[rollout.texts.index(chosen) // 4].prompt) in said
    assert said.endswith(f"is {bad}; give a finite number")


@pytest.mark.parametrize(
    "right", [1, True, np.float32(1), np.bool_(True), torch.tensor(1)], ids=repr
)
def test_a_reward_is_a_number_of_any_kind(right):
    rollout = rolled()
    found = score(rollout, lambda p, text: right if text == rollout.texts[5] else 0, 0)
    assert found.dtype == torch.float32
    assert found.tolist() == [float(text == rollout.texts[5]) for text in rollout.texts]


@pytest.mark.parametrize("bad", [None, "1", [1, 2], torch.ones(2), 10**400], ids=repr)
def test_a_reward_of_another_kind_is_named(bad):
    with pytest.raises(FloatingPointError, match=r"step 7: the reward of .* is ") as e:
        score(rolled(), lambda problem, text: bad, step=7)
    assert f"is {bad}; give a finite number" in str(e.value)


@LOOPS
def test_a_reward_that_is_no_number_stops_the_loop_before_any_update(name):
    model = new_model()
    before = weights(model)
    with pytest.raises(FloatingPointError, match=r"step 0: the reward of .* is nan"):
        loop(name, model, 1, reward=lambda problem, text: math.nan)
    assert_close(weights(model), before, rtol=0, atol=0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("kind", [Settings, PPOSettings])
def test_nothing_is_learned_from_answers_that_are_not_drawn(kind, temperature):
    with pytest.raises(ValueError, match=f"temperature is {temperature}; .* above 0"):
        kind(sampling=Sampling(temperature=temperature))


def test_a_ratio_that_overflows_stops_the_loop_before_any_update():
    """The loss is clipped and finite; its gradient is 0 times infinity."""
    model, losses = new_model(), []

    def overflowing(logp, logp_old, advantages, mask):
        better = torch.ones_like(advantages)
        losses.append(grpo_loss(logp, logp_old - 100, better, mask))
        return losses[-1]

    before = weights(model)
    with pytest.raises(FloatingPointError, match=r"step=0: .* its gradient is nan"):
        loop("grpo", model, 1, loss=overflowing)
    assert losses[0].loss.isfinite()
    assert torch.equal(weights(model), before)


def test_a_description_counts_groups_without_a_signal():
    rollout = rolled()
    rewards = torch.tensor([0.1] * 4 + [0.1, 0.1, 1.1, 0.1])
    found = describe(rollout, rewards, 4)
    assert found["no_signal"] == 0.5
    assert found["reward"] == pytest.approx(0.225)
    assert found["length"] == sum(len(encode(t)) for t in rollout.texts) / 8


def test_a_description_tells_thoughts_and_bare_answers_apart():
    problem = Problem((7, 3, 5), "*+")
    texts = ["<think>7*3=1;1+5=6</think><answer>6</answer>", "<answer>6</answer>"]
    texts += ["<think></think><answer>5</answer>", "<think>"]
    rollout = rolled()._replace(problems=[problem] * 4, texts=[t + EOS for t in texts])
    found = describe(rollout, torch.zeros(4), 4)
    assert (found["accuracy"], found["thinking"]) == (0.5, 0.75)
    assert found["accuracy_thinking"] == pytest.approx(1 / 3)
    assert found["accuracy_bare"] == 1
    bare = rollout._replace(texts=[texts[1] + EOS] * 4)
    assert math.isnan(describe(bare, torch.zeros(4), 4)["accuracy_thinking"])


def test_the_entropy_of_even_odds_is_the_logarithm_of_their_number():
    logits = torch.stack([torch.zeros(8), torch.tensor([100.0] + [0.0] * 7)])
    assert_close(entropy(logits), torch.tensor([math.log(8), 0.0]))


# loops


def test_a_policy_is_the_base_without_its_modules_and_a_critic_begins_at_0():
    torch.manual_seed(0)
    base = Model(SMALL)
    policy, critic = new_policy(base), new_critic(base)
    ids = torch.tensor([encode(UNEVEN[0].prompt)])
    assert len(base.mtp) > 0 == len(policy.mtp)
    assert_close(policy(ids), base(ids), rtol=0, atol=0)
    assert critic(ids).abs().max() == 0
    assert_close(critic.encode(ids), base.encode(ids), rtol=0, atol=0)
    assert policy.embed.weight is not base.embed.weight


def test_the_critic_of_a_model_with_one_matrix_for_words_keeps_its_words(tmp_path):
    torch.manual_seed(0)
    base = Model(replace(SMALL, tie_word_embeddings=True))
    critic, policy = new_critic(base), new_policy(base)
    ids = torch.tensor([encode(UNEVEN[0].prompt)])
    assert policy.head.weight is policy.embed.weight
    assert torch.equal(critic.encode(ids), base.encode(ids))
    assert critic(ids).abs().max() == 0
    save_checkpoint(tmp_path / "critic.safetensors", critic)
    again = load_checkpoint(tmp_path / "critic.safetensors")[0]
    assert again(ids).abs().max() == 0
    settings = PPOSettings(8, FEW, Updates(lr=1e-3), critic_lr=1e-2)
    list(ppo(policy, critic, base, 1, settings, Environment(reward=even)))
    assert critic(ids).abs().max() > 0


@LOOPS
def test_one_step_makes_a_rewarded_answer_likelier(name):
    model, problems = new_model(), problems_of(0, 0, 8, (3, 5))
    before = chance_of_even(model, problems)
    (row,) = loop(name, model, 1, **MORE, updates=Updates(lr=1e-3))
    assert 0 < row["reward"] < 1
    assert chance_of_even(model, problems) > before + 0.001


@LOOPS
def test_a_punished_answer_becomes_rarer(name):
    model, problems = new_model(), problems_of(0, 0, 8, (3, 5))
    before = chance_of_even(model, problems)
    updates = Updates(lr=1e-3)
    loop(name, model, 1, lambda p, t: -even(p, t), **MORE, updates=updates)
    assert chance_of_even(model, problems) < before - 0.001


@LOOPS
def test_a_step_in_which_all_rewards_are_equal_leaves_the_model_as_it_is(name):
    model = new_model()
    before = weights(model)
    (row,) = loop(name, model, 1, reward=lambda problem, text: 0.1)
    assert row["no_signal"] == 1
    assert row["grad_norm"] == 0
    assert_close(weights(model), before, rtol=0, atol=0)


def test_with_one_update_a_rollout_the_loss_is_0_and_nothing_is_ever_clipped():
    rows = loop("grpo", new_model(), 3)
    for row in rows:
        assert abs(row["loss"]) < 1e-6
        assert row["clipped"] == 0
        assert row["grad_norm"] > 0


def test_with_more_updates_a_rollout_ratios_leave_1_and_the_clip_works():
    updates, loss = Updates(3e-3, epochs=4, minibatches=2), GRPOLoss((0.05, 0.05))
    (row,) = loop("grpo", new_model(), 1, updates=updates, loss=loss)
    assert row["clipped"] > 0
    assert abs(row["loss"]) > 1e-4


def test_a_weight_on_the_divergence_keeps_the_policy_nearer():
    def end(weight):
        settings = {"updates": Updates(3e-3), "loss": GRPOLoss(kl_weight=weight)}
        rows = loop("grpo", new_model(), 6, base=new_model(), prompts=8, **settings)
        assert rows[0]["kl"] == 0
        return rows[-1]["kl"]

    assert end(10.0) < 0.5 * end(0.0)


def test_the_critic_learns_and_does_not_move_the_policy():
    model, base = new_model(), new_model()
    sampling, critic = Sampling(group=4, max_new_tokens=3), new_critic(base)
    settings = PPOSettings(8, sampling, Updates(lr=0.0), critic_lr=1e-2)
    env = Environment(partial(problems_of, terms=(3, 5)), even)
    rows = list(ppo(model, critic, base, 24, settings, env))
    assert_close(weights(model), weights(base), rtol=0, atol=0)
    assert rows[0]["value_error"] == pytest.approx(rows[0]["reward"], abs=0.2)
    last = sum(row["value_error"] for row in rows[-8:]) / 8
    assert last < 0.6 * rows[0]["value_error"]  # it knows the mean, 1/2, at least


def test_a_critic_that_learns_first_leaves_the_policy_as_it_is_until_then():
    model, base = new_model(), new_model()
    sampling, critic = Sampling(group=4, max_new_tokens=3), new_critic(base)
    settings = PPOSettings(8, sampling, Updates(lr=1e-3), critic_first=3)
    env = Environment(partial(problems_of, terms=(3, 5)), even)
    moved, knows = [], []
    for row in ppo(model, critic, base, 5, settings, env):
        moved.append(not torch.equal(weights(model), weights(base)))
        knows.append(critic.head.weight.abs().max().item() > 0)
        assert (row["grad_norm"] > 0) == moved[-1]
    assert moved == [False, False, False, True, True]
    assert all(knows)


@pytest.mark.slow
@LOOPS
@pytest.mark.parametrize("seed", range(3))
def test_the_loops_learn_what_is_rewarded(name, seed):
    settings = {"prompts": 8, "sampling": Sampling(group=8, max_new_tokens=3)}
    settings |= {"updates": Updates(lr=2e-2)}
    rows = loop(name, new_model(seed), 12, seed=seed, **settings)
    assert rows[0]["reward"] < 0.7
    assert rows[-1]["reward"] > 0.9


# other losses, and groups that are kept


def test_a_loss_is_called_with_what_every_loss_of_the_family_takes():
    ours, theirs = new_model(), new_model()
    updates = Updates(1e-2, epochs=2, minibatches=2)
    first = loop("grpo", ours, 3, updates=updates)
    second = loop("grpo", theirs, 3, updates=updates, loss=grpo_loss)
    assert str(first) == str(second)  # nan is not equal to nan
    assert torch.equal(weights(ours), weights(theirs))


@pytest.mark.parametrize(
    ("algorithm", "setting"),
    [
        (PPOSettings, {"kl_weight": 0.1}),
        (PPOSettings, {"level": "sequence"}),
        (PPOSettings, {"scale": False}),
        (PPOSettings, {"loss": grpo_loss}),
        (Settings, {"kl_weight": 0.1}),
        (Settings, {"clip": (0.2, 0.2)}),
        (Settings, {"critic_lr": 0.1}),
    ],
)
def test_a_setting_that_an_algorithm_does_not_use_is_refused(algorithm, setting):
    with pytest.raises(TypeError, match=next(iter(setting))):
        algorithm(**setting)


def test_a_loss_refuses_settings_that_are_not_its_own():
    loss = partial(gspo_loss, kl_weight=0.1)
    with pytest.raises(TypeError, match="kl_weight"):
        loop("grpo", new_model(), 1, loss=loss)


def test_ppo_divides_by_the_constant_that_it_is_told():
    ends = []
    for constant in (4.0, 8.0):
        model = new_model()
        (row,) = loop("ppo", model, 1, how="constant", constant=constant)
        ends.append(row["loss"])
    assert ends[0] == pytest.approx(2 * ends[1])


def test_ppo_refuses_to_keep_groups():
    with pytest.raises(ValueError, match="compares no groups"):
        loop("ppo", new_model(), 1, keep=mixed)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_reference_is_asked_for_where_its_divergence_has_a_weight(weight):
    seen = []

    class Watched(GRPOLoss):
        def __call__(self, *arguments, **named):
            seen.append("logp_ref" in named)
            return super().__call__(*arguments, **named)

    loop("grpo", new_model(), 1, loss=Watched(kl_weight=weight))
    assert seen == [weight > 0]


def test_keeping_every_group_changes_nothing_but_what_is_said_of_them():
    def everything(rewards):
        return torch.ones(len(rewards), dtype=torch.bool)

    ours, theirs = new_model(), new_model()
    ask = partial(problems_of, terms=(3, 3))  # prompts of one length: no pads
    settings = Settings(3, FEW, Updates(lr=1e-2))
    first, second = (
        list(grpo(model, new_model(), 2, settings, Environment(ask, even, keep)))
        for model, keep in ((ours, None), (theirs, everything))
    )
    assert [row.pop("asked") for row in second] == [3, 3]
    assert [row.pop("kept_reward") for row in second] == [r["reward"] for r in first]
    assert [row.pop("kept_length") for row in second] == [r["length"] for r in first]
    assert str(first) == str(second)  # nan is not equal to nan
    assert torch.equal(weights(ours), weights(theirs))


def refilled(keep, prompts=4):
    model, settings = new_model(), Settings(prompts, FEW)
    env = Environment(partial(problems_of, terms=(3, 5)), even, keep)
    generator = torch.Generator().manual_seed(0)
    rollout = roll_out(model, env.ask(0, 0, prompts), FEW, generator)
    rewards = score(rollout, even, 0)
    return refill(model, rollout, rewards, settings, env, 0, 0, generator)


def test_groups_that_are_not_kept_are_replaced_by_others():
    rollout, rewards, asked = refilled(mixed)
    groups = rewards.view(-1, FEW.group)
    assert len(groups) == 4
    assert (groups != groups[:, :1]).any(-1).all()
    assert asked % 4 == 0
    assert len(rollout.tokens) == len(rollout.mask) == len(rewards)


def test_the_log_says_what_the_kept_groups_are_like():
    (row,) = loop("grpo", new_model(), 1, keep=mixed)
    everybody = loop("grpo", new_model(), 1)[0]
    assert row["reward"] == everybody["reward"]
    assert row["kept_reward"] != row["reward"]
    assert row["asked"] > 3


def test_asking_for_groups_ends_and_keeps_what_there_is():
    def none(rewards):
        return torch.zeros(len(rewards), dtype=torch.bool)

    rollout, rewards, asked = refilled(none)
    assert asked == ROUNDS * 4
    assert len(rewards) == 4 * FEW.group == len(rollout.tokens)


def test_joined_rollouts_have_the_logprobs_of_each():
    model, one, two = new_model(), rolled(seed=1), rolled(seed=2, problems=UNEVEN[:1])
    both = join([one, two])
    assert both.problems == one.problems + two.problems
    assert both.texts == one.texts + two.texts
    logp = logprobs(model, both)
    for part, rows in ((one, slice(0, 8)), (two, slice(8, 12))):
        ours = logp[rows][both.mask[rows]]
        assert_close(ours, logprobs(model, part)[part.mask], atol=1e-5, rtol=1e-4)
    assert both.mask.sum() == one.mask.sum() + two.mask.sum()
