"""PNG files with nothing in them but pixels: taken apart here, decoded by Pillow into an array.

Most masks and maps are small files of that kind, and for Pillow to find out what they could hold
takes longer than to decode a small one. Whatever is unusual about one is left to it.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from lossbench.data.arrays.pillow_memory import as_picture, bands_of, core

SMALL = 1 << 20  # bytes of a file from which on this is nothing next to decoding
SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE = range(3, 3 * 256 + 1, 3)  # bytes that a palette may have
DENSEST = 1032  # bytes at most that a compressed one stands for
CHUNK = struct.Struct(">I4s")
HEADER = struct.Struct(">IIBBBBB")
IHDR, PLTE, IDAT, IEND = b"IHDR", b"PLTE", b"IDAT", b"IEND"


class Layout(NamedTuple):
    """How Pillow reads one kind of picture.

    Attributes:
        mode: Pillow's mode of it.
        row: how the file stores a row.
        memory: a mode with as many bytes a pixel that Pillow can have in memory of ours.
        kind: what a number is there.
        bands: which of four numbers a pixel has; none where it is one.
    """

    mode: str
    row: str
    memory: str = "L"
    kind: str = "u1"
    bands: tuple[int, ...] = ()


# By bits and colour type.
LAYOUTS = {
    (1, 0): Layout("1", "1"),
    (2, 0): Layout("L", "L;2"),
    (4, 0): Layout("L", "L;4"),
    (8, 0): Layout("L", "L"),
    (16, 0): Layout("I;16", "I;16B", "I;16", "<u2"),
    (8, 2): Layout("RGB", "RGB", "RGBA", bands=(0, 1, 2)),
    (1, 3): Layout("P", "P;1"),
    (2, 3): Layout("P", "P;2"),
    (4, 3): Layout("P", "P;4"),
    (8, 3): Layout("P", "P"),
    (8, 4): Layout("LA", "LA", "RGBA", bands=(0, 3)),
    (8, 6): Layout("RGBA", "RGBA", "RGBA", bands=(0, 1, 2, 3)),
}


class Plain(NamedTuple):
    """What a plain PNG holds: an array as Pillow would give it, its mode, the colours of P."""

    array: NDArray[Any]
    mode: str
    colours: bytes


def plain(file: bytes) -> Plain | None:
    """The picture in a file; None where that is not a whole PNG, or Pillow has to look at it."""
    try:
        parts = _parts(file)
        width, height, bits, colour, *other = HEADER.unpack(parts[IHDR])
        layout = LAYOUTS[bits, colour]
        possible = 0 < width * height <= DENSEST * len(parts[IDAT])
        colours = parts.get(PLTE, b"")
        fits = PALETTE if layout.mode == "P" else (0,)
        if any(other) or not possible or len(colours) not in fits:
            return None  # interlaced, or nothing that may be in a file
        array = _decoded(parts[IDAT], layout, width, height)
    except (KeyError, ValueError, struct.error):
        return None
    if layout.mode == "1":
        array = array != 0
    elif layout.bands:
        array = bands_of(array, layout.bands)
    return Plain(array, layout.mode, colours)


def _decoded(pixels: bytes, layout: Layout, width: int, height: int) -> NDArray[Any]:
    """The numbers of a picture, (H, W) or (H, W, 4), which the decoder writes where they stay.

    Where the file has too few they are 0, as Pillow has it.

    Raises:
        ValueError: they do not come to an end, or are damaged.
    """
    array = np.zeros((height, width, 4) if layout.bands else (height, width), layout.kind)
    decoder = core.zip_decoder(layout.mode, layout.row, False)
    decoder.setimage(as_picture(array, (width, height), layout.memory), (0, 0, width, height))
    used, error = decoder.decode(pixels)
    if used >= 0 or error:  # at the end of a picture it is −1
        raise ValueError
    return array


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
