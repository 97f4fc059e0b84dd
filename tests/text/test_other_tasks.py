"""Every problem's gold answer scores 1, and a wrong one 0."""

import random
import time
from fractions import Fraction

import pytest

from r1.rl.rewards import accuracy_reward
from r1.text.other_tasks import (
    TEMPLATES,
    Countdown,
    WordProblem,
    calculate,
    random_countdown,
    random_word_problem,
)

EIGHTS = Countdown((3, 3, 8, 8), 24, "8/(3-8/3)")


def said(answer):
    return f"<think>so</think><answer>{answer}</answer><eos>"


@pytest.mark.parametrize("count", range(2, 7))
def test_the_gold_expression_scores_1_and_a_changed_one_0(count):
    rng = random.Random(count)
    for _ in range(200):
        problem = random_countdown(rng, count)
        assert len(problem.numbers) == count
        assert 1 <= problem.target <= 9999
        assert accuracy_reward(problem, said(problem.gold)) == 1
        assert accuracy_reward(problem, said(f"{problem.gold}+1")) == 0
        assert accuracy_reward(problem, said(problem.target)) == 0
        assert str(problem.target) in problem.prompt


def test_every_other_target_is_missed():
    rng = random.Random(0)
    for _ in range(100):
        problem = random_countdown(rng)
        other = Countdown(problem.numbers, problem.target + 1, problem.gold)
        assert not other.check(problem.gold)


def test_arithmetic_is_exact():
    """In floats 8/(3-8/3) is 23.999999999999989."""
    assert EIGHTS.check("8/(3-8/3)")
    assert 8 / (3 - 8 / 3) != 24
    assert Countdown((1, 3, 3), 1, "1/3*3").check("1/3*3")
    assert calculate("1/3+1/3+1/3").value == 1


def test_signs_and_precedence_are_those_of_arithmetic():
    for text, value in {
        "2+3*4": 14,
        "(2+3)*4": 20,
        "8-3-2": 3,
        "8/4/2": 1,
        "8-(3-2)": 7,
        "2*(3+4)*5": 70,
        " 12 + 3 ": 15,
        "1/2": Fraction(1, 2),
    }.items():
        assert calculate(text).value == value, text


def test_the_reader_agrees_with_python_on_random_expressions():
    rng = random.Random(5)
    for _ in range(300):
        problem = random_countdown(rng, rng.randint(2, 6))
        exact = "".join(
            f"Fraction({part})" if part.isdigit() else part
            for part in problem.gold.replace("(", " ( ")
            .replace(")", " ) ")
            .translate({ord(sign): f" {sign} " for sign in "+-*/"})
            .split()
        )
        assert calculate(problem.gold).value == eval(exact)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " ",
        "24",
        "8/(3-8/3",
        "8/(3-8/3))",
        "8/(3-8/3)=24",
        "8/(3-8/3)\n",
        "8//(3-8/3)",
        "3*8+3-8+5",
        "3*8",
        "3*8*(8-8+3-3+1)",
        "8*3+8*3-24",
        "33-8-1",
        "8+8+8",
        "3**8",
        "8**8**8**8",
        "+8/(3-8/3)",
        "-8/(8/3-3)",
        "8/(3-8/03)",
        "8/(3-8/3.0)",
        "8/(3-8/3_)",
        "8/(3-8/\u0663)",
        "8\u00f7(3-8\u00f73)",
        "8/(3-3)*8",
        "8 3 3 8",
        "3(8)",
        "()",
        "(8/(3-8/3)",
        "__import__('os').getcwd()",
        "8/(3-8/3)#",
        "8/(3-8/3);8",
        "1e999",
        "nan",
        "9" * 1_000_000,
        "(" * 1_000_000,
        "(" * 100 + "8" + ")" * 100,
        "8+" * 500_000 + "8",
    ],
)
@pytest.mark.alone
def test_a_hostile_expression_is_wrong_and_quickly_so(answer):
    start = time.perf_counter()
    assert EIGHTS.check(answer) is False
    assert accuracy_reward(EIGHTS, said(answer)) == 0
    assert time.perf_counter() - start < 1


def test_a_number_that_is_not_given_or_used_twice_is_refused():
    problem = Countdown((2, 3), 6, "2*3")
    assert problem.check("3*2")
    assert problem.check("(2)*((3))")
    for answer in ("6", "3+3", "2*3*1", "2*3+2-2", "2+2+2", "12/2"):
        assert not problem.check(answer)


def test_two_numbers_are_the_least():
    with pytest.raises(ValueError, match="count is 1"):
        random_countdown(random.Random(0), 1)


def test_the_answer_to_a_word_problem_is_one_canonical_number():
    rng = random.Random(1)
    for _ in range(300):
        problem = random_word_problem(rng)
        number = int(problem.gold)
        assert accuracy_reward(problem, said(problem.gold)) == 1
        assert accuracy_reward(problem, said(number + 1)) == 0
        for answer in (f"{number}.0", f"0{number}", f"{number} marbles", "", "nan"):
            assert accuracy_reward(problem, said(answer)) == 0


def test_every_template_is_drawn_and_filled():
    rng = random.Random(2)
    prompts = [random_word_problem(rng).prompt for _ in range(300)]
    assert not [prompt for prompt in prompts if "{" in prompt]
    endings = {prompt.rsplit(maxsplit=1)[-1] for prompt in prompts}
    assert len(endings) == len({text.rsplit(maxsplit=1)[-1] for text, _ in TEMPLATES})


def test_templates_say_what_their_rules_compute():
    """Small cases by hand, in the order of the templates."""
    values = [rule(17, 5, 3) for _, rule in TEMPLATES]
    assert values == [17 + 15, 85 + 3, 2, 9, 170]


def test_an_answer_is_judged_by_its_number_alone():
    assert WordProblem("How many?", "12").check("12")
    assert not WordProblem("How many?", "12").check("-12")
