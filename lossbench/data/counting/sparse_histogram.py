"""Tables too large to be kept: only the cells that occur, and how often.

16-bit probabilities and images, soft ground truths and hundreds of classes have tables of up to
millions of cells, of which a picture meets few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossbench.data.arrays.strips import strips
from lossbench.data.counting.joint_histogram import Table, runs, weighed
from lossbench.data.planning.input_encoding import InputEncoding
from lossbench.data.planning.plan import Plan
from lossbench.runtime.array_types import AnyArray

Planes = tuple[
    AnyArray, AnyArray, AnyArray | None
]  # prediction, target, and where pixels are ignored


class Cells(NamedTuple):
    """The cells of a table that occur.

    Attributes:
        length: how many cells a class or channel has.
        places: (D,) those that occur in any of them, in order.
        counts: (C, D) how often in each.
    """

    length: int
    places: NDArray[np.int64]
    counts: Table

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole table."""
        return len(self.counts), self.length

    @classmethod
    def of(cls, table: Table) -> Cells:
        """The cells of a whole table (C, …)."""
        rows = table.reshape(len(table), -1)
        places = np.flatnonzero(rows.any(0))
        return cls(rows.shape[1], places, rows[:, places])


def occurring(plan: Plan, planes: Iterable[Planes]) -> Cells:
    """The cells of each class or channel: target by prediction, or the differences of images.

    Raises:
        InputError: a file holds values that the plan has no meaning for.
    """
    count = _differences if plan.task == "image" else _pairs
    found = [count(plan, *each) for each in planes]
    places = np.unique(np.concatenate([own for own, _ in found]))
    counts = np.zeros((len(found), len(places)), np.int64)
    for row, (own, often) in zip(counts, found, strict=True):
        row[np.searchsorted(places, own)] = often
    return Cells(plan.cells, places, counts)


def _differences(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> tuple[AnyArray, Table]:
    """The differences of one channel, from −top up."""
    top = plan.cells // 2

    def numbered() -> Iterator[tuple[Any, AnyArray]]:
        for ours, theirs, out in strips(pred, target, ignored):
            apart = ours.astype(np.int32) + top - theirs
            yield 1, apart if out is None else apart[~out]

    return _tally(numbered(), plan.cells, pred.size)


def _pairs(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> tuple[AnyArray, Table]:
    """The cells of one class; what has no meaning has two rows and columns behind the others."""
    rows, columns = plan.target.levels, plan.pred.levels

    def true(stored: AnyArray, out: AnyArray | None) -> AnyArray:
        codes = _codes(plan.target, stored)
        if out is not None:
            codes[out] = rows
        return codes

    def numbered() -> Iterator[tuple[Any, AnyArray]]:
        for ours, theirs, out in strips(pred, target, ignored):
            for times, (some_target, some_pred, *some_out) in runs(theirs, ours, out):
                row = true(some_target, some_out[0] != 0 if some_out else None)
                yield times, row * np.uint32(columns + 2) + _codes(plan.pred, some_pred)

    places, counts = _tally(numbered(), (rows + 2) * (columns + 2), pred.size)
    row, column = np.divmod(places, columns + 2)
    if (row > rows).any():
        raise plan.target.refuse(target, true(target, ignored))
    if (column[row < rows] >= columns).any():
        codes = _codes(plan.pred, pred)
        raise plan.pred.refuse(pred, np.where(true(target, ignored) < rows, codes, 0))
    kept = row < rows
    return (row * columns + column)[kept], counts[kept]


def _codes(reading: InputEncoding, stored: AnyArray) -> NDArray[np.uint32]:
    """Class indices, or the stored levels; one more than there are where a pixel is ignored."""
    if reading.is_hard:
        return reading.coded(stored).astype(np.uint32)
    levels = stored.astype(np.uint32)
    if reading.ignore:
        levels[reading.ignored(stored)] = reading.levels
    return levels


def _tally(
    numbered: Iterable[tuple[Any, AnyArray]], length: int, pixels: int
) -> tuple[AnyArray, Table]:
    """Which numbers occur and how often; a table larger than the picture is not made."""
    if length > pixels:
        parts = list(numbered)
        places, inverse = np.unique(np.concatenate([p for _, p in parts]), return_inverse=True)
        times = np.concatenate([np.broadcast_to(each, part.shape) for each, part in parts])
        return places.astype(np.int64), weighed(inverse, times, len(places))
    table = np.zeros(length, np.int64)
    for times, part in numbered:
        table += weighed(part, times, length)
    places = np.flatnonzero(table)
    return places, table[places]
