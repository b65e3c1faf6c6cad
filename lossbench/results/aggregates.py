"""Aggregates: numbers computed from all samples of a column, printed in tables, judged by gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lossbench.results.intervals import PLAIN, IntervalRule, median_interval

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray


AGGREGATES = (
    "mean", "sum", "std", "median", "p5", "p25", "p75", "p95", "min", "max",
    "ci_low", "ci_high", "median_ci_low", "median_ci_high", "count", "undefined", "infinite",
    "pooled",
)  # fmt: skip
LATER = ("median_ci_low", "median_ci_high")  # absent from results of older versions
BOUNDS = ("ci_low", "ci_high")  # of the interval of the mean
# The same aggregates over the means of groups, each group counting once.
OVER_GROUPS = {f"group_{name}": name for name in AGGREGATES if name != "pooled"}
# Aggregates in the unit of the loss, for which a gate on the wrong side can be detected.
COUNTED = ("count", "undefined", "infinite")
VALUES = frozenset(AGGREGATES) - {"std", *COUNTED}
PERCENTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "min": 0, "max": 100}


def aggregate(
    values: Sequence[float] | FloatArray, pooled: float = math.nan, rule: IntervalRule = PLAIN
) -> dict[str, float]:
    """Every aggregate of one column.

    Undefined values (nan) are counted and left out. Sums are exact before they are rounded, so the
    order of the samples does not matter. An infinite value makes the mean infinite, but not the
    median.

    Args:
        values: one value per sample, nan if undefined.
        pooled: the value over all samples as one, nan if the loss has none.
        rule: how the mean gets its interval; by default Student's t.

    Returns:
        The aggregates by name, nan if undefined. `std` divides by n − 1; it and the interval are
        undefined for one sample.
    """
    import numpy as np

    column = np.asarray(values, np.float64)
    ordered = np.sort(column[~np.isnan(column)] + 0.0)  # no -0.0
    defined: list[float] = ordered.tolist()
    count, infinite = len(defined), int(np.isinf(ordered).sum())
    total = exact_sum(defined)
    middle = _mean(defined, total)
    std = _deviation(ordered, middle) if count > 1 and not infinite else math.nan
    ci_low, ci_high = rule.interval(ordered, middle, std)
    median_ci_low, median_ci_high = median_interval(defined)
    table = {
        "mean": middle,
        "sum": total if count else math.nan,
        "std": std,
        "ci_low": ci_low,
        "ci_high": ci_high,
        "median_ci_low": median_ci_low,
        "median_ci_high": median_ci_high,
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


def worst_first(values: Sequence[float] | FloatArray, better: str | None) -> list[int]:
    """Indices from the worst value to the best, undefined values last; ties keep their order."""
    import numpy as np

    numbers = np.asarray(values, np.float64)
    order = np.argsort(numbers if better == "higher" else -numbers, kind="stable")
    indices: list[int] = order.tolist()
    return indices
