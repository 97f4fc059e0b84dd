"""How fast is a step of GRPO beside TRL's? python tests/bench/grpo_step.py

The recorded times were taken with OMP_WAIT_POLICY=passive, as the notebooks run: a
thread that waits leaves its core to others.

A step samples 16 answers to each of 32 problems, scores them and updates the policy
once. Problems, rule, lengths and threads are the same, and so are the weights: both
begin every step as the base model, which theirs reads in the layout of Hugging Face, so
that no answer is longer because a policy has learned. They take turns in one process,
TRL once with each way that Transformers has for its experts, and the faster one counts;
the first turn, in which both must find the same gradient on the same answers, is not
counted. Times are medians, of whole steps, of sampling, and of what is not sampling:
scoring and update. Ours includes what it logs at every step, the entropy and the KL
divergence of an eighth of the answers; TRL computes the entropy of all of them with the
loss, and is told to write no log.

Memory is what a step adds to the peak of a process of its own, because what one of them
frees the other would take. The share of kernels is that part of the time of our step
in which matrices are multiplied or attention is computed, by torch's own functions,
which both call: the step would take that long if all else cost nothing.
"""

import multiprocessing
import tempfile
import time
import warnings
from pathlib import Path
from statistics import fmean, median
from unittest.mock import patch

import torch
from datasets import Dataset
from huggingface_hub import constants
from peers import high_water, kernels_share
from torch.testing import assert_close
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer

from r1.model import sampling
from r1.model.hugging_face import new_tokenizer, to_transformers
from r1.model.weight_names import rename_weights
from r1.rl.grpo_loop import Settings, grpo, logprobs, new_policy, problems_of
from r1.rl.losses import grpo_loss
from r1.rl.rewards import rule_reward
from r1.rl.rollout import Rollout
from r1.text.tokenizer import EOS, IDS, decode, encode
from r1.train.checkpoint import load_checkpoint
from r1.train.records import write_log

DATA = Path(__file__).parents[2] / "book/data"
OUT = DATA.parent / "runs/bench/grpo.csv"
IMPLEMENTATIONS = ("eager", "grouped_mm")  # as in peers.py
SETTINGS = Settings()
TURNS = 9


class Timed:
    """A function that adds up the seconds it takes."""

    def __init__(self, function):
        self.function, self.seconds = function, 0.0

    def __call__(self, *args, **kwargs):
        start = time.perf_counter()
        result = self.function(*args, **kwargs)
        self.seconds += time.perf_counter() - start
        return result


class Turns(TrainerCallback):
    """Times the steps of TRL, and lets ours take one after those of each turn."""

    def __init__(self, policy, trainer, lengths):
        self.policy, self.trainer, self.lengths = policy, trainer, lengths
        self.start = [
            {name: weight.clone() for name, weight in model.state_dict().items()}
            for model in (policy, trainer.model)
        ]
        self.sampling = Timed(trainer.model.generate)
        trainer.model.generate = self.sampling
        self.steps = {name: [] for name in ("ours", *IMPLEMENTATIONS)}
        base = new_policy(policy)
        self.run = grpo(policy, base, TURNS + 1, SETTINGS)

    def on_step_begin(self, args, state, control, model, **rest):
        self.name = IMPLEMENTATIONS[state.global_step % len(IMPLEMENTATIONS)]
        model.load_state_dict(self.start[1])
        model.set_experts_implementation(self.name)
        self.sampling.seconds, self.began = 0.0, time.perf_counter()

    def on_pre_optimizer_step(self, args, state, control, model, **rest):
        if state.global_step == 0:
            check_gradient(self.policy, model, self.trainer._buffered_inputs[0])

    def on_step_end(self, args, state, control, **rest):
        took = time.perf_counter() - self.began
        self.steps[self.name].append((took, self.sampling.seconds, self.lengths[-1]))
        if self.name == IMPLEMENTATIONS[-1]:
            self.steps["ours"].append(self.our_step())

    def our_step(self):
        self.policy.load_state_dict(self.start[0])
        with patch.object(sampling, "sample", Timed(sampling.sample)) as writing:
            step = Timed(next)
            metrics = step(self.run)
        return step.seconds, writing.seconds, metrics["length"]


def check_gradient(policy, theirs, batch):
    """Ours is the gradient that TRL has found, on the answers that it has sampled."""
    tokens = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    asked, answered = batch["prompt_mask"], batch["completion_mask"]
    mask = torch.cat([torch.zeros_like(asked), answered], 1)[:, 1:].bool()
    pads = (asked == 0).sum(1)
    answers = Rollout([], [], tokens, pads if pads.any() else None, mask)
    logp = logprobs(policy, answers)
    grpo_loss(logp, logp, batch["advantages"], mask).loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    found = rename_weights({k: p.grad for k, p in theirs.named_parameters()})
    for name, weight in policy.named_parameters():
        assert_close(weight.grad, found[name], rtol=1e-3, atol=1e-6)
    policy.zero_grad()


