"""Euclidean distance transforms of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.runtime.array_types import BoolArray


def edge_distance(mask: BoolArray, spacing: Sequence[float] | None) -> NDArray[np.float64]:
    """Distance of each pixel to the nearest pixel across the edge; 0 for an empty or full mask."""
    if not mask.any() or mask.all():
        return np.zeros(mask.shape)
    from scipy.ndimage import distance_transform_edt  # slow to import, and few runs need it

    distance: NDArray[np.float64] = distance_transform_edt(~mask, sampling=spacing)
    box = bounding_box(mask)
    distance[box] += distance_transform_edt(mask[box], sampling=spacing)
    return distance


def bounding_box(mask: BoolArray) -> tuple[slice, ...]:
    """Bounding box of a non-empty mask with a margin of one pixel where the image allows it.

    The margin contains, for every pixel of the mask, the nearest pixel outside the mask.
    """
    box: list[Any] = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        indices = np.flatnonzero(mask.any(others))
        box.append(slice(max(int(indices[0]) - 1, 0), int(indices[-1]) + 2))
    return tuple(box)
