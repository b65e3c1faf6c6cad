"""What is finished while a run goes on: kept if the run does not end, and gone on from.

A file beside the result that nothing takes for one: frames of a length, a checksum and that many
bytes. The first says which run it is, each other holds a part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from os import fstat
from pathlib import Path
from struct import Struct, error
from typing import IO, Any
from zlib import crc32

from lossbench.engine.fingerprints import stamp
from lossbench.engine.state.partial_result import PartialResult
from lossbench.errors import InputError, OutputError

FRAME = Struct("<QI")  # length, checksum


class Checkpoint:
    """The file of one run; `identity` is what must be the same for parts to be of use.

    What a stopped run has left is gone on from, or else set aside until a run is done. `--resume`
    goes on from whichever has more of its run.
    """

    def __init__(self, path: str, identity: Mapping[str, Any], resume: bool = False) -> None:
        self.path, self.old = Path(path), Path(f"{path}.old")
        self.samples, self.aside = 0, False
        self.identity = json.loads(json.dumps(identity))
        self.known = 0  # bytes of complete frames, where a run goes on
        try:
            self._begin(resume)
        except BaseException as failure:  # a signal too must not leave it aside, untold
            if self.aside:
                self._put_back()
            if isinstance(failure, OSError):
                raise self._unwritten(failure) from None
            raise

    def _begin(self, resume: bool) -> None:
        """Open the file where its last complete frame ends, or a new one."""
        if resume:
            if self._parts_in(self.old, self.identity) > self._parts_in(self.path):
                self.old.replace(self.path)
            self.known = self._check() if self.path.exists() else 0
        elif self._parts_in(self.path) > self._parts_in(self.old):
            self.aside = True
            self.path.replace(self.old)
        self.file = self.path.open("r+b" if self.known else "wb")
        self.file.truncate(self.known)
        self.file.seek(self.known)
        if not self.known:
            self._append(json.dumps(self.identity).encode())

    def parts(self) -> Iterator[bytes]:
        """The parts that were finished before, packed."""
        with self.path.open("rb") as file:
            frames = _frames(file)
            next(frames)
            for place, payload in frames:
                if place > self.known:
                    return
                yield payload

    def add(self, part: PartialResult) -> None:
        """A part is finished."""
        payload, start = part.pack(), self.file.tell()
        try:
            self._append(payload)
        finally:  # a signal may come when it has just been written
            if self.file.tell() > start:
                self.count(part)

    def count(self, part: PartialResult) -> None:
        """The samples of a part are in the file."""
        self.samples += int(part.good.sum())

    def close(self, done: bool) -> None:
        """The result has been written, or the run is stopped."""
        self.file.close()
        if not done:
            self._put_back()
            return
        with suppress(OSError):
            self.old.unlink(missing_ok=True)
            self.path.unlink()

    def _put_back(self) -> None:
        """What was set aside is there again, where nothing has been finished since."""
        with suppress(OSError):
            if not self._parts_in(self.path):
                self.path.unlink(missing_ok=True)
                if self.old.exists():
                    self.old.replace(self.path)

    def _parts_in(self, path: Path, identity: Any = None) -> int:
        """How many bytes of parts a file has; none where it is of another run than that."""
        if not path.is_file():
            return 0
        with path.open("rb") as file:
            frames = _frames(file)
            start, first = next(frames, (0, b""))
            if identity is not None and first != json.dumps(identity).encode():
                return 0
            return max((place for place, _ in frames), default=start) - start

    def _check(self) -> int:
        """How many bytes are complete; an error where they are of another run."""
        with self.path.open("rb") as file:
            ends = list[int]()
            for place, payload in _frames(file):
                if not ends:
                    self._compare(payload)
                ends.append(place)
        return ends[-1] if ends else 0

    def _compare(self, first: bytes) -> None:
        try:
            found = json.loads(first)
        except ValueError:
            found = {}
        if found == self.identity:
            return
        name = different(found, self.identity)
        raise InputError(
            f"{self.path} is of another run, with another {name}; run that one again, or remove the"
            " file to begin anew",
            kind="mismatch",
        )

    def _append(self, payload: bytes) -> None:
        try:
            self.file.write(FRAME.pack(len(payload), crc32(payload)) + payload)
            self.file.flush()
        except OSError as failure:
            raise self._unwritten(failure) from None

    def _unwritten(self, failure: OSError) -> OutputError:
        return OutputError(f"{self.path} could not be written: {failure.strerror}")


def unchanged(part: PartialResult, pairs: Any) -> bool:
    """Whether the files of a part are what they were when it was evaluated."""
    return part.files == sha256(stamp(pairs[part.start : part.stop])).hexdigest()


def different(one: Any, other: Any, name: str = "") -> str:
    """The name of the first thing that two descriptions do not share."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*other, *one]):
            if one.get(key) != other.get(key):
                return different(one.get(key), other.get(key), f"{name}.{key}" if name else key)
    return name or "content"


def _frames(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each complete frame with the place where it ends."""
    size = fstat(file.fileno()).st_size
    while True:
        try:
            length, checksum = FRAME.unpack(file.read(FRAME.size))
        except error:
            return
        if file.tell() + length > size:
            return
        payload = file.read(length)
        if crc32(payload) != checksum:
            return
        yield file.tell(), payload
