"""Checkpoint: finished parts of a run, so that --resume can continue it.

A file of JSON lines beside the result. Each line holds one part and names the run that it is of.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from lossbench.catalog.columns import Term
from lossbench.engine.fingerprints import stamp
from lossbench.engine.state.group_accumulators import Grouping
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError, OutputError, os_reason

# The newline comes first, so that a line cut off by a kill does not spoil the line after it.
START = '\n{"run": '
GREATEST = 1 << 28  # bytes of a line; a power cut may leave any number of zeros


class Checkpoint:
    """The checkpoint file of a run, which may also hold parts of runs that were stopped."""

    def __init__(self, path: str, identity: Mapping[str, Any], resume: bool = False) -> None:
        self.path, self.identity, self.resume = Path(path), json.dumps(identity), resume
        self.samples = 0  # finished ones, including those of the parts that are resumed
        with self._output_errors():
            self.path.touch()
            with self.path.open("rb") as file:
                readable = START.encode().startswith(file.read(len(START)))
            # Whether the file holds parts of a stopped run that this run does not resume.
            self.unused = readable and not resume and any(self._lines())
            if resume:
                self._check(readable)
            self.file = self.path.open("ab" if readable else "wb")

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Hold the parts of another run beside those of the first one."""
        self.identity, self.samples = json.dumps(identity), 0

    def parts(self, terms: Iterable[Term], grouping: Grouping | None) -> Iterator[PartialResult]:
        """The parts to resume from; the pairs of a damaged one are evaluated again."""
        identity = json.loads(self.identity)
        for run, packed in self._lines():
            if self.resume and run == identity:
                with suppress(ValueError):
                    yield PartialResult.unpack(packed, terms, grouping)

    def add(self, part: PartialResult) -> None:
        """Write a finished part."""
        packed = base64.b64encode(part.pack()).decode()
        end = self.file.tell()
        try:
            self._append(f'{START}{self.identity}, "part": "{packed}"}}'.encode())
        finally:  # a signal may arrive just after the part was written
            if self.file.tell() > end:
                self.count(part)

    def count(self, part: PartialResult) -> None:
        """Count the samples of a part that is in the file."""
        self.samples += int(part.good.sum())

    def close(self, done: bool) -> None:
        """Remove the file if the result has been written or the file holds no part."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            if done or not any(self._lines()):
                self.path.unlink()

    def _lines(self) -> Iterator[tuple[Any, bytes]]:
        """The run and the packed part of each line.

        Damaged lines are left out: a kill may cut one off, a power cut may fill one with zeros.
        """
        with self.path.open("rb") as file:
            while line := file.readline(GREATEST):
                with suppress(ValueError, KeyError, TypeError, RecursionError):
                    content = json.loads(line.rstrip(b"\0"))
                    yield content["run"], base64.b64decode(content["part"])

    def _check(self, readable: bool) -> None:
        """Refuse to resume from a file that holds parts of other runs only."""
        if readable:
            runs, identity = [run for run, _ in self._lines()], json.loads(self.identity)
            if not runs or identity in runs:
                return
            difference = f"{different(runs[-1], identity)} differs"
            problem = f"belongs to another run: {difference}; repeat that run, or"
        else:
            problem = "is not a checkpoint of this version of lossbench;"
        raise InputError(
            f"{self.path} {problem} remove the file to start from the beginning", kind="mismatch"
        )

    def _append(self, line: bytes) -> None:
        with self._output_errors():
            self.file.write(line)
            self.file.flush()

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.path} could not be written: {os_reason(error)}") from None


def unchanged(part: PartialResult, pairs: Any) -> bool:
    """Whether the files of a part are still those that it was computed from."""
    return part.files == sha256(stamp(pairs[part.start : part.stop])).hexdigest()


def different(one: Any, other: Any, name: str = "") -> str:
    """The dotted name of the first entry in which two nested mappings differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*other, *one]):
            if one.get(key) != other.get(key):
                return different(one.get(key), other.get(key), f"{name}.{key}" if name else key)
    return name or "content"
