"""Every function that measures, on answers that were written and counted by hand."""

import random

import pytest
import torch
from scripted import answering, bare, new_model, problem_of, thinking, wrong
from test_loop import SMALL as EXPERTS

from experiments import pretrain
from r1.cost.counting import count_parameters
from r1.model.config import ModelConfig
from r1.model.moe import routers
from r1.model.transformer import Model
from r1.recipe.curation import reject
from r1.recipe.distillation import Tokens, flops, step_tokens
from r1.recipe.preference import Pair, Preference, agreement
from r1.rl.grpo_loop import Settings, Updates
from r1.rl.rollout import Sampling
from r1.text import corpus
from r1.text.problems import Problem, random_problem, worked_solution
from r1.text.readable import Task, random_question, random_task, solution
from r1.text.tokenizer import EOS, IDS, encode
from r1.train import survey as surveys
from r1.train.evaluation import (
    answer_often,
    evaluate,
    evaluate_kinds,
    majority_right,
    validate,
)
from r1.train.pretraining import packed_batch
from r1.train.survey import describe_answers, survey, survey_questions

SIX = Problem((7, 3, 5), "*+")  # 7*3=1;1+5=6
TASK = Task((7, 3, 5), "*+")


# accuracy


def four_kinds(prompt, number, copy):
    """Right with a thought, wrong with a repaired one, right without, no answer."""
    problem = problem_of(prompt)
    thought = worked_solution(problem)
    first = thought.partition(";")[0]
    slip = first[:-1] + str((int(first[-1]) + 1) % 10)
    return (
        thinking(thought, problem.answer),
        thinking(f"{slip};{thought}", wrong(problem)),
        bare(problem.answer),
        "<answer>",
    )[number % 4]


def test_an_evaluation_counted_by_hand(monkeypatch):
    calls = answering(monkeypatch, four_kinds)
    scores = evaluate(new_model(), terms=4, problems=4)
    assert scores == pytest.approx(
        {
            "accuracy": 2 / 4,
            "thinking": 2 / 4,
            "accuracy_thinking": 1 / 2,
            "accuracy_bare": 1 / 2,
            "form": 3 / 4,
            # 3 steps of 5 tokens and 2 signs between them: 17; 6 tags and a digit
            "length": ((17 + 6) + (23 + 6) + 4 + 1) / 4,
            "mistakes": 1 / 7,
            "repaired": 1.0,
        }
    )
    (call,) = calls
    assert (call.limit, call.temperature, call.seed, call.copies) == (64, 1.0, 0, 1)
    rng = random.Random("evaluate/0/4")
    assert call.problems == [random_problem(rng, (4, 4), True) for _ in range(4)]
    assert all(problem.held_out for problem in call.problems)


def test_an_evaluation_has_512_problems_unless_it_is_told(monkeypatch):
    calls = answering(monkeypatch, four_kinds)
    assert evaluate(new_model(), 3)["accuracy"] == 0.5
    assert len(calls[0].prompts) == 512


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_accuracy_is_the_share_of_right_answers(monkeypatch, share):
    def write(prompt, number, copy):
        problem = problem_of(prompt)
        right = number < share * 8
        return bare(problem.answer if right else wrong(problem))

    answering(monkeypatch, write)
    scores = evaluate(new_model(), 3, 8, seed=2)
    assert scores["accuracy"] == scores["accuracy_bare"] == share
    assert scores["form"] == 1
    assert scores["thinking"] == 0
    assert scores["accuracy_thinking"] != scores["accuracy_thinking"]  # of none


def test_answers_of_many_samples_are_to_held_out_problems_one_at_a_time(monkeypatch):
    calls = answering(monkeypatch, lambda prompt, number, copy: bare(copy % 10))
    answered = answer_often(new_model(), 5, samples=3, problems=2, seed=4)
    assert [texts for _, texts in answered] == [[bare(0), bare(1), bare(2)]] * 2
    assert [(len(c.prompts), c.copies, c.limit) for c in calls] == [(1, 3, 64)] * 2
    rng = random.Random("often/4/5")
    expected = [random_problem(rng, (5, 5), True) for _ in range(2)]
    assert [problem for problem, _ in answered] == expected
    assert calls[0].problems + calls[1].problems == expected


def test_a_majority_of_one_vote_more_is_enough():
    assert majority_right({"6": 2, "5": 1, "4": 1}, "6") == 1
    assert majority_right({"6": 1, "5": 2}, "6") == 0
    assert majority_right({"6": 1, "5": 1, "4": 1}, "6") == pytest.approx(1 / 3)


