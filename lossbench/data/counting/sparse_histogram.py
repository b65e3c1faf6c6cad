"""Sparse tables of counts: only the cells that occur.

16-bit probabilities and images, soft ground truths and hundreds of classes have tables of up to
millions of cells, few of which occur in a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lossbench.data.arrays.strips import strips
from lossbench.data.counting.joint_histogram import CountTable, runs, weighted_counts
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.runtime.array_types import AnyArray, IntArray

Planes = tuple[AnyArray, AnyArray, AnyArray | None]  # prediction, target, ignored pixels


class Cells(NamedTuple):
    """The cells of a table that occur."""

    length: int  # cells of a class or channel, also those that do not occur
    places: IntArray  # (D,) the cells that occur in any class or channel, in order
    counts: CountTable  # (C, D) of each

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the whole table."""
        return len(self.counts), self.length

    @classmethod
    def of(cls, table: CountTable) -> Cells:
        """The cells that occur in a whole table (C, …)."""
        rows = table.reshape(len(table), -1)
        places = np.flatnonzero(rows.any(0))
        return cls(rows.shape[1], places, rows[:, places])


def occurring(plan: Plan, planes: Iterable[Planes]) -> Cells:
    """The cells of each class or channel: target by prediction, or the differences of images.

    Raises:
        InputError: a file holds values without a class.
    """
    count = _differences if plan.task == "image" else _pairs
    tables = [count(plan, *each) for each in planes]
    places = np.unique(np.concatenate([cells for cells, _ in tables]))
    counts = np.zeros((len(tables), len(places)), np.int64)
    for row, (cells, own_counts) in zip(counts, tables, strict=True):
        row[np.searchsorted(places, cells)] = own_counts
    return Cells(plan.cells, places, counts)


def _differences(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> tuple[AnyArray, CountTable]:
    """The differences of one channel, from the smallest up."""

    def cells() -> Iterator[tuple[Any, AnyArray]]:
        for some_pred, some_target, out in strips(pred, target, ignored):
            difference = some_pred.astype(np.int32) + plan.cells // 2 - some_target
            yield 1, difference if out is None else difference[~out]

    return _tally(cells(), plan.cells, pred.size)


def _pairs(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> tuple[AnyArray, CountTable]:
    """The cells of one class; the last two rows and columns are of ignored and unknown values."""
    rows, columns = plan.target.levels, plan.pred.levels

    def cells() -> Iterator[tuple[Any, AnyArray]]:
        for strip_pred, strip_target, strip_out in strips(pred, target, ignored):
            for times, (some_target, some_pred, *out) in runs(strip_target, strip_pred, strip_out):
                row = _codes(plan.target, some_target, *out)
                yield times, row * np.uint32(columns + 2) + _codes(plan.pred, some_pred)

    places, counts = _tally(cells(), (rows + 2) * (columns + 2), pred.size)
    row, column = np.divmod(places, columns + 2)
    kept = row < rows
    if (row > rows).any():
        raise plan.target.refuse(target, _codes(plan.target, target, ignored))
    if (column[kept] >= columns).any():
        valid = _codes(plan.target, target, ignored) < rows
        raise plan.pred.refuse(pred, np.where(valid, _codes(plan.pred, pred), 0))
    return (row * columns + column)[kept], counts[kept]


def _codes(reading: InputEncoding, stored: AnyArray, ignored: AnyArray | None = None) -> AnyArray:
    """Class indices, or the stored levels; the number of levels where a pixel is ignored."""
    codes = (reading.coded(stored) if reading.is_hard else stored).astype(np.uint32)
    if reading.ignore and not reading.is_hard:
        codes[reading.ignored(stored)] = reading.levels
    if ignored is not None:
        codes[ignored != 0] = reading.levels
    return codes


def _tally(
    parts: Iterable[tuple[Any, AnyArray]], length: int, pixels: int
) -> tuple[AnyArray, CountTable]:
    """The cells that occur, and their counts; no table larger than the picture is made."""
    if length > pixels:
        weights, cells = zip(*parts, strict=True)
        places, inverse = np.unique(np.concatenate(cells), return_inverse=True)
        times = np.concatenate(list(map(np.broadcast_to, weights, map(np.shape, cells))))
        return places.astype(np.int64), weighted_counts(inverse, times, len(places))
    table = np.zeros(length, np.int64)
    for times, part in parts:
        table += weighted_counts(part, times, length)
    places = np.flatnonzero(table)
    return places, table[places]
