from helpers import answers, drawn, kind_of, policy_of
from truth import is_right

from coursekit.testing import measured, points

COUNT = 2000  # answers; two standard errors: 0.018 at 0.8, 0.012 at 0.92
STEPS = {
    "clock": (0.6, 0.75, 0.88, 0.94, 0.975),
    "cancel": (0.81, 0.83, 0.85, 0.865, 0.88),
}


TAKEN = {}  # the exam that these weights have sat: all steps judge the same one


def exam(model, kind, gen):
    """Shares of right answers, in all and by level, and tokens an answer."""
    problems = drawn(gen, kind, COUNT)
    texts, tokens = answers(model, [problem.question for problem in problems])
    hits, found = {}, zip(problems, texts, strict=True)
    for problem, text in found:
        good = is_right(kind, problem.question, text)
        hits.setdefault(problem.level, []).append(good)
    return sum(map(sum, hits.values())) / COUNT, hits, tokens


def grade(student, files, gen, place):
    """The exam with new problems, and the threshold in this place."""
    model, kind = policy_of(files), kind_of(student)
    sitting = kind, files["model.safetensors"].read_bytes()
    if sitting not in TAKEN:
        TAKEN[sitting] = exam(model, kind, gen)
    share, hits, tokens = TAKEN[sitting]
    needed = STEPS[kind][place]
    by_level = ", ".join(f"{n}: {sum(x) / len(x):.2f}" for n, x in sorted(hits.items()))
    if place == len(STEPS[kind]) - 1:  # what the leaderboard ranks by
        measured("accuracy", share)
        measured("tokens", tokens)
    assert share >= needed, (
        f"{share:.3f} of {COUNT} held-out problems of {kind!r} are solved, less than "
        f"{needed}; by level {by_level}; {tokens:.0f} tokens an answer (KIND is "
        f"{kind!r}: is that what the model was trained for?)"
    )


@points(4, read=('chapter 13, "The run"; handout, question 5'))
def test_q5_first_step(student, files, gen):
    """Held-out problems, clearly better than the base model."""
    grade(student, files, gen, 0)


@points(5, read=('chapter 13, "What breaks it"; handout, question 5'))
def test_q5_second_step(student, files, gen):
    """The second threshold of the handout."""
    grade(student, files, gen, 1)


@points(5, read=('chapter 13, "What breaks it"; handout, question 5'))
def test_q5_third_step(student, files, gen):
    """The third threshold of the handout."""
    grade(student, files, gen, 2)


@points(5, read=('chapter 13, "The run"; handout, question 4'))
def test_q5_fourth_step(student, files, gen):
    """The fourth threshold of the handout."""
    grade(student, files, gen, 3)


@points(5, read=('chapter 13, "The run"; handout, question 4'))
def test_q5_fifth_step(student, files, gen):
    """The last threshold, and the numbers of the leaderboard."""
    grade(student, files, gen, 4)
