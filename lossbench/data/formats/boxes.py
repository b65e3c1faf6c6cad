"""Boxes of an image, as files hold them and as losses read them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lossbench.data.formats.coco_masks import Segmentations
from lossbench.errors import InputError
from lossbench.runtime.array_types import FloatArray, IntArray


@dataclass(frozen=True)
class Boxes:
    """The N boxes of one side of a sample."""

    corners: FloatArray  # (N, 4) x1, y1, x2, y2
    size: FloatArray  # (N,) width times height
    area: FloatArray  # (N,) decides what is small or large; of an object the area of its mask
    of_class: NDArray[np.int64]  # (N,)
    score: FloatArray  # (N,) of a prediction
    crowd: NDArray[np.bool_]  # (N,) whether it is a group of objects, annotated as one
    masks: Segmentations | None = None
    order: int = 0  # of its image among all; ranks detections of equal scores
    extent: tuple[int, int] = (0, 0)  # width and height of its image, 0 where nobody says

    @cached_property
    def ranked(self) -> IntArray:
        """Indices by class, and within a class from the highest score to the lowest."""
        return np.lexsort((-self.score, self.of_class))


@dataclass(frozen=True)
class Detections:
    """One sample: its predicted and its true boxes."""

    pred: Boxes
    target: Boxes

    @property
    def sides(self) -> tuple[Boxes, Boxes]:
        """Prediction and ground truth."""
        return self.pred, self.target

    @cached_property
    def of_boxes(self) -> FloatArray:
        """The IoU of each box with each true one, (P, T); of a crowd the share inside it."""
        pred, target = self.pred.corners[:, None], self.target.corners[None]
        low = np.maximum(pred[..., :2], target[..., :2])
        high = np.minimum(pred[..., 2:], target[..., 2:])
        both = (high - low).clip(0).prod(-1)
        union = self.pred.size[:, None] + self.target.size - both
        union = np.where(self.target.crowd, self.pred.size[:, None], union)
        overlaps: FloatArray = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
        return overlaps

    @cached_property
    def of_masks(self) -> FloatArray:
        """The IoU of each mask with each true one, (P, T); of a crowd the share inside it.

        Raises:
            InputError: one side has none.
        """
        for role, side in (("pred", self.pred), ("target", self.target)):
            if side.masks is None and len(side.corners):
                raise InputError("has no masks for iou_type=segm", kind="mismatch", role=role)
        if self.pred.masks is None or self.target.masks is None:
            return np.zeros((len(self.pred.corners), len(self.target.corners)))
        return self.pred.masks.overlap(self.target.masks, self.target.crowd)
