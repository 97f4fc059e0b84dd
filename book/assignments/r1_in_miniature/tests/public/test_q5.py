from helpers import answers, kind_of, policy_of, practice

from coursekit.testing import points

FIRST = {"clock": 0.5, "cancel": 0.84}


@points(4, read=('chapter 13, "What breaks it"; handout, question 5'))
def test_q5_it_solves_the_practice_problems(student, files):
    """Your model answers enough of the questions in practice.json, greedily."""
    model, kind = policy_of(files), kind_of(student)
    questions = practice(kind)
    texts, _ = answers(model, [question for question, _ in questions])
    hits = 0
    for text, (_, good) in zip(texts, questions, strict=True):
        behind = text.rpartition("</think>")[2]
        hits += any(behind == f"<answer>{x}</answer><eos>" for x in good)
    share = hits / len(texts)
    assert share >= FIRST[kind], (
        f"{share:.3f} of the practice problems of {kind!r} are solved, less than "
        f"{FIRST[kind]}: read some of the answers, and see at which level they fail "
        f"(KIND is {kind!r}: is that what the model was trained for?)"
    )
