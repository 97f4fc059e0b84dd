"""Chapter 14: the stages of R1, plans that change a stage, a preference alone.

Each stage takes a checkpoint and leaves another. A stage that is finished is not run
again, and one that was cut off goes on.
"""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from experiments.reinforce import load_training
from experiments.runner import TESTED, Job, Row, beside, files_of, run_grid
from r1.model.files import write_atomically
from r1.model.transformer import Model
from r1.recipe.curation import cold_start, other_data, reject, write_up
from r1.recipe.preference import Preference, agreement, fit, pairs_of, taste_of
from r1.rl.grpo_loop import Environment, Settings, Updates, grpo, new_policy
from r1.rl.rewards import language_reward
from r1.rl.rollout import Sampling
from r1.text.readable import (
    Question,
    Reading,
    Task,
    judge,
    random_question,
    random_task,
)
from r1.train.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from r1.train.finetuning import Example, sft
from r1.train.optimizer import rl_optimizer
from r1.train.records import check_notes, read_rows, write_log
from r1.train.survey import (
    SURVEYED_TOKENS,
    Marks,
    answers_to,
    survey,
    survey_questions,
)

TERMS = (3, 8)
SETTINGS = Settings(
    prompts=32,
    sampling=Sampling(group=8, max_new_tokens=SURVEYED_TOKENS),
    updates=Updates(lr=2e-4),
)
SAVE_EVERY = 10
PAIRED = 800  # tasks whose answers are compared, half of them to test the preference
PAIRED_TEMPERATURE = 1.3  # so that the answers differ
STAGES = ("cold-start", "reason", "reject", "tune", "prefer", "align")
BASE = "base/steady_seed{seed}"  # each seed has its own; none was selected
SEEDS = (0, 1, 2, 3, 4)
LEAVES = {"cold-start": "dev1", "reason": "dev2", "tune": "dev3", "align": "r1"}

Reward = Callable[[Task, str], float]


@dataclass(frozen=True)
class Plan:
    """How much each stage does, and what an ablation leaves out.

    `cold` are the examples of the cold start, of which those of more than `longest`
    terms are taken out. `epochs` and `rate` are those of both fine-tunings, `reason`
    and `align` numbers of steps. `language` and `taste` are weights of rewards, `rules`
    that of all rules in `align`; `late` is how many of its last steps have the
    preference: its score between 0 and 1 if `bounded`, else as it is. `kl` is the
    weight of the KL term in `align`, and `temperature` that of its answers. `start` is
    what `tune` trains: "base", or "dev2" to go on from there.
    """

    cold: int = 2400
    longest: int = 8
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
    bounded: bool = True
    kl: float = 0.0
    temperature: float = 1.0
    skip: str = ""

    def stages(self) -> list[str]:
        """The stages in their order, without the one that is left out.

        Raises ValueError for one that no plan can do without.
        """
        if self.skip not in ("", "cold-start", "reason"):
            raise ValueError(f"cannot skip {self.skip!r}; try cold-start or reason")
        return [stage for stage in STAGES if stage != self.skip]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A plan up to its last stage; `shared` are the stages that it has from `main`."""

    plan: Plan = Plan()
    until: str = "align"
    shared: tuple[str, ...] = ()
    base: str = BASE
    problems: int = 192
    seeds: tuple[int | None, ...] = SEEDS


@dataclass(frozen=True, kw_only=True)
class Zero:
    """R1-Zero, with the settings of this chapter, on problems of five terms."""

    base: str = BASE
    terms: tuple[int, int] = (5, 5)
    steps: int = 60
    problems: int = 192
    seeds: tuple[int | None, ...] = SEEDS


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A checkpoint of another chapter, asked what those of this one are asked."""

    model: str = BASE
    problems: int = 192
    seeds: tuple[int | None, ...] = SEEDS


