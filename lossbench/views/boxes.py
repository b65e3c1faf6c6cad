"""Matched pairs of boxes, and unmatched boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lossbench.errors import SettingError
from lossbench.interface.annotations import Array, PerPixel
from lossbench.interface.sample_batch import SampleBatch
from lossbench.interface.stable_math import library


@dataclass(frozen=True)
class BoxPairs:
    """Pairs of boxes, each (B, N, 4) as x1, y1, x2, y2, with the weight of each pair."""

    pred: Array
    target: Array
    matched: Array  # (B, N) whether both boxes exist; an unmatched box fills both places
    counts: Array  # (B, C, N) 1 in the class of a pair that counts, 0 elsewhere

    @classmethod
    def of(
        cls, values: SampleBatch, *, unmatched: Literal["objects", "all", "none"] = "objects"
    ) -> BoxPairs:
        """Pairs of a detection and an object of the same class.

        Args:
            unmatched: which unmatched boxes count, with the worst value, so that missing an object
                never improves the mean: missed objects (objects), also false detections (all), or
                none of them (none), which averages over the pairs only. In order of descending
                score, a detection takes the object of its class with the largest IoU, if that is at
                least ½; crowds, and detections in crowds, do not count.
        """
        boxes = values.boxes
        if boxes is None:
            raise SettingError("this loss needs boxes: --task detection")
        matched = boxes.has_pred & boxes.has_target
        counting = {
            "objects": boxes.has_target,
            "all": boxes.has_target | boxes.has_pred,
            "none": matched,
        }
        pred = boxes.pred.where(boxes.has_pred[..., None], boxes.target)
        target = boxes.target.where(boxes.has_target[..., None], boxes.pred)
        counts = boxes.of_class * counting[unmatched][:, None]
        return cls(pred, target, matched, counts)

    def each(self, value: Array, worst: float) -> PerPixel:
        """The loss of each pair (B, N), or the worst value for an unmatched box."""
        value = value.where(self.matched, worst)[:, None] * self.counts
        return PerPixel(value, mass=self.counts)


def overlap(pred: Array, target: Array) -> tuple[Array, Array]:
    """Intersection and union of boxes (…, 4), each (…)."""
    low = library(pred).maximum(pred[..., :2], target[..., :2])
    high = library(pred).minimum(pred[..., 2:], target[..., 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (pred, target)]
    return intersection, areas[0] + areas[1] - intersection


def around(pred: Array, target: Array) -> Array:
    """Width and height of the smallest box around both, (…, 2)."""
    low = library(pred).minimum(pred[..., :2], target[..., :2])
    sides: Array = library(pred).maximum(pred[..., 2:], target[..., 2:]) - low
    return sides


def centre(box: Array) -> Array:
    """Centre x and y of boxes, (…, 2)."""
    return (box[..., :2] + box[..., 2:]) / 2


def ratio_or_zero(numerator: Array, denominator: Array) -> Array:
    """Ratio of two tensors; 0, with gradient 0, where the denominator is 0."""
    defined = denominator > 0
    return (numerator / denominator.where(defined, 1.0)).where(defined, 0.0)
