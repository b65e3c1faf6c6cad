"""Boxes that belong together, and those that are alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lossbench.errors import SettingError
from lossbench.interface.annotations import PerPixel
from lossbench.interface.sample_batch import SampleBatch


@dataclass(frozen=True)
class BoxPairs:
    """Pairs of boxes, each (B, N, 4) as x1, y1, x2, y2, and what they count."""

    pred: Tensor
    target: Tensor
    pairs: Tensor  # (B, N) whether both are there; elsewhere one stands for both
    counts: Tensor  # (B, C, N) 1 in the class of what counts, 0 elsewhere
    adds_up: ClassVar[bool] = False

    @classmethod
    def of(
        cls, values: SampleBatch, *, unmatched: Literal["objects", "all", "none"] = "objects"
    ) -> BoxPairs:
        """Pairs of a detection and an object of its class.

        Args:
            unmatched: what counts as the worst value beside the pairs: objects that were missed
                (objects), detections that are no object too (all), or nothing (none).
        """
        boxes = values.boxes
        if boxes is None:
            raise SettingError("this loss needs boxes, which --task detection reads")
        pairs = boxes.found & boxes.there
        counting = {"objects": boxes.there, "all": boxes.there | boxes.found, "none": pairs}
        pred = boxes.pred.where(boxes.found[..., None], boxes.target)
        target = boxes.target.where(boxes.there[..., None], boxes.pred)
        counts = boxes.of_class * counting[unmatched][:, None]
        return cls(pred, target, pairs, counts)

    def each(self, value: Tensor, worst: float) -> PerPixel:
        """The loss of each pair (B, N), the worst one of what is alone."""
        value = value.where(self.pairs, worst)[:, None] * self.counts
        return PerPixel(value, mass=self.counts)


def overlap(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union of boxes (…, 4), each (…)."""
    low = torch.maximum(pred[..., :2], target[..., :2])
    high = torch.minimum(pred[..., 2:], target[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    areas = [(side[..., 2:] - side[..., :2]).prod(-1) for side in (pred, target)]
    return both, areas[0] + areas[1] - both


def around(pred: Tensor, target: Tensor) -> Tensor:
    """Width and height of the smallest box around both, (…, 2)."""
    low = torch.minimum(pred[..., :2], target[..., :2])
    return torch.maximum(pred[..., 2:], target[..., 2:]) - low


def middle(box: Tensor) -> Tensor:
    """x and y of the centre, (…, 2)."""
    return (box[..., :2] + box[..., 2:]) / 2


def share(top: Tensor, bottom: Tensor) -> Tensor:
    """top / bottom; 0 over nothing, with a gradient of 0 there."""
    some = bottom > 0
    return (top / bottom.where(some, 1.0)).where(some, 0.0)