# Predictions, written before the runs. (Earlier runs of main, noreason and goon were
# seen: three seeds from one selected base, base_seed1.)
#
# main: right answers to eight terms rise from dev1 to dev2. We cannot tell r1 from
#   dev3.
# noeight: without the forty examples of eight terms, dev1 is right less often at eight
#   terms than that of main, and the same rewards raise it at least as much: six and
#   seven terms have shown that thoughts may be longer than four steps.
# nolong: no thought has more than four steps, before the rewards and after, so nothing
#   is right above chance at six to eight terms.
# noreason: dev3 is worse at eight terms than that of main.
# goon: dev3 is better at eight terms than that of main.
#
# The next three have the preference alone. A pilot was seen: single runs of 60 to 80
# steps from one dev3 of the earlier grid, which chose temperature, steps and KL weight
# (at a temperature of 1, 60 steps moved no score; a KL weight of 0.1 held nothing).
# raw: the score rises, the taste falls, and so do right and readable answers.
# anchored: the taste falls less than that of raw.
# bounded: the taste falls, and the reward that is paid for does not rise.
ALONE = Plan(align=80, late=80, taste=1.0, rules=0.0, temperature=1.3)
RUNS = {
    "main": Recipe(),
    "noeight": Recipe(plan=Plan(longest=7), until="reason"),
    "nolong": Recipe(plan=Plan(longest=5), until="reason"),
    "noreason": Recipe(plan=Plan(skip="reason"), until="tune", shared=STAGES[:1]),
    "goon": Recipe(plan=Plan(start="dev2"), until="tune", shared=STAGES[:3]),
    "raw": Recipe(plan=replace(ALONE, bounded=False), shared=STAGES[:5]),
    "anchored": Recipe(plan=replace(ALONE, bounded=False, kl=1.0), shared=STAGES[:5]),
    "bounded": Recipe(plan=ALONE, shared=STAGES[:5]),
    "zero": Zero(),
    "base": Survey(),
}


# what is asked, and what is paid


def tasks_of(
    seed: int, step: int, count: int, terms: tuple[int, int] = TERMS
) -> list[Task]:
    """The tasks of a step, which depend on `seed` and `step` alone."""
    rng = random.Random(f"reason/{seed}/{step}")
    return [random_task(rng, terms) for _ in range(count)]


def mixture_of(
    seed: int, step: int, count: int, terms: tuple[int, int] = TERMS
) -> list[Task]:
    """As `tasks_of`, but every fourth is a question that needs no thought."""
    rng = random.Random(f"align/{seed}/{step}")
    return [
        random_question(rng) if i % 4 == 3 else random_task(rng, terms)
        for i in range(count)
    ]


def reasoning_reward(language: float) -> Reward:
    r"""$r_\mathrm{acc} + 0.1\, r_\mathrm{form} + w\, r_\mathrm{lang}$ for tasks.

    The language is that of the task. A question of two terms needs no
    thought, and has no last term.
    Source: DeepSeek-R1, equations 4 and 7.
    """

    def reward(asked: Task, text: str) -> float:
        reading = judge(asked, text)
        if isinstance(asked, Question):
            return reading.right + 0.1 * reading.form
        same = language_reward(text, asked.script) if language else 0.0
        return reading.right + 0.1 * reading.form + language * same

    return reward


def all_round_reward(plan: Plan, preference: Preference) -> Reward:
    r"""$v\, r_\mathrm{rules} + w\, \sigma(s)$: rules, and how an answer is put.

    Where the plan's preference is not bounded, $s$ in place of $\sigma(s)$.
    """
    rules = reasoning_reward(plan.language)
    worth = preference.reward if plan.bounded else preference.score

    def reward(asked: Task, text: str) -> float:
        value = plan.rules * rules(asked, text)
        if not isinstance(asked, Question):
            value += plan.taste * worth(asked, text)
        return value

    return reward


def marks_of(preference: Preference | None) -> Marks:
    """What an answer is worth to the annotator, and to a preference learned from it."""
    marks = {"taste": taste_of}
    return marks | ({"score": preference.score} if preference else {})


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
        for name, mark in marks_of(preference).items():
            row[name] = sum(mark(asked, text) for asked, _, text in seen) / count
        return row


# the files of a run


