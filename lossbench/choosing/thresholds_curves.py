"""Curves over all thresholds: receiver operating characteristic, precision and recall."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lossbench.choosing.thresholds_sums import ratio
from lossbench.results.json_numbers import number, number_lists
from lossbench.runtime.array_types import FloatArray


class Curves(NamedTuple):
    """Both curves, as scikit-learn has them."""

    fpr: FloatArray  # from the highest threshold down, after a first point (0, 0)
    tpr: FloatArray
    auc: float
    precision: FloatArray  # from the lowest threshold up, before a last point (1, 0)
    recall: FloatArray
    average_precision: float

    def roc(self) -> dict[str, Any]:
        """The receiver operating characteristic as JSON."""
        return {
            "fpr": number_lists(self.fpr),
            "tpr": number_lists(self.tpr),
            "auc": number(self.auc),
        }

    def pr(self) -> dict[str, Any]:
        """Precision and recall as JSON."""
        return {
            "precision": number_lists(self.precision),
            "recall": number_lists(self.recall),
            "average_precision": number(self.average_precision),
        }


def make_curves(
    levels: FloatArray,
    positive: FloatArray,
    negative: FloatArray,
    thresholds: FloatArray | None = None,
) -> Curves:
    """The curves, and the areas from all levels that occur.

    Args:
        levels: (L,) rising.
        positive: (L,) pixels of the foreground at each level.
        negative: (L,) those of the background.
        thresholds: where the curves have points; by default at every level that occurs.
    """
    occurs = positive + negative > 0
    levels, positive, negative = (x[occurs][::-1] for x in (levels, positive, negative))
    tps, fps = (np.append(0.0, np.cumsum(x)) for x in (positive, negative))
    fpr, tpr = (ratio(x, np.full_like(x, x[-1])) for x in (fps, tps))
    precision = ratio(tps, tps + fps)
    auc = float(((fpr[1:] - fpr[:-1]) * (tpr[1:] + tpr[:-1]) / 2).sum())
    average = float(((tpr[1:] - tpr[:-1]) * precision[1:]).sum())
    points = np.arange(1, len(levels) + 1)
    if thresholds is not None:  # the number of levels from each threshold up
        points = np.searchsorted(-levels, -thresholds[::-1], side="right")
    first = np.append(0, points)
    shown = points[::-1]
    return Curves(
        fpr[first],
        tpr[first],
        auc,
        np.append(np.where(shown > 0, precision[shown], 1.0), 1.0),
        np.append(tpr[shown], 0.0),
        average,
    )
