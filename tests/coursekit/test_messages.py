"""Messages teach: they name the mistake, and a place of the book to read on."""

from dataclasses import replace

import pytest
from messages import EXAMPLE, FOLDERS, coarse, lost, sections, told

from coursekit.authoring.assignment import ASSIGNMENTS, load
from coursekit.authoring.mutants import mutants, reference
from coursekit.authoring.prove import disagreements
from coursekit.testing.suite import READ_ON

each = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


@each
def test_every_test_names_a_place_that_is_in_the_book(folder):
    tests = load(folder).tests
    assert not [test.name for test in tests if not test.read]
    assert not {
        test.name: places for test in tests if (places := lost(test.read, folder))
    }


@pytest.mark.parametrize(
    "read",
    [
        'chapter 04, "Two process"',
        'chapter 03, "Two processes"',
        f'chapter {99}, "Two processes"',
        'chapter 04, "Two processes", "no words of it"',
        'chapter 04, "import torch"',
        "chapter 04",
        "handout, question 9",
        'handout, question 1, "words of question 2: `chance` times"',
        'notebook, "Question 11"',
        "the lecture",
        'chapter 04, "Two processes"; ',
    ],
)
def test_a_place_that_is_not_there_is_found(read):
    assert lost(read, ASSIGNMENTS / "experts") == [read.split("; ")[-1]]


def test_places_are_headings_and_words_below_them():
    text = "# A\none\n## B\ntwo\n```\n# no heading\n```\n# C\nthree\n"
    found = sections(text)
    assert list(found) == ["A", "B", "C"]
    assert "two" in found["A"]
    assert "three" not in found["A"]
    read = 'chapter 04, "Two processes", "sent *once* to a rank"; handout, question 2'
    assert not lost(read, ASSIGNMENTS / "experts")


@each
def test_every_mutant_has_words_that_its_student_must_read(folder):
    """Whether a message has them is a part of the proof."""
    known = mutants(load(folder))
    assert not [mutant.name for mutant in known if not mutant.says]


SLOW = ("boxes are counted by a pattern that looks for each one's end",)  # 20 s
SLOW += ("another kind of problems is named",)  # a model's 12,000 answers


@each
def test_every_mistake_is_named_with_a_place_to_read_on(folder):
    """All mutants, in this process: seconds of work, where a proof takes minutes.

    Each fails what it lists of its questions, and nothing else there.
    """
    assignment = load(folder)
    wrong = []
    for mutant in mutants(assignment):
        if mutant.name not in SLOW:
            verdicts = told(assignment, mutant)
            assert {verdict.test for verdict in verdicts} >= mutant.fails
            wrong += disagreements(mutant, verdicts)
    assert not wrong, "\n".join(wrong)


HIDDEN_BY_BFLOAT16 = [
    ("experts", "the error is a count, not a share"),
    ("experts", "every error is an error"),
    ("experts", "the bias is not centered"),
    ("experts", "gates are the softmax of the chosen logits"),
    ("several_tokens", "the weight is divided by D + 1"),
    ("several_tokens", "rows are averaged first"),
    ("several_tokens", "later drafts are judged behind the first token"),
    ("rewards_and_grpo", "1e-4 is added to the deviation"),
]


@pytest.mark.parametrize(("name", "mistake"), HIDDEN_BY_BFLOAT16)
def test_numbers_with_few_digits_hide_no_mistake(name, mistake):
    """With a tolerance that followed the student's type each of them earned points."""
    assignment = load(name)
    mutant = {one.name: one for one in mutants(assignment)}[mistake]
    verdicts = told(assignment, coarse(assignment, mutant))
    assert not mutant.fails & {verdict.test for verdict in verdicts if verdict.passed}
    named = "got torch.bfloat16, which has fewer digits"
    assert any(named in verdict.message for verdict in verdicts)


def test_a_message_that_teaches_nothing_is_reported():
    assignment = load(EXAMPLE)
    mutant = mutants(assignment)[1]
    verdicts = told(assignment, mutant)
    silent = [replace(v, message=v.message.partition("\n")[0]) for v in verdicts]
    wrong = disagreements(mutant, silent)
    assert len(wrong) == len(mutant.fails)
    assert all("does not say where to read on" in line for line in wrong)
    bare = [replace(one, message=f"no\n{READ_ON}x") for one in verdicts]
    assert disagreements(mutant, bare) == [
        f"{mutant.name}: no message says {mutant.says!r}"
    ]
    assert not disagreements(reference(assignment), [])
