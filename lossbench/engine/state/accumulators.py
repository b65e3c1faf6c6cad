"""Accumulators over samples: sums without rounding, so that the order of samples has no effect.

Each adds samples (`add`) or an accumulator of other samples (`extend`), turns into arrays by name
(`pack`), and is restored from them when empty (`unpack`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.counting.sparse_histogram import Cells
from lossbench.data.planning.plan import Plan
from lossbench.interface.row_list import RowList
from lossbench.results.json_numbers import jsonable
from lossbench.runtime.array_types import FloatArray

Arrays = dict[str, NDArray[Any]]
COMPACT = 8
WHOLE = 2.0**53  # below it, float64 has every whole number
MOST_ROWS = 1 << 24  # of all views of a run together, some 40 bytes each


class ExactSum:
    """A sum of float64 arrays of one shape, kept as parts that do not overlap (Shewchuk 1997)."""

    def __init__(self) -> None:
        self.parts: list[FloatArray] = []
        self.unbounded: FloatArray | None = None  # the sum of the numbers that are not finite

    def add(self, numbers: FloatArray) -> None:
        """Add an array; nothing is rounded away."""
        carried, parts = self._finite(np.array(numbers, np.float64)), list[FloatArray]()
        with np.errstate(over="ignore", invalid="ignore"):
            for part in self.parts:
                added = self._finite(carried + part)
                back = added - carried
                error = (carried - (added - back)) + (part - back)
                if error.any():
                    parts.append(error)
                carried = added
        self.parts = [*parts, carried]
        if len(self.parts) > COMPACT:
            self.parts = list(np.moveaxis(self._expanded(), -1, 0))

    def extend(self, other: ExactSum) -> None:
        """Add another sum, as exactly."""
        for part in other.parts:
            self.add(part)
        if other.unbounded is not None:
            self.add(other.unbounded)

    def canonical(self) -> FloatArray:
        """The parts of every number, largest first, along a last axis: the same for equal sums."""
        expanded = self._expanded()
        if self.unbounded is not None:
            expanded[self.unbounded != 0] = 0
            expanded[..., 0] += self.unbounded
        return expanded

    def value(self) -> FloatArray:
        """The sum, rounded once."""
        stacked = np.stack(self.parts, -1)
        sums = [math.fsum(row) for row in stacked.reshape(-1, len(self.parts)).tolist()]
        finite = np.array(sums).reshape(stacked.shape[:-1])
        return finite if self.unbounded is None else finite + self.unbounded

    def _finite(self, numbers: FloatArray) -> FloatArray:
        """Replace numbers that are not finite by 0 and add them to `unbounded`."""
        infinite = ~np.isfinite(numbers)
        if infinite.any():
            if self.unbounded is None:
                self.unbounded = np.zeros(numbers.shape)
            self.unbounded = self.unbounded + np.where(infinite, numbers, 0.0)
            numbers = np.where(infinite, 0.0, numbers)
        return numbers

    def _expanded(self) -> FloatArray:
        stacked = np.stack(self.parts, -1)
        rows = [_expansion(row.tolist()) for row in stacked.reshape(-1, len(self.parts))]
        longest = max(map(len, rows), default=1)
        padded = np.array([row + [0.0] * (longest - len(row)) for row in rows])
        return padded.reshape(*stacked.shape[:-1], longest)


def _expansion(numbers: Sequence[float]) -> list[float]:
    """The exact sum: the rounded sum, then the rounded sum of the remainder, until that is 0."""
    parts = [math.fsum(numbers)]
    while remainder := math.fsum([*numbers, *(-part for part in parts)]):
        parts.append(remainder)
    return parts


def adds_exactly(numbers: FloatArray) -> bool:
    """Whether a plain sum along the first axis is exact, as that of small whole numbers is."""
    whole = len(numbers) > 1 and (np.floor(numbers) == numbers).all()
    return bool(whole and np.abs(numbers).max(initial=0) < WHOLE / len(numbers))


class SumPool:
    """Exact sums of the additive states of losses, over the samples of a run on pixels."""

    def __init__(self) -> None:
        # By loss and quantity.
        self.sums: dict[str, dict[str, ExactSum]] = defaultdict(partial(defaultdict, ExactSum))

    def add(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the states of some samples: loss -> quantity -> array (B, …)."""
        for name, state in states.items():
            for quantity, numbers in state.items():
                for row in [numbers.sum(0)] if adds_exactly(numbers) else numbers:
                    self.sums[name][quantity].add(row)

    def extend(self, other: SumPool) -> None:
        for name, state in other.sums.items():
            for quantity, exact in state.items():
                self.sums[name][quantity].extend(exact)

    def pack(self) -> Arrays:
        return {
            f"{name}/{quantity}": exact.canonical()
            for name, sums in self.sums.items()
            for quantity, exact in sums.items()
        }

    def unpack(self, arrays: Arrays) -> None:
        for key, canonical in arrays.items():
            name, _, quantity = key.rpartition("/")
            for part in np.moveaxis(canonical, -1, 0):
                self.sums[name][quantity].add(part)

    def as_json(self) -> dict[str, Any]:
        return {
            name: {key: jsonable(exact.canonical().tolist()) for key, exact in sums.items()}
            for name, sums in self.sums.items()
        }


