"""Fingerprints of files, which change when a file does: name, size and time of last change."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from lossbench.data.pairing.pairs import Pair
from lossbench.data.sources.archives import Member
from lossbench.data.sources.locations import Empty, United
from lossbench.data.sources.remote import Remote


def stamp(pairs: Sequence[Pair]) -> bytes:
    """One line per file of the pairs; equal as long as no file changes."""
    return "".join(
        f"{role}\0{_state(source)}\n"
        for pair in pairs
        for role, sources in pair.sources.items()
        for source in sources
    ).encode(errors="surrogatepass")


def _state(source: Any) -> str:
    if isinstance(source, Member):
        archive, extent = source.archive, f"{source.start} {source.size} {source.checksum}"
        is_local = os.path.isfile(archive.name) or archive.spool is None
        # One that was fetched or unpacked has a new time at each run.
        state = local_state(archive.name) if is_local else _digest(archive.path)
        return f"{source.name}\0{extent}\0{state}"
    if isinstance(source, Remote):
        return f"{source.name}\0{source.stamp()}"
    if isinstance(source, United):
        return "\0".join(map(_state, source.files))
    if isinstance(source, Empty):
        return f"empty\0{_state(source.like)}"
    if isinstance(source, str):
        return f"{source}\0{local_state(source)}"
    return "of a file that lists many"


@lru_cache(16)
def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def local_state(path: str) -> str:
    """The size of a file and the time of its last change."""
    with suppress(OSError):
        status = os.stat(path)
        return f"{status.st_size} {status.st_mtime_ns}"
    return "absent"
