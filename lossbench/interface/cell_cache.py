"""What adds up over pixels, from tables of counts: one exact product of matrices.

The fields of a view that adds up, and the sums of a loss of each pixel, are linear in the counts of
a table's cells. So they are made once, of one pixel in each cell, and of a sample as the product of
these shares with its counts.

Counts are whole numbers, and shares are taken apart into multiples of ever smaller powers of two,
up to 2²¹ of each: times counts that come to less than 2³² they add up in 53 bits without rounding.
So the order of a sum does not matter, and a product has the same bits for a sample alone and among
others, on any processor. Rounding is left to the sum of the few pieces, the smallest first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossbench.interface.sample_batch import SampleBatch
from lossbench.runtime.array_types import FloatArray

BITS = 21
MOST_PIXELS = 2**32 - 1  # of a sample
LOWEST = -1074  # 2 to this power is the smallest number that there is
Views = dict[Hashable, Any]


class CellCache:
    """What a pixel in each cell adds to views, found when a view is first asked for.

    Args:
        cells: a sample for each cell, of one pixel that is in it, and a last one whose only pixel
            is ignored.
    """

    def __init__(self, cells: SampleBatch) -> None:
        self.cells = cells
        self.known: Views = {}
        self.asked: set[Hashable] = set()  # for, of the latest samples
        self.matrix: Matrix | None = None

    def view(self, values: SampleBatch, key: Hashable, make: Callable[[SampleBatch], Any]) -> Any:
        """A view of samples that adds up.

        Args:
            values: the samples' counts.
            key: what tells the view from others.
            make: the view of any values, linear in their weights.
        """
        found: Views = values.remembered(CellCache, lambda: self._at_once(values))
        self.asked.add(key)
        if key not in found:
            new = {key: make(self.cells)}
            self.known = self.known | new  # not in place: matrices hold what they were made of
            found |= Matrix.of(new).times(values)
        return found[key]

    def _at_once(self, values: SampleBatch) -> Views:
        """The views that were asked for of the samples before, which will be asked for again."""
        matrix = self.matrix
        known = {key: view for key, view in self.known.items() if key in self.asked}
        if matrix is None or matrix.views.keys() != known.keys():
            matrix = Matrix.of(known) if known else None
        self.known, self.asked, self.matrix = known, set(), matrix
        return matrix.times(values) if matrix else {}


class Matrix(NamedTuple):
    """Fields of views as rows of numbers, one for each cell."""

    views: Views
    rows: Tensor  # which of the distinct rows each number of each field is
    places: list[Tensor]  # the distinct rows that have a first piece, those with a second one, …
    pieces: Tensor  # all first pieces, all second ones, …, (pieces, cells)

    @classmethod
    def of(cls, views: Views) -> Matrix:
        """The fields of views, one at least, of one pixel in each cell."""
        fields = [field for view in views.values() for field in view]
        known: dict[bytes, int] = {}
        rows = [
            known.setdefault(row.tobytes(), len(known))
            for field in fields
            for row in field.reshape(len(field), -1).T.cpu().numpy()
        ]
        distinct = np.frombuffer(b"".join(known)).reshape(len(known), -1)
        places, pieces = zip(*split_exactly(distinct), strict=True)

        def beside(array: Any) -> Tensor:
            return torch.as_tensor(array, device=fields[0].device)

        return cls(views, beside(rows), [*map(beside, places)], beside(np.concatenate(pieces)))

    def times(self, values: SampleBatch) -> Views:
        """The views of samples that have so many pixels in each cell."""
        products = self.pieces @ values.remembered(Matrix, lambda: _counts(values))
        first, *others = products.split([len(place) for place in self.places])
        sums = torch.zeros_like(first)
        for place, part in zip(self.places[:0:-1], others[::-1], strict=True):
            sums.index_add_(0, place, part)
        sums = (first + sums)[self.rows]
        found, start = {}, 0
        for key, view in self.views.items():
            fields = []
            for field in view:
                stop = start + field[0].numel()
                fields.append(sums[start:stop].T.reshape(-1, *field.shape[1:]).contiguous())
                start = stop
            found[key] = type(view)(*fields)
        return found


def _counts(values: SampleBatch) -> Tensor:
    """Pixels in each cell and, in a last row, ignored ones, (cells, B)."""
    counts = values.weight[:, 0]
    ignored = values.pixels - counts.sum(-1)
    return torch.cat([counts, ignored[:, None]], -1).T


def split_exactly(rows: FloatArray) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
    """Rows of numbers as sums of multiples of powers of two, up to 2²¹ of each.

    Yields:
        Which rows have such a piece, and the piece; first of all rows, then of ever fewer.
    """
    place = np.arange(len(rows))
    step = np.frexp(np.abs(rows).max(1, keepdims=True))[1] - BITS
    while len(place):
        unit = np.ldexp(1.0, np.maximum(step, LOWEST))
        piece = np.round(rows / unit) * unit
        yield place, piece
        rows = rows - piece
        left = rows.any(1) & (step[:, 0] > LOWEST)
        rows, step, place = rows[left], step[left] - BITS, place[left]
