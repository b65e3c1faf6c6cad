"""Deflate and checksums, from the fastest package with the functions of zlib that is installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

PACKAGES = ("isal.isal_zlib", "zlib_ng.zlib_ng", "zlib")
GZIP_BITS = 31  # `wbits` of a gzip file


def _fastest() -> Any:
    """The first of the packages that is installed."""
    for name in PACKAGES[:-1]:
        try:
            return import_module(name)
        except ImportError:
            continue
    return import_module(PACKAGES[-1])


zlib = _fastest()


def gunzip(packed: bytes, size: int) -> bytes | None:
    """The content of a gzip file of one member and a known size; None of any other file."""
    stream = zlib.decompressobj(GZIP_BITS)
    try:
        content: bytes = stream.decompress(packed, size + 1)
    except zlib.error:
        return None
    return content if stream.eof and not stream.unused_data and len(content) == size else None


def crc32(content: memoryview) -> int:
    """The checksum of some bytes, the same from every package."""
    checksum: int = zlib.crc32(content)
    return checksum
