"""What the tags of a TIFF file say beyond what Pillow looks at."""

from __future__ import annotations

import json
import math
import os
import re
import struct
from collections.abc import Mapping
from typing import IO, Any, Literal

# What Pillow's parser raises on damaged tags.
DAMAGES = (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error)
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BIG = 43  # the version for files of more than 4 GiB
WIDTH, HEIGHT, BITS, PHOTOMETRIC, DESCRIPTION, SAMPLES = 256, 257, 258, 262, 270, 277
PLANAR, SAMPLE_FORMAT, DEPTH = 284, 339, 32997
NUMBERS = {1: "unsigned integers", 2: "signed integers", 3: "floats", 5: "complex", 6: "complex"}
SIGNED = 2
IMAGEJ = re.compile(r"ImageJ=.*?^images=(\d+)", re.DOTALL | re.MULTILINE)
CONVERT = 'save it as .npy: np.save("a.npy", tifffile.imread("a.tif"))'


def bits(tags: Mapping[int, Any]) -> int:
    """The bits of a number."""
    return int(max(tags.get(BITS, (1,))))


def is_signed(tags: Mapping[int, Any]) -> bool:
    """Whether numbers are signed integers."""
    return SIGNED in tags.get(SAMPLE_FORMAT, ())


def zero_is_white(tags: Mapping[int, Any]) -> bool:
    """Whether 0 stands for white."""
    return tags.get(PHOTOMETRIC) == 0


def slices(tags: Mapping[int, Any]) -> int:
    """The number of pictures that the first directory stands for, as far as it says so."""
    text = str(tags.get(DESCRIPTION, ""))
    imagej = IMAGEJ.match(text)
    size = tags[WIDTH] * tags[HEIGHT] * tags.get(SAMPLES, 1)
    counts = (tags.get(DEPTH, 1), imagej and int(imagej[1]), math.prod(_shape(text)) // size)
    return max(filter(None, counts), default=1)


def may_be_slices(tags: Mapping[int, Any]) -> bool:
    """Whether the planes of red, green and blue were written as an array (3, H, W)."""
    shape = _shape(str(tags.get(DESCRIPTION, "")))
    return tags.get(PLANAR) == 2 and len(shape) > 2 and shape[0] == tags.get(SAMPLES)


def refusal(stream: IO[bytes]) -> str:
    """Why Pillow knows no picture in a TIFF file, and the way out."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        header = stream.read(8)
        is_big = BIG in header[2:4]
        tags = ImageFileDirectory_v2(header + stream.read(8 if is_big else 0))
        counted, entry = (8, 20) if is_big else (2, 12)
        stream.seek(tags.next)
        order: Literal["little", "big"] = "little" if header.startswith(b"II") else "big"
        needed = tags.next + counted + entry * int.from_bytes(stream.read(counted), order)
        if needed > end:
            return f"is cut short: its tags end at byte {needed:,} of {end:,}"
        stream.seek(tags.next)
        tags.load(stream)
        count, kind = tags.get(SAMPLES, 1), NUMBERS[tags.get(SAMPLE_FORMAT, (1,))[0]]
        several = f"{count} × " if count > 1 else ""
        return (
            f"is a TIFF of {several}{bits(tags)}-bit {kind} a pixel, unknown to Pillow; {CONVERT}"
        )
    except DAMAGES:
        return "is a TIFF whose tags are damaged"


def _shape(text: str) -> tuple[int, ...]:
    """The shape of the array that tifffile wrote; () of another writer."""
    try:
        return tuple(map(int, json.loads(text)["shape"]))
    except (ValueError, TypeError, KeyError):
        return ()
