"""Rows that losses collect from each sample where a sum is not enough, such as rankings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FIRST = 2  # keys that often tell all rows apart


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
        order = np.lexsort(keys[:FIRST][::-1])
        if not (np.diff([key[order] for key in keys[:FIRST]]) != 0).any(0).all():  # ties
            order = np.lexsort(keys[::-1])
        totals = {
            name: np.sum([part.totals[name] for part in parts], 0) for name in parts[0].totals
        }
        return cls({name: array[..., order] for name, array in rows.items()}, totals)


class SampleRows(NamedTuple):
    """The rows of the B samples of a batch."""

    rows: Mapping[str, NDArray[Any]]  # (…, n)
    totals: Mapping[str, NDArray[Any]]  # (B, …)
    sample: NDArray[np.int64]  # (n,) index of the sample of each row

    @classmethod
    def of(cls, listed: RowList | SampleRows) -> SampleRows:
        """The rows of a batch, or of one sample."""
        if isinstance(listed, SampleRows):
            return listed
        totals = {name: array[None] for name, array in listed.totals.items()}
        return cls(listed.rows, totals, np.zeros(listed.length, np.int64))

    @classmethod
    def joined(cls, parts: Sequence[SampleRows]) -> SampleRows:
        """The rows of several batches as one."""
        counts = [len(next(iter(part.totals.values()))) for part in parts]
        starts = np.repeat(np.cumsum([0, *counts[:-1]]), [len(part.sample) for part in parts])
        return cls(
            {n: np.concatenate([part.rows[n] for part in parts], -1) for n in parts[0].rows},
            {n: np.concatenate([part.totals[n] for part in parts]) for n in parts[0].totals},
            np.concatenate([part.sample for part in parts]) + starts,
        )

    def some(self, samples: Sequence[int]) -> RowList:
        """The rows of some samples, and the sums of their totals."""
        kept = np.isin(self.sample, samples)
        rows = {name: array[..., kept] for name, array in self.rows.items()}
        return RowList(rows, {name: array[samples].sum(0) for name, array in self.totals.items()})

    @property
    def every(self) -> RowList:
        """The rows of all samples, and the sums of their totals."""
        return RowList(self.rows, {name: array.sum(0) for name, array in self.totals.items()})
