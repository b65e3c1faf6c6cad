"""Masks of objects as COCO stores them, and how much of them is shared: by pycocotools."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.errors import InputError

NEEDED = "masks of objects need the package pycocotools: pip install 'lossbench[detection]'"
MOST = 1 << 31  # pixels of a picture
FAR = 4  # pictures: no polygon is that far outside


@dataclass(frozen=True)
class Segmentations:
    """A mask for each object of a picture: COCO's run lengths or polygons, as they were written."""

    given: tuple[Any, ...]
    height: int
    width: int
    where: str | None = None  # the file, and the image in it

    @classmethod
    def of_masks(cls, masks: NDArray[Any]) -> Segmentations:
        """Masks (N, height, width), 0 outside."""
        return cls(tuple(masks), *masks.shape[1:])

    @cached_property
    def runs(self) -> list[Any]:
        """The run lengths of each, checked: pycocotools reads them without looking.

        Raises:
            InputError: one is no mask of this picture.
        """
        try:
            return [self._run(each) for each in self.given]
        except InputError as error:
            error.file = self.where
            raise

    @property
    def areas(self) -> list[float]:
        return [float(each) for each in _library().area(self.runs)] if self.given else []

    @property
    def boxes(self) -> list[list[float]]:
        """x, y, width and height of each."""
        return [row.tolist() for row in _library().toBbox(self.runs)] if self.given else []

    def overlap(self, target: Segmentations, crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The IoU of each mask with each true one, (P, T); of a crowd the share inside it."""
        if not (self.given and target.given):
            return np.zeros((len(self.given), len(target.given)))
        if (self.height, self.width) != (target.height, target.width):
            raise InputError(
                f"has masks of {self.width}×{self.height} where its ground truth has"
                f" {target.width}×{target.height}",
                kind="size",
                role="pred",
            )
        found = _library().iou(self.runs, target.runs, [int(each) for each in crowd])
        return np.asarray(found, np.float64)

    def _run(self, given: Any) -> Any:
        size = [self.height, self.width]
        if isinstance(given, np.ndarray):
            return _library().encode(np.asfortranarray(given != 0, np.uint8))
        if isinstance(given, list):
            return self._polygon(given)
        if not isinstance(given, dict) or "counts" not in given or "size" not in given:
            raise _unfit("is neither polygons nor run lengths (size, counts)")
        if list(given["size"]) != size:
            raise _unfit(f"is of size {given['size']} where the picture is {size}")
        written = given["counts"]
        text = written.encode() if isinstance(written, str) else written
        counts = decoded(text) if isinstance(text, bytes) else text
        if not isinstance(counts, list) or not all(
            isinstance(each, int) and 0 <= each <= MOST for each in counts
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

    def _polygon(self, given: list[Any]) -> Any:
        fits = given and all(
            isinstance(each, list)
            and len(each) >= 6
            and len(each) % 2 == 0
            and all(isinstance(x, int | float) for x in each)
            for each in given
        )
        if not fits:
            raise _unfit("is no list of polygons [x1, y1, x2, y2, x3, y3, …]")
        if not all(abs(x) <= FAR * max(self.height, self.width) for each in given for x in each):
            raise _unfit("has a polygon far outside the picture")
        library = _library()
        return library.merge(library.frPyObjects(given, self.height, self.width))


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
