"""Problems for models of others, and the book's rewards with TRL's signature."""

import json
import random
from types import SimpleNamespace

import pytest

from experiments.verifiable import (
    CLOCK,
    FORM,
    INSTRUCTION,
    TASKS,
    ProblemsError,
    answer_text,
    as_trl,
    draw_problems,
    form_reward,
    opening_of,
    prompt_for,
    read_problems,
)
from r1.rl.rewards import accuracy_reward, rule_reward
from r1.text.problems import EitherWay, Problem
from r1.text.tokenizer import EOS, IDS

PROBLEM = Problem((7, 3, 5), "*+")  # 7*3+5: 1, then 6
RIGHT, WRONG = "<answer>6</answer>", "<answer>5</answer>"
OURS = SimpleNamespace(get_vocab=lambda: IDS)


def template(text):
    """A tokenizer of somebody else, whose chat template ends so."""
    return SimpleNamespace(
        get_vocab=dict,
        chat_template=text,
        apply_chat_template=lambda *_, **__: text,
    )


def lines(folder, *rows):
    path = folder / "own.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_the_adapter_gives_each_answer_the_reward_of_its_own_problem():
    problems = [PROBLEM, Problem((2, 3), "+")]  # 6 and 5
    judge = as_trl(accuracy_reward, problems)
    found = judge(
        prompts=["?"] * 4,
        completions=[RIGHT, WRONG, RIGHT, WRONG],
        completion_ids=[[1]] * 4,
        number=[0, 0, 1, 1],
        trainer_state=None,
    )
    assert found == [1.0, 0.0, 0.0, 1.0]
    assert all(type(value) is float for value in found)
    assert judge.__name__ == "accuracy_reward"  # TRL logs it under this name
    with pytest.raises(ValueError, match="zip"):
        judge(["?"], [RIGHT, RIGHT], number=[0])


@pytest.mark.parametrize("text", [RIGHT, WRONG, "<answer>16</answer>", "6", "<think>"])
@pytest.mark.parametrize("kind", [Problem, EitherWay])
def test_the_two_rewards_add_up_to_the_rule_of_the_book(text, kind):
    problem = kind(PROBLEM.terms, PROBLEM.operations)
    found = accuracy_reward(problem, text) + FORM * form_reward(problem, text)
    assert found == rule_reward(problem, text)


def test_white_space_around_tags_is_no_part_of_the_form_and_other_text_is():
    talk = [{"role": "assistant", "content": "<think>\n a  b \n</think>\n\n" + RIGHT}]
    assert answer_text(talk) == "<think>a  b</think>" + RIGHT
    assert answer_text(RIGHT + EOS) == RIGHT + EOS
    judge = as_trl(accuracy_reward, [PROBLEM])
    spaced = "\n<think>\nx\n</think>\n<answer> 6 </answer>\n"
    for text, reward in ((spaced, 1), ("It is " + RIGHT, 0), (RIGHT + " So 6.", 0)):
        assert judge(["?"], [text], number=[0]) == [reward]


def test_a_thought_that_the_template_has_opened_belongs_to_the_answer():
    opens, plain = template("<assistant>\n<think>\n"), template("<assistant>\n")
    prompt = prompt_for(PROBLEM, opens)
    opening = opening_of(prompt, opens)
    assert (opening, opening_of(prompt, plain)) == ("<think>", "")
    said = ["7*3 is 1.\n</think>\n" + RIGHT]
    assert as_trl(accuracy_reward, [PROBLEM], opening)(["?"], said, number=[0]) == [1]
    assert as_trl(accuracy_reward, [PROBLEM])(["?"], said, number=[0]) == [0]


def test_a_model_is_asked_as_it_can_read():
    assert prompt_for(PROBLEM, OURS) == PROBLEM.prompt
    system, user = prompt_for(PROBLEM, template("a template"))
    assert (system["role"], system["content"]) == ("system", INSTRUCTION)
    assert user == {"role": "user", "content": CLOCK.format("7*3+5")}
    text = prompt_for(TASKS["words"](random.Random(0), (5, 5)), template(None))
    assert text.startswith(INSTRUCTION)
    assert text.endswith("\nAnswer: ")
    assert opening_of(text, template("<think>")) == ""


@pytest.mark.parametrize("task", TASKS)
def test_drawn_problems_are_those_of_their_seed_and_know_their_answers(task):
    first, again, other = (draw_problems(task, 5, seed, (3, 4)) for seed in (0, 0, 1))
    assert first == again != other
    for problem in first:
        gold = problem.answer if task == "clock" else problem.gold
        assert accuracy_reward(problem, f"<answer>{gold}</answer>") == 1
        assert accuracy_reward(problem, f"<answer>{gold}1</answer>") == 0
    with pytest.raises(ProblemsError, match=r"'chess'; choose one of clock, .*jsonl"):
        draw_problems("chess", 5)
    with pytest.raises(ProblemsError, match="0 problems; ask for 1"):
        draw_problems(task, 0)


def test_a_file_of_gsm8k_is_read_as_it_is(tmp_path):
    gsm8k = {"question": "How many? ", "answer": "2*600 = 1200\n#### 1,200"}
    own = {"problem": "Which color?", "answer": "dark blue", "source": "me"}
    whole = {"problem": "How cold?", "answer": -7}
    rows = [json.dumps(row) for row in (gsm8k, own, whole)]
    path = lines(tmp_path, "\ufeff" + rows[0], "", *rows[1:], "")
    first, second, third = read_problems(path)
    assert (first.prompt, first.gold) == ("How many?", "1200")
    answers = {"1200": 1, " 1200": 0, "1,200": 0, "1200.0": 0, "1201": 0}
    for answer, reward in answers.items():
        assert accuracy_reward(first, f"<answer>{answer}</answer>") == reward
    for answer, reward in {"dark blue": 1, " dark blue\n": 1, "Dark blue": 0}.items():
        assert accuracy_reward(second, f"<answer>{answer}</answer>") == reward
    assert third.check("-7")


BAD = {
    "[": "no JSON",
    "[1]": r"\[1\] is no object",
    '{"answer": "1"}': "problem is None; give the question",
    '{"problem": " ", "answer": "1"}': "problem is ' '",
    '{"problem": 3, "answer": "1"}': "problem is 3",
    '{"problem": "?"}': "answer is None; give a whole number or a text",
    '{"problem": "?", "answer": 0.5}': r"answer is 0\.5",
    '{"problem": "?", "answer": true}': "answer is True",
    '{"problem": "?", "answer": ["1"]}': r"answer is \['1'\]",
    '{"problem": "?", "answer": "so ####"}': "answer is ''; it needs a text",
    '{"problem": "?", "answer": "a<b"}': "answer is 'a<b'; .* without the sign <",
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_refused_with_its_number(line, tmp_path):
    path = lines(tmp_path, '{"problem": "?", "answer": "1"}', "", line)
    with pytest.raises(ProblemsError, match=rf"^own\.jsonl, line 3: .*{BAD[line]}"):
        read_problems(path)


def test_a_file_without_problems_is_refused(tmp_path):
    with pytest.raises(ProblemsError, match=r"has no problem; a line is \{"):
        read_problems(lines(tmp_path, "", "  "))
    with pytest.raises(ProblemsError, match="cannot be read as UTF-8"):
        read_problems(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes('{"problem": "für"'.encode("latin-1"))
    with pytest.raises(ProblemsError, match=r"latin\.jsonl cannot be read as UTF-8"):
        read_problems(tmp_path / "latin.jsonl")
