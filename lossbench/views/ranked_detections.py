"""Detections sorted by score, of one sample or many: the input of AP and AR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossbench.errors import SettingError
from lossbench.geometry.box_matching import NONE, match, ranks
from lossbench.interface.annotations import Count, Share
from lossbench.interface.row_list import RowList
from lossbench.interface.sample_batch import SampleBatch

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = np.linspace(0, 1, 101)
AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
TINY = float(np.spacing(1))  # guard against 0/0, as in pycocotools


@dataclass(frozen=True)
class RankedDetections:
    """Detections that count at one threshold or more, and the number of objects per class.

    D detections, L thresholds, K classes. Samples are concatenated, not added.
    """

    score: NDArray[np.float64]  # (D,)
    of_class: NDArray[np.int64]  # (D,)
    order: NDArray[np.int64]  # (D,) number of the image; within an image, best score first
    hit: NDArray[np.bool_]  # (L, D) true positives: matched to an object that counts
    alarm: NDArray[np.bool_]  # (L, D) false positives; ignored detections are neither
    objects: NDArray[np.int64]  # (K,)
    device: torch.device

    @classmethod
    def of(
        cls,
        values: SampleBatch,
        *,
        iou_thresholds: Share | Sequence[Share] | None = None,
        area: Literal["all", "small", "medium", "large"] = "all",
        max_detections: Count = 100,
        iou_type: Literal["bbox", "segm"] = "bbox",
    ) -> RankedDetections:
        """Match the detections of each class with its objects, best score first.

        Args:
            iou_thresholds: IoU at which a detection matches an object: a number, or a list to
                average over; none for COCO's ten, 0.5, 0.55, … 0.95. In order of descending score,
                a detection takes the unmatched object of its class with the largest IoU of at least
                the threshold; it is ignored if that object is a crowd or outside `area`.
            area: objects that count: small up to 32² pixels, medium, or large from 96² pixels;
                unmatched detections of another area do not count either.
            max_detections: number of detections per image and class that count, best first.
            iou_type: IoU of boxes (bbox) or of masks (segm, needs pycocotools).
        """
        sample = values.detections
        if sample is None:
            raise SettingError("this score needs detections, which `lossbench.evaluate` reads")
        thresholds = THRESHOLDS if iou_thresholds is None else iou_thresholds
        levels = thresholds if isinstance(thresholds, Sequence) else (thresholds,)
        if not levels:
            raise SettingError("iou_thresholds=[] has no threshold; none takes COCO's ten")
        overlap = sample.of_boxes if iou_type == "bbox" else sample.of_masks
        low, high = AREAS[area]
        pred_off, target_off = (
            (boxes.area < low) | (boxes.area > high) for boxes in (sample.pred, sample.target)
        )
        crowd, target_class = sample.target.crowd, sample.target.of_class
        ignored = crowd | target_off
        p = sample.pred.ranked
        p = p[ranks(sample.pred.of_class[p]) < max_detections]
        of_class = sample.pred.of_class[p]
        indices = match(overlap[p], of_class, target_class, crowd, ignored, levels)
        hit = indices != NONE
        counts = np.where(hit, ~np.append(ignored, True)[indices], ~pred_off[p])
        kept = counts.any(0)
        return cls(
            sample.pred.score[p][kept],
            of_class[kept],
            np.full(kept.sum(), sample.target.order),
            (hit & counts)[:, kept],
            (~hit & counts)[:, kept],
            np.bincount(target_class[~ignored], minlength=values.support.shape[1]),
            values.weight.device,
        )

    def listed(self) -> RowList:
        """Rows for concatenating samples, by image and within an image by score."""
        rows = {name: getattr(self, name) for name in ("score", "of_class", "hit", "alarm")}
        keys = {"order": self.order, "rank": np.arange(len(self.order))}
        return RowList({**keys, **rows}, {"objects": self.objects})

    @classmethod
    def joined(cls, listed: RowList) -> RankedDetections:
        """Concatenate samples."""
        rows = {name: array for name, array in listed.rows.items() if name != "rank"}
        return cls(**rows, **listed.totals, device=torch.device("cpu"))

    @cached_property
    def curves(self) -> tuple[Tensor, Tensor]:
        """Precision at 101 recalls (1, K, L, 101) and final recall (1, K, L); nan without objects.

        Precision is the highest precision at that recall or a higher one.
        """
        undefined = np.where(self.objects > 0, 0.0, np.nan)[:, None, None]
        precision = np.tile(undefined, (1, len(self.hit), len(RECALLS)))
        recall = precision[..., 0].copy()
        ranked = np.lexsort((self.order, -self.score))
        for of_class in np.unique(self.of_class[self.hit.any(0)]):  # without a hit both stay 0
            rows = ranked[self.of_class[ranked] == of_class]
            tp, fp = self.hit[:, rows].cumsum(1), self.alarm[:, rows].cumsum(1)
            recalls = tp / self.objects[of_class]
            best = np.maximum.accumulate((tp / (tp + fp + TINY))[:, ::-1], 1)[:, ::-1]
            best = np.pad(best, ((0, 0), (0, 1)))  # 0 beyond the last recall
            recall[of_class] = recalls[:, -1]
            for level in np.flatnonzero(tp[:, -1]):
                precision[of_class, level] = best[level, recalls[level].searchsorted(RECALLS)]
        return (
            torch.as_tensor(precision, device=self.device)[None],
            torch.as_tensor(recall, device=self.device)[None],
        )
