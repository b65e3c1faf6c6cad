"""What of a sample is listed, not added, so that samples can be put side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class RowList(NamedTuple):
    """Arrays by name: rows (…, n) that are put one after another, totals that are added."""

    rows: Mapping[str, NDArray[Any]]
    totals: Mapping[str, NDArray[Any]]

    @property
    def length(self) -> int:
        """How many rows there are."""
        return next((array.shape[-1] for array in self.rows.values()), 0)

    @classmethod
    def joined(cls, parts: Sequence[RowList]) -> RowList:
        """Several samples as one, the same whatever their order."""
        rows = {
            name: np.concatenate([part.rows[name] for part in parts], -1) for name in parts[0].rows
        }
        lines = [line for array in rows.values() for line in np.atleast_2d(array)]
        order = np.lexsort(lines[::-1])
        totals = {
            name: np.sum([part.totals[name] for part in parts], 0) for name in parts[0].totals
        }
        return cls({name: array[..., order] for name, array in rows.items()}, totals)
