"""Detections in the order of their scores, over one sample or many: what AP and AR are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossbench.data.formats.boxes import by_class
from lossbench.errors import SettingError
from lossbench.geometry.box_matching import NONE, matched
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
TINY = float(np.spacing(1))  # pycocotools' guard against 0/0


@dataclass(frozen=True)
class RankedDetections:
    """Detections that count at one threshold at least, and how many objects there are.

    D detections, L thresholds, K classes. Those of several samples do not add up but are joined.
    """

    score: NDArray[np.float64]  # (D,)
    of_class: NDArray[np.int64]  # (D,)
    order: NDArray[np.int64]  # (D,) of the image; within one, detections come best score first
    hit: NDArray[np.bool_]  # (L, D) whether it is an object that counts
    alarm: NDArray[np.bool_]  # (L, D) whether it is none; neither where it is ignored
    objects: NDArray[np.int64]  # (K,)
    device: torch.device
    adds_up: ClassVar[bool] = False

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
            iou_thresholds: from which IoU a detection is an object: a number, or several to average
                over; none for COCO's ten, 0.5, 0.55, … 0.95.
            area: which objects count: small ones up to 32² pixels, medium ones, or large ones from
                96² on; detections of another area that are no object do not count either.
            max_detections: how many of an image and class count, best first.
            iou_type: of boxes (bbox) or of masks (segm), for which pycocotools must be installed.
        """
        sample = values.detections
        if sample is None:
            raise SettingError("this score needs detections, which `lossbench.evaluate` reads")
        given = THRESHOLDS if iou_thresholds is None else iou_thresholds
        levels = given if isinstance(given, Sequence) else (given,)
        if not levels:
            raise SettingError("iou_thresholds=[] names no threshold; none takes COCO's ten")
        overlap = sample.of_boxes if iou_type == "bbox" else sample.of_masks
        low, high = AREAS[area]
        off = [(side.area < low) | (side.area > high) for side in (sample.pred, sample.target)]
        objects = np.zeros(values.support.shape[1], np.int64)
        parts = []
        for of_class, p, t in by_class(sample, max_detections):
            crowd = sample.target.crowd[t]
            ignored = crowd | off[1][t]
            objects[of_class] = (~ignored).sum()
            places = matched(overlap[np.ix_(p, t)], crowd, ignored, levels)
            hit = places != NONE
            counts = np.where(hit, ~np.append(ignored, True)[places], ~off[0][p])
            kept = counts.any(0)
            parts.append((p[kept], hit[:, kept] & counts[:, kept], (~hit & counts)[:, kept]))
        none = np.zeros((len(levels), 0), np.bool_)
        p = np.concatenate([*(part[0] for part in parts), np.zeros(0, np.int64)])
        return cls(
            sample.pred.score[p],
            sample.pred.of_class[p],
            np.full(len(p), sample.target.order),
            np.concatenate([*(part[1] for part in parts), none], 1),
            np.concatenate([*(part[2] for part in parts), none], 1),
            objects,
            values.weight.device,
        )

    def listed(self) -> RowList:
        """What puts several samples side by side: by image, in it by score."""
        rows = {name: getattr(self, name) for name in ("score", "of_class", "hit", "alarm")}
        place = {"order": self.order, "rank": np.arange(len(self.order))}
        return RowList({**place, **rows}, {"objects": self.objects})

    @classmethod
    def joined(cls, listed: RowList, device: str) -> RankedDetections:
        """Several samples as one."""
        rows = {name: array for name, array in listed.rows.items() if name != "rank"}
        return cls(**rows, **listed.totals, device=torch.device(device))

    @cached_property
    def curves(self) -> tuple[Tensor, Tensor]:
        """Precision at 101 recalls (1, K, L, 101) and the final recall (1, K, L); nan of no object.

        Precision is the best one at that recall or a higher one.
        """
        precision = np.full((len(self.objects), len(self.hit), len(RECALLS)), np.nan)
        recall = np.full(precision.shape[:2], np.nan)
        ranked = np.lexsort((self.order, -self.score))
        for place in np.flatnonzero(self.objects):
            rows = ranked[self.of_class[ranked] == place]
            hits, alarms = self.hit[:, rows].cumsum(1), self.alarm[:, rows].cumsum(1)
            found = hits / self.objects[place]
            best = np.maximum.accumulate((hits / (hits + alarms + TINY))[:, ::-1], 1)[:, ::-1]
            recall[place] = found[:, -1] if len(rows) else 0
            for level, (reached, precise) in enumerate(zip(found, best, strict=True)):
                at = np.searchsorted(reached, RECALLS)
                precision[place, level] = np.append(precise, 0.0)[at]
        each = (
            torch.as_tensor(numbers, device=self.device)[None] for numbers in (precision, recall)
        )
        return next(each), next(each)
