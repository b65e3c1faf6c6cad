"""Weight maps: weights of pixels, derived from their position in the ground truth.

scipy is imported where a map is computed, because every run imports this module and few use maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossbench.catalog.grammar import parse_call
from lossbench.errors import SettingError
from lossbench.geometry.distance_transform import bounding_box
from lossbench.interface.annotations import Array, NonNegative, Positive, WeightMap
from lossbench.interface.sample_batch import SampleBatch
from lossbench.interface.stable_math import numbers
from lossbench.runtime.array_types import FloatArray

BEYOND = 1e9  # longer than any image
NEGLIGIBLE = 2.0**-54  # added to 1, rounds to 1


class Plane(NamedTuple):
    """Input of a map, each (*space): one label of a sample, or all classes of a multiclass sample.

    `classes` counts from 0, the background; ignored pixels are −1. `instances` are numbers from 1
    in the foreground, 0 elsewhere. `spacing` is the size of a pixel, if known.
    """

    classes: NDArray[np.int64]
    instances: NDArray[np.int64]
    spacing: tuple[float, ...] | None


def unet(
    plane: Plane,
    *,
    w0: NonNegative = 10.0,
    sigma: Positive = 5.0,
    class_weights: Sequence[NonNegative] | None = None,
) -> FloatArray:
    """Weight map that emphasises gaps between instances (Ronneberger, Fischer & Brox 2015).

    w_c + w0·exp(−(d₁ + d₂)² / 2σ²) on background pixels and w_c elsewhere, with d₁ and d₂ the
    distances to the two nearest instances.

    Args:
        plane: classes and instances.
        w0: weight added in a gap of width 0.
        sigma: σ, half the width of a gap whose added weight is w0·e^−½; in pixels, or in the unit
            of the data's spacing.
        class_weights: w_c of each class, or of background and foreground on binary and multilabel
            tasks; none means 1.

    Returns:
        The weights, 0 or more; w_c where there are fewer than two instances.
    """
    classes, background = plane.classes, plane.classes == 0
    weight = np.ones(classes.shape)
    if class_weights is not None:
        weight = np.array(class_weights, np.float64)[classes]  # ignored pixels weigh 0 anyway
    least = NEGLIGIBLE * (class_weights[0] if class_weights else 1.0) or math.ulp(0.0)
    reach = sigma * math.sqrt(2 * (math.log(w0) - math.log(least))) if w0 > least else 0.0
    first, second = two_nearest(plane.instances, reach, plane.spacing)
    added = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return np.where(background, weight + added, weight)


def two_nearest(
    instances: NDArray[np.int64], reach: float, spacing: Sequence[float] | None
) -> tuple[FloatArray, FloatArray]:
    """Distances to the two nearest instances; infinite beyond `reach`."""
    from scipy import ndimage

    first, second = np.full((2, *instances.shape), np.inf)
    for number, box in enumerate(ndimage.find_objects(instances), 1):
        if box is None:
            continue
        area = widened(box, reach, spacing)
        distance = ndimage.distance_transform_edt(instances[area] != number, sampling=spacing)
        np.minimum(second[area], np.maximum(first[area], distance), out=second[area])
        np.minimum(first[area], distance, out=first[area])
    return first, second


def edge(plane: Plane, *, width: Positive = 3.0, factor: NonNegative = 5.0) -> FloatArray:
    """Weight map that emphasises pixels near an edge.

    `factor` where the nearest pixel of another class is within `width`, else 1; ignored pixels have
    no class.

    Args:
        plane: classes.
        width: distance from another class up to which a pixel is near an edge; in pixels, or in the
            unit of the data's spacing. 1 selects pixels with a neighbour of another class.
        factor: weight of pixels near an edge.

    Returns:
        The weights, 1 or `factor`.
    """
    from scipy import ndimage

    weight = np.ones(plane.classes.shape)
    for number in np.unique(plane.classes[plane.classes >= 0]):
        mask = plane.classes == number
        box = widened(bounding_box(mask), width, plane.spacing)
        others = (plane.classes[box] != number) & (plane.classes[box] >= 0)
        if others.any():
            distance = ndimage.distance_transform_edt(~others, sampling=plane.spacing)
            weight[box][mask[box] & (distance <= width)] = factor
    return weight


MAPS: dict[str, Callable[..., FloatArray]] = {"unet": unet, "edge": edge}


def widened(
    box: Sequence[slice], distance: float, spacing: Sequence[float] | None
) -> tuple[slice, ...]:
    """Widen a box by a distance along each axis."""
    margins = [math.ceil(min(distance / step, BEYOND)) for step in spacing or [1.0] * len(box)]
    return tuple(
        slice(max(part.start - margin, 0), part.stop + margin)
        for part, margin in zip(box, margins, strict=True)
    )


def weighted(values: SampleBatch, *, weight_map: WeightMap | None = None) -> SampleBatch:
    """Multiply the weights of samples by a map, computed once for all losses that use it.

    Args:
        weight_map: additional weight of each pixel. unet(w0=10, sigma=5, class_weights=none) adds
            w0·exp(−(d₁ + d₂)²/2σ²) to background pixels, with d₁ and d₂ the distances to the two
            nearest instances: role `instances`, or 8-connected components of the target.
            edge(width=3, factor=5) is `factor` within `width` of another class, else 1. Each label
            of a multilabel task has its own map.
    """
    if weight_map is None:
        return values
    result: SampleBatch = values.cached(
        ("weight_map", weight_map), lambda: _weighted(values, weight_map)
    )
    return result


def _weighted(values: SampleBatch, text: str) -> SampleBatch:
    space = values.inputs["target"].space
    if space is None:
        raise SettingError("a weight map needs images: the positions of pixels are unknown")
    call = parse_call(text)
    planes = [MAPS[call.name](plane, **call.options) for plane in _planes(values, space)]
    weight = values.weight
    maps = numbers(np.stack(planes), weight)
    return replace(values, weight=weight * maps.reshape(len(weight), -1, weight.shape[-1]))


def _planes(values: SampleBatch, space: tuple[int, ...]) -> Iterator[Plane]:
    """One plane per label of each sample, or per sample on a multiclass task."""
    target = values.inputs["target"].half
    valid, classes = values.weight > 0, (target > 0).long()
    if values.task == "multiclass":
        valid, classes = valid.any(1, keepdim=True), target.argmax(1, keepdim=True)
    classes = classes.where(valid, -1)
    rows = _rows(classes)
    instances = values.instances
    instance_rows = [None] * len(rows) if instances is None else _rows(instances.expand_as(classes))
    for row, own in zip(rows, instance_rows, strict=True):
        plane = row.reshape(space)
        renumbered = components(plane) if own is None else _renumbered(plane, own)
        yield Plane(plane, renumbered, values.spacing)


def _rows(tensor: Array) -> NDArray[Any]:
    """Reshape (B, C, N) to an array (B·C, N)."""
    rows: NDArray[Any] = tensor.flatten(0, 1).cpu().numpy()
    return rows


def _renumbered(classes: NDArray[np.int64], instances: NDArray[Any]) -> NDArray[np.int64]:
    """Instances within the foreground, renumbered from 1."""
    inside = np.where(classes > 0, instances.reshape(classes.shape), 0)
    numbers, indices = np.unique(inside, return_inverse=True)
    renumbered: NDArray[np.int64] = indices.reshape(classes.shape) + (numbers[0] > 0)
    return renumbered


def components(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Connected components of each class, corners included, numbered from 1; 0 is background."""
    from scipy import ndimage

    result, count = np.zeros(classes.shape, np.int64), 0
    corners = ndimage.generate_binary_structure(classes.ndim, classes.ndim)
    for number in np.unique(classes[classes > 0]):
        labels, added = ndimage.label(classes == number, corners)
        result = np.where(labels > 0, labels + count, result)
        count += added
    return result
