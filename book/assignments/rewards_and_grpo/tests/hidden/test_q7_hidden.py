from helpers import decisive, finding

from coursekit.testing import points

HINTS = {
    "a": "which columns differ at step 0, and which way does the reward go after it?",
    "b": "can right answers and a tenth for the form add up to this reward?",
    "c": "compare every column of step 0 with the healthy run of the same seed",
}
RIGHT = {"a": ("sign", 4), "b": ("reward", -0.05), "c": ("mask", 1.0)}


def judged(student, name):
    """Fail unless fault, evidence and number of a run are right."""
    fault, column, step, number = finding(student, name)
    right, wanted = RIGHT[name]
    assert fault == right, f"run {name} is not ill by {fault!r}: {HINTS[name]}"
    assert decisive(name, column, step), (
        f"run {name}: {column} at step {step} could be chance"
    )
    off = abs(number - wanted)
    assert off <= 0.02 * abs(wanted), (
        f"run {name}: the fault is right, the number {number:g} is not what the table "
        "asks for with it"
    )


@points(3, read=('chapter 13, "What breaks it"; handout, question 7'))
def test_q7_run_a(student):
    """The fault of run a, its evidence and its number."""
    judged(student, "a")


@points(3, read=('chapter 12, "Paid by length"; handout, question 7'))
def test_q7_run_b(student):
    """The fault of run b, its evidence and its number."""
    judged(student, "b")


@points(3, read=('chapter 13, "What breaks it"; handout, question 7'))
def test_q7_run_c(student):
    """The fault of run c, its evidence and its number."""
    judged(student, "c")
