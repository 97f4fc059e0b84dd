"""More computing at test time: forced thoughts, votes, verifiers."""

import itertools
import random

import pytest
import torch

from r1.model.config import ModelConfig
from r1.model.sampling import ask, sample
from r1.model.transformer import Model
from r1.recipe.at_test_time import (
    Counts,
    auc,
    best,
    best_at_k,
    budget,
    choices,
    clean_steps,
    counts_of,
    train_verifier,
    verifier_scores,
    vote,
    vote_at_k,
)
from r1.text.problems import Problem, random_problem, worked_solution
from r1.text.tokenizer import EOS, EOS_ID, IDS, VOCAB_SIZE, decode, encode

SIX = Problem((7, 3, 5), "*+")
RIGHT = f"<think>7*3=1;1+5=6</think><answer>6</answer>{EOS}"
SLIP = f"<think>7*3=4;4+5=9</think><answer>9</answer>{EOS}"
BARE = f"<answer>9</answer>{EOS}"


def new_model(seed=0):
    torch.manual_seed(seed)
    return Model(ModelConfig.dense(VOCAB_SIZE)).eval()


def written(rule, text, steps=40):
    """The tokens of a model that wants to write `text`, one after the other."""
    want, so_far, place = encode(text), [], 0
    while len(so_far) < steps and place < len(want):
        before = torch.tensor([so_far], dtype=torch.long).view(1, -1)
        token = int(rule(before, torch.tensor([want[place]])))
        so_far.append(token)
        place += 1
    return decode(so_far)


def test_without_a_budget_nothing_is_changed():
    assert written(budget(), RIGHT) == RIGHT
    assert written(budget(), BARE) == BARE


def test_a_thought_begins_where_one_is_asked_for():
    assert written(budget(least=1), BARE).startswith("<think>")


def test_a_thought_goes_on_until_it_has_its_steps():
    text = "<think>7*3=1</think>1+5=6</think><answer>6</answer>"
    wanted = "<think>7*3=1;1+5=6</think><answer>6</answer>"
    assert written(budget(least=2), text) == wanted
    assert written(budget(least=1), RIGHT) == RIGHT


@pytest.mark.parametrize("most", [0, 1, 5])
def test_a_thought_is_cut_off_and_answered(most):
    text = written(budget(most=most), RIGHT)
    thought = text.removeprefix("<think>").partition("</think>")[0]
    assert len(encode(thought)) == most if thought else most == 0
    assert "</think><answer>" in text


def test_budgets_hold_for_every_row_of_a_sample():
    prompts = [encode(SIX.prompt), encode("<bos>2+2=")]
    generator = torch.Generator().manual_seed(0)
    rows = sample(new_model(), prompts, 20, 1.0, generator, 4, budget(most=3))
    assert len(rows) == 8
    for row in rows:
        assert row[0] == IDS["<think>"]
        if EOS_ID in row[:6]:  # a random model may end a text anywhere
            continue
        assert IDS["</think>"] in row[1:5]
        assert row[row.index(IDS["</think>"]) + 1] == IDS["<answer>"]
    assert any(EOS_ID not in row[:6] for row in rows)


@pytest.mark.parametrize("limits", [{"least": -1}, {"most": -1}])
def test_a_negative_budget_is_refused(limits):
    with pytest.raises(ValueError, match="negative"):
        budget(**limits)


def test_answers_come_in_groups_also_where_not_all_are_asked_at_once():
    problems = [SIX, Problem((2, 2, 2), "++"), Problem((9, 9), "-")]
    found = ask(new_model(), problems, copies=3, max_new_tokens=5)
    apart = ask(new_model(), problems, copies=3, max_new_tokens=5, together=3)
    for groups in (found, apart):
        assert [len(group) for group in groups] == [3, 3, 3]
        assert all(1 <= len(a.ids) <= 5 for group in groups for a in group)
        assert all(decode(a.ids) == a.text for group in groups for a in group)


@pytest.mark.parametrize(
    ("text", "clean"),
    [(RIGHT, 1.0), (SLIP, 0.0), (BARE, 0.0), ("<think>2+2=4</think>", 1.0)],
)
def test_clean_steps_are_those_without_a_wrong_one(text, clean):
    assert clean_steps(text) == clean


def test_steps_of_another_problem_are_clean_as_well():
    other = Problem((2, 2, 2), "++")
    text = f"<think>{worked_solution(other)}</think><answer>6</answer>"
    assert clean_steps(text) == 1.0
    assert choices(SIX, [text, SLIP, SLIP])["clean"] == 1.0  # right by luck


def test_votes_weigh_and_ties_go_to_the_first():
    assert vote(SIX, [BARE, RIGHT, RIGHT]) == "6"
    assert vote(SIX, [BARE, RIGHT]) == "9"
    assert vote(SIX, [BARE, RIGHT, "nonsense"], [0.2, 0.3, 5.0]) == "6"
    assert vote(SIX, ["nonsense"]) is None
    assert best(SIX, [BARE, RIGHT], [0.1, 0.9]) == "6"
    assert best(SIX, [BARE, RIGHT], [0.5, 0.5]) == "9"


