"""Reading in parallel: threads of this process, each with a child process of its own where it pays.

A child decodes and counts and never imports torch, so it does not wait for the interpreter lock
while the parent imports it. Tasks and answers are pickles on the child's standard streams: no
start-up code of the user's runs twice, and a child ends when its parent does.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lossbench.data.pairing import Pair
from lossbench.data.plan import Plan
from lossbench.data.sample import Counted, Failure, Pixels, make_sample

# Below this many pairs threads are done before child processes have started.
WORTH_PROCESSES = 200
# glibc gives freed image buffers back to the system at once, and asking for them again costs as
# much as counting; a child may keep them.
KEEP_BUFFERS = {"MALLOC_MMAP_THRESHOLD_": str(1 << 26), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}
CHILD = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer);"
    "from lossbench.run.reader import serve; serve()"
)
Result = TypeVar("Result")
Task = TypeVar("Task")


@dataclass(frozen=True)
class Chunk:
    """Some pairs after reading: their tables stacked, or their pixels, and what failed.

    `places` says which pair of the task each sample is.
    """

    places: tuple[int, ...]
    tables: NDArray[np.uint32] | None
    samples: tuple[Pixels, ...]
    pixels: NDArray[np.int64]
    failures: tuple[tuple[int, Failure], ...]


def read_chunk(plan: Plan, pairs: Sequence[Pair]) -> Chunk:
    """Decode some pairs and, where the plan allows it, count them."""
    made = [make_sample(plan, pair) for pair in pairs]
    good = [(place, each) for place, each in enumerate(made) if not isinstance(each, Failure)]
    tables = [each.table for _, each in good if isinstance(each, Counted)]
    return Chunk(
        tuple(place for place, _ in good),
        np.stack(tables).astype(np.uint32) if tables else None,
        tuple(each for _, each in good if isinstance(each, Pixels)),
        np.array([each.pixels for _, each in good], np.int64),
        tuple((place, each) for place, each in enumerate(made) if isinstance(each, Failure)),
    )


@contextmanager
def reader(plan: Plan, processes: bool) -> Iterator[Callable[[Sequence[Pair]], Chunk]]:
    """A function that reads a chunk, in the calling thread or in that thread's child process."""
    if not processes:
        yield lambda pairs: read_chunk(plan, pairs)
        return
    local, children = threading.local(), list[subprocess.Popen[bytes]]()
    over = threading.Event()

    def read(pairs: Sequence[Pair]) -> Chunk:
        if not hasattr(local, "child"):
            local.child = _start(plan)
            children.append(local.child)
        try:
            return _ask(local.child, pairs)
        except (EOFError, OSError, pickle.UnpicklingError):
            if over.is_set():
                raise
            del local.child
            return _one_by_one(plan, pairs)

    try:
        yield read
    finally:
        over.set()
        for child in children:
            child.kill()
            child.wait()


def in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int, ahead: int
) -> Generator[Future[Result], None, None]:
    """The tasks' results in their order, at most `ahead` of them begun and not yet taken."""
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


def serve() -> None:
    """A child's life: a plan, then chunks of pairs until the parent hangs up."""
    plan = pickle.load(sys.stdin.buffer)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not end up between the answers
    while True:
        try:
            pairs = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(read_chunk(plan, pairs), answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _start(plan: Plan) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**KEEP_BUFFERS, **os.environ},
        start_new_session=True,  # Ctrl-C is the parent's to handle
    )
    for message in (sys.path, plan):
        _send(child, message)
    return child


def _send(child: subprocess.Popen[bytes], message: Any) -> None:
    if child.stdin:
        pickle.dump(message, child.stdin, pickle.HIGHEST_PROTOCOL)
        child.stdin.flush()


def _ask(child: subprocess.Popen[bytes], pairs: Sequence[Pair]) -> Chunk:
    _send(child, pairs)
    if not child.stdout:
        raise EOFError
    chunk: Chunk = pickle.load(child.stdout)
    return chunk


def _one_by_one(plan: Plan, pairs: Sequence[Pair]) -> Chunk:
    """After a child has died: each pair in a child of its own, so that one is the culprit."""
    made = []
    for pair in pairs:
        child = _start(plan)
        try:
            made.append(_ask(child, [pair]))
        except (EOFError, OSError, pickle.UnpicklingError):
            file = str(pair.sources["pred"][0])
            message = f"{file} or its ground truth ends the process that reads it"
            failure = Failure("pred", file, "unreadable", message)
            made.append(Chunk((), None, (), np.array([], np.int64), ((0, failure),)))
        finally:
            child.kill()
            child.wait()
    tables = [chunk.tables for chunk in made if chunk.tables is not None]
    return Chunk(
        tuple(place for place, chunk in enumerate(made) if chunk.places),
        np.concatenate(tables) if tables else None,
        tuple(sample for chunk in made for sample in chunk.samples),
        np.concatenate([chunk.pixels for chunk in made]),
        tuple((place, f) for place, chunk in enumerate(made) for _, f in chunk.failures),
    )
