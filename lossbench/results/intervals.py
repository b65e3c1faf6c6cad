"""Confidence intervals at 95 %: of a mean, on the scale of its column's range, and of a median."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lossbench.catalog.columns import Column
from lossbench.catalog.ranges import UNKNOWN, Range, value_range

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray

CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.959963984540054  # at 97.5 %
EXPANSION_FROM = 400  # degrees of freedom from which the expansion is exact enough
ROUNDING = 1e-14  # a relative step below this is rounding
LARGEST_EXPONENT = 600.0  # keeps odds finite where a stored deviation fits no mean

AUTO, T, BCA = "auto", "t", "bca"
CHOICES = (AUTO, T, BCA)
LOGIT, LOG = "logit", "log"
METHODS = (LOGIT, LOG, T, BCA)
SCALES = (T, LOG, LOGIT)  # by the number of finite ends of a range

RESAMPLES = 9_999
SEED = 0
FEWEST, MOST = 30, 100_000  # values that are resampled
BLOCK = 1 << 22  # resampled values in memory at a time

UNDEFINED: Range = (math.nan, math.nan)


@dataclass(frozen=True)
class IntervalRule:
    """How the mean of a column gets its interval.

    Attributes:
        ends: the range of the column, infinite where there is no end.
        ci: auto, t or bca.
        name: the column, by which resamples are drawn.
    """

    ends: Range = UNKNOWN
    ci: str = AUTO
    name: str = ""

    @classmethod
    def of(cls, column: Column, ci: str, *, of_class: bool = False) -> IntervalRule:
        """The rule of a column, or of its class columns."""
        return cls(value_range(column, of_class=of_class), ci, column.name)

    def method(self, lowest: float, highest: float, count: int) -> str:
        """One of `METHODS`, for the extreme values and the number of the values."""
        if self.ci == BCA and not self.without_resamples(lowest, highest, count):
            return BCA
        low, high = self.ends
        finite = math.isfinite(low) + math.isfinite(high)
        too_wide = finite == 2 and math.isinf(high - low)
        if self.ci == T or too_wide or lowest < low or highest > high:
            return T
        return SCALES[finite]

    @staticmethod
    def without_resamples(lowest: float, highest: float, count: int) -> str:
        """Why values are not resampled; "" if they are."""
        if not FEWEST <= count <= MOST:
            return f"{count:,} values"
        if lowest == highest:
            return "equal values"
        return "" if math.isfinite(highest - lowest) else "infinite values"

    def interval(self, ordered: FloatArray, mean: float, std: float) -> Range:
        """The interval of the mean of defined values, sorted."""
        if not len(ordered):
            return UNDEFINED
        lowest, highest, count = float(ordered[0]), float(ordered[-1]), len(ordered)
        if self.method(lowest, highest, count) == BCA:
            return resampled_interval(ordered, self.name)
        return self.from_moments(lowest, highest, mean, std, count)

    def from_moments(
        self, lowest: float, highest: float, mean: float, std: float, count: int
    ) -> Range:
        """The interval without resamples; undefined below two values or with infinite ones."""
        if count < 2 or not (math.isfinite(mean) and math.isfinite(std)):
            return UNDEFINED
        if lowest == highest:  # the mean and the deviation may differ from it by rounding
            mean, std = lowest, 0.0
        half = student(count - 1) * std / math.sqrt(count)
        if half == 0 and mean not in self.ends:
            return mean, mean
        rule = IntervalRule(self.ends, T if self.ci == T else AUTO)
        low, high = BY_METHOD[rule.method(lowest, highest, count)](mean, half, count, self.ends)
        return min(low, mean), max(high, mean)  # the scales round


PLAIN = IntervalRule()


def _plain(mean: float, half: float, count: int, ends: Range) -> Range:
    return mean - half, mean + half


def _from_one_end(mean: float, half: float, count: int, ends: Range) -> Range:
    """The interval on the scale of the logarithm of the distance from the only end."""
    low, high = ends
    if math.isinf(low):
        mirrored = _from_one_end(-mean, half, count, (-high, math.inf))
        return -mirrored[1], -mirrored[0]
    distance = mean - low
    if distance <= 0:
        return low, low
    factor = math.exp(min(half / distance, LARGEST_EXPONENT))
    return low + distance / factor, low + distance * factor


def _between_ends(mean: float, half: float, count: int, ends: Range) -> Range:
    """The interval on the scale of the logit; Wilson's bound where all values lie at an end."""
    low, high = ends
    width = high - low
    z = NORMAL_QUANTILE
    beyond = width * z**2 / (count + z**2)
    share, rest = ((mean - low) / width, (high - mean) / width) if width else (0, 1)
    if share <= 0:
        return low, min(low + beyond, high)
    if rest <= 0:
        return max(high - beyond, low), high
    factor = math.exp(min(half / width / share / rest, LARGEST_EXPONENT))
    below, above = rest / share * factor, share / rest * factor
    return max(low + width / (1 + below), low), min(high - width / (1 + above), high)


