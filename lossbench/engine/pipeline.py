"""One pass over pairs: read, evaluate, hand on in parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from lossbench.catalog.columns import Term
from lossbench.catalog.feature_needs import required_features
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import label
from lossbench.engine.batching import PairRange, ReadBatch, batches, joined
from lossbench.engine.fingerprints import stamp
from lossbench.engine.progress import Watch
from lossbench.engine.reader_pool import Read, in_order, process_reader
from lossbench.engine.settings import Settings
from lossbench.engine.state.group_accumulators import Grouping
from lossbench.engine.state.loaded_batch import LoadedBatch, load_batch
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError, PairError

if TYPE_CHECKING:
    from lossbench.engine.compute.feature_batches import Extraction
    from lossbench.engine.state.scores import BatchScores

MIN_PAIRS_FOR_PROCESSES = 200  # threads read fewer before a process has started
PART_PAIRS, PART_SECONDS = 2048, 1.0  # what is handed on together, at most
Take = Callable[[PartialResult], None]


TOGETHER = 16  # pairs that go to a GPU together
READ = 128  # pairs that a reader is given at a time
NUMBERS = 1 << 18  # of the tables that are evaluated together: what they cost beside is shared
AHEAD_BYTES = 1 << 26  # tables that may wait while torch is being imported; pairs for a GPU


class PassInfo(NamedTuple):
    """Where a pass computed, and the hashes of its weights."""

    device: str
    weights: Mapping[str, str] | None


class Pipeline:
    """Reads and evaluates pairs of a run.

    Args:
        plan: how bytes become numbers.
        terms: what is computed.
        settings: workers, batches, device and weights.
        grouping: the groups of the samples, where there are groups.
        stamped: whether parts say what their files were.
        start_method: how child processes are started that read many pairs; None reads in threads.
    """

    def __init__(
        self,
        plan: Plan,
        terms: Sequence[Term],
        settings: Settings,
        grouping: Grouping | None = None,
        *,
        stamped: bool = False,
        start_method: str | None = None,
    ) -> None:
        self.plan, self.terms, self.settings = plan, terms, settings
        self.grouping, self.stamped, self.start_method = grouping, stamped, start_method
        self.gathers = any(term.gathers for term in terms)
        self.device: Future[str] = Future()
        self.extraction: Extraction | None = None  # of features, where a loss compares some

    def go(self, ranges: Sequence[PairRange], take: Take, watch: Watch | None = None) -> PassInfo:
        """Read while torch is being imported, then evaluate what has been read.

        Args:
            ranges: pairs to evaluate.
            take: gets what they came to, in their order, also where not all can be finished.
            watch: is told of each batch.
        """
        count = sum(len(pairs) for _, pairs in ranges)
        readers = self.settings.readers
        most, ahead, together = self._batches()
        tasks = batches(ranges, most, readers)
        reader: AbstractContextManager[Read]
        if self.start_method and count >= MIN_PAIRS_FOR_PROCESSES and not self.plan.pixels:
            reader, threads = process_reader(readers, self.start_method), 2 * readers
        else:
            reader, threads = nullcontext(load_batch), readers

        handing = PartBuilder(take, self.grouping)
        with reader as read:

            def work(task: PairRange) -> ReadBatch:
                first, pairs = task
                files = stamp(pairs) if self.stamped else b""
                chunk = read(self.plan, pairs)
                rows = None if together else self._evaluated(pairs, chunk)
                return ReadBatch(first, pairs, files, chunk, rows)

            chunks = in_order(work, tasks, threads, ahead)
            try:
                begun = [each for each in [next(chunks, None)] if each]  # reading has begun
                from lossbench.engine.compute.device import one_thread, pick_device
                from lossbench.engine.compute.evaluate import import_losses

                import_losses(self.terms)
                with one_thread():
                    device = pick_device(self.settings.device)
                    self.extraction = self._extraction(device)
                    self.device.set_result(device)
                    reads = joined(chain(begun, chunks), together, most)
                    for first, pairs, files, chunk, evaluated in reads:
                        part = handing.part(first, len(pairs))
                        for each, rows in evaluated or self._evaluated(pairs, chunk):
                            part.add(first, pairs, each, rows, self.gathers)
                        handing.finished(first + len(pairs), files)
                        if watch:
                            watch.step(part, first, pairs)
                hashes = self.extraction.networks.hashes if self.extraction else None
                return PassInfo(device, hashes)
            finally:
                self.device.cancel()  # where it was never found, threads wait for it
                chunks.close()
                handing.hand_on()

    def _batches(self) -> tuple[int, int, int]:
        """How many pairs are read together, how many such batches may be under way.

        And how many pairs are evaluated together after that; 0 where readers do it.
        """
        workers = self.settings.readers
        if self.plan.pixels:
            return self._at_a_time(), 2 * workers, 0
        several = 1 if self.plan.task == "multiclass" else self.plan.channels
        cells = self.plan.cells * several
        size = min(READ, self.settings.batch_size)
        if self.plan.sparse:
            size = max(1, min(size, AHEAD_BYTES // (8 * workers * cells)))
        ahead = max(2 * workers, AHEAD_BYTES // (4 * size * cells))
        together = min(self.settings.batch_size, max(size, NUMBERS // cells))
        return size, ahead, 0 if self.plan.sparse else together

    def _at_a_time(self) -> int:
        """How many pairs of pixels are read together: several small ones for a GPU."""
        if self.settings.likely_device == "cpu":
            return 1
        small = AHEAD_BYTES // max(1, self.plan.stored)
        return max(1, min(self.settings.batch_size, small, TOGETHER))

    def _extraction(self, device: str) -> Extraction | None:
        """The networks of the run's losses, with their weights."""
        if not any(map(required_features, self.terms)):
            return None
        from lossbench.engine.compute.feature_batches import Extraction

        return Extraction(self.terms, self.settings.weights, self.settings.offline, device)

    def _evaluated(
        self, pairs: Sequence[Pair], chunk: LoadedBatch
    ) -> list[tuple[LoadedBatch, BatchScores]]:
        """A chunk with its rows; in parts where a loss refuses a sample, so that only it fails."""
        device = self.device.result()
        from lossbench.engine.compute.evaluate import evaluate_parts
        from lossbench.engine.state.scores import BatchScores

        try:
            return evaluate_parts(self.plan, self.terms, device, chunk, self.extraction)
        except InputError as error:
            if len(chunk.indices) > 1:
                return [each for part in chunk.split() for each in self._evaluated(pairs, part)]
            (place,) = chunk.indices
            pair = pairs[place]
            role = error.role if error.role in pair.sources else "pred"
            error.located(role, label(pair.sources[role][0]))
            errors = (*chunk.errors, PairError.of(error, pair.id))
            return [(LoadedBatch((), None, (), chunk.sizes[:0], errors), BatchScores())]


