"""Statistics of a series over epochs: Mann-Kendall, the best epoch, the first sign of overfitting.

Python alone, without NumPy: a series has a few hundred values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, combinations
from typing import NamedTuple

LEVEL = 0.05
WINDOW = 10  # epochs that the test of the trend looks at
FEWEST = 5  # epochs; with 4, the smallest p-value is 1/24
EXACT = 50  # epochs up to which the distribution of S is counted
TOO_FEW, IMPROVING, FLAT, WORSENING = "too few", "improving", "flat", "worsening"


class Tendency(NamedTuple):
    """The trend of the last epochs.

    Attributes:
        word: too few, improving, flat or worsening; None where neither direction is better.
        tau: Kendall's tau-b of values and epochs, positive where values rise.
        p: one-sided p-value of the direction that tau has.
        window: how many epochs were tested.
    """

    word: str | None
    tau: float
    p: float
    window: int


def tendency(values: Sequence[float], better: str | None, window: int = WINDOW) -> Tendency:
    """Whether the last values still improve, by the one-sided Mann-Kendall test at 5 %.

    Args:
        values: one for each epoch; undefined ones (nan) of the window are left out.
        better: lower, higher, or None.
        window: how many of the last epochs to test.
    """
    last = [value for value in values[-window:] if not math.isnan(value)]
    if len(last) < FEWEST:
        return Tendency(TOO_FEW, math.nan, math.nan, len(last))
    tau, p = mann_kendall(last)
    word = FLAT
    if p < LEVEL:
        word = IMPROVING if (tau < 0) == (better == "lower") else WORSENING
    return Tendency(word if better else None, tau, p, len(last))


def mann_kendall(values: Sequence[float]) -> tuple[float, float]:
    """Kendall's tau-b of values against their order, and its one-sided p-value.

    S is the number of pairs that rise minus that of pairs that fall. Without a trend, every order
    of the values, ties included, is equally likely. Up to 50 values, the p-value is the exact share
    of orders whose S is at least as far from 0 on the same side; beyond, it is that of the normal
    distribution with the variance for ties and the correction for continuity (Kendall 1975).

    Args:
        values: two or more, none undefined.

    Returns:
        tau-b, nan if all values are equal, and the p-value of the side on which S is; 1 if S is 0
        because all are equal.
    """
    count = len(values)
    signs = [(after > before) - (after < before) for before, after in combinations(values, 2)]
    total, untied = sum(signs), sum(map(abs, signs))
    if not untied:
        return math.nan, 1.0
    tau = total / math.sqrt(untied * len(signs))
    ties = list(Counter(values).values())
    if count <= EXACT:
        # An order with d falling pairs has S = untied - 2d, and its reverse has -S.
        orders = _falling_pairs(ties)
        most = (untied - abs(total)) // 2
        return tau, sum(orders[: most + 1]) / sum(orders)
    variance = (_cubic(count) - sum(map(_cubic, ties))) / 18
    z = max(abs(total) - 1, 0) / math.sqrt(variance)
    return tau, math.erfc(z / math.sqrt(2)) / 2


def _cubic(count: int) -> int:
    return count * (count - 1) * (2 * count + 5)


def _falling_pairs(ties: Sequence[int]) -> list[int]:
    """The number of orders of a multiset by how many pairs fall, from 0 on.

    Their generating function is the q-multinomial coefficient [n]! / Π [t]!, with
    [k]! = Π (1 + q + … + q^(i−1)) over i = 1 … k (MacMahon 1916).
    """
    orders = [1]
    for size in range(2, sum(ties) + 1):
        sums = [0, *accumulate([*orders, *[0] * (size - 1)])]
        orders = [sums[at + 1] - sums[max(at + 1 - size, 0)] for at in range(len(sums) - 1)]
    for tie in ties:
        for size in range(2, tie + 1):
            quotient: list[int] = []
            for at in range(len(orders) - size + 1):
                before = quotient[at - size] if at >= size else 0
                quotient.append(orders[at] - (orders[at - 1] if at else 0) + before)
            orders = quotient
    return orders


def best_index(values: Sequence[float], better: str | None) -> int | None:
    """The index of the best value, the first of equal ones; None if there is none."""
    defined = [index for index, value in enumerate(values) if not math.isnan(value)]
    if better is None or not defined:
        return None
    sign = 1 if better == "lower" else -1
    return min(defined, key=lambda index: sign * values[index])


def averages_so_far(values: Sequence[float]) -> list[float]:
    """The mean of all defined values up to each one."""
    averages, total, count = [], 0.0, 0
    for value in values:
        if not math.isnan(value):
            total, count = total + value, count + 1
        averages.append(total / count if count else math.nan)
    return averages


def first_sign(
    values: Sequence[float],
    better: str | None,
    train: Sequence[float],
    train_better: str | None,
    is_worse: Sequence[bool] | None,
) -> int | None:
    """The index of the epoch from which on a model overfits; None if no epoch is.

    It follows the best epoch; from it on to the last one, every epoch is worse than the best one,
    and every value of the training series is better than at the best epoch.

    Args:
        values: of the validation, one for each epoch.
        better: its better direction.
        train: of the training, nan where it is unknown.
        train_better: its better direction.
        is_worse: whether a test tells each epoch from the best one, as worse; None where no test
            is possible: then values count, and these must be worsening from the best one on.
    """
    best = best_index(values, better)
    if best is None or train_better is None:
        return None
    if is_worse is None:
        if tendency(values[best:], better, len(values)).word != WORSENING:
            return None
        is_worse = [_is_better(values[best], value, better) for value in values]
    sign = None
    for index in range(len(values) - 1, best, -1):
        if not (is_worse[index] and _is_better(train[index], train[best], train_better)):
            break
        sign = index
    return sign


def _is_better(one: float, other: float, better: str | None) -> bool:
    return one < other if better == "lower" else one > other
