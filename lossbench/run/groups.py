"""The value of each group's pixels as one, for as long as it takes to read the group."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lossbench.columns import Term
from lossbench.run.pooling import SumPool, TablePool
from lossbench.run.reader import Chunk

if TYPE_CHECKING:
    from lossbench.run.evaluate import Rows

Array = NDArray[np.float64]
Pooled = Mapping[Term, tuple[float, list[float]]]


class GroupPools:
    """A pool for each group of which some pairs, but not all, have been read.

    Args:
        groups: of each pair, in their order.
        pooled: what the samples in a pool are worth as one.
        wait: keep all pools to the end, for options that follow from all of the data.
    """

    def __init__(
        self, groups: Sequence[str], pooled: Callable[[TablePool, SumPool], Pooled], wait: bool
    ) -> None:
        self.groups, self.pooled, self.wait = groups, pooled, wait
        self.left = Counter(groups)
        self.pools: dict[str, tuple[TablePool, SumPool]] = {}
        self.values: dict[str, Pooled] = {}

    def add(self, start: int, chunk: Chunk, rows: Rows) -> None:
        """The samples of a chunk whose first pair is at `start`, each to its group."""
        shares = defaultdict(list)
        for row, place in enumerate(chunk.places):
            shares[self.groups[start + place]].append(row)
        for group, members in shares.items():
            tables, sums = self.pools.setdefault(group, (TablePool(), SumPool()))
            if chunk.tables is not None:
                tables.add([chunk.tables[row] for row in members], chunk.sizes[members])
            sums.add(
                {
                    name: {quantity: numbers[members] for quantity, numbers in state.items()}
                    for name, state in rows.states.items()
                }
            )
        read = [*chunk.places, *(place for place, _ in chunk.failures)]
        self.left.subtract(self.groups[start + place] for place in read)
        if not self.wait:
            for group in dict.fromkeys(self.groups[start + place] for place in read):
                if not self.left[group]:
                    self._close(group)

    def finish(
        self, names: Sequence[str], without: Container[str], terms: Mapping[Term, int]
    ) -> dict[Term, tuple[Array, Array | None, float, None]]:
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

    def _close(self, group: str) -> None:
        pools = self.pools.pop(group, None)
        if pools is not None:
            self.values[group] = self.pooled(*pools)
