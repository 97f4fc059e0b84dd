"""GRPO by TRL with the book's rewards: `python -m experiments.grpo_trl --config FILE`.

Trains any causal model of Transformers, or a checkpoint of the book, on problems that a
rule can check. Files in `experiments/settings` say what is trained, and those in
`experiments/accelerate` on what: in the folder `book`,

    accelerate launch --config_file experiments/accelerate/one_gpu.yaml \\
        -m experiments.grpo_trl --config experiments/settings/gsm8k_0.5b_24gb.yaml \\
        --task train.jsonl

Two processes on a CPU begin with `torchrun --standalone --nproc-per-node 2 -m
experiments.grpo_trl`: accelerate begins one there, whatever its file says.
Every setting of TRL's GRPOConfig and ModelConfig is an option too. Needs
`pip install 'inside-deepseek-r1[trl]'`.

What settings of TRL 1.16 are called in `r1.rl.grpo_loop.Settings`, and where the same
name, or the same number, does not mean the same:

| TRL | here | the difference |
|---|---|---|
| num_generations | sampling.group | none |
| max_completion_length | sampling.max_new_tokens | none: both count the end token |
| temperature | sampling.temperature | none: both divide the logits of the loss too |
| epsilon, epsilon_high | loss.clip | none |
| loss_type="grpo" | how="sequence" | none |
| loss_type="bnpo" | how="token" | divides by the tokens of each part of an update |
| loss_type="dapo" | how="token" | divides by the mean tokens of an update |
| loss_type="dr_grpo" | how="constant" | constant = answers * max_completion_length |
| scale_rewards="none" | scale=False | none |
| scale_rewards="group" | scale=True | theirs / (std over G - 1, + 1e-4) |
| scale_rewards="batch" | none | one deviation for the whole batch |
| importance_sampling_level="sequence" | losses_after_r1.mean_ratio | level="sequence" \
is the product of the ratios, theirs its root: GSPO |
| beta | loss.kl_weight | theirs * ratio, unless use_bias_correction_kl=False; at 0 no \
reference is loaded and no KL logged |
| per_device_train_batch_size | prompts * group / parts | counts answers, not prompts |
| gradient_accumulation_steps | none | parts of an update's gradient |
| steps_per_generation | updates.minibatches | counts parts: minibatches = \
steps_per_generation / gradient_accumulation_steps |
| num_iterations | updates.epochs | theirs keeps the parts, ours draws them anew |
| learning_rate | updates.lr | theirs falls to 0 unless lr_scheduler_type="constant" |
| adam_beta2=0.999 | 0.95 | TRL's default and ours |
| entropy (logged) | entropy | theirs of all answers, ours of every eighth |

What `loss` says at the first step is the same in both: with loss_type="grpo" it is 0 in
value, since the ratio is 1 and advantages of a group add up to 0, and its gradient is
not. The ratio stays 1 as long as there is one update for each rollout: then nothing is
ever clipped.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.verifiable import (
    FORM,
    Checked,
    ProblemsError,
    as_trl,
    draw_problems,
    form_reward,
    opening_of,
    prompt_for,
    read_problems,
)
from r1.model.hugging_face import save_tokenizer, to_transformers
from r1.rl.grpo_loop import new_policy
from r1.rl.rewards import accuracy_reward
from r1.train.checkpoint import load_checkpoint

REWARDS = {accuracy_reward: 1.0, form_reward: FORM}
INSTALL = "pip install 'inside-deepseek-r1[trl]'"


@dataclass
class Recipe:
    """The problems that a model is trained on."""

    task: str = field(
        default="clock",
        metadata={"help": "clock, words, countdown, or a file .jsonl of problems"},
    )
    problems: int = field(
        default=4096,
        metadata={"help": "how many are drawn, for a task that is drawn"},
    )
    terms: list[int] = field(
        default_factory=lambda: [5, 5],
        metadata={"help": "fewest and most terms, for clock arithmetic"},
    )


def problems_of(recipe: Recipe, seed: int) -> list[Checked]:
    """The problems that a command line asks for.

    Raises ProblemsError where there are none.
    """
    if recipe.task.endswith(".jsonl"):
        return read_problems(Path(recipe.task))
    if len(recipe.terms) != 2 or not 2 <= recipe.terms[0] <= recipe.terms[1]:
        raise ProblemsError(f"terms is {recipe.terms}; give fewest and most, as in 3 5")
    return draw_problems(recipe.task, recipe.problems, seed, tuple(recipe.terms))


def export(checkpoint: Path, folder: Path) -> None:
    """A checkpoint of the book as a folder of Hugging Face, with its tokenizer."""
    to_transformers(new_policy(load_checkpoint(checkpoint)[0]), folder)
    save_tokenizer(folder)


def model_folder(name: str | None, out: Path) -> str:
    """The name of a model for TRL; a checkpoint of the book is exported to `out`/base.

    Raises SystemExit where there is no name.
    """
    from accelerate import PartialState

    if name is None:
        raise SystemExit(
            "--model_name_or_path is missing; give a folder or a name of Hugging Face, "
            "or a checkpoint such as data/base/base_seed1.safetensors"
        )
    if not name.endswith(".safetensors"):
        return name
    if PartialState().is_main_process:
        export(Path(name), out / "base")
    PartialState().wait_for_everyone()
    return str(out / "base")


def open_tokenizer(name: str) -> Any:
    """The tokenizer of a model; prompts are padded on the left."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name, padding_side="left")


