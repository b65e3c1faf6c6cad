"""Matching of detections to objects: pycocotools' rule, at many thresholds at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossbench.runtime.array_types import BoolArray, IntArray

CERTAIN = 1 - 1e-10  # highest threshold, because an IoU of 1 may be rounded down
NONE = -1


def match(
    overlap: NDArray[np.float64],
    pred_class: IntArray,
    target_class: IntArray,
    crowd: BoolArray,
    ignored: BoolArray,
    thresholds: Sequence[float],
) -> IntArray:
    """Index of the object that each detection takes at each threshold, (L, P); NONE for no object.

    In order of score, each detection takes the object of its class with the largest IoU among those
    that are not taken and reach the threshold; the last one on ties. An ignored object is taken
    only if no other object qualifies. A crowd can be taken any number of times. Classes share no
    object, so the detections that are next in their classes take theirs together.

    Args:
        overlap: IoU (P, T), by class and within a class best detection first.
        pred_class: (P,) ascending.
        target_class: (T,) in any order.
        crowd: (T,) whether an object is a crowd.
        ignored: (T,) whether an object does not count; true for crowds.
        thresholds: the L thresholds.
    """
    minimum = np.minimum(np.asarray(thresholds, np.float64), CERTAIN)[:, None, None]
    ious = np.where(pred_class[:, None] == target_class, overlap, -1.0)
    taken = np.zeros((len(minimum), len(crowd)), np.bool_)
    indices = np.full((len(minimum), len(ious)), NONE)
    reaching = np.flatnonzero((ious >= minimum.min()).any(1))
    turn = ranks(pred_class[reaching])
    for number in range(turn.max(initial=-1) + 1):
        rows = reaching[turn == number]
        free = (ious[rows] >= minimum) & (crowd | ~taken)[:, None]  # (L, rows, T)
        counting = free & ~ignored
        candidates = np.where(counting.any(2, keepdims=True), counting, free)
        reverse = np.where(candidates, ious[rows], -1.0)[..., ::-1]
        best = len(crowd) - 1 - reverse.argmax(2)
        indices[:, rows] = np.where(candidates.any(2), best, NONE)
        levels, matched = np.nonzero(candidates.any(2))
        taken[levels, best[levels, matched]] = True
    return indices


def ranks(of_class: IntArray) -> IntArray:
    """Number of each element within its class, from 0; of ascending classes."""
    return np.arange(len(of_class)) - np.searchsorted(of_class, of_class)
