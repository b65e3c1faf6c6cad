"""PNG files with nothing in them but pixels: taken apart here, decoded by Pillow.

Most masks and maps are small files of that kind, and for Pillow to find out what they could hold
takes a tenth of the time that a pair does. Whatever is unusual about one is left to it.
"""

from __future__ import annotations

import struct
from zlib import crc32

from PIL import Image

SMALL = 1 << 20  # bytes of a file from which on this is nothing next to decoding
SIGNATURE = b"\x89PNG\r\n\x1a\n"
DENSEST = 1032  # bytes at most that a compressed one stands for
CHUNK = struct.Struct(">I4s")
HEADER = struct.Struct(">IIBBBBB")
IHDR, PLTE, IDAT, IEND = b"IHDR", b"PLTE", b"IDAT", b"IEND"
# Pillow's mode, and how a row is stored, by bits and colour type.
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


def plain(file: bytes) -> Image.Image | None:
    """The picture in a file; None where that is not a whole PNG, or Pillow has to look at it."""
    try:
        parts = _parts(file)
        width, height, bits, colour, *other = HEADER.unpack(parts[IHDR])
        mode, row = MODES[bits, colour]
        possible = 0 < width * height <= DENSEST * len(parts[IDAT])
        if any(other) or not possible or (mode == "P") != (PLTE in parts):
            return None  # interlaced, or nothing that may be in a file
        image = Image.new(mode, (width, height), None)
        image.frombytes(parts[IDAT], "zip", row, False)
    except (KeyError, ValueError, struct.error):
        return None
    if mode == "P":
        image.putpalette(parts[PLTE])
    return image


def _parts(file: bytes) -> dict[bytes, bytes]:
    """What the file's chunks hold, by name.

    Raises:
        ValueError: it is damaged, or has others than the four of every picture.
        struct.error: it is cut off.
    """
    if not file.startswith(SIGNATURE):
        raise ValueError
    pixels, found, place = list[bytes](), dict[bytes, bytes](), len(SIGNATURE)
    while IEND not in found:
        size, name = CHUNK.unpack_from(file, place)
        start, place = place + CHUNK.size, place + CHUNK.size + size + 4
        data = file[start : place - 4]
        if name == IDAT:
            pixels.append(data)
        elif name in (IHDR, PLTE, IEND) and name not in found and (name == IEND or not pixels):
            found[name] = data
            if crc32(data, crc32(name)).to_bytes(4, "big") != file[place - 4 : place]:
                raise ValueError
        else:
            raise ValueError
    found[IDAT] = pixels[0] if len(pixels) == 1 else b"".join(pixels)
    return found
