"""Reading in parallel: threads of this process, each with a child process where that pays.

A child decodes and counts and never imports torch, so it does not wait for the interpreter lock
while the parent imports it. Where the parent is a single thread without torch, children are forked
and begin at once; elsewhere they are fresh interpreters, in which no start-up code of the user's
runs twice. Tasks and answers are pickles on two pipes, and a child ends when its parent does.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import IO, Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from lossbench.buffers import keep_buffers
from lossbench.data.cells import Cells
from lossbench.data.counting import Table
from lossbench.data.detections import Detections
from lossbench.data.instances import Joint
from lossbench.data.pairs import Pair
from lossbench.data.places import Source, label
from lossbench.data.plan import Plan
from lossbench.data.records import Record
from lossbench.data.remote import Remote, fetch
from lossbench.data.sample import Failure, Pixels, make_sample

# Below this many pairs threads are done before child processes have paid for themselves.
WORTH_PROCESSES = 200
FETCHED = 16  # pairs whose files at a URL are on their way together
FRESH = (
    "import pickle, sys; questions = sys.stdin.buffer; sys.path[:] = pickle.load(questions);"
    "from lossbench.run.reader import serve; serve(questions)"
)
Result = TypeVar("Result")
Task = TypeVar("Task")


@dataclass(frozen=True)
class Child:
    """A process that reads chunks: where to ask it, where it answers, how to be rid of it."""

    questions: IO[bytes]
    answers: IO[bytes]
    end: Callable[[], None]


@dataclass(frozen=True)
class Chunk:
    """Some pairs after reading: their tables stacked, their pixels, and what failed.

    `places` says which pair of the task each sample is; `sizes` how many pixels it has.
    """

    places: tuple[int, ...]
    tables: NDArray[np.uint32] | tuple[Cells, ...] | None
    pixels: tuple[Pixels | Joint | Record | Detections, ...]
    sizes: NDArray[np.int64]
    failures: tuple[tuple[int, Failure], ...]

    @classmethod
    def joined(cls, chunks: Sequence[Chunk], counts: Sequence[int]) -> Chunk:
        """Chunks of whole tables, of so many pairs each, as one."""
        numbered = list(zip(accumulate(counts, initial=0), chunks, strict=False))
        tables = [each.tables for each in chunks if isinstance(each.tables, np.ndarray)]
        return cls(
            tuple(start + place for start, each in numbered for place in each.places),
            np.concatenate(tables) if tables else None,
            (),
            np.concatenate([each.sizes for each in chunks]),
            tuple((start + place, why) for start, each in numbered for place, why in each.failures),
        )

    def apart(self, groups: Sequence[Sequence[int]] | None = None) -> list[Chunk]:
        """Each group of samples, or each sample, in a chunk of its own; first, what failed."""
        groups = [[row] for row in range(len(self.places))] if groups is None else groups
        return [
            Chunk((), None, (), self.sizes[:0], self.failures),
            *(
                Chunk(
                    tuple(self.places[row] for row in rows),
                    _taken(self.tables, rows),
                    tuple(self.pixels[row] for row in rows) if self.pixels else (),
                    self.sizes[list(rows)],
                    (),
                )
                for rows in groups
            ),
        ]


def read_chunk(plan: Plan, pairs: Sequence[Pair]) -> Chunk:
    """Decode some pairs and, where the plan says so, count them."""
    made = [make_sample(plan, pair) for pair in _near(list(pairs))]
    good = [(place, each) for place, each in enumerate(made) if not isinstance(each, Failure)]
    tables = [each.table for _, each in good if each.table is not None]
    return Chunk(
        tuple(place for place, _ in good),
        _stacked(tables),
        tuple(each.pixels for _, each in good if each.pixels is not None),
        np.array([each.size for _, each in good], np.int64),
        tuple((place, each) for place, each in enumerate(made) if isinstance(each, Failure)),
    )


def _stacked(tables: Sequence[Table | Cells]) -> NDArray[np.uint32] | tuple[Cells, ...] | None:
    """Whole tables in one array; of the cells that occur there are not equally many."""
    whole = [table for table in tables if isinstance(table, np.ndarray)]
    cells = tuple(table for table in tables if isinstance(table, Cells))
    return np.stack(whole).astype(np.uint32) if whole else cells or None


def _taken(tables: Any, rows: Sequence[int]) -> Any:
    """The tables of some samples."""
    if tables is None or isinstance(tables, np.ndarray):
        return tables if tables is None else tables[list(rows)]
    return tuple(tables[row] for row in rows)


def _near(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """The pairs, with what is at a URL fetched some pairs at a time."""
    if not any(isinstance(source, Remote) for source in _sources(pairs)):
        yield from pairs
        return
    for start in range(0, len(pairs), FETCHED):
        some = pairs[start : start + FETCHED]
        far = dict.fromkeys(each for each in _sources(some) if isinstance(each, Remote))
        near = dict(zip(far, fetch(list(far)), strict=True))
        for pair in some:
            sources = {
                role: tuple(near[each] if isinstance(each, Remote) else each for each in files)
                for role, files in pair.sources.items()
            }
            yield replace(pair, sources=sources)


def _sources(pairs: Sequence[Pair]) -> Iterator[Source]:
    return (source for pair in pairs for files in pair.sources.values() for source in files)


@contextmanager
def reader(plan: Plan, children: int) -> Iterator[Callable[[Sequence[Pair]], Chunk]]:
    """A function that reads a chunk: in one of so many child processes, or here if there are none.

    A chunk whose child dies is read again pair by pair, so that one pair is the culprit.
    """
    if not children:
        yield lambda pairs: read_chunk(plan, pairs)
        return
    idle, all_children, over = queue.SimpleQueue[Child](), list[Child](), threading.Event()
    for start in [_fork if _may_fork() else _spawn] * children:
        all_children.append(start(plan))
        idle.put(all_children[-1])

    def read(pairs: Sequence[Pair]) -> Chunk:
        child = idle.get()
        try:
            chunk = _ask(child, pairs)
        except (EOFError, OSError, pickle.UnpicklingError):
            if over.is_set():
                raise
            child = _spawn(plan)
            all_children.append(child)
            chunk = _one_by_one(plan, pairs)
        finally:
            idle.put(child)
        return chunk

    try:
        yield read
    finally:
        over.set()
        for child in all_children:
            child.end()


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


def serve(questions: IO[bytes]) -> NoReturn:
    """A child's life: a plan, then chunks of pairs until the parent hangs up."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not end up between the answers
    keep_buffers()
    gc.freeze()
    with suppress(EOFError, BrokenPipeError):
        plan = pickle.load(questions)
        while True:
            pickle.dump(read_chunk(plan, pickle.load(questions)), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
    os._exit(0)


def _may_fork() -> bool:
    """Whether a copy of this process is sound: no other thread holds a lock in it."""
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules


def _fork(plan: Plan) -> Child:
    """A child that is a copy of this process."""
    (theirs, questions), (answers, ours) = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        os.setsid()  # Ctrl-C is the parent's to handle
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(ours, 1)
        for handle in (questions, answers, ours):
            os.close(handle)
        serve(os.fdopen(theirs, "rb"))
    os.close(theirs)
    os.close(ours)

    def end() -> None:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)

    return _briefed(os.fdopen(questions, "wb"), os.fdopen(answers, "rb"), end, [plan])


