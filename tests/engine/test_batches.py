"""Pairs in batches: all of them once, in their order, and small ones where workers would wait."""

from __future__ import annotations

from concurrent.futures import Future
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.engine import batching as module
from lossbench.engine.batching import MIN_BATCH, ReadBatch, join_batches, split_ranges
from lossbench.engine.state.loaded_batch import LoadedBatch
from lossbench.errors import PairError

Lengths = st.lists(st.integers(1, 400), max_size=4)


def ranges(lengths: list[int]) -> list[tuple[int, list[int]]]:
    """Ranges of so many pairs with a gap between them; a pair is its place."""
    found, start = [], 0
    for length in lengths:
        found.append((start, list(range(start, start + length))))
        start += length + 1
    return found


@settings(deadline=None)
@given(Lengths, st.integers(1, 130), st.integers(1, 9))
def test_every_pair_is_in_one_batch_in_its_order(lengths, most, workers):
    given_ranges = ranges(lengths)
    made = list(split_ranges(given_ranges, most, workers))
    assert [pair for _, pairs in made for pair in pairs] == [
        pair for _, pairs in given_ranges for pair in pairs
    ]
    assert all(first == pairs[0] and len(pairs) <= most for first, pairs in made)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 9))
def test_workers_come_to_the_end_at_about_the_same_time(count, workers):
    """Where all pairs take as long, nobody waits for longer than a small batch takes."""
    busy = [0] * workers
    for _, pairs in split_ranges(ranges([count]), 128, workers):
        heappush(busy, heappop(busy) + len(pairs))
    assert max(busy) - min(busy) <= MIN_BATCH


def test_batches_are_full_until_the_end_is_near():
    sizes = [len(pairs) for _, pairs in split_ranges(ranges([5000]), 128, 2)]
    assert sizes[:36] == [128] * 36  # then a quarter of the 392, 294, 220 … that are left
    assert sizes[36:] == [98, 74, 55, 42, 31, 23, 18, 16, 16, 16, 3]


def read(first: int, pairs: list[Any]) -> Future[ReadBatch]:
    """A batch that has been read: every third pair has failed, others count their own place."""
    good = [place for place, pair in enumerate(pairs) if pair % 3]
    errors = (
        PairError(str(pair), "pred", "a.png", "unreadable", "is damaged")
        for pair in pairs
        if pair % 3 == 0
    )
    chunk = LoadedBatch(
        tuple(good),
        np.array([[[pairs[place]]] for place in good], np.uint32) if good else None,
        (),
        np.array([pairs[place] for place in good], np.int64),
        tuple(errors),
    )
    future: Future[ReadBatch] = Future()
    future.set_result(ReadBatch(first, pairs, bytes(pair % 251 for pair in pairs), chunk, None))
    return future


@settings(deadline=None)
@given(Lengths, st.integers(1, 130), st.integers(1, 600))
def test_batches_that_follow_each_other_are_evaluated_together(lengths, step, most):
    tasks = list(split_ranges(ranges(lengths), step, 2))
    found = list(join_batches([read(*task) for task in tasks], most, step))
    every = [pair for _, pairs in tasks for pair in pairs]
    assert [pair for each in found for pair in each.pairs] == every
    assert b"".join(each.files for each in found) == bytes(pair % 251 for pair in every)
    assert all(len(each.pairs) <= max(most, step) for each in found)
    for each in found:
        chunk = each.loaded
        assert each.pairs[0] == each.first
        good = [each.pairs[place] for place in chunk.indices]
        assert good == [pair for pair in each.pairs if pair % 3]
        assert chunk.sizes.tolist() == good
        assert (chunk.tables.ravel().tolist() if chunk.tables is not None else []) == good
        failed = [int(error.id) for error in chunk.errors]
        assert failed == [pair for pair in each.pairs if pair % 3 == 0]
    for one, other in pairwise(found):  # there was a gap, or no room
        stop = one.first + len(one.pairs)
        assert other.first > stop or len(one.pairs) + step > most


def test_nothing_waits_long_for_what_is_not_read_yet(monkeypatch):
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.0)
    later: Future[ReadBatch] = Future()
    found = join_batches([read(0, [0, 1]), read(2, [2]), later], 100, 10)
    assert next(found).pairs == [0, 1, 2]
    later.set_result(read(3, [3]).result())
    assert next(found).pairs == [3]


def test_what_readers_evaluate_comes_as_it_is():
    futures = [read(0, [0, 1]), read(2, [2])]
    assert list(join_batches(futures, 0, 10)) == [future.result() for future in futures]


def test_what_was_read_before_a_failure_comes_first():
    failed: Future[ReadBatch] = Future()
    failed.set_exception(OSError("gone"))
    found = join_batches([read(0, [0, 1]), read(2, [2]), failed], 100, 10)
    assert next(found).pairs == [0, 1, 2]
    with pytest.raises(OSError, match="gone"):
        next(found)