def new_trainer(folder, problems, lengths):
    """TRL's trainer for the model in a folder; notes the mean length of each step."""
    asked = {problem.prompt: problem for problem in problems}

    def reward(prompts, completions, completion_ids, **rest):
        lengths.append(fmean(map(len, completion_ids)))
        pairs = zip(prompts, completions, strict=True)
        return [rule_reward(asked[prompt], text) for prompt, text in pairs]

    trainer = GRPOTrainer(
        model=folder,
        processing_class=new_tokenizer(),
        reward_funcs=reward,
        train_dataset=Dataset.from_list([{"prompt": p.prompt} for p in problems]),
        args=GRPOConfig(
            folder,
            max_steps=len(problems) // SETTINGS.prompts,
            per_device_train_batch_size=SETTINGS.prompts * SETTINGS.sampling.group,
            num_generations=SETTINGS.sampling.group,
            max_completion_length=SETTINGS.sampling.max_new_tokens,
            temperature=SETTINGS.sampling.temperature,
            loss_type="grpo",
            beta=SETTINGS.loss.kl_weight,
            learning_rate=SETTINGS.updates.lr,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            shuffle_dataset=False,
            use_cpu=True,
            bf16=False,  # TRL's default is True,
            activation_checkpointing=False,  # and here too
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def check_models(policy, trainer, problems):
    """Both read a problem alike, and say the same about it."""
    prompts = [problem.prompt for problem in problems]
    tokenizer = trainer.processing_class
    assert tokenizer(prompts)["input_ids"] == [encode(prompt) for prompt in prompts]
    text = "<think>" + decode(range(7, len(IDS))) + "</think><answer>3</answer>"
    written = encode(text + EOS)
    assert tokenizer.decode(written, skip_special_tokens=True) == text
    tokens = torch.tensor([encode(prompts[0]) + written])
    for name in IMPLEMENTATIONS:
        trainer.model.set_experts_implementation(name)
        with torch.no_grad():
            theirs = trainer.model(tokens).logits
            assert_close(policy(tokens), theirs, rtol=1e-4, atol=1e-4)


def base_policy():
    """The model with which both begin every step."""
    return new_policy(load_checkpoint(DATA / "base/base_seed1.safetensors")[0])


def be_quiet():
    constants.HF_HUB_DISABLE_TELEMETRY = True  # else TRL tells that it is used
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)  # of TRL's use of Transformers


def peak(name):
    """Megabytes that a process of its own adds to its peak in a step."""
    be_quiet()
    policy = base_policy()
    with tempfile.TemporaryDirectory() as folder:
        to_transformers(policy, folder)
        trainer = new_trainer(folder, problems_of(0, 0, SETTINGS.prompts), [])
        base = new_policy(policy)
        before = high_water()
        if name == "ours":
            next(grpo(policy, base, 1, SETTINGS))
        else:
            trainer.model.set_experts_implementation(name)
            trainer.train()
        return high_water() - before


def share_of_kernels():
    """The share of kernels in the time of our step."""
    policy = base_policy()
    run = grpo(policy, new_policy(policy), 2, SETTINGS)
    next(run)
    return kernels_share(lambda: next(run))


def take_turns():
    """Seconds, seconds of sampling and tokens an answer of every step, by whose."""
    be_quiet()
    threads = torch.get_num_threads()
    policy = base_policy()
    problems = [
        problem
        for turn in range(TURNS + 1)
        for _ in IMPLEMENTATIONS
        for problem in problems_of(0, turn, SETTINGS.prompts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        to_transformers(policy, folder)
        lengths = []
        trainer = new_trainer(folder, problems, lengths)
        check_models(policy, trainer, problems)
        turns = Turns(policy, trainer, lengths)
        trainer.add_callback(turns)
        trainer.train()
    assert torch.get_num_threads() == threads
    return {name: steps[1:] for name, steps in turns.steps.items()}


def middle(steps):
    """Medians of a step and of its parts, in seconds, and tokens an answer."""
    whole, sampling, tokens = zip(*steps, strict=True)
    update = [a - b for a, b in zip(whole, sampling, strict=True)]
    return median(whole), median(sampling), median(update), fmean(tokens)


def main():
    """Print and record the comparison; returns how many times as fast ours is."""
    found = {name: middle(steps) for name, steps in take_turns().items()}
    head = f"{torch.get_num_threads()} threads"
    print(f"{head:10}       GRPO    sampling      update  tokens")
    for name, (*seconds, tokens) in found.items():
        print(f"{name:10} {'  '.join(f'{s:8.3f} s' for s in seconds)}  {tokens:6.1f}")
    best = min(IMPLEMENTATIONS, key=lambda name: found[name][0])
    row = {"grouped": int(best == "grouped_mm")}
    for index, part in enumerate(("", "sampling_", "update_")):
        ours, theirs = found["ours"][index], found[best][index]
        row |= {f"ours_{part}s": ours, f"theirs_{part}s": theirs}
        row |= {f"{part}ratio": theirs / ours}
    row |= {"ours_tokens": found["ours"][3], "theirs_tokens": found[best][3]}
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        ours, theirs = (pool.apply(peak, [name]) for name in ("ours", best))
    row |= {"ours_mb": ours, "theirs_mb": theirs}
    row |= {"ours_kernels_share": share_of_kernels()}
    print(f"memory: {ours:.0f} MB and {theirs:.0f} MB")
    print(f"share of kernels in ours: {row['ours_kernels_share']:.2f}")
    write_log(OUT, [row], command="python tests/bench/grpo_step.py")
    return row["ratio"]


if __name__ == "__main__":
    print(f"ratio grpo={main():.2f}")
