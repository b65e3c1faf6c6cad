"""Surfaces of two masks, the distances between them, and inner bands: numpy and scipy on one class.

Masks have any number of axes, and MARGIN empty pixels around them, so that neighbours are found at
constant offsets in the flattened mask; `crop_to_box` adds the margin. A spacing is one number per
axis, the size of a pixel.
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
MARGIN = 2  # pixels around a box: nearer neighbours are looked up one by one, others in a tree
KEPT = 64  # cached spacings; every volume may have its own
SLACK = 1 + 1e-9  # relative rounding error allowed in a length
LEAF = 32  # points per leaf of a k-d tree
SKIP, BLOCK = 16, 8  # points skipped and pixels per block where only few distances are needed


def crop_to_box(*masks: BoolArray) -> list[BoolArray]:
    """Crop masks to their common bounding box, and add a margin."""
    union: Any = reduce(np.logical_or, masks)
    box: list[slice] = []
    for size in reversed(union.shape):
        indices = np.flatnonzero(union.reshape(-1, size).any(0))
        box.insert(0, slice(indices[0], indices[-1] + 1) if len(indices) else slice(0))
        union = union.any(-1)
    padded = [np.zeros([n + 2 * MARGIN for n in mask[tuple(box)].shape], bool) for mask in masks]
    for result, mask in zip(padded, masks, strict=True):
        result[(slice(MARGIN, -MARGIN),) * mask.ndim] = mask[tuple(box)]
    return padded


def strides(shape: Sequence[int]) -> list[int]:
    """Offset of the next pixel along each axis, in the flattened mask."""
    return [prod(shape[axis + 1 :]) for axis in range(len(shape))]


# --- surfaces: points and their weights -----------------------------------------------------------


def by_face(mask: BoolArray) -> BoolArray:
    """Pixels with a background neighbour across a face: 4 neighbours in 2-D, 6 in 3-D."""
    flat = mask.reshape(-1)
    core = flat.copy()
    for step in strides(mask.shape):
        core[step:] &= flat[:-step]
        core[:-step] &= flat[step:]
    return (flat & ~core).reshape(mask.shape)


def by_corner(mask: BoolArray) -> BoolArray:
    """Pixels with a background neighbour across a face or corner: 8 in 2-D, 26 in 3-D."""
    flat = core = mask.reshape(-1)
    for step in strides(mask.shape):
        eroded = core.copy()
        eroded[step:] &= core[:-step]
        eroded[:-step] &= core[step:]
        core = eroded
    return (flat & ~core).reshape(mask.shape)


def cells(mask: BoolArray) -> NDArray[np.uint8]:
    """Code of the cell at each pixel's far corner: a bit for each of its 2, 4 or 8 pixels."""
    flat, steps = mask.reshape(-1).view(np.uint8), strides(mask.shape)
    codes = np.zeros_like(flat)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        step = sum(n for n, on in zip(steps, corner, strict=True) if on)
        codes[: len(flat) - step] |= flat[step:] << np.uint8(bit)
    return codes.reshape(mask.shape)


@lru_cache(KEPT)
def areas(spacing: Spacing) -> FloatArray:
    """Length or area of the surface in a cell, by its code: marching squares or cubes.

    The surface passes through the midpoints of edges. It is summed over groups of pixels connected
    by edges, either inside or outside, whichever pixels are fewer, from the normals of its flat
    parts.
    """
    axes = len(spacing)
    scale = np.array([prod(spacing) / size for size in spacing])
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
    """Normals, up to signs, of the flat parts of the surface around a group of connected pixels."""
    one, normals, corners = np.ones(group.ndim), np.eye(group.ndim), np.argwhere(group)
    edges = [
        (i, j, int(np.flatnonzero(corners[i] != corners[j])[0]))
        for i, j in combinations(range(len(corners)), 2)
        if (corners[i] != corners[j]).sum() == 1
    ]
    degree = np.bincount([end for i, j, _ in edges for end in (i, j)], minlength=len(corners))
    free = one - normals[sorted({axis for _, _, axis in edges})].sum(0)
    if group.ndim == 2:
        return [one / 2] if len(corners) == 1 else [free]
    if len(corners) <= 2:
        return [one / 8] if len(corners) == 1 else [free / 2]
    if len(corners) == 3:
        return [3 * one / 8, free / 2]
    if len(edges) == 4:  # a face
        return [free]
    if degree.max() == 3:  # a corner and its three neighbours
        return [6 * one / 8]
    ends = (axis for i, j, axis in edges if 1 in (degree[i], degree[j]))
    return [one / 2, *((one - normals[axis]) / 4 for axis in ends)]


# --- distances ------------------------------------------------------------------------------------


class Outline(NamedTuple):
    """The points of a surface, as a mask and as sorted indices into the flattened mask."""

    on: BoolArray
    indices: NDArray[np.int64]

    @classmethod
    def of(cls, on: BoolArray) -> Outline:
        return cls(on, np.flatnonzero(on))

    def positions(self, chosen: Any, spacing: Spacing) -> FloatArray:
        """Coordinates of the chosen points, (n, axes)."""
        axes = np.unravel_index(self.indices[chosen], self.on.shape)
        return np.stack([axis * size for axis, size in zip(axes, spacing, strict=True)], -1)


