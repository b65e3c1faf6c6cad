"""Batches of a run's pairs, read in parallel, for whoever needs no losses of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TypeVar

from lossbench.data.pairing.pairs import Pair
from lossbench.engine.batching import PairRange, Read, in_order, split_ranges
from lossbench.engine.pipeline import MIN_PAIRS_FOR_PROCESSES, READ_PAIRS
from lossbench.engine.reader_pool import process_reader
from lossbench.engine.run_spec import RunSpec
from lossbench.engine.state.loaded_batch import LoadedBatch, load_batch

Digest = TypeVar("Digest")


def read_batches(
    run: RunSpec,
    digest: Callable[[LoadedBatch], Digest],
    start_method: str | None = None,
) -> Iterator[tuple[Sequence[Pair], LoadedBatch, Digest]]:
    """Read the pairs of a run in their order, some at a time.

    Args:
        run: the pairs and their plan.
        digest: makes of a batch what is needed of it, in the thread that has read it.
        start_method: of child processes that read many tables; None reads in threads.
    """
    plan, readers = run.plan, run.settings.readers
    pairs = run.pairing.pairs
    method = None if run.pairing.confined or plan.pixels else start_method
    reader: AbstractContextManager[Read] = nullcontext(load_batch)
    workers = readers
    if method and len(pairs) >= MIN_PAIRS_FOR_PROCESSES:
        reader, workers = process_reader(readers, method), 2 * readers
    is_small = plan.task == "detection" or (plan.counted and not (plan.pixels or plan.sparse))
    size = READ_PAIRS if is_small else 1
    with reader as read:

        def load(task: PairRange) -> tuple[Sequence[Pair], LoadedBatch, Digest]:
            batch = read(plan, task[1])
            return task[1], batch, digest(batch)

        tasks = split_ranges([(0, pairs)], size, readers)
        with closing(in_order(load, tasks, workers, 2 * workers)) as futures:
            for future in futures:
                yield future.result()