def test_choices_judge_every_way_to_choose():
    texts = [SLIP, SLIP, RIGHT]
    assert choices(SIX, texts) == {"any": 1.0, "majority": 0.0, "clean": 1.0}
    found = choices(SIX, texts, [0.1, 0.2, 0.9])
    assert (found["learned"], found["learned_vote"]) == (1.0, 1.0)
    assert choices(SIX, [BARE, BARE, RIGHT[7:]])["clean"] == 0.0  # a plain vote


def test_a_verifier_learns_and_scores_only_whole_answers():
    rng, marked = random.Random(0), []
    for _ in range(128):
        problem = random_problem(rng, (3, 3))
        marked += [(problem, f"<answer>{problem.answer}</answer>{EOS}")]
        marked += [(problem, f"<think>1+1=2</think><answer>{problem.answer}{EOS}")]
    verifier = new_model()
    rows = list(train_verifier(verifier, marked, epochs=6, lr=2e-3))
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    good, form, cut = verifier_scores(
        verifier, marked[0][0].prompt, [marked[0][1], marked[1][1], "<answer>6"]
    )
    assert good > 0.5 > form > cut == 0.0
    with pytest.raises(ValueError, match="no answer has an end"):
        next(train_verifier(verifier, [(SIX, "<answer>6")]))


def test_scores_of_answers_do_not_depend_on_their_neighbors():
    verifier = new_model()
    alone = [verifier_scores(verifier, SIX.prompt, [text])[0] for text in (RIGHT, BARE)]
    both = verifier_scores(verifier, SIX.prompt, [RIGHT, BARE])
    torch.testing.assert_close(alone, both, atol=1e-6, rtol=1e-5)


# every draw of some answers, against a formula


def drawn(values, k):
    """All ordered choices of k of some values."""
    return list(itertools.permutations(values, k))


@pytest.mark.parametrize("seed", range(30))
def test_an_exact_vote_is_the_mean_over_all_draws(seed):
    rng = random.Random(seed)
    texts = [rng.choice([RIGHT, SLIP, BARE, "nonsense", f"<answer>3</answer>{EOS}"])]
    texts += rng.choices([RIGHT, SLIP, f"<answer>3</answer>{EOS}", "nonsense"], k=4)
    for k in range(1, 6):
        hits = [vote(SIX, some) == "6" for some in drawn(texts, k)]
        assert vote_at_k(counts_of(SIX, texts), k) == pytest.approx(
            sum(hits) / len(hits)
        )


@pytest.mark.parametrize("seed", range(30))
def test_the_exact_best_is_the_mean_over_all_draws(seed):
    rng = random.Random(seed)
    pairs = [(rng.randint(0, 2) / 2, rng.random() < 0.5) for _ in range(5)]
    scores, right = zip(*pairs, strict=True)
    for k in range(1, 6):
        # max takes the first of equals, and all orders are there
        hits = [max(some, key=lambda pair: pair[0])[1] for some in drawn(pairs, k)]
        assert best_at_k(scores, right, k) == pytest.approx(sum(hits) / len(hits))


def test_a_vote_of_one_is_an_answer_and_a_vote_of_all_is_the_commonest():
    assert vote_at_k(Counts(3, (4, 2), 1), 1) == pytest.approx(0.3)
    assert vote_at_k(Counts(3, (4, 2), 1), 10) == 0.0
    assert vote_at_k(Counts(4, (4, 2), 1), 11) == pytest.approx(0.5)  # a tie
    assert vote_at_k(Counts(5, (4, 2), 1), 12) == pytest.approx(1.0)
    assert vote_at_k(Counts(0, (), 3), 2) == 0.0


@pytest.mark.parametrize("k", [0, 5])
def test_a_k_without_a_draw_is_refused(k):
    with pytest.raises(ValueError, match="between 1 and all 4"):
        vote_at_k(Counts(2, (1,), 1), k)
    with pytest.raises(ValueError, match="between 1 and all 4"):
        best_at_k([0.1] * 4, [True] * 4, k)


def test_the_area_counts_pairs_and_half_of_the_ties():
    assert auc([0.9, 0.4, 0.4, 0.1], [True, True, False, False]) == 3.5 / 4
    with pytest.raises(ValueError, match="a right answer and a wrong one"):
        auc([0.5], [True])


def test_an_answer_without_weight_has_no_vote():
    assert vote(SIX, [BARE, RIGHT], [0.0, 0.0]) is None
    # Of two digits with one vote each the first is said first by one that has a vote.
    texts = [f"<answer>3</answer>{EOS}", BARE, f"<answer>3</answer>{EOS}"]
    assert vote(SIX, texts, [0.0, 1.0, 1.0]) == "9"


@pytest.mark.parametrize("counts", [Counts(-1, (4,), 1), Counts(2, (4, -1), 1)])
def test_a_negative_count_of_votes_is_refused(counts):
    with pytest.raises(ValueError, match="a count is 0 or more"):
        vote_at_k(counts, 1)
