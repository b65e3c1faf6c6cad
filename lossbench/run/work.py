"""One pass over the pairs: read, evaluate, put in place."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossbench.columns import Column, Term
from lossbench.data.pairing import Pairing, label
from lossbench.data.plan import Plan
from lossbench.data.records import Record
from lossbench.data.sample import Failure
from lossbench.errors import InputError
from lossbench.networks import needed
from lossbench.results import Failed, Result, Values, combine
from lossbench.run.elsewhere import Elsewhere, table
from lossbench.run.groups import GroupPools, Pooled
from lossbench.run.pooling import SumPool, TablePool
from lossbench.run.reader import WORTH_PROCESSES, Chunk, in_order, reader
from lossbench.run.settings import Settings

if TYPE_CHECKING:
    from lossbench.run.evaluate import Rows
    from lossbench.run.features import Extraction

Array = NDArray[np.float64]
TOGETHER = 16  # pairs whose images go through a network together
AHEAD_BYTES = 1 << 26  # tables that may wait while torch is being imported


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


class Work:
    """One pass over the pairs: each batch's rows are put in their place."""

    def __init__(
        self,
        plan: Plan,
        pairing: Pairing,
        columns: list[Column],
        settings: Settings,
        elsewhere: Sequence[Elsewhere] = (),
    ) -> None:
        self.plan, self.pairing, self.columns, self.settings = plan, pairing, columns, settings
        self.pairs, self.elsewhere = pairing.pairs, elsewhere
        every = [*columns, *(each.column for each in elsewhere)]
        self.terms = list(dict.fromkeys(term for column in every for term in column.terms))
        self.options = {term: term.options for term in self.terms}
        self.good = np.zeros(len(self.pairs), bool)
        self.values = {term: np.full(len(self.pairs), math.nan) for term in self.terms}
        self.classes: dict[Term, Array] = {}
        self.failed: list[Failed] = []
        self.unfinished: list[Rows] = []  # waiting for options that follow from all of them
        self.tables, self.sums = TablePool(), SumPool()
        self.gathering = [term for term in self.terms if term.gathers]
        self.kept: dict[int, Record] = {}  # samples that those wait for
        self.groups = self._groups()
        self.device: Future[str] = Future()
        self.extraction: Extraction | None = None  # of features, where a loss compares some
        self.running: dict[str, tuple[float, int]] = {}  # sum and count so far, by column

    def go(self, watchers: Sequence[Callable[[Progress], None]]) -> None:
        """Read while torch is being imported, then evaluate what has been read."""
        on_files = isinstance(self.pairs[0].sources["pred"][0], str)
        counts_only = not self.plan.pixels
        many = counts_only and on_files and len(self.pairs) >= WORTH_PROCESSES
        together = counts_only and not self.plan.sparse  # many samples, and here
        size, ahead = self._batches()
        starts = range(0, len(self.pairs), size)
        with reader(self.plan, self.settings.readers if many else 0) as read:

            def task(start: int) -> tuple[Chunk, list[tuple[Chunk, Rows]] | None]:
                chunk = read(self.pairs[start : start + size])
                return chunk, None if together else self._evaluated(start, chunk)

            chunks = in_order(task, starts, self.settings.readers, ahead)
            try:
                first = next(chunks)  # reading has begun
                with _no_collection():  # torch is a second or two, a fifth of it the collector's
                    from lossbench.run.evaluate import get_ready, one_thread, pick_device

                    get_ready(self.terms)
                with one_thread():
                    device = pick_device(self.settings.device)
                    self.extraction = self._extraction(device)
                    self.device.set_result(device)
                    for start, future in zip(starts, chain([first], chunks), strict=True):
                        chunk, parts = future.result()
                        for part, rows in parts or self._evaluated(start, chunk):
                            self._take(start, part, rows)
                        if watchers:
                            step = self._progress(start, min(start + size, len(self.pairs)))
                            for watcher in watchers:
                                watcher(step)
            finally:
                self.device.cancel()  # where it was never found, threads wait for it
                chunks.close()

    def result(self) -> Result:
        """Columns from terms, in the order of the ids."""
        from lossbench.run.evaluate import finish_balanced, gathered, pooled

        order = sorted(self.kept)
        for block, rows in (
            gathered(
                self.plan,
                self.gathering,
                self.device.result(),
                [self.kept[place] for place in order],
            )
            if order
            else ()
        ):
            for term, found in rows.values.items():
                self.values[term][order[block]] = found
            self.sums.add({name: state for name, state in rows.states.items() if name})
        for term in self.terms:
            if term.automatic and self.unfinished:
                values, classes, numbers = finish_balanced(
                    term, self.unfinished, self.plan, self.device.result()
                )
                self.options[term] |= numbers
                self.values[term][self.good] = values
                if classes is not None:
                    self._class_rows(term, classes.shape[1])[self.good] = classes
        whole = pooled(self.plan, self.options, self.device.result(), self.tables, self.sums)
        nothing = (math.nan, [math.nan] * len(self.plan.names))
        terms = {
            term: (
                self.values[term][self.good],
                self.classes[term][self.good] if term in self.classes else None,
                whole.get(term, nothing)[0],
                whole.get(term, nothing)[1] if term in self.classes else None,
            )
            for term in self.terms
        }
        columns = {column.name: combine(column, terms) for column in self.columns}
        others = [combine(each.column, terms) for each in self.elsewhere]
        ids = [pair.id for pair, good in zip(self.pairs, self.good, strict=True) if good]
        failed, worst = self._unpaired()
        of_groups = self._group_columns(ids, worst)
        if worst:
            both = [columns[column.name] for column in self.columns] + others
            ids = self._add_worst(ids, both, worst)
        pairing = self.pairing
        counts = {
            "found": len(self.pairs),
            "evaluated": int(self.good.sum()),
            "missing": pairing.count("missing"),
            "extra": pairing.count("extra"),
            "errors": len(failed),
        }
        return Result(
            ids,
            self.columns,
            columns,
            self.plan.names if self.plan.by_class else (),
            counts,
            failed,
            pooled=self._pooled_state(),
            groups=[self.pairing.groups[each] for each in ids] if self.groups else None,
            group_pooled=of_groups,
            conventions=table(self.elsewhere, others),
        )

    def _batches(self) -> tuple[int, int]:
        """How many pairs go together, and how many such batches may be under way."""
        workers = self.settings.readers
        if self.plan.pixels:
            return self._at_a_time(), 2 * workers
        fair = -(-len(self.pairs) // (4 * workers))
        size = max(1, min(self.settings.batch_size, fair))
        several = 1 if self.plan.task == "multiclass" else self.plan.channels
        table = 4 * self.plan.cells * several
        if self.plan.sparse:
            size = max(1, min(size, AHEAD_BYTES // (2 * workers * table)))
        return size, max(2 * workers, AHEAD_BYTES // (size * table))

    def _at_a_time(self) -> int:
        """How many pairs of pixels are read together: several where a GPU makes their features."""
        deep = any(map(needed, self.terms))
        alone = self.settings.likely_device == "cpu" or not deep
        return 1 if alone else min(self.settings.batch_size, TOGETHER)

    def _extraction(self, device: str) -> Extraction | None:
        """The networks of the run's losses, with their weights."""
        if not any(map(needed, self.terms)):
            return None
        from lossbench.run.features import Extraction

        return Extraction(self.terms, self.settings.weights, self.settings.offline, device)

    def _evaluated(self, start: int, chunk: Chunk) -> list[tuple[Chunk, Rows]]:
        """A chunk with its rows; in parts where a loss refuses a sample, so that only it fails."""
        device = self.device.result()
        from lossbench.run.evaluate import Rows, evaluate_parts

        try:
            return evaluate_parts(self.plan, self.terms, device, chunk, self.extraction)
        except InputError as error:
            if len(chunk.places) > 1:
                return [each for part in chunk.apart() for each in self._evaluated(start, part)]
            (place,) = chunk.places
            sources = self.pairs[start + place].sources
            role = error.role if error.role in sources else "pred"
            error.located(role, label(sources[role][0]))
            failure = Failure(error.role, error.file, error.kind, str(error), error.loss)
            failures = (*chunk.failures, (place, failure))
            return [(Chunk((), None, (), chunk.sizes[:0], failures), Rows())]

    def _take(self, start: int, chunk: Chunk, rows: Rows) -> None:
        places = np.array(chunk.places, np.int64) + start
        for place, failure in chunk.failures:
            pair = self.pairs[start + place]
            self.failed.append(
                Failed(
                    pair.id,
                    failure.role,
                    failure.file,
                    failure.kind,
                    failure.message,
                    failure.loss,
                )
            )
        if self.groups:
            self.groups.add(start, chunk, rows)
        if not len(places):
            return
        self.good[places] = True
        if self.gathering:
            self.kept |= {
                int(place): sample
                for place, sample in zip(places, chunk.pixels, strict=True)
                if isinstance(sample, Record)
            }
        for term, values in rows.values.items():
            self.values[term][places] = values
        for term, classes in rows.classes.items():
            self._class_rows(term, classes.shape[1])[places] = classes
        if rows.unfinished:
            self.unfinished.append(rows)
        self.sums.add(rows.states)
        rows.states = {}
        if chunk.tables is not None:
            self.tables.add(chunk.tables, chunk.sizes)

    def _groups(self) -> GroupPools | None:
        """A pool for each group, where there are groups."""
        if not self.pairing.groups:
            return None

        def value(tables: TablePool, sums: SumPool) -> Pooled:
            from lossbench.run.evaluate import pooled

            return pooled(self.plan, self.options, self.device.result(), tables, sums)

        groups = [self.pairing.groups[pair.id] for pair in self.pairs]
        return GroupPools(groups, value, wait=any(term.automatic for term in self.terms))

    def _group_columns(self, ids: Sequence[str], worst: Sequence[str]) -> dict[str, Values]:
        """By column: the value of each group's pixels as one, groups sorted.

        It is undefined where a missing prediction counts as the worst possible value.
        """
        if not self.groups:
            return {}
        of = self.pairing.groups
        terms = self.groups.finish(
            sorted({of[each] for each in (*ids, *worst)}),
            {of[each] for each in worst},
            {term: len(self.plan.names) if term in self.classes else 0 for term in self.terms},
        )
        return {column.name: combine(column, terms) for column in self.columns}

    def _class_rows(self, term: Term, classes: int) -> Array:
        if term not in self.classes:
            self.classes[term] = np.full((len(self.pairs), classes), math.nan)
        return self.classes[term]

    def _progress(self, start: int, end: int) -> Progress:
        good = np.flatnonzero(self.good[start:end]) + start
        terms = {term: (values[good], None, math.nan, None) for term, values in self.values.items()}
        values = {
            column.name: combine(column, terms).samples
            for column in self.columns
            if not any(term.automatic or term.gathers for term in column.terms)
        }
        for name, numbers in values.items():
            defined = [number for number in numbers if not math.isnan(number)]
            total, count = self.running.get(name, (0.0, 0))
            self.running[name] = total + sum(defined), count + len(defined)
        means = {name: total / count for name, (total, count) in self.running.items() if count}
        ids = [self.pairs[place].id for place in good]
        return Progress(end, len(self.pairs), ids, values, means)

    def _unpaired(self) -> tuple[list[Failed], list[str]]:
        """All that failed, sorted by id, and the ids that count as the worst possible value."""
        settings, failed, worst = self.settings, list(self.failed), []
        for each in self.pairing.unpaired:
            policies = {("missing", "pred"): settings.missing, ("extra", "target"): settings.extra}
            policy = policies.get((each.kind, each.role), "error")
            if policy == "worst":
                worst.append(each.id)
            elif policy != "skip":
                failed.append(Failed(each.id, each.role, each.file, each.kind, each.message))
        return sorted(failed, key=lambda each: each.id), worst

    def _add_worst(self, ids: list[str], rows: Sequence[Values], worst: Sequence[str]) -> list[str]:
        """Missing predictions as rows at the bad end of the range; nothing is pooled with them."""
        every = [*ids, *worst]
        order = sorted(range(len(every)), key=every.__getitem__)

        def filled(row: Sequence[float], value: float) -> list[float]:
            longer = [*row, *[value] * len(worst)]
            return [longer[place] for place in order]

        columns = [*self.columns, *(each.column for each in self.elsewhere)]
        for column, values in zip(columns, rows, strict=True):
            values.samples = filled(values.samples, column.worst)
            values.classes = [filled(row, column.worst) for row in values.classes]
            values.pooled, values.pooled_classes = math.nan, [math.nan] * len(values.classes)
        return [every[place] for place in order]

    def _pooled_state(self) -> dict[str, Any]:
        """What adds up over shards: tables of counts, or exact sums."""
        found: dict[str, Any] = {}
        if self.plan.counted:
            found = {"pixels": self.tables.pixels, "tables": self.tables.as_json(self.plan)}
        return {**found, "sums": self.sums.as_json()} if self.plan.pixels else found


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which finds nothing in what an import makes."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
