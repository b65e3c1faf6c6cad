"""Matching of the segments of two label maps."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lossbench.errors import SettingError
from lossbench.interface.annotations import Array
from lossbench.interface.sample_batch import SampleBatch, SegmentPairs
from lossbench.interface.stable_math import numbers
from lossbench.runtime.array_types import FloatArray, IntArray

VOID = -2  # number of void pixels, instead of a true segment's


class Segments(NamedTuple):
    """TP, FP and FN segments of each class, and Σ IoU of the TP, each (B, C); additive."""

    tp: Array
    fp: Array
    fn: Array
    iou: Array

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        only: Literal["all", "things", "stuff"] = "all",
        void: Literal["target", "both"] = "target",
    ) -> Segments:
        """Match segments of one class with an IoU above ½.

        Args:
            only: classes that count: all, classes with instances (things), or without (stuff).
            void: which void pixels are removed from the segments of the other map: those of the
                target, or of both target and prediction.
        """
        joint = values.segments
        if joint is None:
            raise SettingError("this loss needs instance maps, which `lossbench.evaluate` reads")
        counts: list[Any] = [count[None] for count in _matched(joint, void == "both")]
        if only != "all":
            if joint.things is None:
                raise SettingError(f"only={only}: name the classes with instances with --things")
            selected = joint.things if only == "things" else ~joint.things
            counts = [count * selected for count in counts]
        return cls(*(numbers(count, values.weight) for count in counts))


def _matched(joint: SegmentPairs, both_void: bool) -> tuple[FloatArray, ...]:
    """tp, fp, fn and Σ IoU per class, each (C,)."""
    shared, pred, target, pred_class, target_class, crowd, _ = joint
    in_pred, in_target = pred >= 0, target >= 0

    def areas(pairs: NDArray[np.bool_], segments: IntArray, count: int) -> FloatArray:
        """Pixels of each segment in the selected pairs; whole numbers, exact in any order."""
        return np.bincount(segments[pairs], shared[pairs], count).astype(np.float64)

    pred_void = areas(in_pred & (target == VOID), pred, len(pred_class))
    target_void = areas(in_target & ~in_pred, target, len(target_class)) * both_void
    pred_area = areas(in_pred, pred, len(pred_class))
    target_area = areas(in_target, target, len(target_class))
    both = in_pred & in_target
    p, t, overlap = pred[both], target[both], shared[both]
    same_class = (pred_class[p] * target_class[t]).sum(-1) > 0
    union = pred_area[p] - pred_void[p] + target_area[t] - target_void[t] - overlap
    matched = same_class & ~crowd[t] & (2 * overlap > union)
    in_crowd = same_class & crowd[t]
    excluded = pred_void + np.bincount(p[in_crowd], overlap[in_crowd], len(pred_class))
    false_positive = 2 * excluded <= pred_area
    false_positive[p[matched]] = False
    false_negative = (2 * target_void <= target_area) & (target_area > 0) & ~crowd
    false_negative[t[matched]] = False
    true_positives = pred_class[p[matched]]
    return (
        true_positives.sum(0),
        pred_class[false_positive].sum(0),
        target_class[false_negative].sum(0),
        (true_positives * (overlap / union)[matched, None]).sum(0),
    )
