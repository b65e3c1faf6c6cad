"""Weight maps: how much each pixel counts, from where it lies in the ground truth.

scipy is imported where a map is made: every run imports this module, and few have maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossbench.catalog.grammar import parse_call
from lossbench.errors import SettingError
from lossbench.geometry.distance_transform import around
from lossbench.interface.annotations import NonNegative, Positive, WeightMap
from lossbench.interface.sample_batch import SampleBatch
from lossbench.runtime.array_types import FloatArray

BEYOND = 1e9  # no image is as long
LEAST = 2.0**-54  # what is added to 1 without changing it


class Plane(NamedTuple):
    """What a map is made from, each (*space): one label of a sample, or all classes of a pixel.

    `classes` counts from 0, the background; ignored pixels have −1. `instances` are numbers from 1
    within the foreground, 0 elsewhere. `spacing` is the size of a pixel, where it is known.
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
    """Narrow gaps between instances weigh more (Ronneberger, Fischer & Brox 2015).

    w_c + w0·exp(−(d₁ + d₂)² / 2σ²) on background pixels and w_c elsewhere, with d₁ and d₂ the
    distances to the two nearest instances.

    Args:
        plane: classes and instances.
        w0: what a gap of no width would add.
        sigma: σ, half the width of a gap that still weighs e^−½ of it; in pixels, or in the unit
            of their spacing where the data has one.
        class_weights: w_c of each class, of background and foreground on binary and multilabel
            tasks; none is 1.

    Returns:
        The weights, 0 or more; w_c where there are fewer than two instances.
    """
    classes, background = plane.classes, plane.classes == 0
    weight = np.ones(classes.shape)
    if class_weights is not None:
        weight = np.array(class_weights, np.float64)[classes]  # ignored pixels weigh 0 anyway
    least = LEAST * (class_weights[0] if class_weights else 1.0) or math.ulp(0.0)
    reach = sigma * math.sqrt(2 * (math.log(w0) - math.log(least))) if w0 > least else 0.0
    first, second = two_nearest(plane.instances, reach, plane.spacing)
    added = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return np.where(background, weight + added, weight)


def two_nearest(
    instances: NDArray[np.int64], reach: float, spacing: Sequence[float] | None
) -> tuple[FloatArray, FloatArray]:
    """The distances to the two nearest instances, infinite where they are beyond reach."""
    from scipy import ndimage

    first, second = np.full((2, *instances.shape), np.inf)
    for number, box in enumerate(ndimage.find_objects(instances), 1):
        if box is None:
            continue
        wide = widened(box, reach, spacing)
        near = ndimage.distance_transform_edt(instances[wide] != number, sampling=spacing)
        np.minimum(second[wide], np.maximum(first[wide], near), out=second[wide])
        np.minimum(first[wide], near, out=first[wide])
    return first, second


def edge(plane: Plane, *, width: Positive = 3.0, factor: NonNegative = 5.0) -> FloatArray:
    """Pixels near an edge weigh more.

    `factor` where the nearest pixel of another class is within `width`, else 1; ignored pixels are
    of no class.

    Args:
        plane: classes.
        width: how far from another class a pixel is still at an edge; in pixels, or in the unit of
            their spacing where the data has one. 1 takes the pixels whose neighbour is of another.
        factor: what such a pixel weighs.

    Returns:
        The weights, 1 or `factor`.
    """
    from scipy import ndimage

    weight = np.ones(plane.classes.shape)
    for each in np.unique(plane.classes[plane.classes >= 0]):
        mine = plane.classes == each
        box = widened(around(mine), width, plane.spacing)
        others = (plane.classes[box] != each) & (plane.classes[box] >= 0)
        if others.any():
            apart = ndimage.distance_transform_edt(~others, sampling=plane.spacing)
            weight[box][mine[box] & (apart <= width)] = factor
    return weight


MAPS: dict[str, Callable[..., FloatArray]] = {"unet": unet, "edge": edge}


def widened(box: Sequence[slice], by: float, spacing: Sequence[float] | None) -> tuple[slice, ...]:
    """A box and what is within a distance of it along each axis."""
    margins = [math.ceil(min(by / step, BEYOND)) for step in spacing or [1.0] * len(box)]
    return tuple(
        slice(max(part.start - margin, 0), part.stop + margin)
        for part, margin in zip(box, margins, strict=True)
    )


def weighted(values: SampleBatch, *, weight_map: WeightMap | None = None) -> SampleBatch:
    """Samples whose weights are multiplied by a map, made once for all losses that want it.

    Args:
        weight_map: what each pixel counts besides. unet(w0=10, sigma=5, class_weights=none) adds
            w0·exp(−(d₁ + d₂)²/2σ²) to background pixels, d₁ and d₂ the distances to the two
            nearest instances: role `instances`, or 8-connected components of the target.
            edge(width=3, factor=5) is `factor` within `width` of another class. Each label of a
            multilabel task has a map of its own.
    """
    if weight_map is None:
        return values
    found: SampleBatch = values.remembered(
        ("weight_map", weight_map), lambda: _weighted(values, weight_map)
    )
    return found


def _weighted(values: SampleBatch, text: str) -> SampleBatch:
    space = values.sides["target"].space
    if space is None:
        raise SettingError("a weight map needs pixels in their places")
    call = parse_call(text)
    planes = [MAPS[call.name](plane, **call.options) for plane in _planes(values, space)]
    weight = values.weight
    found = torch.as_tensor(np.stack(planes), dtype=weight.dtype, device=weight.device)
    return replace(values, weight=weight * found.reshape(len(weight), -1, weight.shape[-1]))


def _planes(values: SampleBatch, space: tuple[int, ...]) -> Iterator[Plane]:
    """Each label of each sample, or each sample where a pixel has one of several classes."""
    target = values.sides["target"].half
    seen, classes = values.weight > 0, (target > 0).long()
    if values.task == "multiclass":
        seen, classes = seen.any(1, keepdim=True), target.argmax(1, keepdim=True)
    classes = classes.where(seen, -1)
    given = values.instances
    numbers = (
        [None] * classes.shape[:2].numel() if given is None else _rows(given.expand_as(classes))
    )
    for row, instances in zip(_rows(classes), numbers, strict=True):
        plane = row.reshape(space)
        found = components(plane) if instances is None else _within(plane, instances)
        yield Plane(plane, found, values.spacing)


def _rows(tensor: Tensor) -> NDArray[Any]:
    """(B, C, N) as (B·C, N)."""
    rows: NDArray[Any] = tensor.flatten(0, 1).cpu().numpy()
    return rows


def _within(classes: NDArray[np.int64], instances: NDArray[Any]) -> NDArray[np.int64]:
    """Instances counted from 1, where there is foreground."""
    inside = np.where(classes > 0, instances.reshape(classes.shape), 0)
    numbers, found = np.unique(inside, return_inverse=True)
    counted: NDArray[np.int64] = found.reshape(classes.shape) + (numbers[0] > 0)
    return counted


def components(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of one class that touch, corners included, counted from 1; 0 is background."""
    from scipy import ndimage

    found, count = np.zeros(classes.shape, np.int64), 0
    whole = ndimage.generate_binary_structure(classes.ndim, classes.ndim)
    for each in np.unique(classes[classes > 0]):
        parts, more = ndimage.label(classes == each, whole)
        found = np.where(parts > 0, parts + count, found)
        count += more
    return found