BY_METHOD = {T: _plain, LOG: _from_one_end, LOGIT: _between_ends}


def resampled_interval(ordered: FloatArray, name: str) -> Range:
    """The bias-corrected and accelerated bootstrap interval of a mean (Efron 1987).

    Args:
        ordered: values, not all of them equal.
        name: seeds the resamples.
    """
    from statistics import NormalDist

    import numpy as np

    normal = NormalDist()
    count, middle = len(ordered), ordered.mean()
    random = np.random.default_rng([SEED, *name.encode()])
    rows = max(BLOCK // count, 1)
    means = np.concatenate(
        [
            ordered[random.integers(0, count, (min(rows, RESAMPLES - start), count))].mean(axis=1)
            for start in range(0, RESAMPLES, rows)
        ]
    )
    below = ((means < middle).mean() + (means <= middle).mean()) / 2
    bias = normal.inv_cdf(float(below))
    spread = ordered - middle
    acceleration = float((spread**3).sum() / (spread**2).sum() ** 1.5 / 6)
    shares = []
    for probability in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2):
        shifted = bias + normal.inv_cdf(probability)
        shares.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(means, shares).tolist()
    return low, high


def median_interval(ordered: Sequence[float]) -> Range:
    """The interval of the median: sorted values of equal rank from both ends."""
    rank = median_rank(len(ordered))
    return (ordered[rank - 1], ordered[-rank]) if rank else UNDEFINED


@cache
def median_rank(count: int) -> int:
    """The largest rank from 1 whose values, from both ends, cover the median; 0 without one.

    The values of rank k enclose the median with the probability 1 − 2·P(X < k), where X is binomial
    with n trials of probability 1/2.
    """
    rank = max(math.floor(count / 2 - math.sqrt(count)), 0)  # P(X < rank) is below 2.5 %
    each = math.exp(
        math.lgamma(count + 1)
        - math.lgamma(rank + 1)
        - math.lgamma(count - rank + 1)
        - count * math.log(2)
    )  # P(X = rank)
    terms, term = [each], each
    for below in range(rank, 0, -1):
        term *= below / (count - below + 1)
        terms.append(term)
        if term < each * ROUNDING:
            break
    total = math.fsum(terms)  # P(X <= rank)
    while 2 * total <= 1 - CONFIDENCE:
        rank += 1
        each *= (count - rank + 1) / rank
        total += each
    return rank


@cache
def student(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The half width of an interval in standard errors: the quantile of Student's t.

    Newton's method on the closed form of the distribution (Abramowitz & Stegun 26.7.3, 26.7.4); for
    many degrees of freedom the expansion 26.7.5. Both agree with scipy's stdtrit to 1e-12; scipy is
    avoided because importing it takes longer than most runs.
    """
    z = NORMAL_QUANTILE if confidence == CONFIDENCE else _normal_quantile((1 + confidence) / 2)
    if freedom > EXPANSION_FROM:
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)
    quantile, before = z, 0.0
    while quantile - before > ROUNDING * quantile:  # converges from the left: the CDF is concave
        before = quantile
        density = 2 * scale * (1 + quantile**2 / freedom) ** (-(freedom + 1) / 2)
        quantile += (confidence - _within(quantile, freedom)) / density
    return quantile


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist  # imports more than most runs need

    return NormalDist().inv_cdf(probability)


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
