"""Students learn what a teacher writes, or what it thinks of what they write."""

from dataclasses import replace

import pytest
import torch

from r1.model.config import ModelConfig
from r1.model.transformer import Model
from r1.recipe.distillation import (
    Tokens,
    divergence,
    draw_traces,
    flops,
    on_policy,
    step_tokens,
)
from r1.rl.grpo_loop import Environment, Settings, Updates, logprobs, problems_of
from r1.rl.losses import GRPOLoss
from r1.rl.rewards import rule_reward
from r1.rl.rollout import Sampling, roll_out
from r1.text.answers import is_right, said
from r1.text.problems import EitherWay, is_worked_out
from r1.text.tokenizer import EOS, VOCAB_SIZE, encode

SIX = EitherWay((7, 3, 5), "*+")  # 7*3+5 = 6
FEW = Sampling(group=4, max_new_tokens=12)
SMALL = Settings(2, FEW, Updates(lr=1e-3))


def new_model(seed=0):
    torch.manual_seed(seed)
    return Model(ModelConfig.dense(VOCAB_SIZE)).eval()


@pytest.mark.parametrize(
    ("text", "digit"),
    [
        ("<answer>6</answer><eos>", "6"),
        ("<think>7*3=1;1+5=6</think><answer>6=1+5</answer>", "6"),
        ("<answer>7=1+5</answer>", "7"),
        ("<answer>6=1+5=6</answer>", None),
        ("<answer>7*3+5=6</answer>", None),
        ("<answer>6=</answer>", None),
        ("<answer>6=1/5</answer>", None),
        ("<answer>16</answer>", None),
        ("<answer>g</answer>", None),
        ("<answer>6</answer>6", None),
        ("6", None),
        ("", None),
    ],
)
def test_a_text_says_one_digit_or_nothing(text, digit):
    assert said(SIX, text) == digit
    assert is_right(SIX, text) == (digit == "6")
    assert rule_reward(SIX, text) == (digit == "6") + 0.1 * (digit is not None)


def test_worked_out_asks_for_every_step_in_any_script():
    right = ("<think>7*3=1;1+5=6</think>", "<think>h*d=b;1+5=6</think>")
    wrong = ("", "<think>1+5=6</think>", "<think>7*3=1;1+5=7</think>")
    for end in ("<answer>6</answer><eos>", "<answer>6=1+5</answer>"):
        assert all(is_worked_out(SIX, thought + end) for thought in right)
        assert not any(is_worked_out(SIX, thought + end) for thought in wrong)
    assert not is_worked_out(SIX, right[0] + "<answer>5</answer>")


def test_the_divergences_are_kullback_and_leiblers_by_hand():
    p, q = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.9, 0.1]).double()
    reverse = (p * (p / q).log()).sum()
    forward = (q * (q / p).log()).sum()
    torch.testing.assert_close(divergence(p.log(), q.log()), reverse)
    torch.testing.assert_close(divergence(p.log(), q.log(), "forward"), forward)
    assert divergence(q.log() + 3, q.log()).abs() < 1e-12
    with pytest.raises(ValueError, match="'backward'"):
        divergence(p, q, "backward")


def test_reverse_leaves_out_what_forward_must_cover():
    """A student that says one of two things well: cheap in reverse, dear forward."""
    teacher = torch.tensor([0.5, 0.5, 1e-6]).double().log()
    one = torch.tensor([0.999, 1e-6, 1e-6]).double().log()
    between = torch.tensor([0.4, 0.3, 0.3]).double().log()
    assert divergence(one, teacher) < divergence(between, teacher)
    assert divergence(one, teacher, "forward") > divergence(between, teacher, "forward")


def test_the_reverse_divergence_is_what_samples_of_the_student_show():
    """k1 of chapter 11, averaged over what the student draws, is the same number."""
    student, teacher = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    p = student.softmax(-1)
    k1 = student.log_softmax(-1) - teacher.log_softmax(-1)
    torch.testing.assert_close(divergence(student, teacher), (p * k1).sum())


def test_the_surprise_at_a_trace_is_the_forward_divergence_and_the_teachers_entropy():
    """What a trace teaches is its surprise without the teacher's own."""
    student, teacher = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    p = teacher.softmax(-1)
    surprise = -(p * student.log_softmax(-1)).sum()
    entropy = -(p * p.log()).sum()
    forward = divergence(student, teacher, "forward")
    torch.testing.assert_close(surprise - entropy, forward)
    assert forward > 0


