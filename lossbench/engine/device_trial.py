"""Whether a GPU was worth its while: the CPU's time, by a sample that it evaluates as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from lossbench.data.pairing.pairs import Pair

CLEARLY = 0.9  # of a run's time: one sample is no exact measure of the others
TRIED = 3  # samples at most, where some cannot be evaluated


class Trial(threading.Thread):
    """One sample on the CPU, by a thread of its own, while a GPU gets ready and does all of them.

    No run waits for it: where it is not done before the run is, the CPU would have been slower. A
    process that ends waits for the sample that it is at.

    Args:
        count: how many samples the run has.
        workers: how many of them the CPU would do at a time.
        pairs: some of them, of which one is done.
        evaluate: reads and evaluates a pair on the CPU; returns whether it could be read.
    """

    def __init__(
        self, count: int, workers: int, pairs: Sequence[Pair], evaluate: Callable[[Pair], bool]
    ) -> None:
        super().__init__(name="trial")
        self.pairs, self.evaluate = pairs, evaluate
        self.rounds = count / min(workers, count)
        self.one: float | None = None  # seconds of a sample
        self.over = False  # whether the run is, so that no further sample is begun

    def run(self) -> None:
        """The first pair that can be done, twice: the first time gets everything ready."""
        pair = next(filter(self._done, self.pairs), None)
        if pair:
            self._done(pair)

    def _done(self, pair: Pair) -> bool:
        """Whether a pair could be done; what is wrong with it is told by the run on the GPU."""
        if self.over:
            return False
        began, done = time.perf_counter(), False
        with suppress(Exception):
            done = self.evaluate(pair)
        self.one = time.perf_counter() - began if done else None
        return done

    def remark(self, device: str, seconds: float) -> str:
        """What to say where the CPU would clearly have been done sooner, else nothing.

        Args:
            device: what the run was on.
            seconds: from the start of the device to the last value.
        """
        if self.one is None or (there := self.rounds * self.one) > CLEARLY * seconds:
            return ""
        return (
            f"{device} took {seconds:.2g} s for what the CPU does in about {there:.2g}, by one"
            " sample that it did too; --device cpu is faster here"
        )
