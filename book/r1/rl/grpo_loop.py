"""The loop of GRPO: problems, rollout, rewards, advantages, loss, update.

Read it from the top: what is asked and how it is learned, the loop, and then the small
functions that it calls. Its other parts are in rollout, rewards and losses.
"""

import math
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from r1.model.cache import KVCache
from r1.model.transformer import Model
from r1.rl.losses import GRPOLoss, Loss, kl
from r1.rl.rewards import Reward, accuracy_reward, group_advantages, rule_reward, score
from r1.rl.rollout import Rollout, Sampling, join, roll_out
from r1.text.problems import Problem, random_problem
from r1.train.likelihood import aggregate, token_logprobs
from r1.train.optimizer import apply_gradient, rl_optimizer

Ask = Callable[[int, int, int], list[Problem]]  # seed, step, how many
Keep = Callable[[Float[Tensor, "prompts group"]], Bool[Tensor, " prompts"]]
ROUNDS = 8  # of asking, at most, for groups that are kept
TOGETHER = 512  # answers of similar length that are computed at once, at most


def problems_of(
    seed: int,
    step: int,
    count: int,
    terms: tuple[int, int] = (5, 5),
    kind: type[Problem] = Problem,
) -> list[Problem]:
    """The problems of a step, which depend on `seed` and `step` alone.

    `terms` are the fewest and the most that a problem has; `kind` is the class of the
    problems, which says how an answer is read.
    """
    rng = random.Random(f"rl/{seed}/{step}")
    drawn = [random_problem(rng, terms) for _ in range(count)]
    return [kind(problem.terms, problem.operations) for problem in drawn]


@dataclass(frozen=True)
class Environment:
    """The problems that `ask` draws for a step, and the reward of an answer.

    `keep` says from which groups of rewards there is something to learn; None: from
    all. In the place of a group that is not kept, another problem is asked.
    """

    ask: Ask = problems_of
    reward: Reward = rule_reward
    keep: Keep | None = None


@dataclass(frozen=True)
class Updates:
    """What is done with the answers of a step: each is used in `epochs` updates.

    An epoch takes all answers in random order, in `minibatches` parts, one an update.
    """

    lr: float = 1e-4
    epochs: int = 1
    minibatches: int = 1

    @property
    def one(self) -> bool:
        """Whether there is one update a step, so that the ratio is 1."""
        return self.epochs * self.minibatches == 1


@dataclass(frozen=True)
class Settings:
    """How GRPO trains; the defaults are those of chapter 13.

    `prompts` are the problems of a step, `scale` says whether advantages are divided
    by the standard deviation of their group. `loss` is called with logp, logp_old,
    advantages and mask; one that has a `kl_weight` other than 0 also gets logp_ref.

    Raises ValueError for a temperature that is not above 0.
    """

    prompts: int = 32
    sampling: Sampling = Sampling()
    updates: Updates = Updates()
    scale: bool = True
    loss: Callable[..., Loss] = GRPOLoss()

    def __post_init__(self):
        check_temperature(self.sampling)


def check_temperature(sampling: Sampling) -> None:
    """Refuse to learn from answers that are not drawn, with ValueError.

    At a temperature of 0 the likeliest token has probability 1, and no gradient.
    """
    if not 0 < sampling.temperature < math.inf:
        raise ValueError(
            f"temperature is {sampling.temperature}; answers to learn from are drawn "
            "at random, at a temperature above 0"
        )


def new_policy(base: Model) -> Model:
    """A copy of the base model to train, without its MTP modules."""
    return copy_of(base)


def copy_of(base: Model, **changes: bool) -> Model:
    """The model without its MTP modules, in eval mode, with a changed configuration."""
    with torch.device(base.device):
        policy = Model(replace(base.config, num_nextn_predict_layers=0, **changes))
    # In RL the MTP modules would get no gradient, and not follow the model's changes.
    weights = base.state_dict().items()
    policy.load_state_dict({k: v for k, v in weights if not k.startswith("mtp.")})
    # In eval mode routers count no load: RL does not update the biases.
    return policy.eval()