def distances(points: Outline, others: Outline, spacing: Spacing) -> FloatArray:
    """Distance of each point of an outline to the nearest point of another, non-empty outline.

    Compared surfaces are mostly close, so each point's neighbours are looked up, nearest first, and
    only points without a near neighbour are searched in a k-d tree.
    """
    flat, result = others.on.reshape(-1), np.zeros(len(points.indices))
    rest = np.flatnonzero(~flat[points.indices])
    for distance, steps in rings(spacing):
        if not len(rest):
            return result
        indices = points.indices[rest]
        hit = np.zeros(len(rest), bool)
        for step in (steps @ strides(points.on.shape)).tolist():
            hit |= flat[indices + step]
        result[rest[hit]] = distance
        rest = rest[~hit]
    if len(rest):
        positions = points.positions(rest, spacing)
        candidates = others.positions(eligible(positions, others, spacing), spacing)
        result[rest] = nearest(positions, candidates)
    return result


def nearest(points: FloatArray, others: FloatArray) -> FloatArray:
    """Distance of each point to the nearest of the others."""
    tree = cKDTree(others, leafsize=LEAF, compact_nodes=False, balanced_tree=False)
    distances: FloatArray = tree.query(points)[0]
    return distances


def eligible(points: FloatArray, others: Outline, spacing: Spacing) -> Any:
    """Indices of the others that can be nearest to any of the points; all others for many points.

    The distance to every SKIPth of the others is an upper bound of the distance to the nearest. The
    ball with that radius covers blocks of pixels; points outside all these blocks are excluded.
    """
    if len(others.indices) < SKIP * len(points):
        return slice(None)
    radius = nearest(points, others.positions(slice(None, None, SKIP), spacing))[:, None] * SLACK
    size = BLOCK * np.array(spacing)
    shape = np.array(others.on.shape) // BLOCK + 2
    ends = [((points + sign * radius) // size + (sign > 0)).astype(int) for sign in (-1, 1)]
    ends = [end.clip(0, shape - 1) for end in ends]
    covered = np.zeros(shape, np.int64)
    for corner in product((0, 1), repeat=len(spacing)):  # +1 where a box begins, −1 where it ends
        index = tuple(ends[side][:, axis] for axis, side in enumerate(corner))
        np.add.at(covered, index, (-1) ** sum(corner))
    for axis in range(len(spacing)):
        covered.cumsum(axis, out=covered)
    blocks = (axis // BLOCK for axis in np.unravel_index(others.indices, others.on.shape))
    return np.flatnonzero(covered[tuple(blocks)])


@lru_cache(KEPT)
def rings(spacing: Spacing) -> list[tuple[float, NDArray[np.int64]]]:
    """Steps to the neighbours of a pixel, (n, axes), grouped by distance, nearest first.

    The steps reach up to MARGIN pixels along an axis, but only to a distance within which all
    neighbours are included.
    """
    limit = (MARGIN + 1) * min(spacing)
    reach = [min(MARGIN, ceil(limit / size) - 1) for size in spacing]
    steps = np.array(list(product(*(range(-n, n + 1) for n in reach))))
    lengths = np.sqrt(((steps * spacing) ** 2).sum(-1))
    return [
        (float(length), steps[lengths == length])
        for length in np.unique(lengths)
        if 0 < length < limit
    ]


# --- bands ----------------------------------------------------------------------------------------


def band(mask: BoolArray, width: float, spacing: Spacing | None) -> int:
    """Pixels of a mask at most `width` away from a pixel outside, as the bits of one number.

    Without a spacing, distances are chessboard distances in pixels. Bits shifted across an edge of
    the box do no harm, because the margin there is outside the mask and nearer.
    """
    inside = int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")
    near, result, grown = inside ^ (1 << mask.size) - 1, 0, 0
    *along, _ = strides(mask.shape)
    for extent, steps in ball_extents(width, spacing, mask.ndim):
        for _ in range(min(extent, mask.shape[-1]) - grown):
            near |= near << 1 | near >> 1
        grown = max(grown, min(extent, mask.shape[-1]))
        for shift in np.abs(steps @ np.array(along, np.int64)).tolist():
            if shift < mask.size:
                result |= near << shift | near >> shift
    return result & inside


@lru_cache(KEPT)
def ball_extents(
    width: float, spacing: Spacing | None, axes: int
) -> list[tuple[int, NDArray[np.int64]]]:
    """Extent of a ball along the last axis, for the steps (n, axes − 1) along the other axes.

    Only one of two opposite steps is listed; the smallest extent comes first.
    """
    *sizes, last_size = spacing or (1.0,) * axes
    limits = [floor(width / size * SLACK) for size in sizes]
    extents: dict[int, list[tuple[int, ...]]] = {}
    for steps in product(*(range(-n, n + 1) for n in limits)):
        square = sum((n * size) ** 2 for n, size in zip(steps, sizes, strict=True))
        rest = width**2 * SLACK - (square if spacing else 0)
        if rest >= 0 and steps >= (0,) * len(steps):
            extents.setdefault(floor(sqrt(rest) / last_size * SLACK), []).append(steps)
    return [(extent, np.array(extents[extent], np.int64)) for extent in sorted(extents)]