def _spawn(plan: Plan) -> Child:
    """A child that is a fresh interpreter."""
    process = subprocess.Popen(
        [sys.executable, "-c", FRESH],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is the parent's to handle
    )

    def end() -> None:
        process.kill()
        process.wait()

    if not process.stdin or not process.stdout:
        raise EOFError
    return _briefed(process.stdin, process.stdout, end, [sys.path, plan])


def _briefed(
    questions: IO[bytes], answers: IO[bytes], end: Callable[[], None], messages: Sequence[Any]
) -> Child:
    child = Child(questions, answers, end)
    for message in messages:
        _send(child, message)
    return child


def _send(child: Child, message: Any) -> None:
    pickle.dump(message, child.questions, pickle.HIGHEST_PROTOCOL)
    child.questions.flush()


def _ask(child: Child, pairs: Sequence[Pair]) -> Chunk:
    _send(child, pairs)
    chunk: Chunk = pickle.load(child.answers)
    return chunk


def _one_by_one(plan: Plan, pairs: Sequence[Pair]) -> Chunk:
    """After a child has died: each pair in a child of its own, so that one is the culprit."""
    made = []
    for pair in pairs:
        child = _spawn(plan)
        try:
            made.append(_ask(child, [pair]))
        except (EOFError, OSError, pickle.UnpicklingError):
            file = label(pair.sources["pred"][0])
            message = f"{file} or its ground truth ends the process that reads it"
            failure = Failure("pred", file, "unreadable", message)
            made.append(Chunk((), None, (), np.array([], np.int64), ((0, failure),)))
        finally:
            child.end()
    tables = [table for chunk in made if chunk.tables is not None for table in chunk.tables]
    return Chunk(
        tuple(place for place, chunk in enumerate(made) if chunk.places),
        _stacked(tables),
        tuple(pixels for chunk in made for pixels in chunk.pixels),
        np.concatenate([chunk.sizes for chunk in made]),
        tuple((place, f) for place, chunk in enumerate(made) for _, f in chunk.failures),
    )
