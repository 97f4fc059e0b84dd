"""What tests are written with: `points`, `close`, `measured`, `weights` and probes.

A test is a function `test_q1_...(student)`; it may also ask for `gen`, a generator
seeded by the test's name and the course's secret, and for `files`, the files handed in.
Its first docstring line says what it wants, its assertions say what went wrong.

    student     what a test asks a notebook with
    weights     trained weights that were handed in
    assertions  `points`, `close` and `measured`
    suite       finds tests and runs one to its verdict
    budget      seconds that all cells and calls of a submission share
    judge       all tests on a notebook in a sandbox
"""

from coursekit.testing.assertions import close, measured, points
from coursekit.testing.student import StudentError, changed, gradient, largest, run
from coursekit.testing.weights import weights

__all__ = ["StudentError", "changed", "close", "gradient", "largest", "measured"]
__all__ += ["points", "run", "weights"]
