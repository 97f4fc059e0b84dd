"""The stages of R1, each one command that takes a checkpoint and leaves another.

`python -m experiments.stages pipeline` runs them in order and skips those that
are finished; `cold-start`, `reason`, `reject`, `tune`, `prefer` and `align` run one.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from experiments.plan import (
    PLANS,
    SETTINGS,
    STAGES,
    TERMS,
    Plan,
    Run,
    Watched,
    all_round_reward,
    finished,
    mixture_of,
    reasoning_reward,
    tasks_of,
)
from experiments.rl_command import load_training
from r1.model.files import write_atomically
from r1.recipe.curation import cold_start, other_data, reject, write_up
from r1.recipe.preference import Preference, agreement, fit, pairs_of
from r1.rl.environment import Environment
from r1.rl.grpo_loop import grpo
from r1.rl.policy import new_policy
from r1.text.readable import random_task
from r1.train.checkpoint import load_checkpoint, save_checkpoint
from r1.train.finetuning import Example, sft
from r1.train.optimizer import rl_optimizer
from r1.train.records import check_notes, read_rows, write_log
from r1.train.survey import answers_to, survey, survey_questions

TESTED = range(3, 9)
SAVE_EVERY = 10
PAIRED = 800  # tasks whose answers are compared, half of them to test the preference
WARM = 1.3  # their temperature, so that answers differ
PRICED = 60  # steps


def command() -> str:
    """The command line that is running, for the head of a log."""
    return " ".join(["python -m experiments.stages", *sys.argv[1:]])


def notes_of(run: Run, stage: str) -> dict:
    """What a checkpoint says of the run that made it; a resumed one must agree."""
    plan = asdict(run.plan)
    return {"stage": stage, "seed": run.seed, "base": run.base.stem, "plan": plan}


def test_checkpoint(model, path: Path, problems: int) -> None:
    """Answer held-out questions, and write a row a length and one of the rest."""
    rows = [{"terms": n, **survey(model, n, problems)} for n in TESTED]
    write_log(path.with_name(f"{path.stem}_terms.csv"), rows, command())
    row = {"letters": survey(model, 4, problems, script="letters")["right"]}
    row |= survey_questions(model, problems)
    write_log(path.with_name(f"{path.stem}_other.csv"), [row], command())


def timed(rows: Iterable[dict], spent: float = 0.0) -> Iterator[dict]:
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
    write_log(path.with_suffix(".csv"), rows, command())
    test_checkpoint(model, path, problems)
    save_checkpoint(path, model, finished=True, **notes_of(run, stage))


def run_cold_start(run: Run, problems: int) -> None:
    """Base -> Dev1: imitate curated solutions."""
    imitate(run, "cold-start", cold_start(run.plan.cold, run.seed), problems)


def reinforce(run: Run, stage: str, parts: list, ask, problems: int, taste=None):
    """GRPO with one reward after the other; `parts` has (steps, reward) pairs.

    Goes on where a run was cut off: its file says how far it had come.
    """
    path, rows, start = run.path(stage, ".safetensors"), [], 0
    if finished(path):
        return
    reference = run.begin(stage)
    if path.exists():
        model, optimizer, notes = load_training(path, SETTINGS.updates.lr)
        check_notes(path.name, notes, notes_of(run, stage))
        start, rows = notes["step"], read_rows(path.with_suffix(".csv"), notes["step"])
    else:
        model = new_policy(reference)
        optimizer = rl_optimizer(model, SETTINGS.updates.lr)
    end, last = 0, sum(steps for steps, _ in parts)
    for steps, reward in parts:
        end += steps
        watched = Watched(reward)
        env = Environment(ask, watched)
        first = max(start, end - steps)
        loop = grpo(model, reference, end, SETTINGS, env, run.seed, optimizer, first)
        for row in timed(loop, rows[-1]["seconds"] if rows else 0.0):
            rows.append(row | watched.means(taste))
            done = row["step"] + 1
            if done % SAVE_EVERY == 0 and done < last:
                write_log(path.with_suffix(".csv"), rows, command())
                notes = notes_of(run, stage) | {"step": done, "finished": False}
                save_checkpoint(path, model, optimizer, **notes)
    write_log(path.with_suffix(".csv"), rows, command())
    test_checkpoint(model, path, problems)
    save_checkpoint(path, model, step=last, finished=True, **notes_of(run, stage))


def run_reason(run: Run, problems: int) -> None:
    """Dev1 -> Dev2: reinforcement learning on tasks, with rules and a language."""
    reward = reasoning_reward(run.plan.language)
    reinforce(run, "reason", [(run.plan.reason, reward)], tasks_of, problems)


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
    write_log(path.with_suffix(".csv"), [row], command())
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

    Leaves its weights, and how often it agrees with choices that it has not seen.
    """
    path = run.path("prefer", ".json")
    if path.exists():
        return
    rng, model = random.Random(f"preference/{run.seed}"), run.begin("prefer")
    asked = [random_task(rng, TERMS) for _ in range(PAIRED)]
    texts = answers_to(model, asked, run.seed, copies=4, temperature=WARM)
    pairs = pairs_of(rng, asked, texts)
    half = len(pairs) // 2
    preference = fit(pairs[:half])
    found = {
        "weights": preference.weights,
        "pairs": half,
        "agrees": agreement(preference, pairs[:half]),
        "agrees_new": agreement(preference, pairs[half:]),
    }
    text = json.dumps(found, indent=1) + "\n"
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
    reinforce(run, "align", parts, mixture_of, problems, preference)


