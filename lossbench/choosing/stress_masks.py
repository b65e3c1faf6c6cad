"""Damages of masks and label maps, each a function of a label map and a level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lossbench.runtime.array_types import AnyArray, BoolArray, FloatArray, IntArray

TRIES = 50  # places that are tried for a false object
FARTHEST = 0.25  # of the longest side, across which objects are merged
MOST_MERGED = 50  # objects of a map that are merged with their neighbours


@dataclass(frozen=True)
class LabelMap:
    """One map of labels with its objects.

    Attributes:
        labels: a label for each pixel, or of instances their numbers.
        background: the label of pixels without an object.
        numbers: the object of each pixel, from 1; 0 where there is none.
        label_of: the label of each object by its number; that of 0 is the background.
        boxes: the slices around each object.
        classes: the labels that a pixel may have.
        has_instances: whether labels number the objects.
        divisor: of labels class · divisor + instance.
    """

    labels: IntArray
    background: int
    numbers: IntArray
    label_of: IntArray
    boxes: Sequence[tuple[slice, ...]]
    classes: Sequence[int]
    has_instances: bool = False
    divisor: int | None = None

    @classmethod
    def of(
        cls,
        labels: IntArray,
        classes: Sequence[int],
        background: int = 0,
        *,
        has_instances: bool = False,
        divisor: int | None = None,
    ) -> LabelMap:
        """The map with its connected components, or with its instances, as objects."""
        from scipy import ndimage

        present = [int(each) for each in np.unique(labels) if each != background]
        numbers = np.zeros(labels.shape, np.int64)
        label_of = [background]
        whole = np.ones((3,) * labels.ndim, bool)
        for label in present:
            mask = labels == label
            parts, count = (mask, 1) if has_instances else ndimage.label(mask, whole)
            numbers[mask] = parts[mask] + len(label_of) - 1
            label_of += [label] * count
        boxes = ndimage.find_objects(numbers)
        return cls(
            labels, background, numbers, np.array(label_of), boxes, classes, has_instances, divisor
        )

    @property
    def count(self) -> int:
        """The number of objects."""
        return len(self.label_of) - 1

    def new_label(self, like: int, used: IntArray) -> int:
        """The label of a new object of the class of another one."""
        if not self.has_instances:
            return like
        if self.divisor and like >= self.divisor:
            first = like // self.divisor * self.divisor
            of_class = used[(used >= first) & (used < first + self.divisor)]
            return int(min(of_class.max() + 1, first + self.divisor - 1))
        return int(used.max()) + 1


def shift(map: LabelMap, level: float, rng: Any) -> IntArray:
    """Every pixel some pixels to the right; the first column fills the gap."""
    return shifted(map.labels, int(level))


def shifted(array: AnyArray, pixels: int) -> AnyArray:
    """An array moved along its last axis, whose first values are repeated."""
    moved = array.copy()
    if pixels < array.shape[-1]:
        moved[..., pixels:] = array[..., :-pixels]
        moved[..., :pixels] = array[..., :1]
    return moved


def dilate(map: LabelMap, level: float, rng: Any) -> IntArray:
    """Background within some pixels of an object takes the label of the nearest one."""
    from scipy import ndimage

    outside = map.labels == map.background
    if outside.all():
        return map.labels
    distances, nearest = ndimage.distance_transform_edt(outside, return_indices=True)
    near = outside & (distances <= level)
    grown = map.labels.copy()
    grown[near] = map.labels[tuple(nearest[:, near])]
    return grown


def erode(map: LabelMap, level: float, rng: Any) -> IntArray:
    """The pixels of objects within some pixels of background become background."""
    from scipy import ndimage

    inside = map.labels != map.background
    if inside.all():
        return map.labels
    distances = ndimage.distance_transform_edt(inside)
    return np.where(inside & (distances > level), map.labels, map.background)


def holes(map: LabelMap, level: float, rng: Any) -> IntArray:
    """A share of each object's pixels, those nearest to its innermost one, become background."""
    from scipy import ndimage

    pierced = map.labels.copy()
    for number, box in enumerate(map.boxes, 1):
        mask = map.numbers[box] == number
        size = round(level * np.count_nonzero(mask))
        if not size:
            continue
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))
        middle = np.array(np.unravel_index(depth.argmax(), depth.shape)) - 1
        inside = np.argwhere(mask)
        order = np.argsort(((inside - middle) ** 2).sum(1), kind="stable")[:size]
        pierced[box][tuple(inside[order].T)] = map.background
    return pierced


