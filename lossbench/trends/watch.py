"""Epochs that appear while a training runs: each is taken once it is complete."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lossbench.errors import InputError, SettingError

Snapshot = tuple[tuple[str, int, int], ...]  # name, size and time of each file


def snapshot(path: str) -> Snapshot:
    """Names, sizes and times of all files at a path; empty while there is none.

    A file that vanishes in between has the size -1, which the next look changes.
    """
    if not os.path.isdir(path):
        return (_state(path, ""),) if os.path.exists(path) else ()
    files = (
        os.path.join(folder, name)
        for folder, _, names in os.walk(path, followlinks=True)
        for name in names
    )
    return tuple(sorted(_state(file, os.path.relpath(file, path)) for file in files))


def _state(file: str, name: str) -> tuple[str, int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return name, -1, 0
    return name, status.st_size, status.st_mtime_ns


@dataclass
class EpochWatch:
    """Looks at the paths of epochs again and again.

    An epoch is taken when two looks in turn saw the same names, sizes and times, and every one of
    its files could be read. One that could not be read is tried again when it has changed.

    Attributes:
        find: the present paths by epoch.
        take: reads an epoch; returns why it is incomplete, or an empty text.
        note: called with a line of text about an epoch that is not taken yet.
    """

    find: Callable[[], Mapping[int, str]]
    take: Callable[[int, str], str]
    note: Callable[[str], None]
    taken: dict[int, str] = field(default_factory=dict)
    _last: dict[str, Snapshot] = field(default_factory=dict)
    _tried: dict[str, Snapshot] = field(default_factory=dict)

    def look(self) -> bool:
        """Look once; return whether the epochs that are taken changed."""
        present = dict(self.find())
        before = dict(self.taken)
        changed = False
        self.taken = {n: path for n, path in self.taken.items() if present.get(n) == path}
        states = {path: snapshot(path) for path in present.values()}
        for number, path in present.items():
            state = states[path]
            if not state or self._last.get(path) != state or self._tried.get(path) == state:
                continue
            self._tried[path] = state
            reason = self._reason(number, path)
            if reason:
                self.note(f"epoch {number} waits: {reason}")
                self.taken.pop(number, None)
            elif snapshot(path) == state:
                self.taken[number], changed = path, True
            else:  # written to while it was read
                del self._tried[path]
        self._last = states
        self.taken = dict(sorted(self.taken.items()))
        return changed or self.taken != before

    def _reason(self, number: int, path: str) -> str:
        """Take an epoch; return why that is not possible, or an empty text."""
        try:
            return self.take(number, path)
        except InputError as error:
            return str(error)
        except SettingError as error:
            if not self.taken:  # a mistake on the command line, which waiting does not mend
                raise
            return str(error)

    def changes(self, interval: float, until: int | None) -> Iterator[dict[int, str]]:
        """The epochs taken, each time they change, until there are so many."""
        while True:
            if self.look() and self.taken:
                yield self.taken
            if until is not None and len(self.taken) >= until:
                return
            time.sleep(interval)
