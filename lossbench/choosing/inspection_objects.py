"""Shapes in a mask: connected components, their areas, lengths, and the gaps between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np

from lossbench.runtime.array_types import AnyArray, BoolArray, FloatArray, IntArray

SKELETON, DISTANCES = "skeletons", "distance transforms"  # how lengths are measured
SKELETON_AXES = (2, 3)  # numbers of axes for which scikit-image has skeletons
SPECKS = 0.01  # of the pixels of a class in an image, which its smallest objects may hold


@dataclass(frozen=True)
class Shapes:
    """The objects of one class in one image.

    Attributes:
        areas: pixels of each object.
        on_border: how many touch the border of the image.
        length: of all objects together, in pixels along their centre lines.
        main: the areas without specks: the smallest objects, which hold SPECKS of all pixels.
        gaps: pixels between each of these and its nearest neighbour among them, 0 where they touch;
            empty where they were not measured, or where there is one object.
        axes: the number of axes of the image.
    """

    areas: IntArray
    on_border: int = 0
    length: float = 0.0
    main: IntArray | None = None
    gaps: FloatArray | None = None
    axes: int = 2


def measure_components(mask: BoolArray, *, with_gaps: bool) -> Shapes:
    """Measure the connected components of a mask; pixels that share a corner are connected."""
    from scipy import ndimage

    box = bounding_box(mask)
    labels, _ = ndimage.label(mask[box], np.ones((3,) * mask.ndim))
    return measure_objects(labels, box, mask.shape, with_gaps=with_gaps)


def bounding_box(mask: BoolArray) -> tuple[slice, ...]:
    """The smallest box around the pixels of a mask, which has some."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(each for each in range(mask.ndim) if each != axis)
        (occupied,) = np.nonzero(mask.any(axis=others))
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)


def measure_objects(
    labels: AnyArray, box: tuple[slice, ...], space: tuple[int, ...], *, with_gaps: bool
) -> Shapes:
    """Measure objects that are numbered 1 … n in a box of an image of the size `space`."""
    areas = np.bincount(labels.ravel())[1:]
    on_border = set[int]()
    for axis, (part, length) in enumerate(zip(box, space, strict=True)):
        ends = [0] * (part.start == 0) + [-1] * (part.stop == length)
        for end in ends:
            on_border.update(np.unique(np.take(labels, end, axis)).tolist())
    order = np.argsort(areas, kind="stable")
    is_main = np.zeros(len(areas), bool)
    is_main[order] = np.cumsum(areas[order]) > SPECKS * areas.sum()
    gaps = np.zeros(0)
    if with_gaps and np.count_nonzero(is_main) > 1:
        kept = np.concatenate([[False], is_main])
        gaps = gaps_between(np.where(kept[labels], labels, 0))
    length_of_all = centre_length(labels > 0)
    main = areas[is_main]
    return Shapes(areas, len(on_border - {0}), length_of_all, main, gaps, labels.ndim)


@cache
def has_skeletons() -> bool:
    """Whether scikit-image is installed."""
    return find_spec("skimage") is not None


def centre_length(mask: BoolArray) -> float:
    """The length of the centre lines of a mask that has pixels.

    The pixels of its skeleton, or without scikit-image its area divided by its mean width: across a
    strip of odd width w, distances to the background have the mean m = (w + 1)² / 4w.
    """
    padded = np.pad(mask, 1)
    if has_skeletons() and mask.ndim in SKELETON_AXES:
        from skimage.morphology import skeletonize

        skeleton: BoolArray = skeletonize(padded)
        return float(skeleton.sum() or 1)
    from scipy import ndimage

    distance: FloatArray = ndimage.distance_transform_edt(padded)
    mean = float(distance[padded].mean())
    width = 2 * mean - 1 + 2 * (max(0.0, mean * (mean - 1))) ** 0.5
    return float(padded.sum() / width ** (mask.ndim - 1))


def gaps_between(labels: AnyArray) -> FloatArray:
    """The pixels between each object and its nearest neighbour.

    Pixels are divided among the nearest objects; along the border between the regions of two
    objects, the smallest sum of both distances is their gap.
    """
    from scipy import ndimage

    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    owner = labels[tuple(nearest)]
    gaps = np.full(int(labels.max()) + 1, np.inf)
    for axis in range(labels.ndim):
        here, next_one = slice(-1), slice(1, None)
        first, second = _cut(owner, axis, here), _cut(owner, axis, next_one)
        differ = first != second
        total = (_cut(distance, axis, here) + _cut(distance, axis, next_one))[differ]
        for side in (first, second):
            np.minimum.at(gaps, side[differ], total)
    measured: FloatArray = gaps[np.isfinite(gaps)]
    return measured


def _cut(array: AnyArray, axis: int, part: slice) -> AnyArray:
    return array[(slice(None),) * axis + (part,)]
