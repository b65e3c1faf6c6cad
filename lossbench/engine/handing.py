"""Batches gathered into parts that are worth handing on."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256

from lossbench.engine.state.group_accumulators import Grouping
from lossbench.engine.state.partial_result import Part

PART_PAIRS, PART_SECONDS = 2048, 1.0  # what is handed on together, at most
Take = Callable[[Part], None]


class Handing:
    """Gathers batches into parts that are worth handing on."""

    def __init__(self, take: Take, grouping: Grouping | None) -> None:
        self.take, self.grouping = take, grouping
        self.current: Part | None = None
        self.done, self.began, self.files = 0, 0.0, sha256()
        self.whole = True  # whether no batch has been added in part

    def part(self, first: int, count: int) -> Part:
        """The part that a batch belongs to."""
        part = self.current
        if part and (first != self.done or first + count > part.stop):
            self.hand_on()
            part = None
        if part is None:
            part = Part.empty(first, first + max(count, PART_PAIRS), self.grouping)
            self.current, self.done = part, first
            self.began, self.files = time.monotonic(), sha256()
        self.whole = False
        return part

    def finished(self, stop: int, files: bytes) -> None:
        """A batch is complete, its last pair before this place."""
        self.done, self.whole = stop, True
        self.files.update(files)
        if time.monotonic() - self.began > PART_SECONDS:
            self.hand_on()

    def hand_on(self) -> None:
        """Whatever is complete; a part that was interrupted while it grew is lost."""
        part, self.current = self.current, None
        if part and self.whole and self.done > part.start:
            part.cut(self.done)
            part.files = self.files.hexdigest()
            self.take(part)
