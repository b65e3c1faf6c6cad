"""Masks of objects as COCO stores them, and their overlap, computed by pycocotools."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.errors import InputError

NEEDED = "masks of objects need the package pycocotools: pip install 'lossbench[detection]'"
MAX_PIXELS = 1 << 31  # of a picture
FARTHEST = 4  # times the longer side of a picture: no polygon reaches that far


@dataclass(frozen=True)
class Segmentations:
    """A mask for each object of a picture, as the file stores it."""

    stored: tuple[Any, ...]  # COCO's run lengths or polygons, or arrays (height, width)
    height: int
    width: int
    file: str | None = None  # its name, and the image in it

    @classmethod
    def of_masks(cls, masks: NDArray[Any]) -> Segmentations:
        """Masks (N, height, width), 0 outside."""
        return cls(tuple(masks), *masks.shape[1:])

    @cached_property
    def runs(self) -> list[Any]:
        """The run lengths of each, checked, because pycocotools does not check them.

        Raises:
            InputError: one is no mask of this picture.
        """
        try:
            return [self._run(each) for each in self.stored]
        except InputError as error:
            error.file = self.file
            raise

    @property
    def areas(self) -> list[float]:
        return [float(each) for each in _library().area(self.runs)] if self.stored else []

    @property
    def boxes(self) -> list[list[float]]:
        """x, y, width and height of each."""
        return [row.tolist() for row in _library().toBbox(self.runs)] if self.stored else []

    def overlap(self, target: Segmentations, crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The IoU of each mask with each true one, (P, T); of a crowd the share inside it."""
        if not (self.stored and target.stored):
            return np.zeros((len(self.stored), len(target.stored)))
        if (self.height, self.width) != (target.height, target.width):
            raise InputError(
                f"has masks of {self.width}×{self.height} where its ground truth has"
                f" {target.width}×{target.height}",
                kind="size",
                role="pred",
            )
        overlaps = _library().iou(self.runs, target.runs, [int(each) for each in crowd])
        return np.asarray(overlaps, np.float64)

    def _run(self, mask: Any) -> Any:
        size = [self.height, self.width]
        if isinstance(mask, np.ndarray):
            return _library().encode(np.asfortranarray(mask != 0, np.uint8))
        if isinstance(mask, list):
            return self._polygon(mask)
        if not isinstance(mask, dict) or "counts" not in mask or "size" not in mask:
            raise _unfit("is neither polygons nor run lengths (size, counts)")
        if list(mask["size"]) != size:
            raise _unfit(f"is of size {mask['size']} where the picture is {size}")
        written = mask["counts"]
        text = written.encode() if isinstance(written, str) else written
        counts = decoded(text) if isinstance(text, bytes) else text
        if not isinstance(counts, list) or not all(
            isinstance(each, int) and 0 <= each <= MAX_PIXELS for each in counts
        ):
            raise _unfit("has run lengths that are no whole numbers from 0")
        if sum(counts) != self.height * self.width:
            raise _unfit(
                f"has run lengths of {sum(counts):,} pixels where the picture has"
                f" {self.height * self.width:,}"
            )
        if isinstance(text, bytes):
            return {"size": size, "counts": text}
        return _library().frPyObjects({"size": size, "counts": counts}, *size)

    def _polygon(self, polygons: list[Any]) -> Any:
        fits = polygons and all(
            isinstance(each, list)
            and len(each) >= 6
            and len(each) % 2 == 0
            and all(isinstance(x, int | float) for x in each)
            for each in polygons
        )
        if not fits:
            raise _unfit("is no list of polygons [x1, y1, x2, y2, x3, y3, …]")
        if not all(
            abs(x) <= FARTHEST * max(self.height, self.width) for each in polygons for x in each
        ):
            raise _unfit("has a polygon far outside the picture")
        library = _library()
        return library.merge(library.frPyObjects(polygons, self.height, self.width))


def decoded(text: bytes) -> list[int]:
    """Run lengths from COCO's letters: five bits each, and from the third on less the last but one.

    Raises:
        InputError: the text ends within a number, or holds other letters.
    """
    counts, value, shift = list[int](), 0, 0
    for letter in text:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise _unfit(f"has run lengths with {chr(letter)!r} in them")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) * (bits >> 4 & 1)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise _unfit("has run lengths that end within a number")
    return counts


def is_installed() -> bool:
    """Whether masks can be read."""
    return find_spec("pycocotools") is not None


def _unfit(what: str) -> InputError:
    return InputError(f"has a segmentation that {what}", kind="mismatch")


def _library() -> Any:
    try:
        from pycocotools import mask
    except ImportError:
        raise InputError(NEEDED) from None
    return mask
