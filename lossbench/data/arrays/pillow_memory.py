"""Arrays and pictures in the same memory.

numpy asks Pillow for bytes, which copies a picture twice. Arrow's C data interface, which Pillow
has from 11.3 on, tells where it lies; and Pillow can take the memory of an array for a picture's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from PIL import Image

from lossbench.runtime.array_types import AnyArray

# What the numbers of a pixel are in memory, by mode.
NUMBERS = {"L": "u1", "P": "u1", "I;16": "<u2", "I": "i4", "F": "f4", "RGB": "u1", "RGBA": "u1"}
FOUR = ("RGB", "RGBA")  # bands take the place of four
core: Any = Image.core  # type: ignore[attr-defined]  # Pillow has no other names for that
# Of a picture in one piece, which the C library gives back when it is freed; others are copied.
core.set_block_size((1 << 31) - 4096)


class ArrowArray(ctypes.Structure):
    """An array of Arrow, as its C data interface lays it out."""


ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(ArrowArray))),
    ("dictionary", ctypes.POINTER(ArrowArray)),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def as_array(image: Image.Image) -> AnyArray:
    """(H, W) or (H, W, bands), from the picture's own memory where it can be had."""
    capsule = _exported(image)
    if capsule is None or image.mode not in NUMBERS:
        return np.asarray(image)
    found = ArrowArray.from_address(_pointer(capsule, b"arrow_array"))
    numbers = found.children[0].contents if found.n_children else found
    kind, bands = np.dtype(NUMBERS[image.mode]), (4,) if image.mode in FOUR else ()
    shape = (image.height, image.width, *bands)
    held = (ctypes.c_char * (prod(shape) * kind.itemsize)).from_address(numbers.buffers[1])
    held.owner = capsule
    array = np.frombuffer(held, kind).reshape(shape)
    return bands_of(array, range(len(image.getbands()))) if bands else array


def as_picture(array: AnyArray, size: tuple[int, int], mode: str) -> Any:
    """Pillow's own picture of so many columns and rows in the memory of an array."""
    return core.map_buffer(array, size, "raw", 0, (mode, 0, 1))


def _exported(image: Image.Image) -> Any:
    """A loaded picture as Arrow has it; None where it cannot be had so.

    Pillow maps some files of bare pixels into memory, and older ones die of giving that away.
    """
    tiles = getattr(image, "tile", [])
    if tiles and tiles[0][0] == "raw":
        image.load()
    if getattr(image, "map", None) is not None or not hasattr(image, "__arrow_c_array__"):
        return None
    try:
        return image.__arrow_c_array__()[1]
    except ValueError:  # it is in several pieces
        return None


def bands_of(array: AnyArray, bands: Sequence[int]) -> AnyArray:
    """Some bands, without a gap between pixels: loops over numbers with gaps are slow."""
    found = np.empty((*array.shape[:2], len(bands)), array.dtype)
    for place, band in enumerate(bands):
        found[..., place] = array[..., band]
    return found
