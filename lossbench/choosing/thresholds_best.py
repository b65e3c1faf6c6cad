"""The best threshold of a curve, and the plateau around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lossbench.errors import PairError
from lossbench.results.json_numbers import number
from lossbench.runtime.array_types import FloatArray

NEAR = 0.01  # of the best value, within which a plateau lies


def error_list(failed: Sequence[PairError]) -> list[dict[str, Any]]:
    """Pairs without values as JSON."""
    keys = {"id": "id", "role": "role", "file": "file", "kind": "kind", "error": "message"}
    return [{key: getattr(each, name) for key, name in keys.items()} for each in failed]


class Best(NamedTuple):
    """The best threshold of a curve."""

    threshold: float
    value: float
    plateau: tuple[float, float]  # the thresholds around it with values within 1 % of the best

    def as_json(self) -> dict[str, Any]:
        """Numbers, null where the score is undefined at every threshold."""
        return {
            "threshold": number(self.threshold),
            "value": number(self.value),
            "plateau": [number(each) for each in self.plateau],
        }


def find_best(thresholds: FloatArray, values: FloatArray, better: str) -> Best:
    """The threshold with the best value, of equal ones that nearest to 0.5, and its plateau."""
    if not len(values) or np.isnan(values).all():
        return Best(math.nan, math.nan, (math.nan, math.nan))
    best = np.nanmin(values) if better == "lower" else np.nanmax(values)
    equal = np.flatnonzero(values == best)
    index = int(equal[np.abs(thresholds[equal] - 0.5).argmin()])
    plateau = find_plateau(thresholds, values, index)
    return Best(float(thresholds[index]), float(best), plateau)


def find_plateau(thresholds: FloatArray, values: FloatArray, index: int) -> tuple[float, float]:
    """The ends of the thresholds around one with values within 1 % of its value."""
    near = np.abs(values - values[index]) <= NEAR * abs(values[index])
    others = np.flatnonzero(~near)
    low = int(others[others < index].max(initial=-1)) + 1
    high = int(others[others > index].min(initial=len(values))) - 1
    return float(thresholds[low]), float(thresholds[high])
