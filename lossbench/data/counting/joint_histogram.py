"""Tables of counts: how often each prediction meets each target, with numpy and Pillow only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.arrays.byte_histogram import LARGE, WORD, Bytes, histogram
from lossbench.data.arrays.strips import strips
from lossbench.data.planning.input_encoding import FEW_VALUES
from lossbench.data.planning.plan import Plan
from lossbench.errors import InputError
from lossbench.runtime.array_types import AnyArray

Table = NDArray[np.int64]
EVERY_BYTE = np.uint64(0x0101010101010101)
SPARSE = 8  # how many times as many pixels are zeros where a look at those is spared
SHORT = 4  # runs with fewer pixels are not worth finding


def joint(plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None) -> Table:
    """How often each prediction meets each target class, (classes, levels), of valid pixels.

    Values without a meaning are found in the counts or codes, so that holding a file against the
    plan costs a look at those.

    Raises:
        InputError: the file holds values that the plan has no meaning for.
    """

    def tables() -> Iterator[Table]:
        for strip in strips(pred, target, ignored):
            table = _counted(plan, *strip)
            if table is None:
                raise _strange(plan, pred, target, ignored)
            yield table

    return reduce(np.add, tables())


def _strange(plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None) -> InputError:
    """The refusal of a file whose values the plan has no meaning for."""
    true = _classes(plan, target, ignored)
    if (true > plan.target.classes).any():
        return plan.target.refuse(target, true)
    seen = true < plan.target.classes
    return plan.pred.refuse(pred, np.where(seen, plan.pred.coded(pred), 0))


def differences(pred: AnyArray, target: AnyArray, ignored: AnyArray | None) -> Table:
    """How often each difference −255 … 255 of two 8-bit images occurs, (channels, 511)."""
    return np.stack(
        [
            reduce(np.add, (_apart(*strip) for strip in strips(*planes, ignored)))
            for planes in zip(pred, target, strict=True)
        ]
    )


def _apart(pred: AnyArray, target: AnyArray, ignored: AnyArray | None) -> Table:
    """The table of differences of one channel."""
    valid = np.True_ if ignored is None else ~ignored
    apart, less = pred - target, pred < target  # a negative difference is 256 too large
    below, above = (_where(apart, mask) for mask in (less & valid, ~less & valid))
    return np.concatenate([below[1:], above])


def _where(stored: Bytes, mask: NDArray[np.bool_]) -> Table:
    """The histogram of some pixels."""
    return _without_zeros(stored * mask.view(np.uint8), mask.size - int(np.count_nonzero(mask)))


def _without_zeros(stored: Bytes, count: int) -> Table:
    """The histogram where so many zeros are pixels that do not count."""
    counts = histogram(stored)
    counts[0] -= count
    return counts


def _counted(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> Table | None:
    """The joint table, (classes, levels); None where a value has no meaning."""
    if plan.pred.is_hard or pred.size < LARGE:
        return _indexed(plan, pred, target, ignored)
    table = _of_few(plan, pred, target) if ignored is None else None
    if table is not None:
        return table
    true = _classes(plan, target, ignored)
    table = np.stack([_where(pred, true == row) for row in range(plan.target.classes)])
    return None if (true > plan.target.classes).any() else table


def _of_few(plan: Plan, pred: AnyArray, target: AnyArray) -> Table | None:
    """The same of a target that is zero or one of few other values; None of other targets.

    Pixels of the others are taken out of the prediction, and what is left has the class of zero.
    Where the others are sparse, eight pixels that are all zeros are only counted.
    """
    classes = dict(plan.target.values)
    if (
        len(classes) > FEW_VALUES
        or 0 not in classes
        or plan.target.ignore
        or target.dtype != np.uint8
    ):
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


def _indexed(
    plan: Plan, pred: AnyArray, target: AnyArray, ignored: AnyArray | None
) -> Table | None:
    """The joint table by one number a pixel; None where a value has no meaning."""
    rows, columns = plan.target.classes, plan.pred.levels
    width = columns + 2 if plan.pred.is_hard else columns
    table = np.zeros((rows + 2) * width, np.int64)
    for times, (some_target, some_pred, *out) in runs(target, pred, ignored):
        true = _classes(plan, some_target, out[0] if out else None)
        found = plan.pred.coded(some_pred) if plan.pred.is_hard else some_pred
        kind = np.uint16 if table.size <= 1 << 16 else np.uint32
        index = np.multiply(true, width, dtype=kind) + found
        if table.size <= 256 and isinstance(times, int):
            table += times * histogram(index.astype(np.uint8))[: table.size]
        else:
            table += weighed(index, times, table.size)
    cells = table.reshape(-1, width)
    strange = cells[rows + 1].any() or cells[:rows, columns:].any()
    return None if strange else cells[:rows, :columns]


def _classes(plan: Plan, target: AnyArray, ignored: AnyArray | None) -> AnyArray:
    """The class of every pixel, one more than there are where it is ignored."""
    true = plan.target.coded(target)
    if ignored is not None:
        true[ignored != 0] = plan.target.classes
    return true


def weighed(numbers: AnyArray, times: Any, length: int) -> Table:
    """How often each number occurs, of which each counts so many times."""
    if isinstance(times, int):
        return times * np.bincount(numbers, minlength=length)
    return np.bincount(numbers, times, length).astype(np.int64)


def runs(*planes: AnyArray | None) -> list[tuple[Any, list[AnyArray]]]:
    """Pixels in rows, and how often each counts: one number, or one for each of them.

    Label maps are mostly flat: of eight neighbours that are alike in every plane one is kept; of
    numbers of more than 8 bits, or that may be negative, the first of each run.
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
    """The first pixel of each run and its length; all of them where runs are short."""
    starts = reduce(np.logical_or, (row[1:] != row[:-1] for row in rows))
    if np.count_nonzero(starts) * SHORT > starts.size:
        return 1, rows
    first = np.concatenate([[0], np.flatnonzero(starts) + 1])
    return np.diff(first, append=len(rows[0])), [row[first] for row in rows]
