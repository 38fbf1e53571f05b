"""Estimates from a sample, with 95% intervals, and leave-one-out selection."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Shaped

SHARE = (0.0, 1.0)
"""Range of a share."""

_Z = 1.959964
_SMALL = {1: 12.7062, 2: 4.30265}


@dataclass(frozen=True)
class Interval:
    """An estimate.

    Attributes:
        value: NaN for an empty sample.
        low, high: The 95% interval; NaN for fewer than two units.
        sample: Size of the sample; None where the value is exact.
    """

    value: float
    low: float
    high: float
    sample: int | None


def exact_value(value: float) -> Interval:
    """An exact value, such as a count."""
    return Interval(value, value, value, None)


def student_t(freedom: int) -> float:
    """The 97.5% quantile of Student's t, to 0.3%: tables for 1 and 2 degrees of freedom, else the expansion of
    Abramowitz and Stegun 1964, 26.7.5.
    """
    if freedom in _SMALL:
        return _SMALL[freedom]
    z, n = _Z, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / n ** (power + 1) for power, term in enumerate(terms))


def mean_interval(
    values: Iterable[float] | Float[np.ndarray, " unit"], within: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """The mean of a sample, `± t · sd / √n`, clipped to a range; NaN units are left out."""
    found = np.array(list(values), np.float64)
    found = found[~np.isnan(found)]
    if not len(found):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    error = float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else float("nan")
    around = _around(float(found.mean()), error, len(found))
    low, high = (float(np.clip(end, *within)) for end in (around.low, around.high))
    return Interval(around.value, low, high, around.sample)


def jackknife(
    units: Shaped[np.ndarray, "unit *rest"], statistic: Callable[[Shaped[np.ndarray, "unit *rest"]], float]
) -> Interval:
    """A statistic of a sample, `± t · SE`, with the jackknife standard error (leave one unit out at a time).

    `SE² = (n - 1) / n · Σ (θ₍ᵢ₎ - θ̄)²` (Efron and Stein 1981).
    """
    value, n = float(statistic(units)), len(units)
    if n < 2:
        return Interval(value, float("nan"), float("nan"), n)
    without = np.array([statistic(np.delete(units, one, axis=0)) for one in range(n)], np.float64)
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    return _around(value, error, n)


def _around(value: float, error: float, n: int) -> Interval:
    if n < 2:
        return Interval(value, float("nan"), float("nan"), n)
    half = student_t(n - 1) * error
    return Interval(value, value - half, value + half, n)


def ratio(sums: Float[np.ndarray, "unit 2"]) -> float:
    """`Σ first / Σ second`; NaN if the second sum is 0."""
    first, second = sums.sum(axis=0)
    return float(first / second) if second else float("nan")


def leave_one_out_best(scores: Float[np.ndarray, "unit candidate"]) -> Float64[np.ndarray, " unit"]:
    """For each unit, the score of the candidate that is best on all other units (leave-one-out).

    The maximum of many noisy means is biased upward; a candidate chosen without the unit is unbiased on it.
    """
    found = scores.astype(np.float64)
    if len(found) < 2:
        return np.full(len(found), np.nan)
    others = found.sum(axis=0) - found
    return np.asarray(found[np.arange(len(found)), others.argmax(axis=1)])


def block_means(values: Float[np.ndarray, " token"], size: int) -> Float64[np.ndarray, " block"]:
    """Means of blocks of `size` consecutive tokens. Neighboring tokens are correlated, blocks hardly."""
    wide = values.astype(np.float64)
    return np.array([wide[start : start + size].mean() for start in range(0, len(wide), size)])


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly spaced, with the first and the last."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most)).tolist()})
