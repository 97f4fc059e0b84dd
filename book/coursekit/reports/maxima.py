"""The maximum of points there and here: a grade of 9 says nothing without it."""

import math
import sys
from pathlib import Path

from coursekit.grading.names import file_name
from coursekit.grading.results import Result, path_of, read_result
from coursekit.grading.tables import TableError


def maxima(
    grades: Path, points: dict[str, float], most: float, column: str
) -> tuple[float, ...]:
    """The maxima that a course may have for a column; the first is that of its points.

    Points from tests may go where the total will be. None are known of other columns.
    """
    if column != "auto" or not points:
        return (most,) if column in ("total", "auto") else ()
    verdicts = result_of(grades.parent, next(iter(points))).verdicts
    return sum(verdict.max for verdict in verdicts), most


def same_maximum(possible: float | None, limits: tuple[float, ...], where: str) -> None:
    """Remark on a maximum that is the total's; raises TableError for none of ours."""
    if possible is None or not limits:
        return
    if not any(math.isclose(possible, limit) for limit in limits):
        here = " from tests and in all ".join(f"{limit:g}" for limit in limits)
        raise TableError(
            f"{possible:g} points in {where}, {here} here: change "
            "the assignment's points there and export its table again"
        )
    if not math.isclose(possible, limits[0]):
        print(
            f"points from tests, at most {limits[0]:g}; {where} has the maximum of "
            f"totals, {possible:g}: export these when written answers have points",
            file=sys.stderr,
        )


def result_of(results: Path, student: str) -> Result:
    """A student's result in a folder of grades.

    Raises TableError where there is none, or that of somebody else.
    """
    try:
        result = read_result(path_of(results, student))
    except OSError as error:
        raise TableError(f"no result of {student} in json/: grade again") from error
    if result.student != student:
        raise TableError(
            f"json/{file_name(student)}.json is of {result.student}: grade again"
        )
    return result
