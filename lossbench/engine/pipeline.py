"""One pass over the pairs of a run: read them, evaluate them, collect partial results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from lossbench.catalog.columns import Term
from lossbench.catalog.feature_needs import required_features
from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import label
from lossbench.engine.backend import backend
from lossbench.engine.batching import (
    PairRange,
    Read,
    ReadBatch,
    Scored,
    in_order,
    join_batches,
    split_ranges,
)
from lossbench.engine.fingerprints import stamp
from lossbench.engine.progress import ProgressReporter
from lossbench.engine.settings import Settings
from lossbench.engine.state.group_accumulators import Grouping
from lossbench.engine.state.loaded_batch import LoadedBatch, load_batch
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError, PairError

if TYPE_CHECKING:
    from lossbench.engine.compute.feature_batches import Extraction

MIN_PAIRS_FOR_PROCESSES = 200  # threads read fewer pairs before a child process has started
PART_PAIRS, PART_SECONDS = 2048, 1.0  # limits of a partial result
GPU_PAIRS = 16  # pairs that go to a GPU together, at most
DETECTION_PAIRS = 1024  # pairs of boxes that are matched together, at most
READ_PAIRS = 128  # pairs of counts that are read together, at most
TABLE_CELLS = 1 << 18  # of the tables that are evaluated together: an evaluation has a fixed cost
AHEAD_BYTES = 1 << 26  # tables that wait while torch is being imported, or pixels for a GPU

AddPart = Callable[[PartialResult], None]


class PassInfo(NamedTuple):
    """Where a pass computed, and the hashes of its weights."""

    device: str
    weights: Mapping[str, str] | None


class BatchSizes(NamedTuple):
    """The greatest sizes of the batches of a pass."""

    read: int  # pairs that are read together
    ahead: int  # batches that are being read or wait
    evaluate: int  # pairs that are evaluated together; 0 where each reader evaluates its own batch
    least: int | None = None  # pairs that are read together, where not a share of those left


@dataclass(eq=False)
class Pipeline:
    """Reads and evaluates the pairs of a run."""

    plan: Plan
    terms: Sequence[Term]
    settings: Settings
    grouping: Grouping | None = None
    stamped: bool = False  # whether partial results record the state of their files
    start_method: str | None = None  # of child processes that read; None reads in threads
    device: Future[str] = field(default_factory=Future, init=False)
    extraction: Extraction | None = field(default=None, init=False)  # networks of deep losses

    def run(
        self,
        ranges: Sequence[PairRange],
        add_part: AddPart,
        reporter: ProgressReporter | None = None,
    ) -> PassInfo:
        """Read while torch is imported where a loss needs it, then evaluate batches as they arrive.

        Partial results are added in their order, also those before an error.
        """
        sizes, readers = self._batch_sizes(), self.settings.readers
        tasks = split_ranges(ranges, sizes.read, readers, sizes.least)
        count = sum(len(pairs) for _, pairs in ranges)
        reader: AbstractContextManager[Read]
        if self.start_method and count >= MIN_PAIRS_FOR_PROCESSES and not self.plan.pixels:
            from lossbench.engine.reader_pool import process_reader

            # A process has its next batch at once where two threads wait for it.
            reader, threads = process_reader(readers, self.start_method), 2 * readers
        else:
            reader, threads = nullcontext(load_batch), readers

        builder = PartBuilder(add_part, self.grouping)
        gathers = any(term.gathers for term in self.terms)
        with reader as read:

            def read_batch(task: PairRange) -> ReadBatch:
                first, pairs = task
                files = stamp(pairs) if self.stamped else b""
                batch = read(self.plan, pairs)
                scores = None if sizes.evaluate else self._evaluate(pairs, batch)
                return ReadBatch(first, pairs, files, batch, scores)

            results = in_order(read_batch, tasks, threads, sizes.ahead)
            try:
                first_result = list(islice(results, 1))  # starts the readers before the import
                from lossbench.engine.compute.evaluate import import_losses

                import_losses(self.terms)
                with self._computing() as device:
                    self.extraction = self._extraction(device)
                    self.device.set_result(device)
                    batches = join_batches(chain(first_result, results), sizes.evaluate, sizes.read)
                    for batch in batches:
                        scored = batch.evaluated or self._evaluate(batch.pairs, batch.loaded)
                        part = builder.add(batch, scored, keep=gathers)
                        if reporter:
                            reporter.report(part, batch.first, batch.pairs)
                hashes = self.extraction.networks.hashes if self.extraction else None
                return PassInfo(device, hashes)
            finally:
                self.device.cancel()  # wakes threads that wait for a device that was not found
                results.close()
                builder.end_part()

    @contextmanager
    def _computing(self) -> Iterator[str]:
        """The device, with torch prepared for it where a loss needs torch."""
        if not any(backend(self.plan, term) == "torch" for term in self.terms):
            yield "cpu"
            return
        from lossbench.engine.compute.device import one_thread, pick_device

        with one_thread():
            yield pick_device(self.settings.device)

    def _batch_sizes(self) -> BatchSizes:
        """Batches that keep the readers busy and fit into memory."""
        workers = self.settings.readers
        if self.plan.task == "detection":
            is_read = not self.plan.pred.tensors  # one file lists the boxes of all samples
            least = DETECTION_PAIRS if is_read else None
            return BatchSizes(DETECTION_PAIRS, 2 * workers, 0, least)
        if self.plan.pixels:
            return BatchSizes(self._pixel_pairs(), 2 * workers, 0)
        tables = 1 if self.plan.task == "multiclass" else self.plan.channels
        cells = self.plan.cells * tables
        read = min(READ_PAIRS, self.settings.batch_size)
        if self.plan.sparse:
            read = max(1, min(read, AHEAD_BYTES // (8 * workers * cells)))
        ahead = max(2 * workers, AHEAD_BYTES // (4 * read * cells))
        evaluate = min(self.settings.batch_size, max(read, TABLE_CELLS // cells))
        return BatchSizes(read, ahead, 0 if self.plan.sparse else evaluate)

    def _pixel_pairs(self) -> int:
        """The number of pairs of pixels that are read together: several small ones for a GPU."""
        if self.settings.likely_device == "cpu":
            return 1
        small = AHEAD_BYTES // max(1, self.plan.stored)
        return max(1, min(self.settings.batch_size, small, GPU_PAIRS))

    def _extraction(self, device: str) -> Extraction | None:
        """The networks of the run's losses, with their weights."""
        if not any(map(required_features, self.terms)):
            return None
        from lossbench.engine.compute.feature_batches import Extraction

        return Extraction(self.terms, self.settings.weights, self.settings.offline, device)

    def _evaluate(self, pairs: Sequence[Pair], batch: LoadedBatch) -> Scored:
        """A batch with its scores, split where a loss refuses a sample, so that only it fails."""
        device = self.device.result()
        from lossbench.engine.compute.evaluate import evaluate_parts
        from lossbench.engine.state.scores import BatchScores

        try:
            return evaluate_parts(self.plan, self.terms, device, batch, self.extraction)
        except InputError as error:
            if len(batch.indices) > 1:
                return [each for part in batch.split() for each in self._evaluate(pairs, part)]
            (index,) = batch.indices
            failed = {term for term in self.terms if self._refuses(term, batch)}
            others = [term for term in self.terms if term not in failed]
            pair = pairs[index]
            role = error.role if error.role in pair.sources else "pred"
            error.located(role, label(pair.sources[role][0]))
            if lost := sorted({term.name for term in failed} - {error.loss}):
                error.message += f"; the pair has no {', '.join(lost)} either"
            errors = (*batch.errors, PairError.of(error, pair.id))
            if not others:
                none = LoadedBatch((), None, (), batch.sizes[:0], errors, evidence=batch.evidence)
                return [(none, BatchScores())]
            *first, (part, scores) = evaluate_parts(
                self.plan, others, device, replace(batch, errors=()), self.extraction
            )
            return [*first, (replace(part, errors=errors), scores)]

    def _refuses(self, term: Term, batch: LoadedBatch) -> bool:
        """Whether a loss has no value of the only sample of a batch."""
        from lossbench.engine.compute.evaluate import evaluate_parts

        try:
            evaluate_parts(self.plan, [term], self.device.result(), batch, self.extraction)
        except InputError:
            return True
        return False


