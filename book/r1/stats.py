"""How sure a mean over seeds is."""

from collections.abc import Iterable

import numpy as np
from scipy import stats


def half_width(values: Iterable, level: float = 0.95) -> float:
    r"""Half the width of Student's interval of a mean: $t_{n-1}\, s / \sqrt n$.

    $s$ is the standard deviation of the n values, divided by n - 1, and $t_{n-1}$ the
    quantile of Student's distribution that leaves (1 - `level`) / 2 on each side.

    Raises ValueError for fewer than two values and for a level outside of 0 to 1.
    Source: Student, 1908.
    """
    values = np.array([float(value) for value in values])
    if values.size < 2 or not 0 < level < 1:
        raise ValueError(
            f"{values.size} values at level {level}; it takes two and a level in (0, 1)"
        )
    # ppf takes the probability below the quantile: 0.975 for a level of 0.95. The mean
    # has used one degree of freedom, hence size - 1 and ddof=1.
    quantile = stats.t.ppf(0.5 + level / 2, values.size - 1)
    return float(quantile * values.std(ddof=1) / np.sqrt(values.size))