# losses on what no run has read


def test_the_loss_of_a_kind_is_that_of_the_symbols_of_its_answers():
    model = new_model(EXPERTS)
    rows = evaluate_kinds(model, documents=3, seed=5)
    for row, kind in zip(rows, corpus.KINDS, strict=True):
        rng, losses, load = random.Random(f"kinds/5/{kind}"), [], torch.zeros(64)
        for _ in range(3):
            ids = encode(corpus.document(rng, kind))
            start, end = ids.index(IDS["<answer>"]), ids.index(IDS["</answer>"])
            logp = model(torch.tensor([ids[:-1]])).log_softmax(-1)[0]
            losses += [-logp[i - 1, ids[i]].item() for i in range(start + 1, end)]
            chosen = routers(model.layers)[0].indices.flatten()
            load += torch.bincount(chosen, minlength=64)
        assert row["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
        shares = load / load.sum()
        ours = [value for name, value in row.items() if name.startswith("load_0_")]
        assert ours == pytest.approx(shares[: len(ours)].tolist(), abs=1e-6)


def test_validation_is_the_mean_of_the_losses_of_batches():
    model = new_model(EXPERTS)
    batches = [packed_batch(-1, step, rows=2, length=16) for step in range(3)]
    scores = validate(model, iter(batches))
    losses, loads = [], 0
    for batch in batches:
        logp = model(batch[:, :-1]).log_softmax(-1)
        losses.append(-logp.gather(-1, batch[:, 1:, None]).mean().item())
        router = routers(model.layers)[0]
        experts = len(router.weight)
        loads = loads + torch.bincount(router.indices.flatten(), minlength=experts)
    assert scores["loss"] == pytest.approx(sum(losses) / 3, rel=1e-5)
    violation = (loads.max() / loads.float().mean() - 1).item()
    assert scores["max_vio_global"] == pytest.approx(violation, rel=1e-5)


def test_a_report_reads_sixteen_batches_that_no_run_is_trained_on(
    tmp_path, monkeypatch
):
    read = []
    monkeypatch.setattr(pretrain, "validate", lambda m, b: read.extend(b) or {"l": 0.0})
    asked = []
    monkeypatch.setattr(
        pretrain, "evaluate", lambda m, n, p: asked.append((n, p)) or {"accuracy": 0.0}
    )
    o = pretrain.Options(out=tmp_path / "run", text="wrong", rows=2, problems=7)
    pretrain.report(new_model(), tmp_path / "run", o, "by hand")
    document = pretrain.TEXTS["wrong"]
    expected = [packed_batch(-1, s, rows=2, document=document) for s in range(16)]
    assert all(map(torch.equal, read, expected))
    assert len(read) == 16
    assert asked == [(3, 7), (4, 7), (5, 7)]
    head = (tmp_path / "run_terms.csv").read_text().splitlines()
    assert head[0] == "# command: by hand"
    assert (tmp_path / "run_valid.csv").exists()


# what chapter 14 asks


def test_a_survey_asks_held_out_tasks_of_its_length_and_script(monkeypatch):
    def write(prompt, number, copy):
        task = Task(*vars(problem_of(prompt)).values())
        return solution(task) if number % 4 else bare(wrong(task))

    for script in ("digits", "letters"):
        calls = answering(monkeypatch, write)
        scores = survey(new_model(), 4, problems=8, seed=3, script=script)
        rng = random.Random("survey/3/4")
        asked = [random_task(rng, (4, 4), True, script) for _ in range(8)]
        assert calls[0].prompts == [task.prompt for task in asked]
        assert all(problem.held_out for problem in calls[0].problems)
        assert (calls[0].limit, calls[0].temperature, calls[0].seed) == (72, 1.0, 3)
        assert scores["right"] == scores["thinks"] == 6 / 8
        assert scores["form"] == 1
    assert scores["language"] == 0  # digits, where letters were asked for
    marks = {"half": lambda task, text: text.endswith("<eos>") / 2}
    assert survey(new_model(), 4, problems=8, seed=3, marks=marks)["half"] == 0.5


def test_what_answers_are_like_counted_by_hand():
    texts = [
        solution(TASK),  # all of it
        thinking("7*3=1;b+f=g", "6=1+5"),  # two scripts
        thinking("7*3=2;2+5=7", "7"),  # wrong, and the bare digit
        bare("6"),
        "nonsense",
    ]
    row = describe_answers([TASK] * 5, [*texts[:4], "7"])
    lengths = [len(encode(text)) for text in (*texts[:4], "7")]
    assert row == pytest.approx(
        {
            "form": 4 / 5,
            "right": 3 / 5,
            "thinks": 3 / 5,
            "one_script": 2 / 5,
            "every_step": 3 / 5,
            "summary": 2 / 5,
            "clean": 2 / 5,
            "readable": 1 / 5,
            "language": (1 + 1 / 2 + 1) / 3,
            "tokens": sum(lengths) / 5,
        }
    )


def test_questions_are_right_and_met_if_nobody_thinks_about_them(monkeypatch):
    def write(prompt, number, copy):
        problem = problem_of(prompt)
        return (
            bare(problem.answer),
            thinking(worked_solution(problem), problem.answer),
            bare(wrong(problem)),
            bare(problem.answer),
        )[number % 4]

    calls = answering(monkeypatch, write)
    assert survey_questions(new_model(), problems=8) == {
        "short_right": 6 / 8,
        "short_met": 4 / 8,
    }
    rng = random.Random("survey/0/questions")
    asked = [random_question(rng, held_out=True) for _ in range(8)]
    assert calls[0].prompts == [question.prompt for question in asked]
    assert all(q.held_out and len(q.terms) == 2 for q in asked)


def test_a_survey_answers_256_at_once_and_in_order(monkeypatch):
    calls = answering(monkeypatch, lambda prompt, number, copy: bare(copy))
    tasks = [random_task(random.Random(i)) for i in range(300)]
    texts = surveys.answers_to(new_model(), tasks, seed=1, copies=2, temperature=1.3)
    assert texts == [bare(0), bare(1)] * 300
    assert [len(call.prompts) for call in calls] == [128, 128, 44]
    assert {(c.temperature, c.seed, c.limit) for c in calls} == {(1.3, 1, 72)}


def test_rejection_counts_what_passes_each_part_of_the_filter():
    texts = [
        solution(TASK),
        solution(TASK),  # the same again
        thinking("7*3=1;b+f=g", "6"),  # right, two scripts
        thinking("1+5=6", "6"),  # right, a step is missing
        bare("5"),
    ]
    pairs, row = reject([TASK] * 5, texts)
    assert pairs == [(TASK, texts[0])]
    assert row == {
        "sampled": 5,
        "right": 4 / 5,
        "one_script": 3 / 5,
        "clean": 2 / 5,
        "taken": 1 / 5,
    }


def test_agreement_is_the_share_of_choices_that_the_score_explains():
    longer, shorter = Pair(TASK, "6=1+5", "6"), Pair(TASK, "6", "6=1+5")
    tie = Pair(TASK, "6", "5")
    preference = Preference((1.0, 0.0, 0.0, 0.0))  # the longer the better
    assert agreement(preference, [longer] * 3) == 1
    assert agreement(preference, [shorter] * 2) == 0
    assert agreement(preference, [longer, longer, longer, shorter]) == 0.75
    assert agreement(preference, [longer, shorter, longer, tie]) == 0.625


# operations


def test_operations_are_two_a_weight_forward_and_six_to_learn():
    config = ModelConfig.dense()
    matrices = sum(
        p.numel() for n, p in Model(config).named_parameters() if "embed" not in n
    )
    assert flops(Model(config), Tokens(10)) == 2 * 10 * matrices
    assert flops(Model(config), Tokens(0, 10)) == 6 * 10 * matrices
    model = new_model(EXPERTS)
    active = count_parameters(model.config).active_without_embedding
    assert active < sum(p.numel() for p in model.parameters())
    assert flops(model, Tokens(3, 5)) == active * (2 * 3 + 6 * 5)


def test_a_prompt_is_read_once_to_answer_and_with_every_answer_to_learn():
    settings = Settings(2, Sampling(group=4), Updates(epochs=3, minibatches=2))
    problems = [SIX, Problem((2, 2, 2, 2), "+++")]  # 7 and 9 tokens
    tokens = step_tokens(settings, problems, length=10.5)
    assert tokens == Tokens(7 + 9 + 84, 3 * (4 * (7 + 9) + 84))


def test_a_thought_that_is_cut_off_has_no_answer(monkeypatch):
    answering(monkeypatch, lambda prompt, number, copy: "<think>7*3=1;1+5=6")
    scores = evaluate(new_model(), 3, 4)
    assert (scores["accuracy"], scores["form"], scores["thinking"]) == (0, 0, 1)
    assert EOS not in "<think>7*3=1;1+5=6"