class PartBuilder:
    """Collects batches into partial results, each of which is added when it is full or old."""

    def __init__(self, add_part: AddPart, grouping: Grouping | None) -> None:
        self.add_part, self.grouping = add_part, grouping
        self.current: PartialResult | None = None
        self.stop, self.started, self.files = 0, 0.0, sha256()
        self.whole = True  # no batch was interrupted while it was added to the current part

    def add(self, batch: ReadBatch, scored: Scored, keep: bool) -> PartialResult:
        """Add a batch to the current part, or to a new one; `keep` also keeps its samples."""
        first, stop = batch.first, batch.first + len(batch.pairs)
        if self.current and (first != self.stop or stop > self.current.stop):
            self.end_part()
        part = self.current
        if part is None:
            part = PartialResult.empty(first, max(stop, first + PART_PAIRS), self.grouping)
            self.current, self.stop = part, first
            self.started, self.files = time.monotonic(), sha256()
        self.whole = False
        for loaded, scores in scored:
            part.add(first, batch.pairs, loaded, scores, keep)
        self.files.update(batch.files)
        self.stop, self.whole = stop, True
        if time.monotonic() - self.started > PART_SECONDS:
            self.end_part()
        return part

    def end_part(self) -> None:
        """Add the current part, except one that was interrupted within a batch."""
        part, self.current = self.current, None
        if part and self.whole and self.stop > part.start:
            part.cut(self.stop)
            part.files = self.files.hexdigest()
            self.add_part(part)
