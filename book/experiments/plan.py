"""How the R1 pipeline is put together: its plan, its order, its rewards, its files."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from r1.model.transformer import Model
from r1.recipe.preference import Preference
from r1.rl.policy import new_policy
from r1.rl.rewards import language_reward
from r1.rl.rollout import Sampling
from r1.rl.settings import Settings, Updates
from r1.text.readable import (
    Question,
    Reading,
    Task,
    judge,
    random_question,
    random_task,
)
from r1.train.checkpoint import load_checkpoint

LONGEST = 72  # tokens of an answer; a worked solution of eight terms has 52
TERMS = (3, 8)
SETTINGS = Settings(
    prompts=32,
    sampling=Sampling(group=8, max_new_tokens=LONGEST),
    updates=Updates(lr=2e-4),
)
STAGES = ("cold-start", "reason", "reject", "tune", "prefer", "align")
LEAVES = {"cold-start": "dev1", "reason": "dev2", "tune": "dev3", "align": "r1"}

Reward = Callable[[Task, str], float]


@dataclass(frozen=True)
class Plan:
    """How much each stage does, and what an ablation leaves out.

    `epochs` and `rate` are those of both fine-tunings, `reason` and `align` numbers of
    steps. `language` and `taste` are weights of rewards, `rules` that of all rules in
    `align`; `late` is how many of its last steps have the preference. `start` is what
    `tune` trains: "base", or "dev2" to go on from there.
    """

    cold: int = 2400
    epochs: int = 4
    rate: float = 2e-3
    reason: int = 60
    language: float = 0.5
    tasks: int = 1800
    samples: int = 4
    others: int = 600
    start: str = "base"
    align: int = 60
    late: int = 15
    taste: float = 0.3
    rules: float = 1.0
    skip: str = ""

    def stages(self) -> list[str]:
        """The stages in their order, without the one that is left out.

        Raises ValueError for one that no plan can do without.
        """
        if self.skip not in ("", "cold-start", "reason"):
            raise ValueError(f"cannot skip {self.skip!r}; try cold-start or reason")
        return [stage for stage in STAGES if stage != self.skip]


PLANS = {
    "main": Plan(),
    "nocold": Plan(skip="cold-start"),
    "nolanguage": Plan(language=0.0),
    "noreason": Plan(skip="reason"),
    "goon": Plan(start="dev2"),
    "notaste": Plan(taste=0.0),
    "alone": Plan(align=120, late=120, taste=1.0, rules=0.0),
}
# Stages that are those of the main plan, and need not be run again.
SHARED = {
    "nolanguage": STAGES[:1],
    "noreason": STAGES[:1],
    "goon": STAGES[:3],
    "notaste": STAGES[:5],
    "alone": STAGES[:5],
}


def tasks_of(
    seed: int, step: int, count: int, terms: tuple[int, int] = TERMS
) -> list[Task]:
    """The tasks of a step, which depend on `seed` and `step` alone."""
    rng = random.Random(f"reason/{seed}/{step}")
    return [random_task(rng, terms) for _ in range(count)]


def mixture_of(
    seed: int, step: int, count: int, terms: tuple[int, int] = TERMS
) -> list:
    """As `tasks_of`, but every fourth is a question that needs no thought."""
    rng = random.Random(f"align/{seed}/{step}")
    return [
        random_question(rng) if i % 4 == 3 else random_task(rng, terms)
        for i in range(count)
    ]


def reasoning_reward(language: float, script: str | None = None) -> Reward:
    r"""$r_\mathrm{acc} + 0.1\, r_\mathrm{form} + w\, r_\mathrm{lang}$ for tasks.

    The language is `script`, or that of the task. A question of two terms needs no
    thought, and has no last term.
    Source: DeepSeek-R1, equations 4 and 7.
    """

    def reward(asked: Task, text: str) -> float:
        found = judge(asked, text)
        if isinstance(asked, Question):
            return found.right + 0.1 * found.form
        same = language_reward(text, script or asked.script) if language else 0.0
        return found.right + 0.1 * found.form + language * same

    return reward


def all_round_reward(plan: Plan, preference: Preference) -> Reward:
    r"""$v\, r_\mathrm{rules} + w\, \sigma(s)$: rules, and how an answer is put."""
    rules = reasoning_reward(plan.language)

    def reward(asked: Task, text: str) -> float:
        value = plan.rules * rules(asked, text)
        if not isinstance(asked, Question):
            value += plan.taste * preference.reward(asked, text)
        return value

    return reward


class Watched:
    """A reward that remembers what it has seen, for the log of a stage."""

    def __init__(self, reward: Reward):
        self.reward, self.seen = reward, []

    def __call__(self, asked: Task, text: str) -> float:
        """The reward; the answer is noted, unless it is to a question."""
        if not isinstance(asked, Question):
            self.seen.append((asked, judge(asked, text), text))
        return self.reward(asked, text)

    def means(self, preference: Preference | None = None) -> dict[str, float]:
        """Shares of readings of the tasks' answers since it was asked last."""
        seen, self.seen = self.seen, []
        count = max(1, len(seen))
        row = {
            name: sum(getattr(reading, name) for _, reading, _ in seen) / count
            for name in (*Reading._fields[1:], "readable")
        }
        if preference:
            scores = [preference.reward(asked, text) for asked, _, text in seen]
            row["preference"] = sum(scores) / count
        return row


class Run:
    """The files of one seed of one plan; what its stages find and leave there."""

    def __init__(
        self, folder: Path | str, name: str, plan: Plan, seed: int, base: Path | str
    ):
        self.folder, self.name, self.plan = Path(folder), name, plan
        self.seed, self.base = seed, Path(base)

    def path(self, stage: str, ending: str) -> Path:
        """Where a stage's file lies: dev1_seed0.csv, with the plan's name before it.

        The main plan has no name, and what it shares with others is its own.
        """
        shared = self.name == "main" or stage in SHARED.get(self.name, ())
        what = ("" if shared else f"{self.name}_") + LEAVES.get(stage, stage)
        return self.folder / f"{what}_seed{self.seed}{ending}"

    def before(self, stage: str) -> Path:
        """The checkpoint that a stage begins with.

        Raises SystemExit where the stage that leaves it is not finished.
        """
        models = [s for s in self.plan.stages() if s in LEAVES]
        earlier = [s for s in models if STAGES.index(s) < STAGES.index(stage)]
        if not earlier or (stage == "tune" and self.plan.start == "base"):
            return self.base
        path = self.path(earlier[-1], ".safetensors")
        if not finished(path):
            raise SystemExit(f"{stage} needs {path.name}; run {earlier[-1]} first")
        return path

    def begin(self, stage: str) -> Model:
        """The model that a stage trains, or asks."""
        return new_policy(load_checkpoint(self.before(stage))[0])


def finished(path: Path) -> bool:
    """Whether a checkpoint is there, and is the last of its stage."""
    return path.exists() and bool(load_checkpoint(path)[2].get("finished"))