class PartBuilder:
    """Gathers batches into parts that are worth handing on."""

    def __init__(self, take: Take, grouping: Grouping | None) -> None:
        self.take, self.grouping = take, grouping
        self.current: PartialResult | None = None
        self.done, self.began, self.files = 0, 0.0, sha256()
        self.whole = True  # whether no batch has been added in part

    def part(self, first: int, count: int) -> PartialResult:
        """The part that a batch belongs to."""
        part = self.current
        if part and (first != self.done or first + count > part.stop):
            self.hand_on()
            part = None
        if part is None:
            part = PartialResult.empty(first, first + max(count, PART_PAIRS), self.grouping)
            self.current, self.done = part, first
            self.began, self.files = time.monotonic(), sha256()
        self.whole = False
        return part

    def finished(self, stop: int, files: bytes) -> None:
        """A batch is complete, its last pair before this place."""
        self.done, self.whole = stop, True
        self.files.update(files)
        if time.monotonic() - self.began > PART_SECONDS:
            self.hand_on()

    def hand_on(self) -> None:
        """Whatever is complete; a part that was interrupted while it grew is lost."""
        part, self.current = self.current, None
        if part and self.whole and self.done > part.start:
            part.cut(self.done)
            part.files = self.files.hexdigest()
            self.take(part)
