"""Damages of pictures (C, H, W), each a function of the numbers, their range and a level."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from lossbench.choosing.stress_masks import shifted
from lossbench.runtime.array_types import AnyArray, FloatArray

LARGEST_BYTE = 255


class Picture(NamedTuple):
    """A picture with the ends of its numbers.

    Attributes:
        stored: channels first, as the file stores them.
        low: the number of black.
        high: the number of white.
    """

    stored: AnyArray
    low: float
    high: float

    def as_stored(self, numbers: FloatArray) -> AnyArray:
        """Numbers within the ends, in the type of the file."""
        clipped = numbers.clip(self.low, self.high)
        dtype = self.stored.dtype
        return (np.rint(clipped) if dtype.kind in "iu" else clipped).astype(dtype)


def blur(picture: Picture, level: float, rng: Any) -> AnyArray | None:
    """A Gaussian over every channel."""
    from scipy import ndimage

    channels = picture.stored.astype(np.float64)
    blurred = [ndimage.gaussian_filter(channel, level, mode="nearest") for channel in channels]
    return picture.as_stored(np.stack(blurred))


def add_noise(picture: Picture, level: float, rng: Any) -> AnyArray | None:
    """Gaussian noise, whose standard deviation is a share of the range."""
    noise = rng.standard_normal(picture.stored.shape) * level * (picture.high - picture.low)
    return picture.as_stored(picture.stored + noise)


def compress(picture: Picture, level: float, rng: Any) -> AnyArray | None:
    """The picture after JPEG of a quality; None of more channels than JPEG has."""
    from PIL import Image

    if picture.stored.ndim != 3 or len(picture.stored) not in (1, 3):
        return None
    width = (picture.high - picture.low) / LARGEST_BYTE
    levels = np.rint((picture.stored - picture.low) / width).astype(np.uint8)
    channels_last = levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, -1)
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(channels_last)).save(file, "JPEG", quality=int(level))
    decoded = np.asarray(Image.open(file))
    channels = decoded[None] if decoded.ndim == 2 else np.moveaxis(decoded, -1, 0)
    return picture.as_stored(picture.low + width * channels)


def tint(picture: Picture, level: float, rng: Any) -> AnyArray | None:
    """The first channel brighter and the last one darker, or one channel brighter."""
    numbers = picture.stored.astype(np.float64)
    step = level * (picture.high - picture.low)
    numbers[0] += step
    if len(numbers) > 1:
        numbers[-1] -= step
    return picture.as_stored(numbers)


def shift(picture: Picture, level: float, rng: Any) -> AnyArray | None:
    """Every pixel some pixels to the right; the first column fills the gap."""
    return shifted(picture.stored, int(level))


class PictureDamage(NamedTuple):
    """A damage of pictures; attributes as of `MaskDamage`."""

    kind: str
    levels: tuple[float, ...]
    text: str
    change: Callable[[Picture, float, Any], AnyArray | None]


PICTURE_DAMAGES = (
    PictureDamage("blur", (0.5, 1, 2), "a blur of {level:g} pixels", blur),
    PictureDamage("noise", (0.01, 0.03, 0.1), "noise of {level:.0%} of the range", add_noise),
    PictureDamage("jpeg", (90, 50, 10), "JPEG of quality {level:g}", compress),
    PictureDamage("colour", (0.02, 0.05, 0.1), "a colour shift of {level:.0%}", tint),
    PictureDamage("shift", (1, 2, 4), "a shift by {level:g} pixels", shift),
)