def grpo(
    model: Model,
    reference: Model,
    steps: int,
    settings: Settings = Settings(),
    environment: Environment = Environment(),
    seed: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
) -> Iterator[dict[str, float]]:
    """Train `model` by group relative policy optimization; yields a dict a step.

    `reference` is the model that it began as. A step depends on `seed` and its number,
    so a run that goes on from step `start` with its `optimizer` is the run that was not
    cut off. Where the environment keeps some groups only, `asked` counts the problems
    that it took, and `kept_reward` and `kept_length` are those of the groups that are
    learned from, as are the loss and the gradient; what answers are like is said of the
    step's first problems.

    Under torchrun `model` and `reference` are models whose rows are divided among the
    processes (r1.train.distributed.apart); everything else each process does alike.
    """
    optimizer = optimizer or rl_optimizer(model, settings.updates.lr)
    for step in progress(start, steps):
        generator = step_generator(seed, step)

        # A group of answers to each problem, and the reward of each answer.
        problems = environment.ask(seed, step, settings.prompts)
        rollout = roll_out(model, problems, settings.sampling, generator)
        rewards = score(rollout, environment.reward, step)

        metrics = {"step": step, **describe(rollout, rewards, settings.sampling.group)}
        # Every eighth answer: enough to watch entropy and KL, at an eighth of the cost.
        sample = rollout.rows(slice(None, None, 8))
        metrics |= watch(model, reference, sample, settings.sampling.temperature)
        if environment.keep is not None:
            rollout, rewards, metrics["asked"] = refill(
                model, rollout, rewards, settings, environment, seed, step, generator
            )
            metrics |= {"kept_reward": rewards.mean().item()}
            metrics |= {"kept_length": rollout.mask.sum(1).double().mean().item()}

        # How much better than the rest of its group each answer is.
        groups = rewards.view(-1, settings.sampling.group)
        advantages = group_advantages(groups, settings.scale).flatten()

        # What stays as it is while the policy moves. With one update a step the old
        # log-probabilities are those of the first pass, so nothing is computed twice.
        constants = {}
        with torch.no_grad():
            if not settings.updates.one:
                constants["logp_old"] = logprobs(
                    model, rollout, settings.sampling.temperature
                )
            if getattr(settings.loss, "kl_weight", 0.0):
                constants["logp_ref"] = logprobs(
                    reference, rollout, settings.sampling.temperature
                )

        losses, norms = [], []
        for rows in parts(settings.updates, len(rewards), generator):
            part = rollout.rows(rows)
            logp = logprobs(model, part, settings.sampling.temperature)
            fixed = {name: values[rows] for name, values in constants.items()}
            # The ratio is then 1 in value, and its gradient is that of log pi.
            fixed.setdefault("logp_old", logp.detach())
            loss = settings.loss(
                logp, advantages=advantages[rows], mask=part.mask, **fixed
            )
            norms.append(apply_gradient(model, optimizer, loss.loss, f"{step=}"))
            losses.append(loss)
        yield {**metrics, **means(losses), "grad_norm": max(norms)}


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of a step, which depend on `seed` and `step` alone.

    They are the CPU's, on whatever device the model computes: the same answers are
    drawn there but for rounding, for 4 V bytes more that travel for each token.
    """
    return torch.Generator().manual_seed(1_000_003 * seed + step)


def parts(
    updates: Updates, answers: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """The rows of each update of a step, in random order, on the generator's device.

    torch takes row numbers on the CPU for tensors on any device.
    """
    for _ in range(updates.epochs):
        # A group may be divided: its advantages are those of the whole group already.
        order = torch.randperm(answers, generator=generator, device=generator.device)
        yield from order.chunk(updates.minibatches)


def logprobs(
    model: Model, rollout: Rollout, temperature: float = 1.0
) -> Float[Tensor, "batch seq"]:
    """Log-probability of every token of the answers, as it was drawn."""

    def say(logits: Tensor, tokens: Tensor) -> Tensor:
        # Tokens were drawn from softmax(z / temperature): the policy gradient needs the
        # probabilities of that distribution.
        return token_logprobs(logits / temperature, tokens)

    return of_answers(model, rollout, say)


def of_answers(
    model: Model,
    rollout: Rollout,
    say: Callable[[Tensor, Tensor], Tensor],
    together: int = TOGETHER,
) -> Float[Tensor, "batch seq *values"]:
    """What `say` makes of the logits of each token of the answers.

    `say` is given logits, "answers length vocab", and the tokens that they are about;
    it returns one number for each token, or several.
    A prompt is read once for all its answers, as in sampling, and the gradients of all
    of them reach it; nothing is computed for most of the padding. No loss looks at what
    stands at the tokens of prompts (0) and of padding.
    """
    prompts = read_prompts(model, rollout)
    left = prompts.tokens.shape[1]

    def compute(part: Rollout) -> Tensor:
        values = say(continue_prompts(model, prompts, part), part.tokens[:, left:])
        return pad_columns(values, left - 1, 0)

    return by_length(rollout, compute, together)


class Prompts(NamedTuple):
    """Different prompts that a model has read, and what it says after each."""

    tokens: Int[Tensor, "prompts left"]
    logits: Float[Tensor, "prompts 1 vocab"]
    caches: list[KVCache]


def read_prompts(model: Model, rollout: Rollout) -> Prompts:
    """Read every prompt of a rollout once, with room for its longest answer."""
    # argmax of the mask is its first True: the last token of the prompts.
    left = int(rollout.mask[0].int().argmax()) + 1
    tokens, rows = rollout.tokens[:, :left].unique(dim=0, return_inverse=True)
    pads = rollout.pads
    if pads is not None:
        pads = pads.new_zeros(len(tokens)).scatter(0, rows, pads)
    caches = model.new_caches(rollout.tokens.shape[1])
    return Prompts(tokens, model(tokens, caches, pads)[:, -1:], caches)


def continue_prompts(
    model: Model, prompts: Prompts, rollout: Rollout
) -> Float[Tensor, "batch length vocab"]:
    """What the model says of each token of the answers to prompts that it has read."""
    left = prompts.tokens.shape[1]
    same = (rollout.tokens[:, None, :left] == prompts.tokens).all(-1)
    rows = same.int().argmax(1)  # which of the prompts each answer belongs to
    first, answers = prompts.logits[rows], rollout.tokens[:, left:-1]
    if not answers.shape[1]:  # what comes after the prompt is all there is to say
        return first
    # A copy for each answer: autograd adds up the gradients of all copies.
    caches = [cache[rows] for cache in prompts.caches]
    return torch.cat([first, model(answers, caches, rollout.pads)], dim=1)


def answer_logits(model: Model, rollout: Rollout) -> Float[Tensor, "batch seq vocab"]:
    """What the model says at every position but the last, padding seen by nobody."""
    return model(rollout.tokens[:, :-1], pads=rollout.pads)


def by_length(
    rollout: Rollout, compute: Callable[[Rollout], Tensor], together: int = TOGETHER
) -> Float[Tensor, "batch seq *values"]:
    """What `compute` says of every position, without work for most of the padding.

    Answers of similar length go through it together, cut where the longest of them
    ends; behind an answer's end there are zeros, which no loss looks at.
    """
    width = rollout.mask.shape[1]
    # argmax of the flipped mask is the number of places behind the last True.
    ends = width - rollout.mask.flip(1).int().argmax(1)
    order, pieces = ends.argsort(stable=True), []
    for rows in order.split(similar(ends[order].tolist(), together)):
        end = int(ends[rows].max())
        part = rollout.rows(rows)
        part = part._replace(tokens=part.tokens[:, : end + 1], mask=part.mask[:, :end])
        pieces.append(pad_columns(compute(part), 0, width - end))
    # argsort of a permutation is its inverse: rows return to where they were.
    return torch.cat(pieces)[order.argsort()]


def pad_columns(values: Tensor, before: int, behind: int) -> Tensor:
    """Zeros in columns, axis 1, before and behind what is there."""
    # F.pad counts axes from the last one, with two numbers for each.
    return F.pad(values, (0, 0) * (values.ndim - 2) + (before, behind))


def similar(lengths: list[int], together: int) -> list[int]:
    """How many of the sorted lengths each piece has, at most `together`.

    In a piece none is more than a quarter longer than another: smaller pieces would
    have less padding, and more of the costs that a piece has whatever its size is.
    """
    sizes, shortest = [], 0
    for length in lengths:
        if not sizes or sizes[-1] == together or 4 * length > 5 * shortest:
            sizes.append(0)
            shortest = length
        sizes[-1] += 1
    return sizes


def refill(
    model: Model,
    rollout: Rollout,
    rewards: Tensor,
    settings: Settings,
    environment: Environment,
    seed: int,
    step: int,
    generator: torch.Generator,
) -> tuple[Rollout, Tensor, int]:
    """Groups that are kept, as many as there were; others are asked in their place.

    Returns them, their rewards, and how many problems were asked in all. After ROUNDS
    of asking what there is must do; without any group the first rollout is kept whole.
    """
    prompts, group = settings.prompts, settings.sampling.group
    first_rollout, kept_groups, kept_count = (rollout, rewards), [], 0
    for asked in range(1, ROUNDS + 1):
        groups = environment.keep(rewards.view(-1, group)).nonzero()[:, 0]
        groups = groups[: prompts - kept_count]
        within = torch.arange(group, device=groups.device)
        rows = (groups[:, None] * group + within).flatten()
        if len(rows):
            kept_groups.append((rollout.rows(rows), rewards[rows]))
        kept_count += len(groups)
        if kept_count == prompts or asked == ROUNDS:
            break
        # ask depends on seed and step alone, so more problems begin with those that
        # were asked already. The slice takes the new ones.
        problems = environment.ask(seed, step, prompts * (asked + 1))[prompts * asked :]
        rollout = roll_out(model, problems, settings.sampling, generator)
        rewards = score(rollout, environment.reward, step)
    kept_groups = kept_groups or [first_rollout]
    kept_rewards = torch.cat([values for _, values in kept_groups])
    return join([part for part, _ in kept_groups]), kept_rewards, asked * prompts


def describe(rollout: Rollout, rewards: Tensor, group: int) -> dict[str, float]:
    """What the answers of a step are like, as shares and means.

    accuracy_thinking and accuracy_bare are those of the answers with and without a
    thought, nan where there is none.
    """
    pairs = zip(rollout.problems, rollout.texts, strict=True)
    correct = torch.tensor([accuracy_reward(problem, text) for problem, text in pairs])
    thinking = torch.tensor([text.startswith("<think>") for text in rollout.texts])
    groups = rewards.view(-1, group)
    silent = (groups == groups[:, :1]).all(1)
    return {
        "reward": rewards.mean().item(),
        "accuracy": correct.mean().item(),
        "thinking": thinking.double().mean().item(),
        "accuracy_thinking": correct[thinking].mean().item(),
        "accuracy_bare": correct[~thinking].mean().item(),
        "length": rollout.mask.sum(1).double().mean().item(),
        "no_signal": silent.double().mean().item(),
    }


@torch.no_grad()
def watch(
    model: Model, reference: Model, rollout: Rollout, temperature: float = 1.0
) -> dict[str, float]:
    """How undecided the policy is, and how far from its reference: means a token."""

    def say(logits: Tensor, tokens: Tensor) -> Tensor:
        scaled = logits / temperature
        return torch.stack([token_logprobs(scaled, tokens), entropy(scaled)], dim=-1)

    logp, undecided = of_answers(model, rollout, say).unbind(-1)
    divergence = kl(logp, logprobs(reference, rollout, temperature))
    return {
        "entropy": aggregate(undecided, rollout.mask, "token").item(),
        "kl": aggregate(divergence, rollout.mask, "token").item(),
    }


def entropy(logits: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    r"""How undecided each distribution is, in nats: $-\sum_v p_v \log p_v$."""
    # From log(softmax), a p that underflows to 0 would give 0 * -inf = nan.
    logp = logits.log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def means(losses: list[Loss]) -> dict[str, float]:
    """Means of what the updates of one step have seen."""
    return {
        name: sum(getattr(loss, name).item() for loss in losses) / len(losses)
        for name in ("loss", "clipped")
    }


def progress(start: int, steps: int):
    """The numbers of the steps, behind a bar where there is a terminal."""
    numbers = range(start, steps)
    if not sys.stderr.isatty():
        return numbers
    return tqdm(numbers, initial=start, total=steps, unit="step")
