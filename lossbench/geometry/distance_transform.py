"""Euclidean distance transforms of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossbench.runtime.array_types import BoolArray


def across(mask: BoolArray, spacing: Sequence[float] | None) -> NDArray[np.float64]:
    """The distance of each pixel to the nearest one on the other side; 0 where there is none."""
    if not mask.any() or mask.all():
        return np.zeros(mask.shape)
    from scipy.ndimage import distance_transform_edt  # few runs need what takes long to import

    found: NDArray[np.float64] = distance_transform_edt(~mask, sampling=spacing)
    box = around(mask)
    found[box] += distance_transform_edt(mask[box], sampling=spacing)
    return found


def around(mask: BoolArray) -> tuple[slice, ...]:
    """The smallest box that holds a mask and, where the image goes on, one pixel about it.

    From within the mask no pixel outside the box is nearer than that on the box's rim before it.
    """
    ends: list[Any] = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        places = np.flatnonzero(mask.any(others))
        ends.append(slice(max(int(places[0]) - 1, 0), int(places[-1]) + 2))
    return tuple(ends)