RUN = {
    "cold-start": run_cold_start,
    "reason": run_reason,
    "reject": run_reject,
    "tune": run_tune,
    "prefer": run_prefer,
    "align": run_align,
}


def run_price(run: Run, script: str, problems: int, steps: int = PRICED) -> None:
    """R1-Zero with a reward for one script: what does the language cost?

    From the base model and on problems of five terms, as in chapter 13.
    """
    weight = 0.0 if script == "none" else 1.0
    reward = reasoning_reward(weight, script if weight else None)
    path = run.folder / f"price_{script}_seed{run.seed}.csv"
    if path.exists():
        return
    base = new_policy(load_checkpoint(run.base)[0])
    model, watched, rows = new_policy(base), Watched(reward), []
    env = Environment(partial(tasks_of, terms=(5, 5)), watched)
    for row in grpo(model, base, steps, SETTINGS, env, run.seed):
        rows.append(row | watched.means())
    test_checkpoint(model, path.with_suffix(""), problems)
    write_log(path, rows, command())


def main(words: list[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("stage", choices=("pipeline", *STAGES, "price", "survey"))
    add("--plan", choices=PLANS, default="main")
    add("--seed", type=int, default=0)
    add("--base", type=Path, default=Path("data/base/base_seed1.safetensors"))
    add("--out", type=Path, default=Path("data/pipeline"), help="folder")
    add("--until", choices=STAGES, default="align", help="the last stage of pipeline")
    add("--script", choices=("none", "digits", "letters"), default="none")
    add("--model", type=Path, help="for survey: a checkpoint")
    add("--problems", type=int, default=192, help="of each length, at the end")
    add("--short", action="store_true", help="a fortieth of everything, to try it")
    add("--threads", type=int, help="of the CPU")
    args = parser.parse_args(words)
    if args.threads:
        torch.set_num_threads(args.threads)
    plan = PLANS[args.plan]
    if args.short:
        plan = shortened(plan)
    run = Run(args.out, args.plan, plan, args.seed, args.base)
    if args.stage == "survey":
        model = new_policy(load_checkpoint(args.model)[0])
        test_checkpoint(model, args.out / args.model.stem, args.problems)
    elif args.stage == "price":
        steps = 2 if args.short else PRICED
        run_price(run, args.script, args.problems, steps)
    elif args.stage == "pipeline":
        for stage in plan.stages()[: plan.stages().index(args.until) + 1]:
            RUN[stage](run, args.problems)
            print(args.plan, args.seed, stage, "is finished", flush=True)
    else:
        RUN[args.stage](run, args.problems)


def shortened(plan: Plan) -> Plan:
    """The same plan with little of everything, to see that it runs."""
    late = 1 if plan.late < plan.align else 2
    return replace(
        plan, cold=64, epochs=1, reason=2, tasks=64, others=16, align=2, late=late
    )


if __name__ == "__main__":
    main()
