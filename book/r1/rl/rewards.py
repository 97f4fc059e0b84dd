"""Rules that turn an answer into a number, and a group of them into advantages.

No model is asked. To train with another reward, give `Environment(reward=...)` to the
loop.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from r1.rl.rollout import Rollout
from r1.text.answers import Checkable, is_right, read, said, script_share
from r1.text.problems import Problem

Reward = Callable[[Problem, str], float]


def accuracy_reward(problem: Checkable, text: str) -> float:
    r"""$r_\mathrm{acc}$: 1 if the text keeps the form and its answer is right, else 0.

    Source: DeepSeek-R1, section 2.2 (accuracy rewards).
    """
    return float(is_right(problem, text))


def format_reward(text: str) -> float:
    r"""$r_\mathrm{form}$: 1 if `read` finds its form in the text, right or wrong.

    A thought is optional, as it is not in DeepSeek-R1, section 2.2.
    """
    return float(read(text) is not None)


def language_reward(text: str, script: str = "digits") -> float:
    r"""$r_\mathrm{lang} = n_\mathrm{script} / n$: the share of a script in the thought.

    See `script_share`. Without a thought it is 0: otherwise not to think would be the
    surest way to think in one language.

    Raises ValueError for a script that is neither "digits" nor "letters".
    Source: DeepSeek-R1, equation 7 (words of the target language / words).
    """
    answer = read(text)
    return script_share((answer and answer.thought) or "", script)


def rule_reward(problem: Problem, text: str, form: float = 0.1) -> float:
    """1 for the right answer in the right form, and `form` for the form alone.

    What the right form is, the problem says: see `Problem.value`.
    """
    # A right answer has a value too, so it earns 1 + form. Form alone is small, so that
    # no wrong answer is worth more than a right one.
    return float(is_right(problem, text)) + form * (said(problem, text) is not None)


def score(rollout: Rollout, reward: Reward, step: int) -> Float[Tensor, " batch"]:
    """The reward of every answer; True and False count as 1 and 0.

    Raises FloatingPointError for one that is no number, or not a finite one, with step,
    prompt and value.
    """
    pairs = list(zip(rollout.problems, rollout.texts, strict=True))
    values = [reward(problem, text) for problem, text in pairs]
    for (problem, text), value in zip(pairs, values, strict=True):
        try:
            usable = math.isfinite(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            usable = False  # no number of Python, NumPy or torch
        if not usable:
            raise FloatingPointError(
                f"step {step}: the reward of {text!r} to {problem.prompt!r} is "
                f"{value}; give a finite number"
            )
    device, dtype = rollout.tokens.device, torch.get_default_dtype()
    return torch.tensor(values, dtype=dtype, device=device)


def group_advantages(
    rewards: Shaped[Tensor, "prompts group"], scale: bool = True
) -> Float[Tensor, "prompts group"]:
    r"""How much better than the rest of its group each answer is.

    $A_i = (r_i - \mathrm{mean}(r)) / \mathrm{std}(r)$ over the answers to one prompt,
    without the division if not `scale`. Whole numbers and bools are taken as float
    numbers. The deviation is that of the group itself
    (divided by G); TRL divides by G - 1 and adds 1e-4. A group whose rewards are all
    equal teaches nothing: exactly 0, in whatever way the mean is rounded.

    Raises ValueError for groups of one answer and for rewards that are not finite.
    Source: DeepSeekMath, section 4.1.2; DeepSeek-R1, equation 3.
    """
    rewards = rewards if rewards.is_floating_point() else rewards.float()
    if rewards.shape[-1] < 2:
        raise ValueError("a group has 1 answer; sample at least 2 for each prompt")
    if not torch.isfinite(rewards).all():
        bad = rewards[~torch.isfinite(rewards)][0].item()
        raise ValueError(f"a reward is {bad}; rewards must be finite numbers")
    # Comparing rewards is exact. Their mean may be rounded (0.1 three times), and a
    # tiny deviation divided by a tiny standard deviation would be an advantage of 1.
    equal = (rewards == rewards[..., :1]).all(-1, keepdim=True)
    centered = (rewards - rewards.mean(-1, keepdim=True)).masked_fill(equal, 0.0)
    if not scale:
        return centered
    std = rewards.std(-1, correction=0, keepdim=True)
    # The numerator of such groups is 0; dividing by 1 in place of 0 keeps it 0.
    return centered / std.masked_fill(equal, 1.0)