def lose(map: LabelMap, level: float, rng: Any) -> IntArray:
    """A share of the objects, at least one, becomes background."""
    return np.where(np.isin(map.numbers, _some(map, level, rng)), map.background, map.labels)


def invent(map: LabelMap, level: float, rng: Any) -> IntArray:
    """Copies of a share of the objects, at least one, lie where there was background."""
    invented = map.labels.copy()
    for number in _some(map, level, rng):
        box = map.boxes[number - 1]
        mask = map.numbers[box] == number
        room = [1 + whole - part for whole, part in zip(map.labels.shape, mask.shape, strict=True)]
        for _ in range(TRIES):
            corner = rng.integers(0, room)
            at = tuple(slice(c, c + n) for c, n in zip(corner, mask.shape, strict=True))
            if (invented[at][mask] == map.background).all():
                label = map.new_label(int(map.label_of[number]), np.unique(invented))
                invented[at][mask] = label
                break
    return invented


def split(map: LabelMap, level: float, rng: Any) -> IntArray:
    """A gap some pixels wide cuts every object in two, across its longest extent."""
    parts = map.labels.copy()
    for number, box in enumerate(map.boxes, 1):
        inside = np.argwhere(map.numbers[box] == number)
        from_middle = inside - inside.mean(0)
        _, axes = np.linalg.eigh(from_middle.T @ from_middle)
        along = from_middle @ axes[:, -1]
        gap = np.abs(along) <= level / 2
        if gap.all() or not (along[~gap] < 0).any() or not (along[~gap] > 0).any():
            continue
        view = parts[box]
        if map.has_instances:
            far = inside[(along > 0) & ~gap]
            label = map.new_label(int(map.label_of[number]), np.unique(parts))
            view[tuple(far.T)] = label
        view[tuple(inside[gap].T)] = map.background
    return parts


def merge(map: LabelMap, level: float, rng: Any) -> IntArray:
    """A bridge some pixels wide joins every object with the nearest one of its class."""
    from scipy.spatial import cKDTree

    joined = map.labels.copy()
    longest = FARTHEST * max(map.labels.shape)
    edges = [_edge(map, number) for number in range(1, map.count + 1)]
    trees = [cKDTree(edge) for edge in edges]
    chosen = rng.permutation(map.count)[:MOST_MERGED]
    for index in sorted(chosen.tolist()):
        best, ends, partner = longest, None, -1
        for other, tree in enumerate(trees):
            if other == index or not _are_alike(map, index + 1, other + 1):
                continue
            distances, nearest = tree.query(edges[index], distance_upper_bound=best)
            at = int(distances.argmin())
            if distances[at] < best:
                best, partner = float(distances[at]), other
                ends = (edges[index][at], edges[other][nearest[at]])
        if ends is None:
            continue
        label = int(joined[tuple(ends[0])])
        if map.has_instances:
            joined[joined == joined[tuple(edges[partner][0])]] = label
        _draw_bridge(joined, ends, level, label, map.background)
    return joined


def _are_alike(map: LabelMap, one: int, other: int) -> bool:
    """Whether two objects are of one class."""
    labels = map.label_of[one], map.label_of[other]
    if not map.has_instances:
        return bool(labels[0] == labels[1])
    return not map.divisor or labels[0] // map.divisor == labels[1] // map.divisor


def _edge(map: LabelMap, number: int) -> IntArray:
    """The coordinates of an object's outermost pixels."""
    from scipy import ndimage

    box = map.boxes[number - 1]
    mask = np.pad(map.numbers[box] == number, 1)
    edge = np.argwhere(mask & ~ndimage.binary_erosion(mask)) - 1
    coordinates: IntArray = edge + [each.start for each in box]
    return coordinates