@dataclass(frozen=True)
class Run:
    """The files of one seed of one plan; what its stages find and leave there."""

    folder: Path
    name: str
    plan: Plan
    seed: int
    base: Path
    shared: tuple[str, ...] = field(default=())

    @property
    def command(self) -> str:
        """The command that makes the run, for the heads of its tables."""
        return f"python -m experiments.pipeline {self.name} --seeds {self.seed}"

    def path(self, stage: str, ending: str) -> Path:
        """Where a stage's file lies: dev1_seed0.csv, with the plan's name before it.

        The main plan has no name, and what it shares with others is its own.
        """
        owned = self.name != "main" and stage not in self.shared
        what = (f"{self.name}_" if owned else "") + LEAVES.get(stage, stage)
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

    def notes(self, stage: str) -> dict:
        """What a checkpoint says of the run that made it; a resumed one must agree."""
        plan = asdict(self.plan)
        base = {"base": self.base.stem, "base_is": fingerprint(self.base)}
        return {"stage": stage, "seed": self.seed, **base, "plan": plan}


def finished(path: Path) -> bool:
    """Whether a checkpoint is there, and is the last of its stage."""
    return path.exists() and bool(load_checkpoint(path)[2].get("finished"))


# the stages


def survey_checkpoint(
    model: Model,
    path: Path,
    problems: int,
    seed: int,
    command: str = "",
    preference: Preference | None = None,
) -> None:
    """Answer the held-out questions of a seed: a row a length, and one of the rest."""
    marks = marks_of(preference)
    rows = [
        {"terms": n, **survey(model, n, problems, seed, marks=marks)} for n in TESTED
    ]
    write_log(beside(path, "_terms.csv"), rows, command)
    row = {"letters": survey(model, 4, problems, seed, "letters")["right"]}
    row |= survey_questions(model, problems, seed)
    write_log(beside(path, "_other.csv"), [row], command)


def timed(rows: Iterable[Row], spent: float = 0.0) -> Iterator[Row]:
    """The rows of a training loop, with the seconds of computing up to each."""
    start = time.process_time() - spent
    for row in rows:
        yield {**row, "seconds": time.process_time() - start}


def imitate(run: Run, stage: str, examples: list[Example], problems: int) -> None:
    """Fine-tune on examples. A stage that was cut off is made again from its start."""
    path = run.path(stage, ".safetensors")
    if finished(path):
        return
    model, plan = run.begin(stage), run.plan
    loop = sft(model, examples, plan.epochs, plan.rate, seed=run.seed)
    rows = list(timed(loop))
    write_log(beside(path, ".csv"), rows, run.command)
    survey_checkpoint(model, path, problems, run.seed, run.command)
    save_checkpoint(path, model, finished=True, **run.notes(stage))


@dataclass(frozen=True)
class Lesson:
    """What a stage of reinforcement learning asks, and what it pays for how long.

    `parts` has (steps, reward) pairs, one after the other; `preference` is watched.
    `settings` are those of GRPO.
    """

    ask: Callable[[int, int, int], list[Task]]
    parts: Sequence[tuple[int, Reward]]
    preference: Preference | None = None
    settings: Settings | None = None


def reinforce(run: Run, stage: str, lesson: Lesson, problems: int) -> None:
    """GRPO on a lesson. Goes on where a run was cut off: its file says how far it was.

    The last checkpoint is written when everything else has been.
    """
    path, rows, start = run.path(stage, ".safetensors"), [], 0
    if finished(path):
        return
    reference = run.begin(stage)
    settings = lesson.settings or SETTINGS
    if path.exists():
        model, optimizer, notes = load_training(path, SETTINGS.updates.lr)
        check_notes(path.name, notes, run.notes(stage))
        start, rows = notes["step"], read_rows(beside(path, ".csv"), notes["step"])
    else:
        model = new_policy(reference)
        optimizer = rl_optimizer(model, SETTINGS.updates.lr)
    end, last = 0, sum(steps for steps, _ in lesson.parts)
    for steps, reward in lesson.parts:
        end += steps
        watched = Watched(reward)
        env = Environment(lesson.ask, watched)
        first = max(start, end - steps)
        loop = grpo(model, reference, end, settings, env, run.seed, optimizer, first)
        for row in timed(loop, rows[-1]["seconds"] if rows else 0.0):
            rows.append(row | watched.means(lesson.preference))
            done = row["step"] + 1
            if done % SAVE_EVERY == 0 and done < last:
                write_log(beside(path, ".csv"), rows, run.command)
                notes = run.notes(stage) | {"step": done, "finished": False}
                save_checkpoint(path, model, optimizer, **notes)
    write_log(beside(path, ".csv"), rows, run.command)
    about = (run.seed, run.command, lesson.preference)
    survey_checkpoint(model, path, problems, *about)
    save_checkpoint(path, model, step=last, finished=True, **run.notes(stage))


