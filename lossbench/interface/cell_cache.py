"""Additive views of tables of counts, as one exact matrix product.

The fields of an additive view, and the sums of a per-pixel loss, are linear in the counts of a
table's cells. They are therefore computed once for a single pixel in each cell; a sample's values
are the product of these per-cell values with the sample's counts.

Counts are whole numbers, and per-cell values are split into multiples, up to 2²¹, of ever smaller
powers of two. Multiplied by counts that sum to less than 2³², they add up in 53 bits without
rounding, so the order of summation does not matter, and a product has the same bits for a sample
alone or in a batch, on any processor. Only the sum of the few pieces, smallest first, rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossbench.interface.sample_batch import SampleBatch
from lossbench.runtime.array_types import FloatArray

BITS = 21
MOST_PIXELS = 2**32 - 1  # of a sample
LOWEST = -1074  # exponent of the smallest positive float64
Views = dict[Hashable, Any]


class CellCache:
    """Views of a single pixel in each cell, computed when a view is first requested.

    Args:
        cells: one sample per cell with a single pixel in that cell, and a last sample with a single
            ignored pixel.
    """

    def __init__(self, cells: SampleBatch) -> None:
        self.cells = cells
        self.known: Views = {}
        self.requested: set[Hashable] = set()  # views of the latest samples
        self.matrix: Matrix | None = None

    def view(self, values: SampleBatch, key: Hashable, make: Callable[[SampleBatch], Any]) -> Any:
        """An additive view of samples.

        Args:
            values: the samples' counts.
            key: identifies the view.
            make: computes the view of any values, linearly in their weights.
        """
        views: Views = values.cached(CellCache, lambda: self._requested_before(values))
        self.requested.add(key)
        if key not in views:
            new = {key: make(self.cells)}
            self.known = self.known | new  # a new dict, because matrices keep theirs
            views |= Matrix.of(new).times(values)
        return views[key]

    def _requested_before(self, values: SampleBatch) -> Views:
        """All views that the previous samples requested; these samples will request them too."""
        matrix = self.matrix
        known = {key: view for key, view in self.known.items() if key in self.requested}
        if matrix is None or matrix.views.keys() != known.keys():
            matrix = Matrix.of(known) if known else None
        self.known, self.requested, self.matrix = known, set(), matrix
        return matrix.times(values) if matrix else {}


class Matrix(NamedTuple):
    """Fields of views as rows of numbers, one number per cell."""

    views: Views
    rows: NDArray[np.int64]  # index of the distinct row of each number of each field
    indices: Sequence[NDArray[np.int64]]  # distinct rows with a first piece, with a second piece, …
    pieces: FloatArray  # all first pieces, all second pieces, …, (pieces, cells)

    @classmethod
    def of(cls, views: Views) -> Matrix:
        """The matrix of one or more views of a single pixel in each cell."""
        fields = [field for view in views.values() for field in view]
        known: dict[bytes, int] = {}
        rows = [
            known.setdefault(row.tobytes(), len(known))
            for field in fields
            for row in field.reshape(len(field), -1).T
        ]
        distinct = np.frombuffer(b"".join(known)).reshape(len(known), -1)
        indices, pieces = zip(*split_exactly(distinct), strict=True)
        return cls(views, np.array(rows), indices, np.concatenate(pieces))

    def times(self, values: SampleBatch) -> Views:
        """The views of samples, from their counts."""
        products = self.pieces @ values.cached(Matrix, lambda: _counts(values))
        edges = np.cumsum([len(index) for index in self.indices])[:-1]
        first, *others = np.split(products, edges)
        sums = np.zeros_like(first)
        for index, product in zip(self.indices[:0:-1], others[::-1], strict=True):
            sums[index] += product
        sums = (first + sums)[self.rows]
        views, start = {}, 0
        for key, view in self.views.items():
            fields = []
            for field in view:
                stop = start + field[0].size
                fields.append(
                    np.ascontiguousarray(sums[start:stop].T).reshape(-1, *field.shape[1:])
                )
                start = stop
            views[key] = type(view)(*fields)
        return views


def _counts(values: SampleBatch) -> FloatArray:
    """Pixels in each cell and, in a last row, ignored pixels, (cells + 1, B)."""
    counts: Any = values.weight[:, 0]
    ignored = values.pixels - counts.sum(-1)
    return np.ascontiguousarray(np.concatenate([counts, ignored[:, None]], -1).T)


def split_exactly(rows: FloatArray) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
    """Split rows of numbers into sums of multiples, up to 2²¹, of powers of two.

    Yields:
        The indices of the rows with a further piece, and the pieces; all rows first, then fewer.
    """
    index = np.arange(len(rows))
    exponent = np.frexp(np.abs(rows).max(1, keepdims=True))[1] - BITS
    while len(index):
        unit = np.ldexp(1.0, np.maximum(exponent, LOWEST))
        piece = np.round(rows / unit) * unit
        yield index, piece
        rows = rows - piece
        rest = rows.any(1) & (exponent[:, 0] > LOWEST)
        rows, exponent, index = rows[rest], exponent[rest] - BITS, index[rest]
