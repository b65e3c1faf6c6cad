"""An array as a file stores it, with what the file says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.data.formats.voxel_grid import VoxelGrid
from lossbench.errors import InputError
from lossbench.runtime.array_types import AnyArray

COLOUR = ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


@dataclass(frozen=True)
class StoredArray:
    """An array as it was stored: nothing is scaled, converted or guessed.

    Attributes:
        array: (H, W) or (H, W, channels) from an image file, any shape from an array; from a volume
            its axes in their order, after the axis of classes.
        mode: Pillow's mode, such as L, P or RGB; "array" for arrays and volumes.
        format: Pillow's format, such as PNG or JPEG; "" for arrays and volumes.
        palette: the colours (256, 3) that the indices of a P picture stand for.
        grid: where in space the voxels of a volume lie.
        ends: the numbers that the file calls black and white, where they are not 0 and the type's
            largest.
        slices: how many slices of a volume the colours of a picture may be; 0 of colours alone.
        turned: the file says how to turn its picture upright, which is done.
        notes: what a user of its numbers as a mask or as labels should know.
        colour_notes: what a user of its colours should know.
    """

    array: AnyArray
    mode: str = "array"
    format: str = ""
    palette: AnyArray | None = None
    grid: VoxelGrid | None = None
    ends: tuple[int, int] | None = None
    slices: int = 0
    turned: bool = False
    notes: tuple[str, ...] = ()
    colour_notes: tuple[str, ...] = ()

    @property
    def brightness(self) -> AnyArray:
        """The array from 0 for black to the type's largest number for white."""
        if self.ends is None:
            return self.array
        black, white = self.ends
        if self.array.dtype == np.bool_:
            return self.array if white else ~self.array
        largest = np.iinfo(self.array.dtype).max
        levels = (self.array.astype(np.float64) - black) * (largest / (white - black))
        return np.rint(levels).clip(0, largest).astype(self.array.dtype)

    @property
    def places(self) -> int | None:
        """The number of spatial axes; None where a file does not say, such as an array."""
        return self.grid.dimensions if self.grid else None if self.mode == "array" else 2

    @property
    def colour(self) -> bool:
        """Whether a pixel is several numbers."""
        return self.mode in COLOUR

    @property
    def transparent(self) -> bool:
        """Whether an alpha channel is not full throughout."""
        full = np.iinfo(self.array.dtype).max if self.mode in ("LA", "RGBA") else 0
        return bool(full and (self.array[..., -1] != full).any())

    @property
    def grey(self) -> AnyArray | None:
        """The one number of each pixel; None of a picture whose channels differ.

        Alpha is no number of a pixel, so a transparent picture has none but its colours.
        """
        if not self.colour:
            return self.array[..., 0] if self.mode == "LA" else self.array
        first = self.array[..., 0]
        alike = all((first == self.array[..., channel]).all() for channel in (1, 2))
        return first if alike and self.mode.startswith("RGB") else None


def as_numbers(source: Any) -> AnyArray:
    """A numpy array or nested lists, in the machine's byte order.

    Raises:
        InputError: it holds something else than numbers.
    """
    array: AnyArray = np.asarray(source)
    if array.dtype.kind not in "biuf":
        raise InputError(f"holds {array.dtype}, expected numbers", kind="mismatch")
    if array.dtype.itemsize > 8:  # torch has no such type
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