def run_cold_start(run: Run, problems: int) -> None:
    """Base -> Dev1: imitate curated solutions."""
    plan = run.plan
    examples = cold_start(plan.cold, run.seed, TERMS, plan.longest)
    imitate(run, "cold-start", examples, problems)


def run_reason(run: Run, problems: int) -> None:
    """Dev1 -> Dev2: reinforcement learning on tasks, with rules and a language."""
    reward = reasoning_reward(run.plan.language)
    lesson = Lesson(tasks_of, [(run.plan.reason, reward)])
    reinforce(run, "reason", lesson, problems)


def run_reject(run: Run, problems: int) -> None:
    """Dev2 -> data: sample, keep what is right and clean, write summaries, add others.

    Leaves a file of examples, one a line, and a log with the shares that were kept.
    """
    path, plan = run.path("reject", ".jsonl"), run.plan
    if path.exists():
        return
    model, rng = run.begin("reject"), random.Random(f"reject/{run.seed}")
    start = time.process_time()
    asked = [random_task(rng, TERMS) for _ in range(plan.tasks)]
    texts = answers_to(model, asked, run.seed, copies=plan.samples)
    each = [task for task in asked for _ in range(plan.samples)]
    kept, row = reject(each, texts)
    reasoning = [write_up(*pair) for pair in kept]
    others = other_data(plan.others, run.seed)
    row |= {"reasoning": len(reasoning), "others": len(others)}
    row["seconds"] = time.process_time() - start
    write_log(run.path("reject", ".csv"), [row], run.command)
    lines = "".join(json.dumps(example) + "\n" for example in reasoning + others)
    write_atomically(path, lambda partial: partial.write_text(lines))


def run_tune(run: Run, problems: int) -> None:
    """Base and data -> Dev3: imitate what was kept."""
    path = run.path("reject", ".jsonl")
    if not path.exists():
        raise SystemExit(f"tune needs {path.name}; run reject first")
    lines = path.read_text(encoding="utf-8").splitlines()
    imitate(run, "tune", [Example(*json.loads(line)) for line in lines], problems)


def run_prefer(run: Run, problems: int) -> None:
    """Choices between answers of Dev3 -> a preference.

    Leaves its weights, how often it agrees with choices that it has not seen, and the
    mean score and taste of Dev3's answers to the held-out tasks, a number a length.
    """
    path = run.path("prefer", ".json")
    if path.exists():
        return
    rng, model = random.Random(f"preference/{run.seed}"), run.begin("prefer")
    asked = [random_task(rng, TERMS) for _ in range(PAIRED)]
    texts = answers_to(model, asked, run.seed, 4, PAIRED_TEMPERATURE)
    pairs = pairs_of(rng, asked, texts)
    half = len(pairs) // 2
    preference = fit(pairs[:half])
    learned = {
        "weights": preference.weights,
        "pairs": half,
        "agrees": agreement(preference, pairs[:half]),
        "agrees_new": agreement(preference, pairs[half:]),
    }
    marks = marks_of(preference)
    rows = [survey(model, n, problems, run.seed, marks=marks) for n in TESTED]
    learned |= {name: [row[name] for row in rows] for name in marks}
    text = json.dumps(learned, indent=1) + "\n"
    write_atomically(path, lambda partial: partial.write_text(text))


