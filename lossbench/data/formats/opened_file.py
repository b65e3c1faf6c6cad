"""What decoders open, and how its first bytes are told."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import IO

OpenedFile = str | BytesIO  # a local path, or the bytes of a file that is elsewhere
BEGINNING = 16  # bytes


def opened(file: OpenedFile) -> IO[bytes]:
    """A file as a stream.

    Pillow maps some files into memory by their path, and cannot turn a mapped picture upright.
    """
    return file if isinstance(file, BytesIO) else open(file, "rb")


def content(file: OpenedFile) -> bytes:
    """All bytes of a file."""
    return file.getvalue() if isinstance(file, BytesIO) else Path(file).read_bytes()


def beginning(file: OpenedFile) -> bytes:
    """The first bytes of a file."""
    if isinstance(file, BytesIO):
        return file.getvalue()[:BEGINNING]
    with open(file, "rb", buffering=0) as stream:
        return stream.read(BEGINNING)


def described(start: bytes) -> str:
    """How a file that is not what its ending says begins, as the end of a message."""
    if not start:
        return "; it is empty"
    return f"; it begins with {start.decode()!r}" if start.isascii() else ""
