"""Tables of counts: the number of pixels of each prediction and target, without torch."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from lossbench.data.arrays.byte_histogram import LARGE, WORD, Bytes, histogram
from lossbench.data.arrays.strips import strips
from lossbench.data.planning.input_encoding import FEW_VALUES
from lossbench.data.planning.plan import Plan
from lossbench.runtime.array_types import AnyArray, BoolArray, IntArray

CountTable = IntArray
EVERY_BYTE = np.uint64(0x0101010101010101)
SPARSE = 8  # from so many zeros for each other pixel on, skipping words of zeros is faster
SHORT = 4  # with fewer pixels in a run, counting single pixels is faster


def joint(plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None) -> CountTable:
    """Count the valid pixels of each target class and prediction, (classes, levels).

    A value without a class shows in the counts or codes, so no pixel is examined twice.

    Raises:
        InputError: the file holds values without a class.
    """
    total = np.zeros((plan.target.classes, plan.pred.levels), np.int64)
    for strip in strips(pred, target, ignored):
        table = _count(plan, *strip)
        if table is None:
            classes = _classes(plan, target, ignored)
            if (classes > plan.target.classes).any():
                raise plan.target.refuse(target, classes)
            valid = classes < plan.target.classes
            raise plan.pred.refuse(pred, np.where(valid, plan.pred.coded(pred), 0))
        total += table
    return total


def differences(pred: AnyArray, target: AnyArray, ignored: AnyArray | None) -> CountTable:
    """Count each difference −255 … 255 of two 8-bit images, (channels, 511)."""
    channels = [strips(*planes, ignored) for planes in zip(pred, target, strict=True)]
    return np.stack(
        [reduce(np.add, (_subtract(*each) for each in channel)) for channel in channels]
    )


def _subtract(pred: AnyArray, target: AnyArray, ignored: AnyArray | None) -> CountTable:
    """Count the differences of one channel."""
    difference, less = pred - target, pred < target  # a negative difference is 256 too large
    invalid = 0
    if ignored is not None:
        difference *= np.logical_not(ignored).view(np.uint8)
        invalid = int(np.count_nonzero(ignored))
    every, below = histogram(difference), histogram(difference * less.view(np.uint8))
    above = every - below
    above[0] = every[0] - invalid  # equal pixels
    return np.concatenate([below[1:], above])


def _histogram_of(stored: Bytes, mask: BoolArray) -> CountTable:
    """The histogram of the pixels of a mask."""
    return _without_zeros(stored * mask.view(np.uint8), mask.size - int(np.count_nonzero(mask)))


def _without_zeros(stored: Bytes, count: int) -> CountTable:
    """The histogram less a number of zeros that stand for pixels outside a mask."""
    counts = histogram(stored)
    counts[0] -= count
    return counts


def _count(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> CountTable | None:
    """The joint table, (classes, levels); None if a value has no class."""
    if plan.pred.is_hard or pred.size < LARGE:
        masks = _count_masks(plan, pred, target) if ignored is None else None
        return _count_codes(plan, pred, target, ignored) if masks is None else masks
    table = _count_few(plan, pred, target) if ignored is None else None
    if table is not None:
        return table
    classes = _classes(plan, target, ignored)
    table = np.stack([_histogram_of(pred, classes == row) for row in range(plan.target.classes)])
    return None if (classes > plan.target.classes).any() else table


def _count_masks(plan: Plan, pred: AnyArray, target: AnyArray) -> CountTable | None:
    """The joint table of masks of 0 and one odd number, eight pixels at once; None of others."""
    bits = []
    for encoding, stored in ((plan.target, target), (plan.pred, pred)):
        values = dict(encoding.values)
        number = max(values, default=0)
        one = values == {0: 0, number: 1} and number % 2 and not encoding.ignore
        if not one or stored.dtype != np.uint8 or stored.size % WORD:
            return None
        words = np.ascontiguousarray(stored).reshape(-1).view(np.uint64)
        lowest = words & EVERY_BYTE
        if (lowest * np.uint64(number) != words).any():
            return None
        bits.append(lowest.view(np.bool_))
    true, predicted = bits
    both, right, left = map(np.count_nonzero, (true & predicted, true, predicted))
    table = [[pred.size - right - left + both, left - both], [right - both, both]]
    return np.array(table, np.int64)


def _count_few(plan: Plan, pred: AnyArray, target: AnyArray) -> CountTable | None:
    """The joint table of a target with zero and few other values; None of other targets.

    Pixels of the other values are taken out of the prediction, and the rest has the class of zero.
    Where the other values are sparse, words of eight zeros are only counted.
    """
    classes = dict(plan.target.values)
    few = len(classes) <= FEW_VALUES and 0 in classes and not plan.target.ignore
    if not few or target.dtype != np.uint8:
        return None
    table = np.zeros((plan.target.classes, plan.pred.levels), np.int64)
    background, left = classes.pop(0), int(np.count_nonzero(target))
    sparse, rest = left * SPARSE < target.size and target.size % WORD == 0, pred
    if sparse:
        words = target.view(np.uint64)
        some = words != 0
        target, rest = words[some].view(np.uint8), pred.view(np.uint64)[some].view(np.uint8)
    for value, row in classes.items():
        mask = target == value
        count = int(np.count_nonzero(mask))
        part = mask.view(np.uint8)
        part *= rest
        table[row] += _without_zeros(part, mask.size - count)
        left -= count
        rest = rest if sparse else np.bitwise_xor(part, rest, out=part)
    others = histogram(pred) - table.sum(0) if sparse else _without_zeros(rest, int(table.sum()))
    table[background] += others
    return None if left else table


def _count_codes(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> CountTable | None:
    """The joint table from the cell of each pixel; None if a value has no class."""
    rows, columns = plan.target.classes, plan.pred.levels
    width = columns + 2 if plan.pred.is_hard else columns
    table = np.zeros((rows + 2) * width, np.int64)
    for times, (some_target, some_pred, *out) in runs(target, pred, ignored):
        row = _classes(plan, some_target, out[0] if out else None)
        column = plan.pred.coded(some_pred) if plan.pred.is_hard else some_pred
        kind = np.uint16 if table.size <= 1 << 16 else np.uint32
        cell = np.multiply(row, width, dtype=kind) + column
        if table.size <= 256 and isinstance(times, int):
            table += times * histogram(cell.astype(np.uint8))[: table.size]
        else:
            table += weighted_counts(cell, times, table.size)
    cells = table.reshape(-1, width)
    strange = cells[rows + 1].any() or cells[:rows, columns:].any()
    return None if strange else cells[:rows, :columns]


def _classes(plan: Plan, target: AnyArray, ignored: AnyArray | None) -> AnyArray:
    """The class of every pixel; the number of classes where it is ignored."""
    classes = plan.target.coded(target)
    if ignored is not None:
        classes[ignored != 0] = plan.target.classes
    return classes


def weighted_counts(numbers: AnyArray, times: Any, length: int) -> CountTable:
    """Count each number below `length`; `times` is the weight of all numbers, or of each."""
    if isinstance(times, int):
        return times * np.bincount(numbers, minlength=length)
    return np.bincount(numbers, times, length).astype(np.int64)


def runs(*planes: AnyArray | None) -> list[tuple[Any, list[AnyArray]]]:
    """Fewer pixels, in rows, and the number of pixels that all of them, or each, stand for.

    Label maps are mostly flat: one pixel stands for eight neighbours that are alike in every plane,
    or, where a plane has more than 8 bits or a sign, for each run.
    """
    rows = [np.ascontiguousarray(plane).reshape(-1) for plane in planes if plane is not None]
    if rows[0].size < LARGE:
        return [(1, rows)]
    if any(row.dtype.itemsize > 1 or row.dtype.kind == "i" for row in rows):
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


def _first_of_runs(rows: list[AnyArray]) -> tuple[Any, list[AnyArray]]:
    """The first pixel and the length of each run; all pixels where runs are short."""
    starts = reduce(np.logical_or, (row[1:] != row[:-1] for row in rows))
    if np.count_nonzero(starts) * SHORT > starts.size:
        return 1, rows
    first = np.concatenate([[0], np.flatnonzero(starts) + 1])
    return np.diff(first, append=len(rows[0])), [row[first] for row in rows]
