"""Batches of pairs: split for the readers, read in order, and joined for the evaluation."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.engine.state.loaded_batch import LoadedBatch

if TYPE_CHECKING:
    from lossbench.engine.state.scores import BatchScores

MIN_BATCH = 16  # pairs of the last batches of a run: a smaller batch is not worth its transfer
WAIT_SECONDS = 0.5  # for batches that can be evaluated together with the ones that wait

Scored: TypeAlias = "list[tuple[LoadedBatch, BatchScores]]"  # a batch, perhaps in several parts
Read = Callable[[Plan, Sequence[Pair]], LoadedBatch]
Result = TypeVar("Result")
Item = TypeVar("Item")
PairRange = tuple[int, Sequence[Pair]]  # the index of the first pair, and the pairs


class ReadBatch(NamedTuple):
    """Pairs that have been read, and evaluated where the readers do that."""

    first: int  # the index of the first pair
    pairs: Sequence[Pair]  # those with an error among them
    files: bytes  # the state of their files, where it is recorded
    loaded: LoadedBatch
    evaluated: Scored | None  # where the reader has evaluated it


def split_ranges(
    ranges: Sequence[PairRange], max_pairs: int, workers: int, min_pairs: int | None = None
) -> Iterator[PairRange]:
    """Ranges of pairs in batches, which shrink towards the end so that no worker waits long."""
    left = sum(len(pairs) for _, pairs in ranges)
    min_pairs = min_pairs or min(MIN_BATCH, fair_share(left, workers))
    for first, pairs in ranges:
        start = 0
        while start < len(pairs):
            size = min(max_pairs, max(min_pairs, fair_share(left, workers)), len(pairs) - start)
            yield first + start, pairs[start : start + size]
            start, left = start + size, left - size


def in_order(
    work: Callable[[Item], Result], tasks: Iterable[Item], workers: int, ahead: int
) -> Generator[Future[Result], None, None]:
    """The results of tasks in their order, computed by threads.

    Up to `ahead` of them are begun before the first one is taken.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) >= ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def join_batches(
    futures: Iterable[Future[ReadBatch]], max_pairs: int, batch_pairs: int
) -> Iterator[ReadBatch]:
    """Batches that follow each other as one, unless one of them would wait long.

    Joined batches have up to `max_pairs`, batches that are read up to `batch_pairs`.
    """
    group: list[ReadBatch] = []
    count, until = 0, 0.0
    for future in futures:
        if group:
            ready = wait([future], max(0.0, until - time.monotonic())).done
            whole = ready and not future.exception()  # an error loses no batch before it
            if not whole or future.result().first != group[0].first + count:
                yield _join(group)
                group = []
        batch = future.result()
        if not group:
            count, until = 0, time.monotonic() + WAIT_SECONDS
        group.append(batch)
        count += len(batch.pairs)
        if count + batch_pairs > max_pairs:
            yield _join(group)
            group = []
    if group:
        yield _join(group)


def _join(group: Sequence[ReadBatch]) -> ReadBatch:
    """Batches that follow each other as one."""
    first, *others = group
    if not others:
        return first
    return ReadBatch(
        first.first,
        [pair for batch in group for pair in batch.pairs],
        b"".join(batch.files for batch in group),
        LoadedBatch.joined([each.loaded for each in group], [len(each.pairs) for each in group]),
        None,
    )


def fair_share(count: int, workers: int) -> int:
    """Half of a worker's share of the pairs that are left, so that all end at about one time."""
    return -(-count // (2 * workers))
