"""Rewards are functions from text to number that no text can fool."""

import json
import random
import re
import time
from pathlib import Path

import pytest

from r1.rl.rewards import (
    accuracy_reward,
    format_reward,
    language_reward,
    rule_reward,
)
from r1.text.answers import Answer, is_right, read, read_integer, said
from r1.text.problems import Problem, random_problem, worked_solution
from r1.text.tokenizer import EOS

TABLE = Path(__file__).parents[2] / "book/data/hostile_answers.json"
HOSTILE = json.loads(TABLE.read_text(encoding="utf-8"))
EXAMPLE = Problem((7, 3, 5, 2), "*+-")  # its answer is 4


def text_of(entry):
    if "text" in entry:
        return entry["text"]
    return "".join(piece * times for piece, times in entry["parts"])


each_entry = pytest.mark.parametrize(
    "entry", HOSTILE, ids=[f"{n}-{e['kind']}" for n, e in enumerate(HOSTILE)]
)


@each_entry
def test_no_hostile_answer_gets_more_than_it_should(entry):
    text = text_of(entry)
    found = read(text)
    assert (found is not None) == entry["form"], entry["why"]
    number = read_integer(found.answer) if found else None
    assert number == entry["integer"], entry["why"]
    assert accuracy_reward(EXAMPLE, text) == entry["reward"], entry["why"]
    assert format_reward(text) == entry["form"]
    assert is_right(EXAMPLE, text) == entry["reward"]
    assert rule_reward(EXAMPLE, text) <= entry["reward"] + 0.1
    assert 0 <= language_reward(text) <= 1


def test_the_table_has_a_hundred_entries_of_every_kind_and_none_twice():
    hostile = [entry for entry in HOSTILE if not entry["reward"]]
    assert len(hostile) >= 100
    kinds = [entry["kind"] for entry in hostile]
    assert min(kinds.count(kind) for kind in set(kinds)) >= 5
    texts = [text_of(entry) for entry in HOSTILE]
    assert len(set(texts)) == len(texts)
    assert all(entry["why"] for entry in HOSTILE)


def test_only_the_last_kind_of_the_table_is_right():
    assert {e["kind"] for e in HOSTILE if e["reward"]} == {"right after all"}


@pytest.mark.parametrize("piece", ["<answer>", "<think>", "<", "4</answer>", "<eos>"])
@pytest.mark.alone
def test_reading_takes_time_in_proportion_to_the_text(piece):
    start = time.perf_counter()
    assert read(piece * 1_000_000) is None
    assert time.perf_counter() - start < 5  # a pattern that goes back takes hours


def test_an_answer_that_is_read_can_be_written_back():
    rng = random.Random(0)
    for _ in range(300):
        problem = random_problem(rng)
        thought = worked_solution(problem, "mixed", rng)
        text = f"<think>{thought}</think><answer>{problem.answer}</answer>"
        assert read(text) == read(text + EOS) == Answer(thought, problem.answer)


def test_integers_are_read_as_python_writes_them_and_in_no_other_way():
    rng = random.Random(0)
    for _ in range(1000):
        number = rng.randint(-(10 ** rng.randint(0, 18)) + 1, 10 ** rng.randint(0, 18))
        if len(str(abs(number))) <= 18:
            assert read_integer(str(number)) == number
        for spoiled in (f"0{number}", f"+{number}", f"{number} ", f"{number}.0"):
            assert read_integer(spoiled) is None
    assert read_integer("9" * 18) == 10**18 - 1
    assert read_integer("9" * 19) is None


def test_the_clock_reads_exactly_what_its_old_pattern_did():
    """As written out in chapter 12: one regular expression for the whole form."""
    pattern = re.compile(r"(<think>[^<]*</think>)?<answer>([0-9])</answer>")
    for entry in HOSTILE:
        text = text_of(entry)
        match = pattern.fullmatch(text.removesuffix(EOS))
        assert said(EXAMPLE, text) == (match[2] if match else None)


def test_the_gold_answer_has_reward_1_and_any_other_0():
    rng = random.Random(2)
    for _ in range(200):
        problem = random_problem(rng)
        for digit in "0123456789":
            text = f"<think>{worked_solution(problem)}</think><answer>{digit}</answer>"
            right = digit == problem.answer
            assert accuracy_reward(problem, text) == right
            assert format_reward(text) == 1
            assert rule_reward(problem, text) == right + 0.1
            assert rule_reward(problem, text, form=0.0) == right


def thought(inside):
    return f"<think>{inside}</think><answer>4</answer>"


def test_the_language_reward_is_a_share_of_symbols():
    assert language_reward(thought("7*3=1;1+5=6"), "digits") == 1
    assert language_reward(thought("7*3=1;1+5=6"), "letters") == 0
    assert language_reward(thought("h*d=b;1+5=6"), "digits") == 0.5
    assert language_reward(thought("h*d=1"), "letters") == pytest.approx(2 / 3)


def test_shares_of_the_two_scripts_add_up_to_one_for_a_worked_solution():
    rng = random.Random(3)
    for _ in range(100):
        text = thought(worked_solution(random_problem(rng), "mixed", rng))
        both = language_reward(text, "digits") + language_reward(text, "letters")
        assert both == pytest.approx(1)


@pytest.mark.parametrize("text", [thought(""), thought("=+;"), "<answer>4</answer>"])
def test_a_thought_without_symbols_is_in_no_language(text):
    assert language_reward(text, "digits") == language_reward(text, "letters") == 0


def test_symbols_of_a_third_script_count_against_both():
    text = thought("7\u0664\u56dbz")
    assert language_reward(text, "digits") == 0.25
    assert language_reward(text, "letters") == 0


def test_the_language_of_a_text_out_of_form_is_worth_nothing():
    assert language_reward("<think>7*3=1</think>") == 0
    assert language_reward("7*3=1<answer>1</answer>") == 0


def test_an_unknown_script_is_named():
    with pytest.raises(ValueError, match="'roman'"):
        language_reward(thought("7"), "roman")
