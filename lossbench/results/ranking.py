"""Rankings of results by one quantity: their order, how stable it is, and which differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lossbench.results.aggregates import mean
from lossbench.results.json_numbers import jsonable
from lossbench.results.paired_tests import comparable

if TYPE_CHECKING:
    from lossbench.runtime.array_types import FloatArray

METHODS = {"of_means": "rank of the means", "of_ranks": "mean of the ranks"}
RESAMPLINGS = 1_000
SEED = 0
BLOCK = 1 << 22  # resampled units in memory at a time
DIGITS = 12  # of resampled means; a smaller difference is rounding
# Quantile of the studentised range at 5 % over √2, by the number of results (Demšar 2006).
NEMENYI = {
    2: 1.959964, 3: 2.343701, 4: 2.569032, 5: 2.727774, 6: 2.849705, 7: 2.948320, 8: 3.030878,
    9: 3.101730, 10: 3.163684, 11: 3.218654, 12: 3.268004, 13: 3.312739, 14: 3.353618,
    15: 3.391230, 16: 3.426041, 17: 3.458425, 18: 3.488685, 19: 3.517073, 20: 3.543799,
}  # fmt: skip


@dataclass(frozen=True)
class ResultRanking:
    """R results ranked by one quantity over N units.

    Attributes:
        values: of the units that are defined in all results, (R, N); an infinite value counts as
            larger than all finite ones together.
        better: lower or higher.
    """

    values: FloatArray
    better: str

    @cached_property
    def means(self) -> list[float]:
        """The mean of each result."""
        return [mean(row.tolist()) for row in self.values]

    @cached_property
    def mean_ranks(self) -> list[float]:
        """The mean of each result's ranks over the units; 1 is the best."""
        return [mean(row.tolist()) for row in self._ranks]

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        """The rank of each result by both methods; equal results share the better rank."""
        return {name: positions(each).tolist() for name, each in self._scores(None).items()}

    @cached_property
    def stability(self) -> dict[str, list[list[float]]]:
        """The share of resamplings in which each result has each rank, (R, R), by both methods."""
        import numpy as np

        results, units = self.values.shape
        counts = {name: np.zeros((results, results)) for name in METHODS}
        random = np.random.default_rng(SEED)
        rows = max(min(BLOCK // max(units, 1), RESAMPLINGS), 1)
        for start in range(0, RESAMPLINGS if units else 0, rows):
            of_block = min(rows, RESAMPLINGS - start)
            drawn = random.integers(0, units, (of_block, units))
            drawn += units * np.arange(of_block)[:, None]
            weights = np.bincount(drawn.ravel(), minlength=of_block * units)
            for name, scores in self._scores(weights.reshape(of_block, units)).items():
                ranks = positions(scores)
                counts[name] += (ranks[..., None] == np.arange(1, results + 1)).sum(0)
        return {name: (each / RESAMPLINGS).tolist() for name, each in counts.items()}

    @property
    def critical_difference(self) -> float:
        """Nemenyi's critical difference of mean ranks at 5 %; nan for more than 20 results."""
        results, units = self.values.shape
        if not units:
            return math.nan
        spread = math.sqrt(results * (results + 1) / (6 * units))
        return NEMENYI.get(results, math.nan) * spread

    @property
    def cliques(self) -> list[list[int]]:
        """The largest sets of results whose mean ranks differ by less than is critical."""
        ranks, critical = self.mean_ranks, self.critical_difference
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        cliques: list[list[int]] = []
        for start, first in enumerate(order):
            near = [each for each in order[start:] if ranks[each] - ranks[first] < critical]
            if len(near) > 1 and not any(set(near) <= set(each) for each in cliques):
                cliques.append(near)
        return cliques

    @cached_property
    def _ranks(self) -> FloatArray:
        return ranked(self.values, self.better)

    @cached_property
    def _tables(self) -> dict[str, FloatArray]:
        """What the methods average: a lower mean is better."""
        sign = -1 if self.better == "higher" else 1
        return {"of_means": comparable(sign * self.values), "of_ranks": self._ranks}

    def _scores(self, weights: Any) -> dict[str, FloatArray]:
        """The mean of each result by both methods, (…, R), under weights of the units, (…, N)."""
        import numpy as np

        if weights is None:
            weights = np.ones(self.values.shape[1])
        total = max(self.values.shape[1], 1)
        return {
            name: np.round(weights @ table.T / total, DIGITS)
            for name, table in self._tables.items()
        }


def ranked(values: FloatArray, better: str) -> FloatArray:
    """Ranks of R results, unit by unit; equal values share the mean of their ranks.

    Args:
        values: (R, N), all defined.
        better: lower or higher.

    Returns:
        (R, N), from 1 for the best to R.
    """
    import numpy as np

    ordered = -values if better == "higher" else values
    ahead = np.stack([(ordered < row).sum(axis=0) for row in ordered])
    equal = np.stack([(ordered == row).sum(axis=0) for row in ordered])  # includes itself
    ranks: FloatArray = 1 + ahead + (equal - 1) / 2
    return ranks


def positions(scores: FloatArray) -> Any:
    """Ranks of scores, (…, R), the lowest first; equal scores share the better rank."""
    return 1 + (scores[..., None, :] < scores[..., :, None]).sum(-1)


def as_json(rankings: dict[str, ResultRanking]) -> dict[str, Any]:
    """Rankings by quantity, as a comparison's JSON holds them."""
    models: dict[str, Any] = {
        method: {name: each.positions[method] for name, each in rankings.items()}
        for method in METHODS
    }
    models["stability"] = {name: each.stability for name, each in rankings.items()}
    models["critical_difference"] = {
        name: each.critical_difference for name, each in rankings.items()
    }
    return dict(jsonable(models))