def preference_of(run: Run) -> Preference:
    """The preference that `prefer` has left.

    Raises SystemExit where it has not run.
    """
    path = run.path("prefer", ".json")
    if not path.exists():
        raise SystemExit(f"align needs {path.name}; run prefer first")
    return Preference(tuple(json.loads(path.read_text())["weights"]))


def run_align(run: Run, problems: int) -> None:
    """Dev3 -> R1: rules where there are rules, and a preference in the last steps."""
    plan, preference = run.plan, preference_of(run)
    early = all_round_reward(replace(plan, taste=0.0), preference)
    parts = [(plan.align - plan.late, early)] if plan.late < plan.align else []
    parts.append((plan.late, all_round_reward(plan, preference)))
    settings = replace(
        SETTINGS,
        sampling=replace(SETTINGS.sampling, temperature=plan.temperature),
        loss=replace(SETTINGS.loss, kl_weight=plan.kl),
    )
    lesson = Lesson(mixture_of, parts, preference, settings)
    reinforce(run, "align", lesson, problems)


STAGE = {
    "cold-start": run_cold_start,
    "reason": run_reason,
    "reject": run_reject,
    "tune": run_tune,
    "prefer": run_prefer,
    "align": run_align,
}


# R1-Zero


def base_of(job: Job) -> Path:
    """The base model of a run, which is that of its seed."""
    row = RUNS[job.name]
    name = row.model if isinstance(row, Survey) else row.base
    return job.weights(name.format(seed=job.seed))


def zero_loop(job: Job, model: Model, reference: Model) -> Iterator[Row]:
    """The steps of R1-Zero, which has no reward for a script."""
    row = RUNS[job.name]
    watched = Watched(reasoning_reward(0.0))
    env = Environment(partial(tasks_of, terms=row.terms), watched)
    for step in grpo(model, reference, row.steps, SETTINGS, env, job.seed):
        yield step | watched.means()


def run_zero(job: Job) -> Row:
    """Train the base model with rewards alone, as in chapter 13."""
    row = RUNS[job.name]
    base = new_policy(load_checkpoint(base_of(job))[0])
    model = new_policy(base)
    rows = list(zero_loop(job, model, base))
    survey_checkpoint(model, job.path(ending=""), row.problems, job.seed, job.command)
    job.write(rows)
    return rows[-1]


# the command line


def run_of(job: Job) -> Run:
    """The files of a run of a plan."""
    row = RUNS[job.name]
    return Run(job.out, job.name, row.plan, job.seed, base_of(job), row.shared)


def make(job: Job) -> Row:
    """Make one run; the stages that a plan shares are those of the main plan."""
    row = RUNS[job.name]
    if isinstance(row, Zero):
        return run_zero(job)
    if isinstance(row, Survey):
        model, path = new_policy(load_checkpoint(base_of(job))[0]), job.path(ending="")
        survey_checkpoint(model, path, row.problems, job.seed, job.command)
        return {}
    own, main = run_of(job), run_of(replace(job, name="main"))
    stages = row.plan.stages()
    for stage in stages[: stages.index(row.until) + 1]:
        STAGE[stage](main if stage in row.shared else own, row.problems)
        print(job.stem, stage, "is finished", flush=True)
    return {}


def done(job: Job) -> bool:
    """Whether a run is finished."""
    row = RUNS[job.name]
    if isinstance(row, Zero):
        return job.path().exists()
    if isinstance(row, Survey):
        return job.path("other").exists()
    ending = ".jsonl" if row.until == "reject" else ".safetensors"
    path = run_of(job).path(row.until, ending)
    return path.exists() if row.until == "reject" else finished(path)


def files(job: Job) -> list[Path]:
    """The files that a run has left; a plan's are those of its own stages."""
    row = RUNS[job.name]
    if not isinstance(row, Recipe):
        return files_of(job)
    own = [stage for stage in row.plan.stages() if stage not in row.shared]
    stems = {run_of(job).path(stage, "").name for stage in own}
    return [p for stem in stems for p in files_of(replace(job, name=stem, seed=None))]


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs that the command line asks for."""
    run_grid("pipeline", RUNS, make, done, words, files=files)


if __name__ == "__main__":
    main()