class TablePool:
    """The sum of the tables of all samples, in integers and so exact."""

    def __init__(self) -> None:
        self.table: NDArray[np.int64] | None = None
        self.pixels = 0

    def add(self, tables: Iterable[NDArray[Any] | Cells], pixels: NDArray[np.int64]) -> None:
        for table in tables:
            if self.table is None:
                self.table = np.zeros(table.shape, np.int64)
            if isinstance(table, Cells):
                self.table[:, table.places] += table.counts
            else:
                self.table += table
        self.pixels += int(pixels.sum())

    def extend(self, other: TablePool) -> None:
        if other.table is not None:
            self.table = other.table.copy() if self.table is None else self.table + other.table
            self.pixels += other.pixels

    def pack(self) -> Arrays:
        if self.table is None:
            return {}
        cells = np.flatnonzero(self.table)  # in large tables few cells occur
        return {
            "shape": np.array(self.table.shape),
            "places": cells,
            "counts": self.table.reshape(-1)[cells],
            "pixels": np.array(self.pixels),
        }

    def unpack(self, arrays: Arrays) -> None:
        if arrays:
            self.table, self.pixels = np.zeros(arrays["shape"], np.int64), int(arrays["pixels"])
            self.table.reshape(-1)[arrays["places"]] = arrays["counts"]

    def as_json(self, plan: Plan) -> dict[str, Any]:
        """Rows (prediction, target, count) that occur, by class; (difference, count) of images."""
        if self.table is None:
            return {}
        if plan.task == "image":
            top = self.table.shape[-1] // 2
            return {
                str(channel): [[int(d) - top, int(row[d])] for d in np.flatnonzero(row)]
                for channel, row in enumerate(self.table)
            }
        tables = self.table.reshape(-1, plan.target.levels, plan.pred.levels)
        names = {"multiclass": ("all",), "binary": plan.names[1:]}.get(plan.task, plan.names)
        return {
            name: [[int(p), int(t), int(table[t, p])] for t, p in np.argwhere(table)]
            for name, table in zip(names, tables, strict=True)
        }


class ViewPool:
    """Views that are joined, not added, such as rankings; dropped once they are too large."""

    def __init__(self) -> None:
        self.lists: dict[str, list[RowList]] = {}  # loss/parameter -> views of samples
        self.rows = 0

    def add(self, views: Mapping[str, RowList]) -> None:
        for name, listed in views.items():
            self.lists.setdefault(name, []).append(listed)
            self.rows += listed.length
        self._bound()

    def extend(self, other: ViewPool) -> None:
        for name, lists in other.lists.items():
            self.lists.setdefault(name, []).extend(lists)
        self.rows += other.rows
        self._bound()

    def joined(self, name: str) -> RowList | None:
        """A view of all samples, or None if there is no such view."""
        return RowList.joined(self.lists[name]) if name in self.lists else None

    def pack(self) -> Arrays:
        packed: Arrays = {"rows": np.array(self.rows)}
        for name, lists in self.lists.items():
            for kind, arrays in RowList.joined(lists)._asdict().items():
                packed |= {f"{name}/{kind}/{key}": array for key, array in arrays.items()}
        return packed

    def unpack(self, arrays: Arrays) -> None:
        self.rows = int(arrays["rows"])
        fields: dict[str, dict[str, Arrays]] = {}
        for path, array in arrays.items():
            if path != "rows":
                name, kind, key = path.rsplit("/", 2)
                fields.setdefault(name, {"rows": {}, "totals": {}})[kind][key] = array
        self.lists = {name: [RowList(**each)] for name, each in fields.items()}

    def _bound(self) -> None:
        if self.rows > MOST_ROWS:
            self.lists.clear()


@dataclass
class Accumulators:
    """All accumulators of a run, a part of a run, or a group."""

    tables: TablePool = field(default_factory=TablePool)
    sums: SumPool = field(default_factory=SumPool)
    views: ViewPool = field(default_factory=ViewPool)

    def extend(self, other: Accumulators) -> None:
        for name, pool in vars(self).items():
            pool.extend(getattr(other, name))

    def pack(self) -> Arrays:
        return {
            f"{name}/{key}": array
            for name, pool in vars(self).items()
            for key, array in pool.pack().items()
        }

    def unpack(self, arrays: Arrays) -> None:
        for name, pool in vars(self).items():
            pool.unpack(within(arrays, name))


def within(arrays: Arrays, name: str) -> Arrays:
    """The arrays whose names begin with `name/`, by the remainder of their names."""
    start = f"{name}/"
    return {key[len(start) :]: each for key, each in arrays.items() if key.startswith(start)}
