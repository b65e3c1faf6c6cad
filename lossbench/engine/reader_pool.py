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
from dataclasses import dataclass
from typing import IO, Any, NoReturn, TypeVar

import numpy as np

from lossbench.data.pairing.pairs import Pair
from lossbench.data.planning.plan import Plan
from lossbench.data.sources.locations import label
from lossbench.engine.state.loaded_batch import LoadedBatch, load_batch
from lossbench.errors import PairError
from lossbench.runtime.allocator import keep_buffers

# Below this many pairs threads are done before child processes have paid for themselves.
WORTH_PROCESSES = 200
FRESH = (
    "import pickle, sys; questions = sys.stdin.buffer; sys.path[:] = pickle.load(questions);"
    "from lossbench.engine.reader_pool import serve; serve(questions)"
)
Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Child:
    """A process that reads chunks: where to ask it, where it answers, how to be rid of it."""

    questions: IO[bytes]
    answers: IO[bytes]
    end: Callable[[], None]


@contextmanager
def reader(plan: Plan, children: int) -> Iterator[Callable[[Sequence[Pair]], LoadedBatch]]:
    """A function that reads a chunk: in one of so many child processes, or here if there are none.

    A chunk whose child dies is read again pair by pair, so that one pair is the culprit.
    """
    if not children:
        yield lambda pairs: load_batch(plan, pairs)
        return
    idle, all_children, over = queue.SimpleQueue[Child](), list[Child](), threading.Event()
    for start in [_fork if _may_fork() else _spawn] * children:
        all_children.append(start(plan))
        idle.put(all_children[-1])

    def read(pairs: Sequence[Pair]) -> LoadedBatch:
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
    work: Callable[[Item], Result], tasks: Iterable[Item], workers: int, ahead: int
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
            pickle.dump(load_batch(plan, pickle.load(questions)), answers, pickle.HIGHEST_PROTOCOL)
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


def _ask(child: Child, pairs: Sequence[Pair]) -> LoadedBatch:
    _send(child, pairs)
    chunk: LoadedBatch = pickle.load(child.answers)
    return chunk


def _one_by_one(plan: Plan, pairs: Sequence[Pair]) -> LoadedBatch:
    """After a child has died: each pair in a child of its own, so that one is the culprit."""
    made = []
    for pair in pairs:
        child = _spawn(plan)
        try:
            made.append(_ask(child, [pair]))
        except (EOFError, OSError, pickle.UnpicklingError):
            file = label(pair.sources["pred"][0])
            message = f"{file} or its ground truth ends the process that reads it"
            error = PairError(pair.id, "pred", file, "unreadable", message)
            made.append(LoadedBatch((), None, (), np.array([], np.int64), (error,)))
        finally:
            child.end()
    return LoadedBatch.joined(made, [1] * len(made))
