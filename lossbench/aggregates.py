"""One number from many samples: the aggregates that tables print and gates judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

AGGREGATES = (
    "mean", "sum", "std", "median", "p5", "p25", "p75", "p95", "min", "max",
    "ci_low", "ci_high", "count", "undefined", "infinite", "pooled",
)  # fmt: skip
# The same of the means of groups, each group counting once.
OVER_GROUPS = {f"group_{name}": name for name in AGGREGATES if name != "pooled"}
# Those that are a value of the loss itself, so that a gate on the wrong side can be told.
VALUES = frozenset(AGGREGATES) - {"std", "count", "undefined", "infinite"}
PERCENTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "min": 0, "max": 100}
CONFIDENCE = 0.95


def aggregate(values: Sequence[float], pooled: float = math.nan) -> dict[str, float]:
    """Every aggregate of one column.

    Undefined values (nan) are counted and left out. Sums are exact before they are rounded, so the
    order of the samples does not matter. An infinite member makes the mean infinite, but not the
    median.

    Args:
        values: one value a sample, nan where undefined.
        pooled: the value over all samples as one, nan where the loss has none.

    Returns:
        The aggregates by name, nan where undefined; `std` has n − 1 below and the interval is
        Student's t at 95 %, both undefined for one sample.
    """
    defined = sorted(value + 0.0 for value in values if not math.isnan(value))  # no -0.0
    count = len(defined)
    infinite = sum(map(math.isinf, defined))
    middle = mean(defined)
    std = deviation(defined, middle) if count > 1 and not infinite else math.nan
    half = student(count - 1) * std / math.sqrt(count) if count > 1 else math.nan
    found = {
        "mean": middle,
        "sum": exact_sum(defined) if count else math.nan,
        "std": std,
        "ci_low": middle - half,
        "ci_high": middle + half,
        "count": count,
        "undefined": len(values) - count,
        "infinite": infinite,
        "pooled": pooled,
        **{name: percentile(defined, share) for name, share in PERCENTILES.items()},
    }
    return {name: found[name] for name in AGGREGATES}


def mean(values: Sequence[float]) -> float:
    """The mean of the defined values, nan where there are none."""
    defined = [value + 0.0 for value in values if not math.isnan(value)]  # no -0.0
    if not defined:
        return math.nan
    found = exact_sum(defined) / len(defined)
    if math.isinf(found) and not any(map(math.isinf, defined)):  # the sum is too large, it is not
        found = math.fsum(value / len(defined) for value in defined)
    return found


def exact_sum(values: Sequence[float]) -> float:
    """The sum, rounded once; infinities of both signs leave nothing."""
    try:
        return math.fsum(values)
    except (ValueError, OverflowError):
        return sum(values)


def deviation(values: Sequence[float], mean: float) -> float:
    """Standard deviation with n − 1 below, scaled so that no square is too large."""
    scale = max(map(abs, values)) or 1.0
    squares = math.fsum((value / scale - mean / scale) ** 2 for value in values)
    return scale * math.sqrt(squares / (len(values) - 1))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the closest ranks of sorted values."""
    if not ordered:
        return math.nan
    place = (len(ordered) - 1) * share / 100
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    if low == high or place == math.floor(place):
        return low
    if math.isinf(high - low):
        return low * (1 - place % 1) + high * (place % 1)
    return low + (high - low) * (place - math.floor(place))


@cache
def student(freedom: int) -> float:
    """Student's t for a two-sided interval."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
