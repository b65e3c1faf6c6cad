"""Progress of a run, reported to a callback after each batch."""

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
    """What a run has done so far."""

    done: int  # pairs read so far, those with errors among them
    total: int  # pairs to read
    ids: Sequence[str]  # the samples of the last batch, sorted
    values: Mapping[str, Sequence[float]]  # of them, by column; without those that need all samples
    means: Mapping[str, float]  # over all samples so far, by column


class ProgressReporter:
    """Calls a callback with the progress of a run of `total` pairs after each batch."""

    def __init__(
        self, columns: Sequence[Column], total: int, callback: Callable[[Progress], None]
    ) -> None:
        self.total, self.callback, self.done = total, callback, 0
        self.columns = [
            column
            for column in columns
            if not any(term.automatic or term.gathers for term in column.terms)
        ]
        self.running: dict[str, tuple[float, int]] = {}  # sum and count so far, by column

    def report(self, part: PartialResult, first: int, pairs: Sequence[Pair]) -> None:
        """Report the pairs of a part that have just been evaluated, the first at this index."""
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
        self.callback(Progress(self.done, self.total, ids, values, means))
