"""Accumulators of groups: kept until a group is complete, then replaced by its pooled value."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.engine.state.accumulators import Accumulators, Arrays, within
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.engine.state.scores import BatchScores
from lossbench.runtime.array_types import FloatArray

Pooled = Mapping[Term, tuple[float, list[float]]]


@dataclass(frozen=True)
class Grouping:
    """The groups of a run."""

    of: Mapping[str, str]  # group of each pair, by id
    sizes: Mapping[str, int]  # number of pairs of each group
    pooled: Callable[[Accumulators], Pooled]  # values of the pooled samples of a group
    wait: bool  # whether groups stay open until the end, for options that follow from all samples


class GroupAccumulators:
    """Accumulators of groups that are still being read, and values of complete groups."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self.read = Counter[str]()
        self.pools: dict[str, Accumulators] = {}
        self.values: dict[str, Pooled] = {}

    def add(self, ids: Sequence[str], batch: LoadedBatch, rows: BatchScores) -> None:
        """Add the samples of a batch to their groups."""
        groups = [self.grouping.of[each] for each in ids]
        rows_of = defaultdict(list)
        for row, index in enumerate(batch.indices):
            rows_of[groups[index]].append(row)
        for group, members in rows_of.items():
            pools = self.pools.setdefault(group, Accumulators())
            if batch.tables is not None:
                pools.tables.add([batch.tables[row] for row in members], batch.sizes[members])
            pools.views.add({name: each.some(members) for name, each in rows.views.items()})
            pools.sums.add(
                {
                    name: {quantity: numbers[members] for quantity, numbers in state.items()}
                    for name, state in rows.states.items()
                }
            )
        read = {ids[index] for index in batch.indices}  # a pair can lack the value of one loss
        failed = (self.grouping.of[each.id] for each in batch.errors if each.id not in read)
        self._count(Counter((*map(groups.__getitem__, batch.indices), *failed)))

    def extend(self, other: GroupAccumulators) -> None:
        for group, pools in other.pools.items():
            self.pools.setdefault(group, Accumulators()).extend(pools)
        self.values |= other.values
        self._count(other.read)

    def pack(self) -> tuple[dict[str, Any], Arrays]:
        """The state as JSON and as arrays."""
        values = {
            group: {term.key: value for term, value in row.items()}
            for group, row in self.values.items()
        }
        arrays = {
            f"{number}/{key}": array
            for number, pools in enumerate(self.pools.values())
            for key, array in pools.pack().items()
        }
        return {"read": self.read, "values": values, "open": list(self.pools)}, arrays

    def unpack(self, state: Mapping[str, Any], arrays: Arrays, terms: Mapping[str, Term]) -> None:
        """Restore a packed state; `terms` are the terms of the run by key."""
        self.read = Counter(state["read"])
        for group, row in state["values"].items():
            self.values[group] = {terms[key]: tuple(value) for key, value in row.items()}
        for number, group in enumerate(state["open"]):
            self.pools[group] = Accumulators()
            self.pools[group].unpack(within(arrays, str(number)))

    def finish(
        self, names: Sequence[str], without: Container[str], terms: Mapping[Term, int]
    ) -> dict[Term, tuple[FloatArray, FloatArray | None, float, None]]:
        """Each term's values by group, as `combine` takes them, in the order of the names.

        `terms` has the number of classes of each term, 0 for terms without values by class; groups
        in `without` are undefined.
        """
        for group in list(self.pools):
            self._close(group)

        by_group = [{} if name in without else self.values[name] for name in names]
        columns: dict[Term, tuple[FloatArray, FloatArray | None, float, None]] = {}
        for term, classes in terms.items():
            undefined = (math.nan, [math.nan] * classes)
            rows = [values.get(term, undefined) for values in by_group]
            by_class = np.array([row for _, row in rows]) if classes else None
            columns[term] = (np.array([value for value, _ in rows]), by_class, math.nan, None)
        return columns

    def _count(self, read: Counter[str]) -> None:
        """Count pairs that have been read, by group, and close the groups that are complete."""
        self.read.update(read)
        if not self.grouping.wait:
            for group in read:
                if self.read[group] == self.grouping.sizes[group]:
                    self._close(group)

    def _close(self, group: str) -> None:
        pools = self.pools.pop(group, None)
        if pools is not None:
            self.values[group] = self.grouping.pooled(pools)
