"""Reading in child processes, where many small files would wait for each other in threads.

A child process decodes and counts. It never imports torch, and it does not wait for the
interpreter lock while its parent process imports torch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process

import numpy as np
from PIL import Image

from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import label
from lossbench.engine.batching import Read
from lossbench.engine.state.loaded_batch import LoadedBatch, load_batch
from lossbench.errors import LossbenchError, PairError
from lossbench.runtime.allocator import keep_buffers

MAX_PROCESSES = 61  # of an executor on Windows
CHECK_SECONDS = 2.0  # between checks of a pool whose child processes may have crashed


class ReaderPool:
    """Child processes that read batches; one that crashes breaks the pool.

    A process is forked on Linux only, while it has one thread and no torch: a lock that another
    thread holds would never be released in the copy.
    """

    def __init__(self, workers: int, start_method: str) -> None:
        threads = threading.active_count() > 1 or "torch" in sys.modules
        if start_method == "fork" and (threads or sys.platform != "linux"):
            start_method = "spawn"
        workers = min(workers, MAX_PROCESSES)
        self.executor = ProcessPoolExecutor(
            workers, get_context(start_method), _prepare_child, (Image.MAX_IMAGE_PIXELS,)
        )
        self.started = self.executor.submit(os.getpid)
        with suppress(BrokenProcessPool):
            for _ in range(workers - 1):  # an executor starts its processes as it gets tasks
                self.executor.submit(os.getpid)

    def load(self, plan: Plan, pairs: Sequence[Pair]) -> LoadedBatch:
        """Read a batch in a child process.

        Raises:
            BrokenProcessPool: a child process crashed.
            LossbenchError: the first one crashed before it read anything.
        """
        try:
            self.started.result()
        except BrokenProcessPool:
            raise LossbenchError(
                "child processes that read files crash as soon as they are started; a script that"
                ' asks for them needs `if __name__ == "__main__":` around its work'
            ) from None
        future = self.executor.submit(load_batch, plan, pairs)
        while not wait([future], CHECK_SECONDS).done:
            # Before Python 3.12, a task that is submitted while an executor breaks is never
            # finished. A broken executor refuses the next task.
            self.executor.submit(os.getpid)
        return future.result()


@contextmanager
def process_reader(workers: int, start_method: str) -> Iterator[Read]:
    """A function that reads a batch in one of several child processes.

    The batches that are lost when a child process crashes are read again pair by pair, so that
    only the pair that crashes its reader becomes an error.
    """
    pool, replacing, finished = ReaderPool(workers, start_method), threading.Lock(), False

    def read(plan: Plan, pairs: Sequence[Pair]) -> LoadedBatch:
        nonlocal pool
        current = pool
        try:
            return current.load(plan, pairs)
        except BrokenProcessPool:
            with replacing:
                if pool is current:
                    pool = ReaderPool(workers, "spawn")
            return _load_singly(plan, pairs)

    try:
        yield read
        finished = True
    finally:
        pool.executor.shutdown(wait=finished, cancel_futures=True)


def _load_singly(plan: Plan, pairs: Sequence[Pair]) -> LoadedBatch:
    """Read pairs one at a time in a process of their own; a pair that crashes it is an error."""
    batches, pool = list[LoadedBatch](), None
    for pair in pairs:
        try:
            pool = pool or ReaderPool(1, "spawn")
            batches.append(pool.load(plan, [pair]))
        except BrokenProcessPool:
            pool = None
            file = label(pair.sources["pred"][0])
            message = f"{file} or its ground truth ends the process that reads it"
            error = PairError(pair.id, "pred", file, "unreadable", message)
            batches.append(LoadedBatch((), None, (), np.array([], np.int64), (error,)))
    if pool:
        pool.executor.shutdown()
    return LoadedBatch.joined(batches, [1] * len(batches))


def _prepare_child(pixel_limit: int | None) -> None:
    """Set up a child process, which ends with its parent process and reads the same pictures."""
    Image.MAX_IMAGE_PIXELS = pixel_limit
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    keep_buffers()

    def end_with_parent() -> None:  # also with one that was killed
        if parent := parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
