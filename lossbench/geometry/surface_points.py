"""Where two masks end, how far apart that is, and their inner bands: numpy and scipy on one class.

Masks have any number of axes, and MARGIN empty pixels around them, so that neighbours are found by
steps in a row; `boxed` makes them so. Spacing is one number an axis, the size of a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import combinations, product
from math import ceil, floor, prod, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lossbench.runtime.array_types import BoolArray, FloatArray

Spacing = tuple[float, ...]
MARGIN = 2  # pixels around a box: as far neighbours are looked up one by one, further in a tree
KEPT = 64  # spacings that are remembered; every volume may have its own
SLACK = 1 + 1e-9  # what rounding may add to a length
LEAF = 32  # points of a tree that are compared one by one
SKIP, BLOCK = 16, 8  # points and pixels that are taken together where only few distances are wanted


def boxed(*masks: BoolArray) -> list[BoolArray]:
    """The smallest part of all masks that holds every pixel of theirs, with its margin."""
    every: Any = reduce(np.logical_or, masks)
    cut: list[slice] = []
    for size in reversed(every.shape):
        found = np.flatnonzero(every.reshape(-1, size).any(0))
        cut.insert(0, slice(found[0], found[-1] + 1) if len(found) else slice(0))
        every = every.any(-1)
    boxes = []
    for mask in masks:
        part = mask[tuple(cut)]
        box = np.zeros([size + 2 * MARGIN for size in part.shape], bool)
        box[(slice(MARGIN, -MARGIN),) * mask.ndim] = part
        boxes.append(box)
    return boxes


def strides(shape: Sequence[int]) -> list[int]:
    """How far the next pixel along each axis is, of pixels in a row."""
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


# --- surfaces: which points they are, and what each weighs ----------------------------------------


def by_face(mask: BoolArray) -> BoolArray:
    """Pixels with one of the nearest neighbours, 4 in a plane and 6 in space, outside."""
    flat = mask.reshape(-1)
    core = flat.copy()
    for step in strides(mask.shape):
        core[step:] &= flat[:-step]
        core[:-step] &= flat[step:]
    return (flat & ~core).reshape(mask.shape)


def by_corner(mask: BoolArray) -> BoolArray:
    """Pixels with one of all neighbours, 8 in a plane and 26 in space, outside."""
    flat = core = mask.reshape(-1)
    for step in strides(mask.shape):
        rows = core.copy()
        rows[step:] &= core[:-step]
        rows[:-step] &= core[step:]
        core = rows
    return (flat & ~core).reshape(mask.shape)


def cells(mask: BoolArray) -> NDArray[np.uint8]:
    """Which of the 2, 4, 8 pixels around the far corner of each pixel are inside, as bits."""
    flat, steps = mask.reshape(-1).view(np.uint8), strides(mask.shape)
    codes = np.zeros_like(flat)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        step = sum(n for n, on in zip(steps, corner, strict=True) if on)
        codes[: len(flat) - step] |= flat[step:] << np.uint8(bit)
    return codes.reshape(mask.shape)


@lru_cache(KEPT)
def areas(spacing: Spacing) -> FloatArray:
    """How long or large the surface through a cell is, by its code: marching squares or cubes.

    The surface goes through the middle of edges. It is added up over groups of pixels that share
    edges, of those inside or outside, whichever are fewer, each as the normals of its flat parts.
    """
    axes = len(spacing)
    scale = np.array([prod(spacing) / each for each in spacing])
    shape, corners = (2,) * axes, 2**axes
    table = np.zeros(2**corners)
    for code in range(2**corners):
        inside = np.array([code >> bit & 1 for bit in range(corners)], bool).reshape(shape)
        groups, count = ndimage.label(inside if inside.sum() * 2 <= corners else ~inside)
        for group in range(1, count + 1):
            parts = np.array(_parts(groups == group), float)
            table[code] += np.sqrt(((parts * scale) ** 2).sum(-1)).sum()
    return table


def _parts(group: BoolArray) -> list[FloatArray]:
    """The normals, up to signs, of the flat parts of the surface around pixels that share edges."""
    one, normals, places = np.ones(group.ndim), np.eye(group.ndim), np.argwhere(group)
    edges = [
        (i, j, int(np.flatnonzero(places[i] != places[j])[0]))
        for i, j in combinations(range(len(places)), 2)
        if (places[i] != places[j]).sum() == 1
    ]
    degree = np.bincount([place for i, j, _ in edges for place in (i, j)], minlength=len(places))
    free = one - normals[sorted({axis for _, _, axis in edges})].sum(0)
    if group.ndim == 2:
        return [one / 2] if len(places) == 1 else [free]
    if len(places) <= 2:
        return [one / 8] if len(places) == 1 else [free / 2]
    if len(places) == 3:
        return [3 * one / 8, free / 2]
    if len(edges) == 4:  # a face
        return [free]
    if degree.max() == 3:  # a corner and its three neighbours
        return [6 * one / 8]
    ends = (axis for i, j, axis in edges if 1 in (degree[i], degree[j]))
    return [one / 2, *((one - normals[axis]) / 4 for axis in ends)]


# --- distances ------------------------------------------------------------------------------------


class Outline(NamedTuple):
    """The points of a surface: where they are, and their places in a row, in order."""

    on: BoolArray
    places: NDArray[np.int64]

    @classmethod
    def at(cls, on: BoolArray) -> Outline:
        return cls(on, np.flatnonzero(on))

    def positions(self, chosen: Any, spacing: Spacing) -> FloatArray:
        """Some of the points in space, (n, axes)."""
        axes = np.unravel_index(self.places[chosen], self.on.shape)
        return np.stack([axis * size for axis, size in zip(axes, spacing, strict=True)], -1)


def gaps(ours: Outline, theirs: Outline, spacing: Spacing) -> FloatArray:
    """The distance of each point of ours to the nearest of theirs, which has some.

    Surfaces to be compared are mostly close: each point's neighbours are looked up, nearest first,
    and only what has none is searched in a k-d tree.
    """
    flat, found = theirs.on.reshape(-1), np.zeros(len(ours.places))
    left = np.flatnonzero(~flat[ours.places])
    for distance, steps in rings(spacing):
        if not len(left):
            return found
        places = ours.places[left]
        hit = np.zeros(len(left), bool)
        for step in (steps @ strides(ours.on.shape)).tolist():
            hit |= flat[places + step]
        found[left[hit]] = distance
        left = left[~hit]
    if len(left):
        points = ours.positions(left, spacing)
        found[left] = nearest(points, theirs.positions(eligible(points, theirs, spacing), spacing))
    return found


def nearest(points: FloatArray, others: FloatArray) -> FloatArray:
    """The distance of each point to the nearest of others."""
    tree = cKDTree(others, leafsize=LEAF, compact_nodes=False, balanced_tree=False)
    far: FloatArray = tree.query(points)[0]
    return far


def eligible(points: FloatArray, theirs: Outline, spacing: Spacing) -> Any:
    """Which of theirs can be the nearest to one of a few points; all of them for many.

    The nearest of every SKIPth of theirs is as far as the nearest of all can be. That ball is laid
    over blocks of pixels, and what lies in none of those is left out of the tree.
    """
    if len(theirs.places) < SKIP * len(points):
        return slice(None)
    far = nearest(points, theirs.positions(slice(None, None, SKIP), spacing))[:, None] * SLACK
    size = BLOCK * np.array(spacing)
    shape = np.array(theirs.on.shape) // BLOCK + 2
    ends = [((points + way * far) // size + (way > 0)).astype(int) for way in (-1, 1)]
    ends = [end.clip(0, shape - 1) for end in ends]
    covered = np.zeros(shape, np.int64)
    for corner in product((0, 1), repeat=len(spacing)):  # +1 where a box begins, −1 where it ends
        places = tuple(ends[side][:, axis] for axis, side in enumerate(corner))
        np.add.at(covered, places, (-1) ** sum(corner))
    for axis in range(len(spacing)):
        covered.cumsum(axis, out=covered)
    blocks = (each // BLOCK for each in np.unravel_index(theirs.places, theirs.on.shape))
    return np.flatnonzero(covered[tuple(blocks)])


@lru_cache(KEPT)
def rings(spacing: Spacing) -> list[tuple[float, NDArray[np.int64]]]:
    """Steps to the neighbours of a pixel, (n, axes), nearest first, with their distance.

    They reach MARGIN pixels along an axis, and no further than every pixel that near is among them.
    """
    far = (MARGIN + 1) * min(spacing)
    sizes = [min(MARGIN, ceil(far / each) - 1) for each in spacing]
    steps = np.array(list(product(*(range(-size, size + 1) for size in sizes))))
    lengths = np.sqrt(((steps * spacing) ** 2).sum(-1))
    return [
        (float(length), steps[lengths == length])
        for length in np.unique(lengths)
        if 0 < length < far
    ]


# --- bands ----------------------------------------------------------------------------------------


def band(mask: BoolArray, width: float, spacing: Spacing | None) -> int:
    """Pixels of a mask with something outside at most `width` away, as the bits of one number.

    Without a spacing the distance is the chessboard's, in pixels. What is shifted over an edge of
    the box passes its margin, which is outside and nearer.
    """
    inside = int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")
    near, result, grown = inside ^ (1 << mask.size) - 1, 0, 0
    *along, _ = strides(mask.shape)
    for reach, steps in reaches(width, spacing, mask.ndim):
        for _ in range(min(reach, mask.shape[-1]) - grown):
            near |= near << 1 | near >> 1
        grown = max(grown, min(reach, mask.shape[-1]))
        for shift in np.abs(steps @ np.array(along, np.int64)).tolist():
            if shift < mask.size:
                result |= near << shift | near >> shift
    return result & inside


@lru_cache(KEPT)
def reaches(
    width: float, spacing: Spacing | None, axes: int
) -> list[tuple[int, NDArray[np.int64]]]:
    """How far a ball reaches along the last axis, and the steps (n, axes − 1) along the others.

    Of two opposite steps there is one; the shortest reach comes first.
    """
    *sizes, across = spacing or (1.0,) * axes
    far = [floor(width / size * SLACK) for size in sizes]
    found: dict[int, list[tuple[int, ...]]] = {}
    for steps in product(*(range(-n, n + 1) for n in far)):
        aside = sum((n * size) ** 2 for n, size in zip(steps, sizes, strict=True))
        rest = width**2 * SLACK - (aside if spacing else 0)
        if rest >= 0 and steps >= (0,) * len(steps):
            found.setdefault(floor(sqrt(rest) / across * SLACK), []).append(steps)
    return [(reach, np.array(found[reach], np.int64)) for reach in sorted(found)]
