"""All samples as one: what adds up, added without rounding, so that no order is the right one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.data.cells import Cells
from lossbench.data.plan import Plan
from lossbench.results import jsonable

Array = NDArray[np.float64]
COMPACT = 8


class ExactSum:
    """A sum of float64 arrays of one shape, kept as parts that do not overlap (Shewchuk 1997)."""

    def __init__(self) -> None:
        self.parts: list[Array] = []
        self.unbounded: Array | None = None  # the sum of what is not finite

    def add(self, numbers: Array) -> None:
        """Add an array; nothing is rounded away."""
        carried, parts = self._finite(np.array(numbers, np.float64)), list[Array]()
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

    def canonical(self) -> Array:
        """The parts of every number, largest first, along a last axis: the same for equal sums."""
        expanded = self._expanded()
        if self.unbounded is not None:
            expanded[self.unbounded != 0] = 0
            expanded[..., 0] += self.unbounded
        return expanded

    def value(self) -> Array:
        """The sum, rounded once."""
        stacked = np.stack(self.parts, -1)
        sums = [math.fsum(row) for row in stacked.reshape(-1, len(self.parts)).tolist()]
        finite = np.array(sums).reshape(stacked.shape[:-1])
        return finite if self.unbounded is None else finite + self.unbounded

    def _finite(self, numbers: Array) -> Array:
        """Numbers with those that are not finite taken out and added on their own."""
        strange = ~np.isfinite(numbers)
        if strange.any():
            if self.unbounded is None:
                self.unbounded = np.zeros(numbers.shape)
            self.unbounded = self.unbounded + np.where(strange, numbers, 0.0)
            numbers = np.where(strange, 0.0, numbers)
        return numbers

    def _expanded(self) -> Array:
        stacked = np.stack(self.parts, -1)
        rows = [_expansion(row.tolist()) for row in stacked.reshape(-1, len(self.parts))]
        longest = max(map(len, rows), default=1)
        padded = np.array([row + [0.0] * (longest - len(row)) for row in rows])
        return padded.reshape(*stacked.shape[:-1], longest)


def _expansion(numbers: Sequence[float]) -> list[float]:
    """The exact sum as rounded sums of what is left, until nothing is."""
    parts: list[float] = []
    while (rest := math.fsum([*numbers, *(-part for part in parts)])) or not parts:
        parts.append(rest)
        if not rest:
            break
    return parts


class SumPool:
    """The additive state of every loss that has one, over all samples of a run on pixels."""

    def __init__(self) -> None:
        self.sums: dict[str, dict[str, ExactSum]] = {}

    def add(self, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the states of some samples: loss -> quantity -> array (B, …)."""
        for name, state in states.items():
            sums = self.sums.setdefault(name, {})
            for quantity, numbers in state.items():
                for row in numbers:
                    sums.setdefault(quantity, ExactSum()).add(row)

    def as_json(self) -> dict[str, Any]:
        return {
            name: {
                quantity: jsonable(exact.canonical().tolist()) for quantity, exact in sums.items()
            }
            for name, sums in self.sums.items()
        }


class TablePool:
    """The tables of all samples, added: integers, so exact."""

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
