"""The value of each group's pixels as one, for as long as it takes to read the group."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lossbench.catalog.columns import Term
from lossbench.engine.state.accumulators import Accumulators, Arrays, within
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.runtime.array_types import FloatArray

if TYPE_CHECKING:
    from lossbench.engine.state.scores import BatchScores

Pooled = Mapping[Term, tuple[float, list[float]]]


@dataclass(frozen=True)
class Grouping:
    """The groups of a run.

    Attributes:
        of: the group of each pair.
        sizes: how many pairs each group has.
        pooled: what the samples in a pool are worth as one.
        wait: keep all pools to the end, for options that follow from all of the data.
    """

    of: Mapping[str, str]  # by id
    sizes: Mapping[str, int]
    pooled: Callable[[Accumulators], Pooled]
    wait: bool


class GroupAccumulators:
    """A pool for each group of which some pairs, but not all, have been read."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self.read = Counter[str]()
        self.pools: dict[str, Accumulators] = {}
        self.values: dict[str, Pooled] = {}

    def add(self, ids: Sequence[str], chunk: LoadedBatch, rows: BatchScores) -> None:
        """The samples of a chunk of so many pairs, each to its group."""
        groups = [self.grouping.of[each] for each in ids]
        shares = defaultdict(list)
        for row, place in enumerate(chunk.places):
            shares[groups[place]].append(row)
        for group, members in shares.items():
            pools = self.pools.setdefault(group, Accumulators())
            if chunk.tables is not None:
                pools.tables.add([chunk.tables[row] for row in members], chunk.sizes[members])
            for _ in members:
                pools.views.add(rows.views)  # of one sample, the chunk's only one
            pools.sums.add(
                {
                    name: {quantity: numbers[members] for quantity, numbers in state.items()}
                    for name, state in rows.states.items()
                }
            )
        failed = (self.grouping.of[error.id] for error in chunk.errors)
        self._count(Counter((*map(groups.__getitem__, chunk.places), *failed)))

    def extend(self, other: GroupAccumulators) -> None:
        """Add what other samples came to."""
        for group, pools in other.pools.items():
            self.pools.setdefault(group, Accumulators()).extend(pools)
        self.values |= other.values
        self._count(other.read)

    def pack(self) -> tuple[dict[str, Any], Arrays]:
        """What is known, as words and as arrays."""
        values = {
            group: {term.key: found for term, found in row.items()}
            for group, row in self.values.items()
        }
        arrays = {
            f"{number}/{key}": array
            for number, pools in enumerate(self.pools.values())
            for key, array in pools.pack().items()
        }
        return {"read": self.read, "values": values, "open": list(self.pools)}, arrays

    def unpack(self, words: Mapping[str, Any], arrays: Arrays, terms: Mapping[str, Term]) -> None:
        """What was packed; terms by their keys."""
        self.read = Counter(words["read"])
        for group, row in words["values"].items():
            self.values[group] = {terms[key]: tuple(found) for key, found in row.items()}
        for number, group in enumerate(words["open"]):
            self.pools[group] = Accumulators()
            self.pools[group].unpack(within(arrays, str(number)))

    def finish(
        self, names: Sequence[str], without: Container[str], terms: Mapping[Term, int]
    ) -> dict[Term, tuple[FloatArray, FloatArray | None, float, None]]:
        """Each term's values by group, as `combine` takes them.

        Args:
            names: the groups, in the order wanted.
            without: groups that have no such value.
            terms: with the number of classes that have values of their own.
        """
        for group in list(self.pools):
            self._close(group)

        def found(term: Term, classes: int) -> list[tuple[float, list[float]]]:
            nothing = (math.nan, [math.nan] * classes)
            of_groups = ({} if name in without else self.values[name] for name in names)
            return [each.get(term, nothing) for each in of_groups]

        return {
            term: (
                np.array([value for value, _ in found(term, classes)]),
                np.array([row for _, row in found(term, classes)]) if classes else None,
                math.nan,
                None,
            )
            for term, classes in terms.items()
        }

    def _count(self, read: Counter[str]) -> None:
        """So many pairs of each group have been read; close those that are complete."""
        self.read.update(read)
        if not self.grouping.wait:
            for group in read:
                if self.read[group] == self.grouping.sizes[group]:
                    self._close(group)

    def _close(self, group: str) -> None:
        pools = self.pools.pop(group, None)
        if pools is not None:
            self.values[group] = self.grouping.pooled(pools)
