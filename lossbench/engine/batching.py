"""Pairs in batches: as few as keep readers busy, and joined again where they are evaluated."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, NamedTuple

from lossbench.data.pairing.pairs import Pair
from lossbench.engine.state.loaded_batch import LoadedBatch

if TYPE_CHECKING:
    from lossbench.engine.state.scores import BatchScores

FEWEST = 16  # near the end of a run: what a reader is given should be worth handing over
WAIT_SECONDS = 0.5  # how long counted pairs wait for others to be evaluated with
PairRange = tuple[int, Sequence[Pair]]  # the place of the first pair, and the pairs


class ReadBatch(NamedTuple):
    """Pairs that have been read, and evaluated where readers do that."""

    first: int  # the place of the first one
    pairs: Sequence[Pair]
    files: bytes  # what tells whether they change
    chunk: LoadedBatch
    evaluated: list[tuple[LoadedBatch, BatchScores]] | None


def batches(ranges: Sequence[PairRange], most: int, workers: int) -> Iterator[PairRange]:
    """Ranges of pairs in batches of at most so many; fewer at the end, where workers would wait."""
    left = sum(len(pairs) for _, pairs in ranges)
    fewest = min(FEWEST, fair(left, workers))
    for first, pairs in ranges:
        start = 0
        while start < len(pairs):
            size = min(most, max(fewest, fair(left, workers)), len(pairs) - start)
            yield first + start, pairs[start : start + size]
            start, left = start + size, left - size


def joined(futures: Iterable[Future[ReadBatch]], most: int, step: int) -> Iterator[ReadBatch]:
    """What has been read, several batches as one where they follow each other and none waits long.

    Args:
        futures: the batches in their order, of up to `step` pairs.
        most: pairs that come together, at most.
        step: pairs of a batch, at most.
    """
    group: list[ReadBatch] = []
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


def _one(group: Sequence[ReadBatch]) -> ReadBatch:
    """Batches that follow each other as one."""
    first, *others = group
    if not others:
        return first
    return ReadBatch(
        first.first,
        [pair for read in group for pair in read.pairs],
        b"".join(read.files for read in group),
        LoadedBatch.joined([read.chunk for read in group], [len(read.pairs) for read in group]),
        None,
    )


def fair(count: int, workers: int) -> int:
    """Half of a worker's share of the pairs that are left, so that all are done at about once."""
    return -(-count // (2 * workers))
