from helpers import decisive, finding

from coursekit.testing import points


@points(3, read='handout, question 7, "that cannot be chance"')
def test_q7_the_evidence_is_no_chance(student):
    """Each run has a code of the table, and a number that chance does not explain."""
    for name in "abc":
        _, column, step, _ = finding(student, name)
        assert decisive(name, column, step), (
            f"run {name}: {column} at step {step} could be chance: decisive"
            f"({name!r}, {column!r}, {step}) is False; look for one where it is True"
        )
