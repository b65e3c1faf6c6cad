"""Matching of detections to objects: pycocotools' rule, of many images and thresholds at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lossbench.runtime.array_types import BoolArray, FloatArray, IntArray

CERTAIN = 1 - 1e-10  # highest threshold, because an IoU of 1 may be rounded down
NONE = -1


def match(
    pred: IntArray,
    target: IntArray,
    overlap: FloatArray,
    group: IntArray,
    crowd: BoolArray,
    ignored: BoolArray,
    thresholds: Sequence[float],
) -> IntArray:
    """Index of the object that each detection takes at each threshold, (L, P); NONE for no object.

    In order of score, each detection takes the object of its group with the largest IoU among those
    that are not taken and reach the threshold; the last one on ties. An ignored object is taken
    only if no other object qualifies. A crowd can be taken any number of times. Groups share no
    object, so the detections that are next in their groups take theirs together.

    Args:
        pred: (M,) ascending, the detection of each pair that may match.
        target: (M,) its object.
        overlap: (M,) their IoU.
        group: (P,) group of each detection, ascending, and within a group best detection first.
        crowd: (T,) whether an object is a crowd.
        ignored: (T,) whether an object does not count; true for crowds.
        thresholds: the L thresholds.
    """
    minimum = np.minimum(np.asarray(thresholds, np.float64), CERTAIN)[:, None]
    indices = np.full((len(minimum), len(group)), NONE)
    reaching = np.flatnonzero(overlap >= minimum.min())
    if not len(reaching):
        return indices
    detection, length = np.unique(pred[reaching], return_counts=True)
    turn = ranks(group[detection])
    # By turn, and for each detection the object first that it prefers.
    pred, target, overlap = pred[reaching], target[reaching], overlap[reaching]
    order = np.lexsort((-target, -overlap, ignored[target], pred, turn.repeat(length)))
    target, reached = target[order], overlap[order] >= minimum
    order = turn.argsort(kind="stable")
    detection = detection[order]
    edges = np.append(0, length[order].cumsum())  # of the pairs of each detection
    stops = np.append(0, np.bincount(turn).cumsum())  # of the detections of each turn
    number, taken = np.arange(len(target)), np.zeros((len(minimum), len(crowd)), np.bool_)
    for start, stop in zip(stops[:-1].tolist(), stops[1:].tolist(), strict=True):
        first, pairs = edges[start:stop], slice(edges[start], edges[stop])
        free = reached[:, pairs] & ~taken[:, target[pairs]]
        best = np.where(free, number[pairs], len(number))
        best = np.minimum.reduceat(best, first - first[0], axis=1)
        levels, matched = np.nonzero(best < len(number))
        chosen = target[best[levels, matched]]
        taken[levels, chosen] = ~crowd[chosen]
        indices[levels, detection[start + matched]] = chosen
    return indices


def ranks(group: IntArray) -> IntArray:
    """Number of each element within its group, from 0; of ascending groups."""
    return np.arange(len(group)) - np.searchsorted(group, group)
