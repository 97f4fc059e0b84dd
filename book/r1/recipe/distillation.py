"""Distillation: a small model learns from what a large one wrote, or would write."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from r1.cost.accounting import count_parameters
from r1.model.sampling import sample
from r1.model.transformer import Model
from r1.rl.loop import DEFAULTS, begin_step, parts, progress
from r1.rl.rollout import Settings, answer_logits, problems_of
from r1.text.answers import read
from r1.text.problems import Problem
from r1.text.tokenizer import EOS, decode, encode
from r1.train.finetuning import Example
from r1.train.likelihood import aggregate
from r1.train.optimizer import apply_gradient, rl_optimizer

DIVERGENCES = ("reverse", "forward")
_SAID = re.compile("([0-9])(?:=[0-9][-+*][0-9])?")


def said(text: str) -> str | None:
    """The digit that a text answers with, bare or before the step it comes from.

    None where the form is not kept: `<answer>6</answer>` and R1's `<answer>6=1+5
    </answer>` both say 6. Whether that step is the last one of the thought is a matter
    of style, which chapter 14 rewards and nobody here asks for.
    """
    found = read(text)
    match = found and _SAID.fullmatch(found.answer)
    return match[1] if match else None


def is_right(problem: Problem, text: str) -> bool:
    """Whether the form is kept and the digit is the answer."""
    return said(text) == problem.answer


def right_reward(problem: Problem, text: str, form: float = 0.1) -> float:
    """The reward of chapter 13, for both ways to answer."""
    return float(is_right(problem, text)) + form * (said(text) is not None)


class Tokens(NamedTuple):
    """Tokens a model has read or written without, and with, learning from them."""

    forward: int
    learned: int = 0


def flops(model: Model, tokens: Tokens) -> float:
    r"""Operations: $2N$ a token forward and $6N$ a token learned from.

    $N$ is `active_without_embedding`: of experts, those that work on the token. What
    attention spends on looking back is left out.
    """
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
    generator: torch.Generator | None = None,
    keep: Callable[[Problem, str], bool] = is_right,
    max_new_tokens: int = 72,
) -> Traces:
    """Let a teacher answer problems, `copies` times each; keep what `keep` accepts.

    Answers that are thrown away have cost as much as the others.

    Raises ValueError without a problem.
    """
    if not problems:
        raise ValueError("there is no problem to answer; give at least one")
    prompts = [encode(problem.prompt) for problem in problems]
    answers = sample(teacher, prompts, max_new_tokens, 1.0, generator, copies)
    asked = [problem for problem in problems for _ in range(copies)]
    texts = [decode(answer) for answer in answers]
    kept = [
        Example(problem.prompt, text)
        for problem, text in zip(asked, texts, strict=True)
        if text.endswith(EOS) and keep(problem, text)
    ]
    read_and_written = sum(map(len, prompts)) + sum(map(len, answers))
    return Traces(kept, len(texts), Tokens(read_and_written))


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
    first, second = student.log_softmax(-1), teacher.log_softmax(-1)
    if kind == "forward":
        first, second = second, first
    return (first.exp() * (first - second)).sum(-1)


def on_policy(
    model: Model,
    teacher: Model,
    steps: int,
    settings: Settings = DEFAULTS,
    seed: int = 0,
    kind: str = "reverse",
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
) -> Iterator[dict[str, float]]:
    """Train `model` on its own answers, by what its teacher thinks of every token.

    As r1.rl.grpo, but that no answer is judged: the loss is the divergence from the
    teacher, averaged over the tokens of the student's answers, whose drawing is not
    differentiated. Yields a dict a step; `divergence` is what was minimized.

    Source: Agarwal et al., 2024 (GKD), with lambda = 1.
    """
    s, optimizer = settings, optimizer or rl_optimizer(model, settings.lr)
    for step in progress(start, steps):
        rollout, rewards, metrics, generator = begin_step(
            model, teacher, s, seed, step, right_reward
        )
        norms, losses = [], []
        for rows in parts(s, len(rewards), generator):
            part = rollout.rows(rows)
            with torch.no_grad():
                wanted = answer_logits(teacher, part)
            apart = divergence(answer_logits(model, part), wanted, kind)
            loss = aggregate(apart, part.mask, "token")
            norms.append(apply_gradient(model, optimizer, loss, f"{step=}"))
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        yield {**metrics, "divergence": mean, "grad_norm": max(norms)}


def step_tokens(settings: Settings, seed: int, row: dict) -> Tokens:
    """Tokens that one step of grpo or on_policy has sampled, and learned from.

    A prompt is read once for its group while answers are drawn, and with every answer
    in the update.
    """
    s = settings
    problems = problems_of(seed, int(row["step"]), s.prompts, s.terms)
    prompts = sum(len(encode(problem.prompt)) for problem in problems)
    answers = round(row["length"] * s.prompts * s.group)
    learned = s.epochs * (s.group * prompts + answers)
    return Tokens(prompts + answers, learned)
