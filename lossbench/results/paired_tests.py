"""Statistics of paired differences: permutation test, Wilcoxon's test, Holm, effect sizes, sizes.

Except for Wilcoxon's test, each is NumPy alone. `permutation` takes any number of leading axes, so
that thousands of samples can be tested at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lossbench.results.intervals import student

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray

EXACT = 14  # units up to which every choice of signs is tried
DRAWS = 9_999
SEED = 0
AT_ONCE = 8  # differences that a random byte gives their signs
SLACK = 1e-12  # relative; sums of equal differences in another order differ by less
LEVEL = 0.05
CONFIDENCE, EQUIVALENCE = 1 - LEVEL, 1 - 2 * LEVEL  # of intervals
LARGEST = 10**6  # number of units that is estimated


def permutation(differences: FloatArray) -> FloatArray:
    """The p-value of the sign-flip permutation test of the mean, two-sided.

    Without a true difference, each paired difference is as likely to have the other sign. The
    p-value is the share of all choices of signs whose sum is at least as far from 0 as the observed
    one. For more than 14 differences it is estimated as (b + 1)/(m + 1), where b of m = 9,999
    random choices are at least as far.

    Args:
        differences: (…, n), n ≥ 1; an infinite one counts as larger than all finite ones together.

    Returns:
        (…), from 2^(1 − n) or 1e-4 to 1.
    """
    import numpy as np

    count = differences.shape[-1]
    scaled = comparable(differences, axis=-1)
    sizes = np.abs(scaled).sum(-1, keepdims=True)
    least = np.abs(scaled.sum(-1, keepdims=True)) - SLACK * sizes
    if count <= EXACT:
        exact: FloatArray = (np.abs(_signed_sums(scaled)) >= least).mean(-1)
        return exact
    random = np.random.default_rng(SEED)
    totals = np.zeros((*differences.shape[:-1], DRAWS))
    for start in range(0, count, AT_ONCE):
        sums = _signed_sums(scaled[..., start : start + AT_ONCE])
        choices = random.integers(256, size=DRAWS, dtype=np.uint8) & (sums.shape[-1] - 1)
        totals += sums[..., choices]
    estimate: FloatArray = ((np.abs(totals) >= least).sum(-1) + 1) / (DRAWS + 1)
    return estimate


def _signed_sums(values: FloatArray) -> FloatArray:
    """The sum under every choice of signs, (…, k) -> (…, 2^k)."""
    import numpy as np

    sums = np.zeros((*values.shape[:-1], 1))
    for index in range(values.shape[-1]):
        each = values[..., index, None]
        sums = np.concatenate([sums + each, sums - each], -1)
    return sums


def comparable(values: FloatArray, axis: int | None = None) -> FloatArray:
    """Values scaled to [-1, 1], and finite numbers beyond all their sums in place of infinities."""
    import numpy as np

    finite = np.abs(np.where(np.isinf(values), 0, values))
    scale = finite.max(axis, keepdims=True, initial=0)
    beyond = 2 * (values.shape[-1] + 1)
    scaled: FloatArray = np.clip(values / np.where(scale == 0, 1, scale), -beyond, beyond)
    return scaled


def wilcoxon(differences: FloatArray) -> float:
    """The p-value of Wilcoxon's signed-rank test, scipy's; nan if all differences are 0."""
    if not differences.any():
        return math.nan
    from scipy.stats import wilcoxon  # slow to import

    return float(wilcoxon(differences, zero_method="wilcox", method="auto").pvalue)


def holm(p: FloatArray) -> FloatArray:
    """p-values adjusted by Holm's step-down method; nan stays nan and does not count."""
    import numpy as np

    (defined,) = np.nonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), math.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def standardized(mean: float, std: float) -> float:
    """Cohen's d of paired differences, d_z: their mean over their standard deviation."""
    if std:
        return mean / std
    return math.copysign(math.inf, mean) if mean else math.nan


def rank_biserial(differences: FloatArray) -> float:
    """The matched-pairs rank-biserial correlation, from -1 to 1; nan if all differences are 0.

    (W⁺ − W⁻)/(W⁺ + W⁻), with the sums of the ranks of positive and negative differences by size.
    """
    import numpy as np

    nonzero = differences[differences != 0]
    if not len(nonzero):
        return math.nan
    _, inverse, counts = np.unique(np.abs(nonzero), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def half_width(std: float, count: int, confidence: float = CONFIDENCE) -> float:
    """Half the width of Student's t interval of a mean; nan for less than two values."""
    return student(count - 1, confidence) * std / math.sqrt(count) if count > 1 else math.nan


def is_equivalent(mean: float, std: float, count: int, margin: float) -> bool:
    """Whether the 90 % interval of a mean difference lies inside ± margin.

    Two one-sided t tests at 5 % (TOST) reject a larger difference exactly then.
    """
    return abs(mean) + half_width(std, count, EQUIVALENCE) < margin


def needed(mean: float, std: float, margin: float | None = None) -> int | None:
    """The smallest number of units that would decide about such differences; an estimate.

    With a margin, the number at which the 90 % interval lies inside it; without one, the number at
    which the 95 % interval excludes 0. None beyond 10⁶, and where no number is enough.
    """

    def decides(count: int) -> bool:
        if margin is None:
            return half_width(std, count) < abs(mean)
        return half_width(std, count, EQUIVALENCE) <= margin - abs(mean)

    low, high = 1, LARGEST  # the first is too small, the second is enough
    if not decides(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high