def prompts_of(problems: Sequence[Checked], tokenizer: Any) -> list[dict[str, Any]]:
    """The rows of TRL's dataset: what is asked, and which problem it is.

    Raises ProblemsError where the tokenizer cannot read the first problem.
    """
    rows = [
        {"prompt": prompt_for(problem, tokenizer), "number": number}
        for number, problem in enumerate(problems)
    ]
    first = rows[0]["prompt"]
    try:
        if isinstance(first, str):
            tokenizer(first)
    except Exception as error:  # of tokenizers, which has no class of its own for it
        raise ProblemsError(
            f"the tokenizer cannot read {first!r} ({error}); the book's own models "
            "know clock arithmetic alone"
        ) from error
    return rows


def new_trainer(
    model: str,
    problems: Sequence[Checked],
    args: Any,
    rewards: dict[Callable[[Any, str], float], float] = REWARDS,
    **options: Any,
) -> Any:
    """TRL's trainer of a model on problems, with rewards and their weights.

    `args` is a GRPOConfig, whose `reward_weights` count if it has any; `options` are
    TRL's. Raises ProblemsError as `prompts_of` does.
    """
    from datasets import Dataset
    from huggingface_hub import constants
    from trl import GRPOTrainer

    constants.HF_HUB_DISABLE_TELEMETRY = True  # else TRL tells that it is used
    tokenizer = open_tokenizer(model)
    rows = prompts_of(problems, tokenizer)
    opening = opening_of(rows[0]["prompt"], tokenizer)
    if args.reward_weights is None:
        args.reward_weights = list(rewards.values())
    return GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=[as_trl(reward, problems, opening) for reward in rewards],
        train_dataset=Dataset.from_list(rows),
        args=args,
        **options,
    )


def read_settings(words: Sequence[str] | None = None) -> tuple[Recipe, Any, Any]:
    """Recipe, GRPOConfig and ModelConfig of a command line and its `--config` file."""
    from trl import GRPOConfig, ModelConfig, TrlParser

    kinds = (Recipe, GRPOConfig, ModelConfig)
    parser = TrlParser(kinds, prog="python -m experiments.grpo_trl")
    recipe, args, model = parser.parse_args_and_config(args=words)
    loading = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
    }
    args.model_init_kwargs = loading | (args.model_init_kwargs or {})
    return recipe, args, model


def run(words: Sequence[str] | None = None) -> Any:
    """Train, save model and tokenizer in `output_dir`, and return TRL's trainer."""
    recipe, args, model = read_settings(words)
    from trl import get_peft_config, get_quantization_config

    problems = problems_of(recipe, args.seed)
    name = model_folder(model.model_name_or_path, Path(args.output_dir))
    trainer = new_trainer(
        name,
        problems,
        args,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model(args.output_dir)
    return trainer


def main(words: Sequence[str] | None = None) -> None:
    """Train what the command line asks for."""
    try:
        trainer = run(words)
    except ImportError as error:
        raise SystemExit(f"{error}; {INSTALL}") from error
    except ProblemsError as error:
        raise SystemExit(str(error)) from error
    trainer.accelerator.print(f"{trainer.args.output_dir} has the model")
    trainer.end()


if __name__ == "__main__":
    main(sys.argv[1:])
