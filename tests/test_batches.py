"""Pairs in batches: all of them once, in their order, and small ones where workers would wait."""

from __future__ import annotations

from heapq import heappop, heappush

from hypothesis import given, settings
from hypothesis import strategies as st

from lossbench.run.work import FEWEST, batches

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
    made = list(batches(given_ranges, most, workers))
    assert [pair for _, pairs in made for pair in pairs] == [
        pair for _, pairs in given_ranges for pair in pairs
    ]
    assert all(first == pairs[0] and len(pairs) <= most for first, pairs in made)


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 9))
def test_workers_come_to_the_end_at_about_the_same_time(count, workers):
    """Where all pairs take as long, nobody waits for longer than a small batch takes."""
    busy = [0] * workers
    for _, pairs in batches(ranges([count]), 128, workers):
        heappush(busy, heappop(busy) + len(pairs))
    assert max(busy) - min(busy) <= FEWEST


def test_batches_are_full_until_the_end_is_near():
    sizes = [len(pairs) for _, pairs in batches(ranges([5000]), 128, 2)]
    assert sizes[:36] == [128] * 36  # then a quarter of the 392, 294, 220 … that are left
    assert sizes[36:] == [98, 74, 55, 42, 31, 23, 18, 16, 16, 16, 3]
