"""Matching of detections to objects: pycocotools' rule, at many thresholds at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossbench.runtime.array_types import BoolArray, IntArray

CERTAIN = 1 - 1e-10  # highest threshold, because an IoU of 1 may be rounded down
NONE = -1


def match(
    overlap: NDArray[np.float64], crowd: BoolArray, ignored: BoolArray, thresholds: Sequence[float]
) -> IntArray:
    """Index of the object that each detection takes at each threshold, (L, P); NONE for no object.

    In order of score, each detection takes the object with the largest IoU among those that are not
    taken and reach the threshold; the last one on ties. An ignored object is taken only if no other
    object qualifies. A crowd can be taken any number of times.

    Args:
        overlap: IoU (P, T), best detection first.
        crowd: (T,) whether an object is a crowd.
        ignored: (T,) whether an object does not count; true for crowds.
        thresholds: the L thresholds.
    """
    minimum = np.minimum(np.asarray(thresholds, np.float64), CERTAIN)[:, None]
    taken = np.zeros((len(minimum), len(crowd)), np.bool_)
    indices = np.full((len(minimum), len(overlap)), NONE)
    if not len(crowd):
        return indices
    levels = np.arange(len(minimum))
    for detection, ious in enumerate(overlap):
        free = (ious >= minimum) & (crowd | ~taken)
        counting = free & ~ignored
        candidates = np.where(counting.any(1, keepdims=True), counting, free)
        reverse = np.where(candidates, ious, -1.0)[:, ::-1]
        best = len(crowd) - 1 - reverse.argmax(1)
        matched = candidates[levels, best]
        indices[matched, detection] = best[matched]
        taken[levels[matched], best[matched]] = True
    return indices
