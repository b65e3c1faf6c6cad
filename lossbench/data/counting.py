"""Tables of counts: how often each prediction meets each target, with numpy and Pillow only."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.decode import Array
from lossbench.data.histogram import LARGE, WORD, Bytes, histogram
from lossbench.data.plan import Plan
from lossbench.data.reading import FEW
from lossbench.data.strips import strips

Table = NDArray[np.int64]
EVERY_BYTE = np.uint64(0x0101010101010101)
SHORT = 4  # runs with fewer pixels are not worth finding


def joint(plan: Plan, pred: Array, target: Array, ignored: Array | None) -> Table:
    """How often each prediction meets each target class, (classes, levels), of valid pixels.

    Values without a meaning are found in the counts or codes, so that holding a file against the
    plan costs a look at those.

    Raises:
        InputError: the file holds values that the plan has no meaning for.
    """
    rows, columns = plan.target.classes, plan.pred.levels
    counted = (_counted(plan, *strip) for strip in strips(pred, target, ignored))
    cells: Table = reduce(np.add, counted)
    if cells[rows + 1].any():
        raise plan.target.refuse(target, _classes(plan, target, ignored))
    if cells[:rows, columns:].any():
        seen = _classes(plan, target, ignored) < rows
        raise plan.pred.refuse(pred, np.where(seen, plan.pred.coded(pred), 0))
    return cells[:rows, :columns]


def differences(pred: Array, target: Array, ignored: Array | None) -> Table:
    """How often each difference −255 … 255 of two 8-bit images occurs, (channels, 511)."""
    return np.stack(
        [
            reduce(np.add, (_apart(*strip) for strip in strips(*planes, ignored)))
            for planes in zip(pred, target, strict=True)
        ]
    )


def _apart(pred: Array, target: Array, ignored: Array | None) -> Table:
    """The table of differences of one channel."""
    valid = np.True_ if ignored is None else ~ignored
    apart, less = pred - target, pred < target  # a negative difference is 256 too large
    masks = less & valid, ~less & valid
    below, above = (_where(apart, mask, int(np.count_nonzero(mask))) for mask in masks)
    return np.concatenate([below[1:], above])


def _where(stored: Bytes, mask: NDArray[np.bool_], count: int) -> Table:
    """The histogram of so many pixels: the others are counted as 0 and taken out again."""
    counts = histogram(stored & np.negative(mask.view(np.uint8)))
    counts[0] -= mask.size - count
    return counts


def _counted(plan: Plan, pred: Array, target: Array, ignored: Array | None) -> Table:
    """The joint table with two rows more, of ignored pixels and of values without a meaning.

    With two columns more as well where the prediction has such values.
    """
    rows, columns = plan.target.classes, plan.pred.levels
    if plan.pred.hard or pred.size < LARGE:
        return _indexed(plan, pred, target, ignored)
    whole = pred.size // WORD * WORD
    table = _around_zeros(plan, pred[:whole], target[:whole]) if ignored is None else None
    if table is not None:
        rest = pred[whole:], target[whole:]
        return table + _indexed(plan, *rest, None) if rest[0].size else table
    table = np.zeros((rows + 2, columns), np.int64)
    true = _classes(plan, target, ignored)
    for row in range(rows):
        table[row] += _where(pred, mask := true == row, int(np.count_nonzero(mask)))
    table[rows + 1, 0] = np.count_nonzero(true > rows)
    return table


def _around_zeros(plan: Plan, pred: Array, target: Array) -> Table | None:
    """The same of whole words of pixels, without a look at those whose target is all zeros.

    What is not counted of the few other values has the class of zero. None of other targets.
    """
    classes = dict(plan.target.values)
    if len(classes) > FEW or 0 not in classes or plan.target.ignore or target.dtype != np.uint8:
        return None
    words = target.view(np.uint64)
    some = words != 0
    stored, seen = words[some].view(np.uint8), pred.view(np.uint64)[some].view(np.uint8)
    table = np.zeros((plan.target.classes + 2, plan.pred.levels), np.int64)
    rest, left = histogram(pred), int(np.count_nonzero(stored))
    background = classes.pop(0)
    for value, row in classes.items():
        mask = stored == value
        count = int(np.count_nonzero(mask))
        counts = _where(seen, mask, count)
        table[row] += counts
        rest -= counts
        left -= count
    table[background] += rest
    return None if left else table


def _indexed(plan: Plan, pred: Array, target: Array, ignored: Array | None) -> Table:
    """The joint table by one number a pixel."""
    rows, columns = plan.target.classes, plan.pred.levels
    width = columns + 2 if plan.pred.hard else columns
    table = np.zeros((rows + 2) * width, np.int64)
    for times, (some_target, some_pred, *out) in runs(target, pred, ignored):
        true = _classes(plan, some_target, out[0] if out else None)
        found = plan.pred.coded(some_pred) if plan.pred.hard else some_pred
        kind = np.uint16 if table.size <= 1 << 16 else np.uint32
        index = np.multiply(true, width, dtype=kind) + found
        if table.size <= 256 and isinstance(times, int):
            table += times * histogram(index.astype(np.uint8))[: table.size]
        else:
            table += weighed(index, times, table.size)
    return table.reshape(-1, width)


def _classes(plan: Plan, target: Array, ignored: Array | None) -> Array:
    """The class of every pixel, one more than there are where it is ignored."""
    true = plan.target.coded(target)
    if ignored is not None:
        true[ignored != 0] = plan.target.classes
    return true


def weighed(numbers: Array, times: Any, length: int) -> Table:
    """How often each number occurs, of which each counts so many times."""
    if isinstance(times, int):
        return times * np.bincount(numbers, minlength=length)
    return np.bincount(numbers, times, length).astype(np.int64)


def runs(*planes: Array | None) -> list[tuple[Any, list[Array]]]:
    """Pixels in rows, and how often each counts: one number, or one for each of them.

    Label maps are mostly flat: of eight neighbours that are alike in every plane one is kept; of
    numbers of more than 8 bits, the first of each run.
    """
    rows = [np.ascontiguousarray(plane).reshape(-1) for plane in planes if plane is not None]
    if rows[0].size < LARGE:
        return [(1, rows)]
    if any(row.dtype.itemsize > 1 for row in rows):
        return [_first_of_runs(rows)]
    rows = [row.astype(np.uint8, copy=False) for row in rows]
    whole = rows[0].size // WORD * WORD
    words = [row[:whole].view(np.uint64) for row in rows]
    flat = np.logical_and.reduce([word == (word & 255) * EVERY_BYTE for word in words])
    return [
        (WORD, [word[flat].view(np.uint8)[::WORD] for word in words]),
        (1, [word[~flat].view(np.uint8) for word in words]),
        (1, [row[whole:] for row in rows]),
    ]


def _first_of_runs(rows: list[Array]) -> tuple[Any, list[Array]]:
    """The first pixel of each run and its length; all of them where runs are short."""
    starts = reduce(np.logical_or, (row[1:] != row[:-1] for row in rows))
    if np.count_nonzero(starts) * SHORT > starts.size:
        return 1, rows
    first = np.concatenate([[0], np.flatnonzero(starts) + 1])
    return np.diff(first, append=len(rows[0])), [row[first] for row in rows]
