"""Distillation: a small model learns from what a large one wrote, or would write."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from r1.cost.counting import count_parameters
from r1.model.sampling import ask
from r1.model.transformer import Model
from r1.rl.grpo_loop import (
    Environment,
    Settings,
    answer_logits,
    describe,
    parts,
    progress,
    step_generator,
    watch,
)
from r1.rl.rewards import score
from r1.rl.rollout import roll_out
from r1.text.answers import is_right
from r1.text.problems import Problem
from r1.text.tokenizer import EOS, encode
from r1.train.finetuning import Example
from r1.train.likelihood import aggregate
from r1.train.optimizer import apply_gradient, rl_optimizer

DIVERGENCES = ("reverse", "forward")


class Tokens(NamedTuple):
    """Tokens a model has read or written without, and with, learning from them."""

    forward: int
    learned: int = 0


def flops(model: Model, tokens: Tokens) -> float:
    r"""Operations: $2N$ a token forward and $6N$ a token learned from.

    $N$ is `active_without_embedding`: of experts, those that work on the token. What
    attention spends on looking back is left out.
    """
    # 2 operations a parameter forward, and 4 more backward for a token learned from.
    active = count_parameters(model.config).active_without_embedding
    return active * (2.0 * tokens.forward + 6.0 * tokens.learned)


class Traces(NamedTuple):
    """Answers of a teacher to learn from, and what all it wrote has cost in tokens."""

    kept: list[Example]
    written: int
    cost: Tokens


def draw_traces(
    teacher: Model,
    problems: list[Problem],
    copies: int = 1,
    generator: torch.Generator | int = 0,
    keep: Callable[[Problem, str], bool] = is_right,
    max_new_tokens: int = 72,
) -> Traces:
    """Let a teacher answer problems, `copies` times each; keep what `keep` accepts.

    Answers that are thrown away have cost as much as the others.

    Raises ValueError without a problem.
    """
    if not problems:
        raise ValueError("there is no problem to answer; give at least one")
    groups = ask(teacher, problems, copies, generator, max_new_tokens=max_new_tokens)
    pairs = [(p, a) for p, group in zip(problems, groups, strict=True) for a in group]
    kept = [
        Example(problem.prompt, answer.text)
        for problem, answer in pairs
        if answer.text.endswith(EOS) and keep(problem, answer.text)
    ]
    prompt_tokens = sum(len(encode(problem.prompt)) for problem in problems)
    answer_tokens = sum(len(answer.ids) for _, answer in pairs)
    return Traces(kept, len(pairs), Tokens(prompt_tokens + answer_tokens))


def divergence(
    student: Float[Tensor, "*batch vocab"],
    teacher: Float[Tensor, "*batch vocab"],
    kind: str = "reverse",
) -> Float[Tensor, "*batch"]:
    r"""How far two models' next tokens are apart, in nats, from their logits.

    "reverse": $D_\mathrm{KL}(\pi \| \pi_\mathrm{T}) = \sum_v \pi_v (\log \pi_v - \log
    \pi_{\mathrm{T},v})$ with the student's $\pi$, which is large where the student says
    what the teacher would not. "forward": $D_\mathrm{KL}(\pi_\mathrm{T} \| \pi)$, large
    where the student does not say what the teacher would.

    Raises ValueError for another kind.
    """
    if kind not in DIVERGENCES:
        raise ValueError(f"kind is {kind!r}; use one of {DIVERGENCES}")
    # KL(p || q) = sum p (log p - log q). The first distribution weighs the differences;
    # the two kinds differ only in whose distribution that is.
    log_weights, log_other = student.log_softmax(-1), teacher.log_softmax(-1)
    if kind == "forward":
        log_weights, log_other = log_other, log_weights
    # The exact sum over the vocabulary, not an estimate from the token that was drawn:
    # the gradient has less noise.
    return (log_weights.exp() * (log_weights - log_other)).sum(-1)


def on_policy(
    model: Model,
    teacher: Model,
    steps: int,
    settings: Settings = Settings(),
    environment: Environment = Environment(),
    seed: int = 0,
    kind: str = "reverse",
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
) -> Iterator[dict[str, float]]:
    """Train `model` on its own answers, by what its teacher thinks of every token.

    As grpo, but that no answer is judged: the loss is the divergence from the teacher,
    averaged over the tokens of the student's answers, whose drawing is not
    differentiated. Yields a dict a step; `divergence` is what was minimized. The reward
    of the environment is for the log alone.

    Raises ValueError for settings that have no effect here: another loss or scale, and
    an environment that keeps some groups only.
    Source: Agarwal et al., 2024 (GKD), with lambda = 1.
    """
    plain = Settings()
    if (settings.scale, settings.loss) != (plain.scale, plain.loss):
        raise ValueError("the loss is the divergence; leave out scale and loss")
    if environment.keep is not None:
        raise ValueError("every answer is learned from; leave out keep")
    optimizer = optimizer or rl_optimizer(model, settings.updates.lr)
    for step in progress(start, steps):
        generator = step_generator(seed, step)
        problems = environment.ask(seed, step, settings.prompts)
        rollout = roll_out(model, problems, settings.sampling, generator)
        rewards = score(rollout, environment.reward, step)
        metrics = {"step": step, **describe(rollout, rewards, settings.sampling.group)}
        sample = rollout.rows(slice(None, None, 8))
        metrics |= watch(model, teacher, sample, settings.sampling.temperature)
        norms, losses = [], []
        for rows in parts(settings.updates, len(rewards), generator):
            part = rollout.rows(rows)
            with torch.no_grad():
                # The teacher is a constant. Both sides have temperature 1.
                teacher_logits = answer_logits(teacher, part)
            divergences = divergence(answer_logits(model, part), teacher_logits, kind)
            loss = aggregate(divergences, part.mask, "token")
            norms.append(apply_gradient(model, optimizer, loss, f"{step=}"))
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        yield {**metrics, "divergence": mean, "grad_norm": max(norms)}


def step_tokens(
    settings: Settings, problems: Sequence[Problem], length: float
) -> Tokens:
    """Tokens that one step of grpo or on_policy has sampled, and learned from.

    `problems` are those of the step, `length` the mean length of its answers. A prompt
    counts once for its group while answers are drawn, and with every answer in the
    update, also for grpo, which reads it once there too.
    """
    group = settings.sampling.group
    prompts = sum(len(encode(problem.prompt)) for problem in problems)
    answers = round(length * len(problems) * group)
    # on_policy learns from whole rows, so a prompt is computed again for each answer.
    # grpo does not, but with one count for both, runs differ by what they learn from.
    learned = settings.updates.epochs * (group * prompts + answers)
    return Tokens(prompts + answers, learned)
