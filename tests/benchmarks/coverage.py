"""How often 95 % intervals cover the true mean, by simulation: coverage.py [REPEATS]

For each distribution and number of values: the share of samples whose interval contains the mean of
the distribution, for plain Student's t and for the scale of the range. The tables of
docs/intervals.md are this program's output.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossbench.catalog.ranges import Range
from lossbench.results.aggregates import aggregate
from lossbench.results.intervals import AUTO, IntervalRule, T

REPEATS = 10_000
SIZES = (5, 12, 30, 100)
SEED = 0
Sampler = Callable[[np.random.Generator, int], NDArray[np.float64]]


class Distribution(NamedTuple):
    """A distribution, its true mean, and the function that samples it."""

    name: str
    mean: float
    sample: Sampler


def beta(a: float, b: float, at_0: float = 0, at_1: float = 0) -> Distribution:
    """A beta distribution, with shares of the values at 0 and at 1."""

    def sample(random: np.random.Generator, count: int) -> NDArray[np.float64]:
        where = random.random(count)
        inside = random.beta(a, b, count)
        return np.where(where < at_0, 0.0, np.where(where >= 1 - at_1, 1.0, inside))

    masses = [f"{share:.0%} at {end}" for share, end in ((at_0, 0), (at_1, 1)) if share]
    mean = (1 - at_0 - at_1) * a / (a + b) + at_1
    return Distribution(", ".join([f"beta({a:g}, {b:g})", *masses]), mean, sample)


BETWEEN_ENDS = (
    beta(8, 2),  # Dice scores of a fair model
    beta(18, 1),  # of a good one, most values close to 1
    beta(1, 4),  # losses, most values close to 0
    beta(12, 2, at_0=0.1),  # some objects are missed
    beta(6, 2, at_1=0.2),  # some are perfect
    beta(6, 2, at_0=0.1, at_1=0.2),
)
FROM_0 = (
    Distribution("exponential", 1, lambda random, count: random.exponential(1, count)),
    Distribution("gamma(1/2)", 0.5, lambda random, count: random.gamma(0.5, 1, count)),
    Distribution(
        "lognormal(0, 1)", math.exp(0.5), lambda random, count: random.lognormal(0, 1, count)
    ),
)


def coverage(each: Distribution, ends: Range, size: int, repeats: int) -> dict[str, float]:
    """The share of samples whose interval covers the mean, by --ci."""
    random = np.random.default_rng([SEED, size])
    covered = dict.fromkeys((T, AUTO), 0)
    for _ in range(repeats):
        values = each.sample(random, size)
        for ci in covered:
            table = aggregate(values, rule=IntervalRule(ends, ci))
            covered[ci] += table["ci_low"] <= each.mean <= table["ci_high"]
    return {ci: count / repeats for ci, count in covered.items()}


def table(distributions: Sequence[Distribution], ends: Range, repeats: int) -> str:
    """The coverage of each distribution and their mean, as Markdown."""
    rows = {}
    for each in distributions:
        cells = [coverage(each, ends, size, repeats) for size in SIZES]
        rows[each.name] = [[cell[ci] for cell in cells] for ci in (T, AUTO)]
    rows["**mean**"] = np.mean(list(rows.values()), axis=0).tolist()
    heads = [f"{name}, n = {size}" if i == 0 else str(size)
             for name in ("t", "auto") for i, size in enumerate(SIZES)]  # fmt: skip
    lines = [f"| values | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, row in rows.items():
        cells_of_row: list[Any] = [f"{cell:.3f}".removeprefix("0") for part in row for cell in part]
        lines.append(f"| {name} | {' | '.join(cells_of_row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS
    print(table(BETWEEN_ENDS, (0.0, 1.0), repeats), "\n")
    print(table(FROM_0, (0.0, math.inf), repeats))