def test_traces_keep_what_is_right_and_count_all():
    problems = [SIX, EitherWay((2, 2, 2), "++")]
    draw = torch.Generator().manual_seed(0)
    everything = draw_traces(
        new_model(), problems, 3, draw, lambda *_: True, max_new_tokens=400
    )
    assert everything.written == 6
    assert 0 < len(everything.kept) <= 6
    assert all(example.answer.endswith(EOS) for example in everything.kept)
    tokens = sum(len(encode(problem.prompt)) for problem in problems)
    tokens += sum(len(encode(example.answer)) for example in everything.kept)
    assert everything.cost.forward >= tokens
    draw = torch.Generator().manual_seed(0)
    nothing = draw_traces(
        new_model(), problems, 3, draw, lambda *_: False, max_new_tokens=400
    )
    assert nothing.kept == []
    assert nothing.cost == everything.cost
    with pytest.raises(ValueError, match="no problem"):
        draw_traces(new_model(), [])


def test_learning_costs_three_times_reading():
    model = new_model()
    matrices = sum(p.numel() for n, p in model.named_parameters() if "embed" not in n)
    assert flops(model, Tokens(5)) == 2 * 5 * matrices
    assert flops(model, Tokens(0, 5)) == 3 * flops(model, Tokens(5))


def test_a_step_is_counted_as_it_was():
    settings, seed = Settings(3, FEW), 7
    row = next(on_policy(new_model(), new_model(1), 1, settings, seed=seed))
    problems = problems_of(seed, 0, 3)
    draw = torch.Generator().manual_seed(1_000_003 * seed)
    rollout = roll_out(new_model(), problems, FEW, draw)
    written = int(rollout.mask.sum())
    prompts = sum(len(encode(problem.prompt)) for problem in problems)
    assert step_tokens(settings, problems, row["length"]) == (
        prompts + written,
        4 * prompts + written,
    )


def test_the_gradient_is_that_of_the_divergence_and_not_of_the_drawing():
    """One step along the plain gradient, by hand."""
    ours, theirs, teacher = new_model(), new_model(), new_model(1)
    sgd = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (ours, theirs)]
    next(on_policy(theirs, teacher, 1, SMALL, optimizer=sgd[1]))
    problems = problems_of(0, 0, SMALL.prompts)
    rollout = roll_out(ours, problems, FEW, torch.Generator().manual_seed(0))
    first = ours(rollout.tokens[:, :-1], pads=rollout.pads).log_softmax(-1)
    with torch.no_grad():
        second = teacher(rollout.tokens[:, :-1], pads=rollout.pads).log_softmax(-1)
    apart = (first.exp() * (first - second)).sum(-1)
    apart[rollout.mask].mean().backward()
    torch.nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
    sgd[0].step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", ["reverse", "forward"])
def test_a_student_comes_nearer_to_its_teacher(kind):
    model, teacher = new_model(), new_model(1)
    with torch.no_grad():
        teacher.head.weight *= 10
    rows = list(on_policy(model, teacher, 12, SMALL, kind=kind))
    assert rows[-1]["divergence"] < 0.7 * rows[0]["divergence"]
    assert rows[0]["step"] == 0


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        (replace(SMALL, scale=False), Environment()),
        (replace(SMALL, loss=GRPOLoss(kl_weight=0.1)), Environment()),
        (SMALL, Environment(keep=lambda rewards: rewards[:, 0] > 0)),
    ],
)
def test_what_has_no_effect_on_imitation_is_refused(settings, environment):
    with pytest.raises(ValueError, match="leave out"):
        next(on_policy(new_model(), new_model(1), 1, settings, environment))


def test_a_teacher_of_itself_has_nothing_to_teach():
    row = next(on_policy(new_model(), new_model(), 1, SMALL))
    assert abs(row["divergence"]) < 1e-6
    assert row["grad_norm"] < 1e-4


def test_a_run_that_is_resumed_is_the_run_that_was_not_cut_off():
    whole, parted, teacher = new_model(), new_model(), new_model(1)
    sgd = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (whole, parted)]
    list(on_policy(whole, teacher, 2, SMALL, seed=3, optimizer=sgd[0]))
    list(on_policy(parted, teacher, 1, SMALL, seed=3, optimizer=sgd[1]))
    list(on_policy(parted, teacher, 2, SMALL, seed=3, optimizer=sgd[1], start=1))
    for a, b in zip(whole.parameters(), parted.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    problems = problems_of(0, 0, 2, (3, 3))
    rollout = roll_out(whole, problems, FEW, torch.Generator().manual_seed(0))
    torch.testing.assert_close(logprobs(whole, rollout), logprobs(parted, rollout))
