"""How sure a mean over seeds is, and whether two of them differ.

The book has one protocol, which the page "How we decide" explains. Two arms of an
experiment are compared by `compare`, a family of comparisons by `compare_family`, and
shares by `wilson`. A sentence that ranks trained things stands on a printed line of
these.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05  # a verdict is wrong at most this often where there is no difference


def _numbers(values: Iterable) -> np.ndarray:
    numbers = np.array([float(value) for value in values])
    # Of nan every comparison is false, and a verdict would be drawn from that.
    if not np.isfinite(numbers).all():
        bad = numbers[~np.isfinite(numbers)][0]
        raise ValueError(f"a value is {bad}; leave out what was not measured")
    return numbers


def half_width(values: Iterable, level: float = 0.95) -> float:
    r"""Half the width of Student's interval of a mean: $t_{n-1}\, s / \sqrt n$.

    $s$ is the standard deviation of the n values, divided by n - 1, and $t_{n-1}$ the
    quantile of Student's distribution that leaves (1 - `level`) / 2 on each side.

    Raises ValueError for fewer than two values, for one that is not finite, and for a
    level outside of 0 to 1.
    Source: Student, 1908.
    """
    values = _numbers(values)
    if values.size < 2 or not 0 < level < 1:
        raise ValueError(
            f"{values.size} values at level {level}; it takes two and a level in (0, 1)"
        )
    # ppf takes the probability below the quantile: 0.975 for a level of 0.95. The mean
    # has used one degree of freedom, hence size - 1 and ddof=1.
    quantile = stats.t.ppf(0.5 + level / 2, values.size - 1)
    return float(quantile * values.std(ddof=1) / np.sqrt(values.size))


def wilson(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share: the shares that would not reject hits / of.

    A share p is inside if |hits / of - p| <= z sqrt(p (1 - p) / of), where z is the
    normal quantile. Unlike the share +- z standard errors it stays within 0 to 1.

    Raises ValueError if hits are not between 0 and of, or of is 0.
    Source: Wilson, 1927.
    """
    if not 0 <= hits <= of or of < 1:
        raise ValueError(f"{hits} hits of {of}; give 0 <= hits <= of and of >= 1")
    interval = stats.binomtest(hits, of).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def permutation_test(first: Iterable, second: Iterable, paired: bool) -> float:
    """The exact two-sided p-value of a difference of means, without any bell curve.

    If both arms are the same, the labels mean nothing. Paired, the two labels of each
    seed may be exchanged: 2^n ways. Not paired, the n + m values may be dealt out anew:
    (n + m)! / (n! m!) ways. p is the share of all ways whose difference is at least as
    far from 0 as the measured one, so it cannot be below 2 / ways: 1/16 for five pairs,
    1/126 for five against five.

    Raises ValueError for fewer than two values, for one that is not finite, and for
    pairs of unequal number.
    Source: Fisher, 1935.
    """
    first, second = _checked(first, second, paired)
    done = stats.permutation_test(
        (first, second),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=np.inf,
    )
    return float(done.pvalue)


def holm(p_values: Iterable) -> list[float]:
    """Holm's correction: p-values that may each be held against the level as usual.

    The smallest of k is multiplied by k, the next by k - 1, and so on, and none may
    fall below the one before it. Then the chance of one false verdict or more in the
    whole family is at most the level.

    Raises ValueError for a p-value that is not finite.
    Source: Holm, 1979.
    """
    p = _numbers(p_values)
    order = np.argsort(p)
    corrected = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    result = np.empty_like(p)
    result[order] = np.minimum(corrected, 1)
    return result.tolist()


class Comparison(NamedTuple):
    """The first arm against the second: the difference of means, and a verdict.

    `low` and `high` bound the 95 % interval of the difference; `p` is the chance of
    such a difference, or one further from 0, between arms that are the same, corrected
    where the comparison belongs to a family.
    """

    name: str
    n: int
    difference: float
    low: float
    high: float
    p: float
    higher_is_better: bool

    @property
    def verdict(self) -> str:
        """What we may say of the first arm: "better", "worse" or "cannot tell"."""
        if self.p >= LEVEL:
            return "cannot tell"
        return "better" if (self.difference > 0) == self.higher_is_better else "worse"

    def __str__(self) -> str:
        numbers = f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"
        p = f"p {self.p:.3f}" if self.p >= 0.0005 else "p < 0.001"
        return f"{self.name}: n {self.n}, {numbers}, {p}: {self.verdict}"


def _checked(first: Iterable, second: Iterable, paired: bool) -> tuple:
    first, second = _numbers(first), _numbers(second)
    if min(first.size, second.size) < 2:
        raise ValueError(
            f"{first.size} against {second.size} values; it takes two each"
        )
    if paired and first.size != second.size:
        raise ValueError(
            f"{first.size} and {second.size} values are no pairs; give one value of "
            "each arm for each seed, or paired=False"
        )
    return first, second


def compare(
    name: str,
    first: Iterable,
    second: Iterable,
    higher_is_better: bool,
    paired: bool = True,
) -> Comparison:
    r"""Compare two arms over seeds: one line with n, difference, interval, verdict.

    Paired (the arms share their seeds, in the same order), the differences $d$ of the
    seeds have Student's interval $\bar d \pm t_{n-1}\, s_d / \sqrt n$ and his p-value.
    Not paired, the interval is Welch's and the p-value that of the exact
    `permutation_test`.

    Raises ValueError for fewer than two values, for one that is not finite, and for
    pairs of unequal number.
    Source: Student, 1908; Welch, 1947; Fisher, 1935.
    """
    first, second = _checked(first, second, paired)
    difference = float(first.mean() - second.mean())
    spread = (first - second).std() if paired else first.std() + second.std()
    if spread < 1e-12:
        # Without any spread Student's t is 0 / 0 or infinite.
        p = 1.0 if abs(difference) < 1e-12 else 0.0
        low = high = difference
    elif paired:
        test = stats.ttest_rel(first, second)
        p, (low, high) = test.pvalue, test.confidence_interval()
    else:
        p = permutation_test(first, second, paired=False)
        welch = stats.ttest_ind(first, second, equal_var=False)
        low, high = welch.confidence_interval()
    n = min(first.size, second.size)
    return Comparison(
        name, n, difference, float(low), float(high), float(p), higher_is_better
    )


def compare_family(
    arms: Mapping[str, tuple[Iterable, Iterable]],
    higher_is_better: bool,
    paired: bool = True,
) -> list[Comparison]:
    """Compare several pairs of arms, with `holm` over all of them.

    `arms` maps the name of a comparison to its two arms. Intervals stay those of each
    comparison alone; the p-values, and so the verdicts, are corrected.

    Raises ValueError as `compare` does.
    """
    lines = [compare(n, *two, higher_is_better, paired) for n, two in arms.items()]
    corrected = holm(line.p for line in lines)
    return [line._replace(p=p) for line, p in zip(lines, corrected, strict=True)]
