"""An answer is right, clean or readable only if it is, whatever it looks like."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1.recipe.curation import cold_start, keep, other_data, reject, write_up
from r1.text.answers import is_right
from r1.text.problems import OPERATIONS, Problem, random_problem, worked_solution
from r1.text.readable import (
    Task,
    as_task,
    judge,
    random_question,
    random_task,
    solution,
)
from r1.text.tokenizer import EOS, TOKENS

TASK = Task((7, 3, 5), "*+")  # 7*3=1;1+5=6
GOOD = "<think>7*3=1;1+5=6</think><answer>6=1+5</answer><eos>"
terms = st.lists(st.integers(2, 9), min_size=3, max_size=8)
signs = st.text("+-*", min_size=7, max_size=7)
parts = st.tuples(terms, signs, st.sampled_from(["digits", "letters"]))


def built(part):
    """A task; not built in the strategy, since the checks of types draw at random."""
    n, s, script = part
    return Task(tuple(n), s[: len(n) - 1], script)


def said(answer, thought="7*3=1;1+5=6"):
    return f"<think>{thought}</think><answer>{answer}</answer>{EOS}"


@given(parts)
def test_every_solution_is_right_and_readable(part):
    task = built(part)
    reading = judge(task, solution(task))
    assert all(reading)
    assert reading.clean
    assert reading.readable
    bare = judge(task, solution(task, summarize=False))
    assert bare.right
    assert bare.clean
    assert not bare.readable


def test_the_form_by_hand():
    assert solution(TASK) == GOOD
    assert TASK.question == "7*3+5"
    assert TASK.summary == "6=1+5"
    letters = Task((7, 3, 5), "*+", "letters")
    assert letters.prompt == "<bos>h*d+f="
    assert solution(letters).startswith("<think>h*d=b;b+f=g</think><answer>g=b+f<")
    assert is_right(letters, "<answer>6</answer>")
    assert is_right(letters, "<answer>g</answer>")
    assert not is_right(TASK, "<answer>g</answer>")
    with pytest.raises(ValueError, match="'words'"):
        Task((7, 3), "*", "words")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "5",
        "66",
        "06",
        "6=",
        "=6",
        "6=6",
        "6=1",
        "6=1+",
        "6=1+6",
        "6=1-5",
        "6=2+5",
        "5=1+5",
        "6=1+5=6",
        "6=1+5+5",
        "66=1+5",
        "6=11+5",
        "6=b+5",
        "g",
        "1+5=6",
        "7*3+5=6",
        "6=7*3+5",
        "6;6=1+5",
        "6=1+5;6=1+5",
        "6==1+5",
        "6=1+5</answer><answer>6",
        " 6",
        "6 ",
        "６",
        "6\n",
        "-6",
        "6=1+5<eos>",
    ],
)
def test_hostile_answers_are_not_right(answer):
    assert not TASK.check(answer)
    assert not judge(TASK, said(answer)).right
    assert not judge(TASK, f"<answer>{answer}</answer>{EOS}").right
    assert not keep(TASK, said(answer))


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join), parts)
def test_only_two_answers_are_ever_right(answer, part):
    """Checked against a list, which is how the rule is meant."""
    task = built(part)
    digits = {task.answer, task.answer.translate({48 + i: 97 + i for i in range(10)})}
    if task.script == "digits":
        assert task.check(answer) == (answer in {task.answer, task.summary})
    else:
        both = {s.translate({97 + i: 48 + i for i in range(10)}) for s in [answer]}
        plain = Task(task.terms, task.operations)
        assert task.check(answer) == bool(both & {plain.answer, plain.summary})
        assert all(task.check(digit) for digit in digits)


def test_a_right_answer_keeps_the_value_and_a_wrong_one_has_another():
    for answer in ("6", "6=1+5"):
        assert TASK.value(answer) == "6"
    assert TASK.value("8=3+5") == "8"
    assert TASK.value("8=3*5") is None
    assert not TASK.check("6=3+5")  # the digit is right and the step is not


@pytest.mark.parametrize(
    ("thought", "one_script", "every_step"),
    [
        ("7*3=1;1+5=6", True, True),
        ("7*3=4;4+5=6", True, True),  # wrong results are another question
        ("h*d=b;b+f=g", False, True),
        ("7*3=1;b+f=g", False, True),
        ("1+5=6", True, False),
        ("7*3=1", True, False),
        ("7*3=1;7*3=1;1+5=6", True, False),
        ("1+5=6;7*3=1", True, False),
        ("7*3=1;2+5=6", True, False),
        ("7*3=1;1+5=6;", True, False),
        (";7*3=1;1+5=6", True, False),
        ("7*3=1;1+5=7", True, False),  # the answer is not what was found
        ("7*3=1 1+5=6", True, False),
        ("===", False, False),
        ("", False, False),
    ],
)
def test_thoughts_that_can_be_followed(thought, one_script, every_step):
    reading = judge(TASK, said("6", thought))
    assert (reading.one_script, reading.every_step) == (one_script, every_step)
    assert reading.right
    assert reading.thinks == bool(thought)


def test_a_summary_is_that_of_the_thought():
    assert judge(TASK, said("6=1+5")).summary
    assert not judge(TASK, said("6=1+5", "7*3=1")).summary
    assert not judge(TASK, "<answer>6=1+5</answer><eos>").summary
    wrong = judge(TASK, said("9=4+5", "7*3=4;4+5=9"))
    assert wrong.readable
    assert not wrong.right


def test_a_question_in_letters_wants_its_thought_in_letters():
    task = Task((7, 3, 5), "*+", "letters")
    assert judge(task, said("g=b+f", "h*d=b;b+f=g")).readable
    assert not judge(task, said("6=1+5", "7*3=1;1+5=6")).one_script


def test_tasks_are_the_problems_of_chapter_2():
    problem = random_problem(random.Random(3), (3, 8))
    task = as_task(problem)
    assert task.prompt == problem.prompt
    assert task.answer == problem.answer
    assert task.held_out == problem.held_out
    assert not random_task(random.Random(0), script="letters").question.isdigit()


# what the data sets hold


def corrupted(rng, task):
    """A solution in which something may be wrong, in one of many ways."""
    steps = worked_solution(task, rng.choice(["digits", "mixed"]), rng).split(";")
    kind = rng.randrange(7)
    answer = rng.choice([task.answer, task.summary])
    if kind == 1:
        steps.pop(rng.randrange(len(steps)))
    elif kind == 2:
        steps.insert(rng.randrange(len(steps)), rng.choice(steps))
    elif kind == 3:
        steps[-1] = steps[-1][:-1] + rng.choice("0123456789")
    elif kind == 4:
        answer = rng.choice("0123456789")
    elif kind == 5:
        rng.shuffle(steps)
    end = rng.choice([EOS, EOS, ""])
    thought = f"<think>{';'.join(steps)}</think>" if kind != 6 else ""
    return f"{thought}<answer>{answer}</answer>{end}"


def independent_check(task, text):
    """The filter said in other words: nothing but the one solution passes."""
    thought = "<think>" + worked_solution(Problem(task.terms, task.operations))
    ends = (task.answer, task.summary)
    return text in {f"{thought}</think><answer>{end}</answer>{EOS}" for end in ends}


@given(st.integers(0, 10**6))
def test_rejection_never_keeps_a_wrong_mixed_or_broken_answer(seed):
    rng = random.Random(seed)
    asked = [random_task(rng) for _ in range(8)]
    texts = [corrupted(rng, task) for task in asked]
    pairs, row = reject(asked, texts)
    for task, text in pairs:
        assert not set(text) & set("bcfgj")  # letters that no tag has
        assert set(text.partition("</think>")[0][7:]) <= set("0123456789+-*=;")
        result = task.terms[0]
        for sign, term in zip(task.operations, task.terms[1:], strict=True):
            result = OPERATIONS[sign](result, term)
        assert f"<answer>{result}" in text
        example = write_up(task, text)
        assert example.answer == solution(task)
    good = [t for t, x in zip(asked, texts, strict=True) if right_all(t, x)]
    assert {task for task, _ in pairs} == set(good)
    assert row["taken"] == len(pairs) / 8
    assert row["right"] >= row["one_script"] >= row["clean"] >= row["taken"]


def right_all(task, text):
    """Either all results are right, or two wrong ones make up for each other."""
    return independent_check(task, text)


@given(parts, st.lists(st.sampled_from(TOKENS), max_size=30).map("".join))
def test_rejection_never_keeps_noise(part, text):
    task = built(part)
    assert keep(task, text) == (
        text.endswith(EOS) and text in {solution(task), solution(task, summarize=False)}
    )


def test_rejection_takes_no_more_than_it_should_and_none_twice():
    bare = solution(TASK, summarize=False)
    texts = [GOOD, GOOD, bare, "<answer>6</answer><eos>"]
    pairs, row = reject([TASK] * 4, texts, per_task=1)
    assert pairs == [(TASK, GOOD)]
    pairs, row = reject([TASK] * 4, texts, per_task=5)
    assert pairs == [(TASK, GOOD), (TASK, bare)]
    assert row == {
        "sampled": 4,
        "right": 1,
        "one_script": 0.75,
        "clean": 0.75,
        "taken": 0.5,
    }
    with pytest.raises(ValueError, match="sample some first"):
        reject([], [])
    with pytest.raises(ValueError, match="does not pass"):
        write_up(TASK, texts[3])


def test_two_mistakes_that_cancel_are_kept():
    """The filter reads the form of steps and the last digit, not every result."""
    task = Task((2, 5, 5, 5, 2), "****")
    assert keep(task, said("0", "2*5=9;9*5=5;5*5=0;0*2=0"))
    assert not keep(task, said("0", "2*5=9;9*5=5;5*5=5;5*2=0"))


def test_curated_solutions_are_good_different_and_mostly_short():
    examples = cold_start(200, seed=1)
    assert examples == cold_start(200, seed=1)
    assert len({example.prompt for example in examples}) == 200
    sizes = [sum(sign in "+-*" for sign in example.prompt) + 1 for example in examples]
    assert min(sizes) == 3
    assert max(sizes) > 6
    assert sizes.count(3) > sizes.count(4) > sizes.count(6)
    for example in examples:
        signs = [c for c in example.prompt if c in "+-*"]
        terms = [int(c) for c in example.prompt if c.isdigit()]
        task = Task(tuple(terms), "".join(signs))
        assert not task.held_out
        assert judge(task, example.answer).readable
        assert judge(task, example.answer).right
    with pytest.raises(ValueError, match="count=0"):
        cold_start(0)


def test_other_data_answers_at_once():
    for example in other_data(50):
        assert len(example.prompt) == len("<bos>7*3=")
        assert "<think>" not in example.answer
    question = random_question(random.Random(0), held_out=True)
    assert question.held_out
    assert question.is_met(f"<answer>{question.answer}</answer>{EOS}")
    assert not question.is_met(solution(question))
    assert is_right(question, solution(question))
