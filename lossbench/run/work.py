"""One pass over pairs: read, evaluate, hand on in parts."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from lossbench.columns import Column, Term
from lossbench.data.pairs import Pair
from lossbench.data.places import label
from lossbench.data.plan import Plan
from lossbench.data.sample import Failure
from lossbench.data.stamp import stamp
from lossbench.errors import InputError
from lossbench.networks import needed
from lossbench.results import combine
from lossbench.run.groups import Grouping
from lossbench.run.part import Part
from lossbench.run.reader import WORTH_PROCESSES, Chunk, in_order, read_chunk, reader
from lossbench.run.settings import Settings
from lossbench.run.worth import TRIED, Trial

if TYPE_CHECKING:
    from lossbench.run.evaluate import Rows
    from lossbench.run.features import Extraction

TOGETHER = 16  # pairs that go to a GPU together
READ = 128  # pairs that a reader is given at a time
FEWEST = 16  # near the end of a run: what a reader is given should be worth handing over
NUMBERS = 1 << 18  # of the tables that are evaluated together: what they cost beside is shared
WAIT_SECONDS = 0.5  # how long counted pairs wait for others to be evaluated with
AHEAD_BYTES = 1 << 26  # tables that may wait while torch is being imported; pairs for a GPU
PART_PAIRS, PART_SECONDS = 2048, 1.0  # what is handed on together, at most
Take = Callable[[Part], None]
Task = tuple[int, Sequence[Pair]]  # the place of the first pair, and the pairs


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

    def step(self, part: Part, first: int, pairs: Sequence[Pair]) -> None:
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


class Ended(NamedTuple):
    """What a pass was like: where it computed, the hashes of the weights, what to say of it."""

    device: str
    weights: Mapping[str, str] | None
    remark: str = ""


class Read(NamedTuple):
    """Pairs that have been read, and evaluated where readers do that."""

    first: int  # the place of the first one
    pairs: Sequence[Pair]
    files: bytes  # what tells whether they change
    chunk: Chunk
    evaluated: list[tuple[Chunk, Rows]] | None


class Work:
    """Reads and evaluates pairs of a run.

    Args:
        plan: how bytes become numbers.
        terms: what is computed.
        settings: workers, batches, device and weights.
        grouping: the groups of the samples, where there are groups.
        confined: whether only this process can read the files.
        stamped: whether parts say what their files were.
        weighed: whether a GPU is held against the CPU.
    """

    def __init__(
        self,
        plan: Plan,
        terms: Sequence[Term],
        settings: Settings,
        grouping: Grouping | None = None,
        *,
        confined: bool = False,
        stamped: bool = False,
        weighed: bool = False,
    ) -> None:
        self.plan, self.terms, self.settings = plan, terms, settings
        self.grouping, self.confined = grouping, confined
        self.stamped, self.weighed = stamped, weighed
        self.gathers = any(term.gathers for term in terms)
        self.device: Future[str] = Future()
        self.extraction: Extraction | None = None  # of features, where a loss compares some

    def go(self, ranges: Sequence[Task], take: Take, watch: Watch | None = None) -> Ended:
        """Read while torch is being imported, then evaluate what has been read.

        Args:
            ranges: pairs to evaluate.
            take: gets what they came to, in their order, also where not all can be finished.
            watch: is told of each batch.
        """
        count = sum(len(pairs) for _, pairs in ranges)
        counts_only = not self.plan.pixels
        many = counts_only and not self.confined and count >= WORTH_PROCESSES
        most, ahead, together = self._batches()
        tasks = batches(ranges, most, self.settings.readers)

        handing = Handing(take, self.grouping)
        with reader(self.plan, self.settings.readers if many else 0) as read:

            def work(task: Task) -> Read:
                first, pairs = task
                files = stamp(pairs) if self.stamped else b""
                chunk = read(pairs)
                rows = None if together else self._evaluated(pairs, chunk)
                return Read(first, pairs, files, chunk, rows)

            chunks = in_order(work, tasks, self.settings.readers, ahead)
            trial = None
            try:
                begun = [each for each in [next(chunks, None)] if each]  # reading has begun
                with _no_collection():  # torch is a second or two, a fifth of it the collector's
                    from lossbench.run.evaluate import get_ready, one_thread, pick_device

                    get_ready(self.terms)
                started = time.perf_counter()
                with one_thread():
                    trial = self._trial(ranges)
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
                seconds = time.perf_counter() - started
                remark = trial.remark(device, seconds) if trial and device != "cpu" else ""
                hashes = self.extraction.networks.hashes if self.extraction else None
                return Ended(device, hashes, remark)
            finally:
                if trial:
                    trial.over = True
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
        if not any(map(needed, self.terms)):
            return None
        from lossbench.run.features import Extraction

        return Extraction(self.terms, self.settings.weights, self.settings.offline, device)

    def _trial(self, ranges: Sequence[Task]) -> Trial | None:
        """The CPU at one of the samples, where all of them may go to a GPU."""
        weighed = self.weighed and self.plan.pixels and ranges
        if not weighed or self.settings.likely_device == "cpu":
            return None
        from lossbench.run.evaluate import evaluate_parts

        @cache
        def extraction() -> Extraction | None:
            if any(map(needed, self.terms)):
                self.device.result()  # by then the weights are on this machine
            return self._extraction("cpu")

        def evaluate(pair: Pair) -> bool:
            chunk = read_chunk(self.plan, [pair])
            evaluate_parts(self.plan, self.terms, "cpu", chunk, extraction())
            return bool(chunk.places)

        pairs = max((some for _, some in ranges), key=len)
        middle = len(pairs) // 2
        count = sum(len(some) for _, some in ranges)
        trial = Trial(count, self.settings.readers, pairs[middle : middle + TRIED], evaluate)
        trial.start()
        return trial

    def _evaluated(self, pairs: Sequence[Pair], chunk: Chunk) -> list[tuple[Chunk, Rows]]:
        """A chunk with its rows; in parts where a loss refuses a sample, so that only it fails."""
        device = self.device.result()
        from lossbench.run.evaluate import Rows, evaluate_parts

        try:
            return evaluate_parts(self.plan, self.terms, device, chunk, self.extraction)
        except InputError as error:
            if len(chunk.places) > 1:
                return [each for part in chunk.apart() for each in self._evaluated(pairs, part)]
            (place,) = chunk.places
            sources = pairs[place].sources
            role = error.role if error.role in sources else "pred"
            error.located(role, label(sources[role][0]))
            failure = Failure(error.role, error.file, error.kind, str(error), error.loss)
            failures = (*chunk.failures, (place, failure))
            return [(Chunk((), None, (), chunk.sizes[:0], failures), Rows())]


def batches(ranges: Sequence[Task], most: int, workers: int) -> Iterator[Task]:
    """Ranges of pairs in batches of at most so many; fewer at the end, where workers would wait."""
    left = sum(len(pairs) for _, pairs in ranges)
    fewest = min(FEWEST, fair(left, workers))
    for first, pairs in ranges:
        start = 0
        while start < len(pairs):
            size = min(most, max(fewest, fair(left, workers)), len(pairs) - start)
            yield first + start, pairs[start : start + size]
            start, left = start + size, left - size


def joined(futures: Iterable[Future[Read]], most: int, step: int) -> Iterator[Read]:
    """What has been read, several batches as one where they follow each other and none waits long.

    Args:
        futures: the batches in their order, of up to `step` pairs.
        most: pairs that come together, at most.
        step: pairs of a batch, at most.
    """
    group: list[Read] = []
    count, until = 0, 0.0
    for future in futures:
        if group:
            ready = wait([future], max(0.0, until - time.monotonic())).done
            if not ready or future.exception():  # what has been read is not lost with it
                yield _one(group)
                group = []
        read = future.result()
        if group and read.first != group[0].first + count:
            yield _one(group)
            group = []
        if not group:
            count, until = 0, time.monotonic() + WAIT_SECONDS
        group.append(read)
        count += len(read.pairs)
        if count + step > most:
            yield _one(group)
            group = []
    if group:
        yield _one(group)


def _one(group: Sequence[Read]) -> Read:
    """Batches that follow each other as one."""
    first, *others = group
    if not others:
        return first
    return Read(
        first.first,
        [pair for read in group for pair in read.pairs],
        b"".join(read.files for read in group),
        Chunk.joined([read.chunk for read in group], [len(read.pairs) for read in group]),
        None,
    )


def fair(count: int, workers: int) -> int:
    """Half of a worker's share of the pairs that are left, so that all are done at about once."""
    return -(-count // (2 * workers))


class Handing:
    """Gathers batches into parts that are worth handing on."""

    def __init__(self, take: Take, grouping: Grouping | None) -> None:
        self.take, self.grouping = take, grouping
        self.current: Part | None = None
        self.done, self.began, self.files = 0, 0.0, sha256()
        self.whole = True  # whether no batch has been added in part

    def part(self, first: int, count: int) -> Part:
        """The part that a batch belongs to."""
        part = self.current
        if part and (first != self.done or first + count > part.stop):
            self.hand_on()
            part = None
        if part is None:
            part = Part.empty(first, first + max(count, PART_PAIRS), self.grouping)
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


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which finds nothing in what an import makes.

    Neither then nor right after it: what is frozen and thawed counts as old.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.freeze()
            gc.unfreeze()
            gc.enable()
