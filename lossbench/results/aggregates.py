"""Aggregates: numbers computed from all samples of a column, printed in tables, judged by gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


AGGREGATES = (
    "mean", "sum", "std", "median", "p5", "p25", "p75", "p95", "min", "max",
    "ci_low", "ci_high", "count", "undefined", "infinite", "pooled",
)  # fmt: skip
# The same aggregates over the means of groups, each group counting once.
COUNTED = ("count", "undefined", "infinite")
OVER_GROUPS = {f"group_{name}": name for name in AGGREGATES if name != "pooled"}
# Aggregates in the unit of the loss, for which a gate on the wrong side can be detected.
COUNTED = ("count", "undefined", "infinite")
VALUES = frozenset(AGGREGATES) - {"std", *COUNTED}
PERCENTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "min": 0, "max": 100}
CONFIDENCE = 0.95
NORMAL = 1.959963984540054  # 97.5 % quantile of the normal distribution
EXPANSION_FROM = 400  # degrees of freedom from which the expansion is exact enough
ROUNDING = 1e-14  # a relative step below this is rounding


def aggregate(values: Sequence[float] | FloatArray, pooled: float = math.nan) -> dict[str, float]:
    """Every aggregate of one column.

    Undefined values (nan) are counted and left out. Sums are exact before they are rounded, so the
    order of the samples does not matter. An infinite value makes the mean infinite, but not the
    median.

    Args:
        values: one value per sample, nan if undefined.
        pooled: the value over all samples as one, nan if the loss has none.

    Returns:
        The aggregates by name, nan if undefined. `std` divides by n − 1 and the interval is
        Student's t at 95 %; both are undefined for one sample.
    """
    import numpy as np

    column = np.asarray(values, np.float64)
    ordered = np.sort(column[~np.isnan(column)] + 0.0)  # no -0.0
    defined: list[float] = ordered.tolist()
    count, infinite = len(defined), int(np.isinf(ordered).sum())
    total = exact_sum(defined)
    middle = _mean(defined, total)
    std = _deviation(ordered, middle) if count > 1 and not infinite else math.nan
    half = student(count - 1) * std / math.sqrt(count) if count > 1 else math.nan
    table = {
        "mean": middle,
        "sum": total if count else math.nan,
        "std": std,
        "ci_low": middle - half,
        "ci_high": middle + half,
        "count": count,
        "undefined": len(column) - count,
        "infinite": infinite,
        "pooled": pooled,
        **{name: percentile(defined, share) for name, share in PERCENTILES.items()},
    }
    return {name: table[name] for name in AGGREGATES}


def mean(values: Sequence[float]) -> float:
    """The mean of the defined values, nan if there are none."""
    defined = [value + 0.0 for value in values if not math.isnan(value)]  # no -0.0
    return _mean(defined, exact_sum(defined))


def _mean(defined: Sequence[float], total: float) -> float:
    """The mean of defined values, from their exact sum."""
    if not defined:
        return math.nan
    middle = total / len(defined)
    if math.isinf(middle) and not any(map(math.isinf, defined)):  # only the sum overflowed
        middle = math.fsum(value / len(defined) for value in defined)
    return middle


def exact_sum(values: Sequence[float]) -> float:
    """The sum, rounded once; nan if there are infinities of both signs."""
    try:
        return math.fsum(values)
    except (ValueError, OverflowError):
        return sum(values)


def _deviation(ordered: FloatArray, mean: float) -> float:
    """Standard deviation with n − 1 degrees of freedom, scaled so that no square overflows."""
    scale = max(-float(ordered[0]), float(ordered[-1])) or 1.0
    squares = (ordered / scale - mean / scale) ** 2
    return scale * math.sqrt(math.fsum(squares.tolist()) / (len(ordered) - 1))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Percentile of sorted values by linear interpolation between the closest ranks."""
    if not ordered:
        return math.nan
    rank = (len(ordered) - 1) * share / 100
    low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    if low == high or rank == math.floor(rank):
        return low
    if math.isinf(high - low):
        return low * (1 - rank % 1) + high * (rank % 1)
    return low + (high - low) * (rank - math.floor(rank))


@cache
def student(freedom: int) -> float:
    """The half width of a 95 % interval in standard errors: the quantile of Student's t.

    Newton's method on the closed form of the distribution (Abramowitz & Stegun 26.7.3, 26.7.4); for
    many degrees of freedom the expansion 26.7.5. Both agree with scipy's stdtrit to 1e-13; scipy is
    avoided because importing it takes longer than most runs.
    """
    if freedom > EXPANSION_FROM:
        z = NORMAL
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)
    quantile, before = NORMAL, 0.0
    while quantile - before > ROUNDING * quantile:  # converges from the left: the CDF is concave
        before = quantile
        density = 2 * scale * (1 + quantile**2 / freedom) ** (-(freedom + 1) / 2)
        quantile += (CONFIDENCE - _within(quantile, freedom)) / density
    return quantile


def _within(t: float, freedom: int) -> float:
    """The probability between -t and t under Student's distribution."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    terms = [term] if freedom > 1 else []
    for order in range(2 + odd, freedom - 1, 2):
        term *= (order - 1) / order * math.cos(angle) ** 2
        terms.append(term)
    total = math.sin(angle) * math.fsum(terms)
    return 2 / math.pi * (angle + total) if odd else total


def worst_first(values: Sequence[float] | FloatArray, better: str | None) -> list[int]:
    """Indices from the worst value to the best, undefined values last; ties keep their order."""
    import numpy as np

    numbers = np.asarray(values, np.float64)
    order = np.argsort(numbers if better == "higher" else -numbers, kind="stable")
    indices: list[int] = order.tolist()
    return indices