def _draw_bridge(
    labels: IntArray, ends: tuple[IntArray, IntArray], width: float, label: int, background: int
) -> None:
    """Give the background within half a width of a line the label."""
    low = np.maximum(np.minimum(*ends) - math.ceil(width), 0)
    high = np.minimum(np.maximum(*ends) + math.ceil(width) + 1, labels.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    points = np.moveaxis(np.indices(labels[box].shape), 0, -1) + low - ends[0]
    line = (ends[1] - ends[0]).astype(float)
    along = ((points @ line) / max(float(line @ line), 1.0)).clip(0, 1)
    distances = np.linalg.norm(points - along[..., None] * line, axis=-1)
    view = labels[box]
    view[(distances <= width / 2) & (view == background)] = label


def flip(map: LabelMap, level: float, rng: Any) -> IntArray:
    """A share of the pixels takes another class."""
    noisy = map.labels.copy()
    at = rng.permutation(noisy.size)[: round(level * noisy.size)]
    classes = np.array(map.classes)
    steps = rng.integers(1, len(classes), noisy.size)[at]
    indices = np.searchsorted(classes, noisy.ravel()[at])
    noisy.ravel()[at] = classes[(indices + steps) % len(classes)]
    return noisy


def swap(map: LabelMap, level: float, rng: Any) -> IntArray:
    """A share of the objects, at least one, takes the next class that is not background."""
    others = [each for each in map.classes if each != map.background]
    following = dict(zip(others, [*others[1:], *others[:1]], strict=True))
    swapped = map.labels.copy()
    for number in _some(map, level, rng):
        label = int(map.label_of[number])
        swapped[map.numbers == number] = following.get(label, label)
    return swapped


def _some(map: LabelMap, level: float, rng: Any) -> IntArray:
    """A share of the objects, at least one; a smaller share is part of a larger one."""
    count = max(1, round(level * map.count)) if map.count else 0
    chosen: IntArray = rng.permutation(map.count)[:count] + 1
    return chosen


def blur_planes(planes: FloatArray, level: float) -> FloatArray:
    """Levels (P, …) blurred by a Gaussian, as soft predictions with unsure edges are."""
    from scipy import ndimage

    blurred = [
        ndimage.gaussian_filter(plane, level, mode="nearest") if plane.any() else plane
        for plane in planes
    ]
    return np.stack(blurred).clip(0, 1)


def fill_ignored(labels: IntArray, valid: BoolArray) -> IntArray:
    """Labels with that of the nearest pixel that counts where a pixel is ignored."""
    from scipy import ndimage

    if valid.all() or not valid.any():
        return labels
    nearest = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    filled: IntArray = labels[tuple(nearest)]
    return filled


class MaskDamage(NamedTuple):
    """A damage of label maps.

    Attributes:
        kind: its name in results.
        levels: from mild to severe.
        text: what a level means, for people.
        change: the function; None for blurred edges, which are no labels.
        of_instances: whether it is defined for instances.
    """

    kind: str
    levels: tuple[float, ...]
    text: str
    change: Callable[[LabelMap, float, Any], IntArray] | None
    of_instances: bool = True


PIXELS, SHARES = (1, 2, 4), (0.1, 0.25, 0.5)
MASK_DAMAGES = (
    MaskDamage("shift", PIXELS, "a shift by {level:g} pixels", shift),
    MaskDamage("dilate", PIXELS, "dilation by {level:g} pixels", dilate),
    MaskDamage("erode", PIXELS, "erosion by {level:g} pixels", erode),
    MaskDamage("holes", (0.05, 0.1, 0.2), "holes of {level:.0%} of each object", holes),
    MaskDamage("lost_objects", SHARES, "{level:.0%} of the objects lost", lose),
    MaskDamage("false_objects", SHARES, "{level:.0%} more objects, which are false", invent),
    MaskDamage("split_objects", (2, 4, 8), "objects split by {level:g} pixels", split),
    MaskDamage("merged_objects", (2, 4, 8), "objects merged by {level:g} pixels", merge),
    MaskDamage(
        "blurred_edges", PIXELS, "edges blurred by {level:g} pixels", None, of_instances=False
    ),
    MaskDamage(
        "noise", (0.01, 0.03, 0.1), "noise in {level:.0%} of the pixels", flip, of_instances=False
    ),
    MaskDamage(
        "swapped_class", (0.25, 0.5, 1), "{level:.0%} of the objects in a wrong class", swap,
        of_instances=False,
    ),
)  # fmt: skip
