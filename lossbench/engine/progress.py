"""What a run has done so far, for whoever watches it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lossbench.catalog.columns import Column
from lossbench.data.pairing.pairs import Pair
from lossbench.engine.state.partial_result import PartialResult
from lossbench.results.result import combine


@dataclass(frozen=True)
class Progress:
    """What a run has done, handed to a callback after each batch.

    Attributes:
        done: pairs read so far, those that failed among them.
        total: pairs to read.
        ids: the samples of this batch, sorted.
        values: of this batch, by column; a column waiting for class weights is missing.
        means: over all samples so far, by column.
    """

    done: int
    total: int
    ids: Sequence[str]
    values: Mapping[str, Sequence[float]]
    means: Mapping[str, float]


class Watch:
    """What a run tells while it goes on."""

    def __init__(
        self, columns: Sequence[Column], total: int, tell: Callable[[Progress], None]
    ) -> None:
        self.total, self.tell, self.done = total, tell, 0
        self.columns = [
            column
            for column in columns
            if not any(term.automatic or term.gathers for term in column.terms)
        ]
        self.running: dict[str, tuple[float, int]] = {}  # sum and count so far, by column

    def step(self, part: PartialResult, first: int, pairs: Sequence[Pair]) -> None:
        """Pairs of a part have been evaluated, the first of them at this place."""
        rows = slice(first - part.start, first - part.start + len(pairs))
        good = part.good[rows]
        terms = {
            term: (values[rows][good], None, math.nan, None) for term, values in part.values.items()
        }
        known = [each for each in self.columns if all(term in terms for term in each.terms)]
        values = {column.name: combine(column, terms).samples for column in known}
        for name, numbers in values.items():
            defined = [number for number in numbers if not math.isnan(number)]
            total, count = self.running.get(name, (0.0, 0))
            self.running[name] = total + sum(defined), count + len(defined)
        means = {name: total / count for name, (total, count) in self.running.items() if count}
        self.done += len(pairs)
        ids = [pair.id for pair, is_good in zip(pairs, good, strict=True) if is_good]
        self.tell(Progress(self.done, self.total, ids, values, means))
