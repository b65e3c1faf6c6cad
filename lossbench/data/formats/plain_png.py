"""PNG files with nothing in them but pixels: chunks are parsed here, Pillow decodes the pixels.

Most masks and maps are small files of that kind, and Pillow takes longer to find out what else they
could hold than to decode them. Every other PNG is left to `Image.open`.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import IO, NamedTuple
from zlib import crc32

from PIL import Image

from lossbench.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE_SIZES = range(3, 3 * 256 + 1, 3)  # in bytes
DENSEST = 1032  # bytes at most that a compressed byte stands for
CHUNK = struct.Struct(">I4s")
HEADER = struct.Struct(">IIBBBBB")
IHDR, PLTE, IDAT, IEND = b"IHDR", b"PLTE", b"IDAT", b"IEND"
# Pillow's mode of a picture and of a stored row, by bits and colour type.
MODES = {
    (1, 0): ("1", "1"),
    (2, 0): ("L", "L;2"),
    (4, 0): ("L", "L;4"),
    (8, 0): ("L", "L"),
    (16, 0): ("I;16", "I;16B"),
    (8, 2): ("RGB", "RGB"),
    (1, 3): ("P", "P;1"),
    (2, 3): ("P", "P;2"),
    (4, 3): ("P", "P;4"),
    (8, 3): ("P", "P"),
    (8, 4): ("LA", "LA"),
    (8, 6): ("RGBA", "RGBA"),
}


class PlainPng(NamedTuple):
    """A decoded picture and the colours of its palette, b"" without one."""

    image: Image.Image
    colours: bytes


def decode_plain(content: bytes) -> PlainPng | None:
    """The picture of a plain PNG file; None where Pillow has to look at the file."""
    if not content.startswith(SIGNATURE):
        return None
    try:
        chunks = _chunks(content)
        width, height, bits, colour, *other = HEADER.unpack(chunks[IHDR])
        mode, row = MODES[bits, colour]
        most = min(DENSEST * len(chunks[IDAT]), Image.MAX_IMAGE_PIXELS or sys.maxsize)
        colours = chunks.get(PLTE, b"")
        fits = len(colours) in (PALETTE_SIZES if mode == "P" else (0,))
        if any(other) or not fits or not 0 < width * height <= most:
            return None  # interlaced, or nothing that may be in a file
        image = Image.frombytes(mode, (width, height), chunks[IDAT], "zip", row, False)
    except (KeyError, ValueError, struct.error):
        return None
    return PlainPng(image, colours)


def _chunks(content: bytes) -> dict[bytes, bytes]:
    """The chunks of a file by name.

    Raises:
        ValueError: it is damaged, or has others than the four of every picture.
        struct.error: it is cut off.
    """
    pixels, chunks, start = list[bytes](), dict[bytes, bytes](), len(SIGNATURE)
    while IEND not in chunks:
        size, name = CHUNK.unpack_from(content, start)
        start += CHUNK.size
        data, start = content[start : start + size], start + size + 4
        if not _is_intact(name, data, content[start - 4 : start]):
            raise ValueError
        if name == IDAT:
            pixels.append(data)
        elif name in (IHDR, PLTE, IEND) and name not in chunks and (name == IEND or not pixels):
            chunks[name] = data
        else:
            raise ValueError
    chunks[IDAT] = pixels[0] if len(pixels) == 1 else b"".join(pixels)
    return chunks


def check_chunks(stream: IO[bytes]) -> None:
    """Check the checksums of all chunks; Pillow leaves out the chunks of pixels.

    Raises:
        InputError: a checksum is wrong, or the file ends within a chunk.
    """
    end = stream.seek(0, os.SEEK_END)
    at = stream.seek(len(SIGNATURE))
    while len(head := stream.read(CHUNK.size)) == CHUNK.size:
        size, name = CHUNK.unpack(head)
        if name == IEND:
            break
        chunk, after = f"its chunk {name.decode('latin-1')!r} at byte {at:,}", at + size + 12
        if after > end:
            raise InputError(f"is truncated: {chunk} would end at byte {after:,} of {end:,}")
        if not _is_intact(name, stream.read(size), stream.read(4)):
            raise InputError(f"is damaged: {chunk} does not have its checksum")
        at = after
    stream.seek(0)


def _is_intact(name: bytes, data: bytes, checksum: bytes) -> bool:
    """Whether a chunk has its checksum."""
    return crc32(data, crc32(name)).to_bytes(4, "big") == checksum
