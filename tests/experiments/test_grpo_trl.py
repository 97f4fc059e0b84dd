"""TRL trains with the book's rewards, and computes what the book computes."""

import json
import math
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.testing import assert_close
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from experiments import beside_trl, grpo_trl
from experiments.verifiable import as_trl, is_ours
from r1.model.hugging_face import save_tokenizer
from r1.model.transformer import Model
from r1.rl.grpo_loop import Settings, logprobs, new_policy, problems_of
from r1.rl.losses import grpo_loss
from r1.rl.losses_after_r1 import gspo_token_loss
from r1.rl.rewards import group_advantages, rule_reward
from r1.rl.rollout import Rollout
from r1.text.tokenizer import EOS, IDS, TOKENS, encode
from r1.train.checkpoint import load_checkpoint
from r1.train.evaluation import evaluate
from r1.train.records import DATA

EXPERIMENTS = Path(grpo_trl.__file__).parent
BASE = DATA / "base/base_seed1.safetensors"
GROUP, ROWS = 8, 24  # three problems in each of two parts
QUICK = {"per_device_train_batch_size": ROWS, "num_generations": GROUP}
# TRL 1.16 asks Transformers 5.23 by a name that it gives up.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def settings(out, **changes):
    """The GRPOConfig of clock.yaml with some settings changed."""
    words = ["--config", str(beside_trl.CLOCK), "--output_dir", str(out)]
    for name, value in (QUICK | {"disable_tqdm": "true"} | changes).items():
        words += [f"--{name}", str(value)]
    return grpo_trl.read_settings(words)[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """TRL's trainer after one rollout of the base model and two updates with it."""
    folder = tmp_path_factory.mktemp("trl")
    grpo_trl.export(BASE, folder / "base")
    args = settings(
        folder / "trained", max_steps=2, steps_per_generation=2, learning_rate=1e-3
    )
    problems = problems_of(0, 0, 2 * ROWS // GROUP)
    trainer = grpo_trl.new_trainer(str(folder / "base"), problems, args)
    trainer.problems = problems
    trainer.train()
    trainer.save_model(args.output_dir)
    return trainer


@pytest.fixture(scope="module")
def policy(run):
    """What TRL has trained, as a model of the book."""
    return Model.from_pretrained(run.args.output_dir, torch.float32)


def part_of(trainer, index=0):
    """A part of the rollout as TRL holds it, and as a rollout of the book."""
    batch = trainer._buffered_inputs[index]
    tokens = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    asked = torch.zeros_like(batch["prompt_mask"])
    mask = torch.cat([asked, batch["completion_mask"]], 1)[:, 1:].bool()
    pads = (batch["prompt_mask"] == 0).sum(1)
    return batch, Rollout([], [], tokens, pads if pads.any() else None, mask)


def padded(values, rollout):
    """Values of the tokens of answers, in their columns of a whole rollout."""
    return torch.nn.functional.pad(values, (rollout.mask.shape[1] - values.shape[1], 0))


# rewards, advantages


def test_rewards_are_those_of_the_book_and_advantages_follow_from_them(run):
    logs = run._logs
    asked = [problem for problem in run.problems for _ in range(GROUP)]
    assert list(logs["prompt"]) == [problem.prompt for problem in asked]
    expected = torch.tensor([*map(rule_reward, asked, logs["completion"])])
    accuracy, form = (torch.tensor(list(values)) for values in logs["rewards"].values())
    assert_close(accuracy + 0.1 * form, expected)
    assert run.state.log_history[0]["reward"] == pytest.approx(expected.mean().item())
    groups = expected.view(-1, GROUP)
    theirs = torch.tensor(list(logs["advantages"])).view(-1, GROUP)
    ours, deviation = group_advantages(groups), groups.std(1, correction=0)
    speaks = deviation > 0
    assert speaks.sum() > 1  # there is something to compare
    bessel = math.sqrt(GROUP / (GROUP - 1))
    larger = bessel + 1e-4 / deviation[speaks, None]
    assert_close(ours[speaks], theirs[speaks] * larger, rtol=1e-4, atol=1e-5)
    assert theirs[~speaks].abs().sum() < 1e-3


def test_the_end_token_is_learned_and_not_said(run):
    batch, rollout = part_of(run)
    assert not any(EOS in text for text in run._logs["completion"])
    last = batch["completion_mask"].sum(1) - 1
    assert (batch["completion_ids"].gather(1, last[:, None]) == IDS[EOS]).any()
    assert rollout.mask.sum() == batch["completion_mask"].sum()


# losses: at the weights after two updates, on answers from before them


LOSSES = {  # of TRL: ours, and what ours divides by
    "grpo": ("sequence", None),
    "bnpo": ("token", None),
    "dapo": ("constant", lambda b: b["num_items_in_batch"].item() / 2),
    "dr_grpo": ("constant", lambda b: 48.0 * ROWS),
}


def both(run, policy, ours, **theirs):
    """TRL's loss and ours, with the gradients of the head, and TRL's share clipped."""
    batch, rollout = part_of(run)
    inputs = batch | theirs.pop("inputs", {})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in theirs.items():
            owner = run.args if name == "use_bias_correction_kl" else run
            patch.setattr(owner, name, value)
        run._metrics["train"].clear()
        run.model.train()
        loss = run._compute_loss(run.model, inputs)
        share = run._metrics["train"]["clip_ratio/region_mean"][0]
    (gradient,) = torch.autograd.grad(loss, run.model.lm_head.weight)
    logp = logprobs(policy, rollout)
    old = padded(batch["old_per_token_logps"], rollout)
    found = ours(logp, old, advantages=batch["advantages"], mask=rollout.mask)
    (own,) = torch.autograd.grad(found.loss, policy.head.weight)
    return (loss, found.loss), (gradient, own), (share, found.clipped.item())


@pytest.mark.parametrize("kind", LOSSES)
def test_the_losses_of_one_name_are_equal_and_so_are_their_gradients(run, policy, kind):
    how, count = LOSSES[kind]
    constant = count and count(part_of(run)[0])

    def ours(*args, **options):
        options |= {"how": how, "constant": constant, "clip": (0.2, 0.28)}
        return grpo_loss(*args, **options)

    changes = {"loss_type": kind, "epsilon_high": 0.28}
    loss, gradient, clipped = both(run, policy, ours, **changes)
    assert_close(*loss, rtol=1e-4, atol=1e-6)
    assert_close(*gradient, rtol=1e-3, atol=1e-6)
    assert clipped[0] == pytest.approx(clipped[1])
    assert 0 < clipped[0] < 1  # the policy has moved far enough to be clipped
    assert gradient[0].abs().max() > 1e-3


def test_dapo_divides_by_the_mean_tokens_of_an_update_and_not_by_its_own(run):
    tokens = [part_of(run, index)[1].mask.sum().item() for index in (0, 1)]
    counts = {part_of(run, index)[0]["num_items_in_batch"].item() for index in (0, 1)}
    assert counts == {sum(tokens)}
    assert tokens[0] != tokens[1]


def test_the_ratio_of_a_sequence_is_the_root_here_and_the_product_there(run, policy):
    name = {"importance_sampling_level": "sequence", "loss_type": "grpo"}
    wide = (0.2, 0.2)

    def root(*args, **options):
        return gspo_token_loss(*args, **options, clip=wide)

    def product(*args, **options):
        return grpo_loss(*args, **options, clip=wide, level="sequence")

    loss, gradient, _ = both(run, policy, root, **name)
    assert_close(*loss, rtol=1e-4, atol=1e-6)
    assert_close(*gradient, rtol=1e-3, atol=1e-6)
    loss, *_ = both(run, policy, product, **name)
    assert abs(loss[0] - loss[1]) > 1e-3


@pytest.mark.parametrize("corrected", [False, True])
def test_beta_weighs_the_same_divergence_which_trl_multiplies_by_the_ratio(
    run, policy, corrected
):
    batch, rollout = part_of(run)
    noise = torch.linspace(-0.5, 0.5, batch["completion_ids"].numel())
    reference = batch["old_per_token_logps"] + noise.view_as(batch["completion_ids"])
    changes = {"inputs": {"ref_per_token_logps": reference}, "beta": 0.3}

    def ours(*args, **options):
        options |= {"kl_weight": 0.3, "logp_ref": padded(reference, rollout)}
        return grpo_loss(*args, **options)

    changes |= {"use_bias_correction_kl": corrected, "loss_type": "grpo"}
    loss, gradient, _ = both(run, policy, ours, **changes)
    same = torch.allclose(*loss, rtol=1e-4), torch.allclose(*gradient, 1e-3, 1e-6)
    assert same == (not corrected, not corrected)


# the way there and back


def test_a_model_goes_to_trl_and_comes_back_into_the_evaluation(run, policy):
    folder = Path(run.args.output_dir).parent / "base"
    exported = Model.from_pretrained(folder, torch.float32)
    base = new_policy(load_checkpoint(BASE)[0])
    found, expected = (evaluate(model, 5, 32) for model in (exported, base))
    assert found == pytest.approx(expected, nan_ok=True)
    assert is_ours(AutoTokenizer.from_pretrained(run.args.output_dir))
    tokens = torch.tensor([encode(run.problems[0].prompt)])
    with torch.no_grad():
        assert_close(policy(tokens), run.model(tokens).logits, rtol=1e-4, atol=1e-4)
        assert (policy(tokens) - base(tokens)).abs().max() > 0.1
    assert 0 < evaluate(policy, 5, 32)["form"] <= 1


# a random Qwen


def qwen(folder, vocabulary, template=None):
    """A small random Qwen2 that reads one character at a time, but for tags."""
    torch.manual_seed(0)
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token=EOS, pad_token="<pad>", unk_token="?"
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=vocabulary[EOS],
        pad_token_id=vocabulary["<pad>"],
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def digits(problem, text):
    return sum(letter.isdigit() for letter in text) / max(1, len(text))


def test_a_random_qwen_learns_what_it_is_rewarded_for(tmp_path):
    vocabulary = {token: number for number, token in enumerate([*TOKENS, "?"])}
    folder = qwen(tmp_path / "qwen", vocabulary)
    changes = {"max_completion_length": 8, "learning_rate": 1e-2, "max_steps": 12}
    args = settings(tmp_path / "out", **changes, warmup_steps=0)
    problems = problems_of(0, 0, 36)
    trainer = grpo_trl.new_trainer(str(folder), problems, args, {digits: 1.0})
    trainer.train()
    first, *_, last = [log for log in trainer.state.log_history if "reward" in log]
    assert last["reward"] > first["reward"] + 0.3
    # The loss of a whole group is 0 in value while the ratio is 1, and it is not flat.
    assert abs(first["loss"]) < 1e-6 < 0.01 < first["grad_norm"]
    assert first["clip_ratio/region_mean"] == last["clip_ratio/region_mean"] == 0


def test_a_file_of_problems_trains_a_model_that_talks(tmp_path, capsys, monkeypatch):
    letters = [chr(i) for i in range(32, 127)]
    vocabulary = {token: i for i, token in enumerate([*letters, "\n", EOS, "<pad>"])}
    template = "{% for m in messages %}{{ m.role + m.content }}{% endfor %}<think>\n"
    folder = qwen(tmp_path / "qwen", vocabulary, template)
    rows = [{"question": f"{n} and 1?", "answer": f"#### {n + 1}"} for n in range(6)]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    words = ["--config", str(beside_trl.CLOCK), "--task", str(path)]
    words += ["--model_name_or_path", str(folder), "--output_dir", str(tmp_path / "to")]
    words += ["--max_steps", "1", "--max_completion_length", "4"]
    words += ["--per_device_train_batch_size", "8", "--num_generations", "4"]
    before = Qwen2ForCausalLM.from_pretrained(folder)
    run, made = grpo_trl.run, []
    monkeypatch.setattr(
        grpo_trl, "run", lambda given: made.append(run(given)) or made[0]
    )
    grpo_trl.main([*words, "--disable_tqdm", "true"])
    assert "has the model" in capsys.readouterr().out
    assert made[0].state.global_step == 1
    asked = [prompt[-1]["content"] for prompt in made[0]._logs["prompt"]]
    assert len(asked) == 8
    assert {row["question"] for row in rows} > set(asked)
    after = Qwen2ForCausalLM.from_pretrained(tmp_path / "to")
    # No answer keeps the form: all rewards are 0, and nothing is learned.
    for name, weight in after.state_dict().items():
        assert torch.equal(weight, before.state_dict()[name])
    assert AutoTokenizer.from_pretrained(tmp_path / "to").chat_template == template


# settings


def test_the_settings_for_the_clock_are_those_of_chapter_13(tmp_path):
    args, ours = settings(tmp_path), Settings()
    args_all = grpo_trl.read_settings(["--config", str(beside_trl.CLOCK)])[1]
    assert args_all.per_device_train_batch_size == ours.prompts * ours.sampling.group
    assert args_all.num_generations == ours.sampling.group
    assert args.max_completion_length == ours.sampling.max_new_tokens
    assert args.temperature == ours.sampling.temperature
    assert (args.loss_type, ours.loss.how) == ("grpo", "sequence")
    assert args.importance_sampling_level == ours.loss.level == "token"
    assert (args.epsilon, args.epsilon_high or args.epsilon) == ours.loss.clip
    assert args.beta == ours.loss.kl_weight
    assert (args.scale_rewards, ours.scale) == ("group", True)
    assert args.learning_rate == ours.updates.lr
    assert (args.num_iterations, args.steps_per_generation) == (1, 1)
    assert ours.updates.one
    assert (args.lr_scheduler_type, args.warmup_steps) == ("constant", 0)
    optimizer = {"adam_beta1": 0.9, "adam_beta2": 0.95, "weight_decay": 0.0}
    assert all(getattr(args, name) == value for name, value in optimizer.items())
    assert args.max_grad_norm == 1.0


@pytest.mark.parametrize("size", ["0.5b", "1.5b"])
def test_the_settings_for_24_gb_are_settings_of_trl(size):
    path = EXPERIMENTS / f"settings/gsm8k_{size}_24gb.yaml"
    words = ["--config", str(path), "--task", "own.jsonl", "--use_cpu", "true"]
    recipe, args, model = grpo_trl.read_settings(words)
    assert recipe.task == "own.jsonl"
    assert args.activation_checkpointing
    assert args.bf16
    assert size.upper() in model.model_name_or_path
    assert model.use_peft == (size == "1.5b")
    assert args.generation_batch_size % args.num_generations == 0
    assert args.model_init_kwargs["dtype"] == model.dtype


def test_a_setting_that_trl_does_not_have_is_refused(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text(beside_trl.CLOCK.read_text(encoding="utf-8") + "no_such: 1\n")
    with pytest.raises(ValueError, match="no_such"):
        grpo_trl.read_settings(["--config", str(bad)])


KINDS = {
    "cpu": "NO",
    "one_gpu": "NO",
    "several_gpus": "MULTI_GPU",
    "deepspeed": "DEEPSPEED",
    "fsdp": "FSDP",
}


def test_accelerate_reads_the_files_that_say_on_what():
    paths = {path.stem: path for path in EXPERIMENTS.glob("accelerate/*.yaml")}
    assert set(paths) == set(KINDS)
    for name, path in paths.items():
        found = load_config_from_file(str(path))
        assert found.distributed_type == KINDS[name]
        assert found.use_cpu == (name == "cpu")


def test_what_cannot_be_trained_is_refused_before_it_begins(tmp_path):
    words = ["--config", str(beside_trl.CLOCK), "--output_dir", str(tmp_path)]
    with pytest.raises(SystemExit, match="--model_name_or_path is missing; give a"):
        grpo_trl.main(words)
    with pytest.raises(SystemExit, match="task is 'chess'; choose one of clock"):
        grpo_trl.main([*words, "--task", "chess"])
    with pytest.raises(SystemExit, match=r"terms is \[5, 3\]; give fewest and most"):
        grpo_trl.main([*words, "--terms", "5", "3"])
    words += ["--task", "words", "--problems", "1", "--model_name_or_path", str(BASE)]
    with pytest.raises(SystemExit, match=r"cannot read .* clock arithmetic alone"):
        grpo_trl.main(words)


def test_rewards_are_looked_up_by_number_where_two_problems_ask_the_same(tmp_path):
    twice = [*problems_of(0, 0, 1), *problems_of(0, 0, 1)]
    save_tokenizer(tmp_path)
    rows = grpo_trl.prompts_of(twice, grpo_trl.open_tokenizer(str(tmp_path)))
    assert [row["number"] for row in rows] == [0, 1]
    assert rows[0]["prompt"] == rows[1]["prompt"] == twice[0].prompt
    assert as_trl(rule_reward, twice)(["", ""], ["", ""], number=[0, 1]) == [0, 0]
