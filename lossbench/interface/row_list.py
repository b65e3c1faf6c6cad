"""Rows that losses collect from each sample where a sum is not enough, such as rankings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class RowList(NamedTuple):
    """Arrays by name: rows (…, n), which are concatenated, and totals, which are added."""

    rows: Mapping[str, NDArray[Any]]
    totals: Mapping[str, NDArray[Any]]

    @property
    def length(self) -> int:
        """Number of rows."""
        return next((array.shape[-1] for array in self.rows.values()), 0)

    @classmethod
    def joined(cls, parts: Sequence[RowList]) -> RowList:
        """Concatenate samples; the result does not depend on their order."""
        rows = {
            name: np.concatenate([part.rows[name] for part in parts], -1) for name in parts[0].rows
        }
        keys = [key for array in rows.values() for key in np.atleast_2d(array)]
        order = np.lexsort(keys[::-1])
        totals = {
            name: np.sum([part.totals[name] for part in parts], 0) for name in parts[0].totals
        }
        return cls({name: array[..., order] for name, array in rows.items()}, totals)
