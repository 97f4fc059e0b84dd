"""Problems have one right answer, and nothing else scores."""

import itertools
import random
import re

import pytest

from r1.text.answers import is_right, said
from r1.text.problems import (
    Problem,
    careless_solution,
    count_mistakes,
    document,
    is_worked_out,
    random_problem,
    worked_solution,
)
from r1.text.tokenizer import EOS

from_here = 0
EXAMPLE = Problem((7, 3, 5, 2), "*+-")

SIX = Problem((7, 3, 5), "*+")


def test_an_expression_is_read_from_left_to_right():
    assert EXAMPLE.prompt == "<bos>7*3+5-2="
    assert [step[-1] for step in EXAMPLE.steps()] == [1, 6, 4]
    assert Problem((2, 3, 4), "+*").answer == "0"
    assert Problem((2, 9, 9), "--").answer == "4"  # -16 modulo 10


def test_the_answer_equals_that_of_python_step_by_step():
    rng = random.Random(0)
    for _ in range(500):
        problem = random_problem(rng, (3, 7))
        value = problem.terms[0]
        for sign, term in zip(problem.operations, problem.terms[1:], strict=True):
            value = {"+": value + term, "-": value - term, "*": value * term}[sign]
        assert problem.answer == str(value % 10)


def test_the_gold_answer_scores_and_every_other_digit_does_not():
    rng = random.Random(1)
    for _ in range(50):
        problem = random_problem(rng)
        for digit in "0123456789":
            text = f"<answer>{digit}</answer><eos>"
            assert is_right(problem, text) == (digit == problem.answer)


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "4",
        "<answer>4",
        "<answer></answer>",
        "<answer>44</answer>",
        "<answer>e</answer>",
        "<answer>4</answer><answer>4</answer>",
        "<answer>5</answer><answer>4</answer>",
        "<think>1<answer>4</answer>",
        "<think><answer>4</answer></think>",
        "<think>1</think>",
        "<think>1</think>;<answer>4</answer>",
        "<think>1</think><think>2</think><answer>4</answer>",
        "<answer>4</answer>;",
        "<answer>4</answer>\n",
        "<answer>٤</answer>",
        "<answer>4</answer><eos><eos>",
    ],
)
def test_an_answer_out_of_form_is_no_answer(completion):
    assert said(SIX, completion) is None


def test_a_thought_before_the_answer_is_allowed():
    assert said(SIX, "<think>7*3=1;1+5=6</think><answer>4</answer><eos>") == "4"
    assert said(SIX, "<think></think><answer>4</answer>") == "4"


def test_worked_solutions_show_every_running_result():
    assert worked_solution(EXAMPLE) == "7*3=1;1+5=6;6-2=4"
    assert worked_solution(EXAMPLE, "letters") == "h*d=b;b+f=g;g-c=e"
    mixed = worked_solution(Problem((2,) * 40, "+" * 39), "mixed", random.Random(0))
    assert re.search("[0-9]", mixed)
    assert re.search("[a-j]", mixed)


def test_an_unknown_script_is_named():
    with pytest.raises(ValueError, match="'roman'"):
        worked_solution(EXAMPLE, "roman")


def test_training_never_sees_a_held_out_problem():
    rng = random.Random(0)
    for _ in range(300):
        prompt = document(rng).split("=")[0].removeprefix("<bos>")
        terms = tuple(map(int, re.split(r"[-+*]", prompt)))
        assert not Problem(terms, re.sub(r"\d", "", prompt)).held_out
        assert random_problem(rng, held_out=True).held_out


def test_three_documents_in_ten_are_worked_out_and_all_are_right():
    rng = random.Random(0)
    documents = [document(rng) for _ in range(3000)]
    assert 0.27 < sum("<think>" in text for text in documents) / 3000 < 0.33
    for text in documents:
        prompt, completion = text.split("=", 1)
        prompt = prompt.removeprefix("<bos>")
        terms = tuple(map(int, re.split(r"[-+*]", prompt)))
        assert is_right(Problem(terms, re.sub(r"\d", "", prompt)), completion)


def test_a_careless_solution_carries_its_mistakes_on():
    rng, seen = random.Random(0), 0
    for _ in range(200):
        problem = random_problem(rng)
        solution, said = careless_solution(problem, rng, mistakes=0.4)
        steps = solution.split(";")
        assert len(steps) == len(problem.operations)
        assert solution.endswith(f"={said}")
        for before, step in itertools.pairwise(steps):
            assert step[0] == before[-1]
        seen += said != problem.answer
    assert seen > 60


def test_a_repaired_mistake_is_followed_by_the_same_step_done_right():
    rng, repaired = random.Random(0), 0
    for _ in range(200):
        problem = random_problem(rng)
        solution, said = careless_solution(problem, rng, 0.3, repaired=1.0)
        assert said == problem.answer
        right = worked_solution(problem).split(";")
        steps = solution.split(";")
        wrong = [step for step in steps if step not in right]
        repaired += len(wrong)
        for step in wrong:
            assert steps[steps.index(step) + 1][:4] == step[:4]
        assert [step for step in steps if step in right] == right
    assert repaired > 60


def test_a_slip_is_the_right_result_and_a_little_more():
    rng, slips, steps = random.Random(0), 0, 0
    for _ in range(300):
        problem = random_problem(rng, (3, 8))
        solution, said = careless_solution(problem, rng, mistakes=0.75, slip=1)
        assert solution.endswith(f"={said}")
        for step in solution.split(";"):
            right = int(Problem((int(step[0]), int(step[2])), step[1]).answer)
            assert int(step[4]) in (right, (right + 1) % 10)
            slips += int(step[4]) != right
            steps += 1
    assert 0.7 < slips / steps < 0.8


def test_without_mistakes_careless_is_careful():
    problem, rng = random_problem(random.Random(3)), random.Random(0)
    alone = careless_solution(problem, rng, mistakes=0.0)
    assert alone == (worked_solution(problem), problem.answer)


def test_mistakes_are_counted_as_they_were_made():
    rng, sums = random.Random(0), [0, 0, 0]
    for _ in range(300):
        solution, _ = careless_solution(random_problem(rng), rng, 0.3, repaired=0.25)
        for place, count in enumerate(count_mistakes(solution)):
            sums[place] += count
    steps, mistakes, repaired = sums
    # a repair is a step more, which is right
    assert 0.25 < mistakes / (steps - repaired) < 0.35
    assert 0.2 < repaired / mistakes < 0.3


def test_letters_count_as_digits_and_what_is_no_step_counts_as_nothing():
    assert count_mistakes("h*d=b;b+5=6") == (2, 0, 0)
    assert count_mistakes("7*3=2;7*3=3;7*3=1;1+") == (3, 2, 1)
    assert count_mistakes("<answer>4</answer>") == (0, 0, 0)


def test_worked_out_is_every_step_right_and_the_answer_too():
    problem = Problem((7, 3, 5), "*+")
    for thought in ("7*3=1;1+5=6", "h*d=b;b+f=g"):
        text = f"<think>{thought}</think><answer>6</answer>{EOS}"
        assert is_worked_out(problem, text)
        assert not is_worked_out(problem, text.replace("<answer>6", "<answer>7"))
    for thought in ("", "1+5=6", "7*3=4;7*3=1;1+5=6", "7*3=2;2+5=6"):
        text = f"<think>{thought}</think><answer>6</answer>{EOS}"
        assert is_right(problem, text)
        assert not is_worked_out(problem, text)
    assert not is_worked_out(problem, "<answer>6</answer>")
